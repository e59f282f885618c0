# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# Shared by the scripts: paths, errors, locks, limits, progress. Sourced.

set -Eeuo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=${SPB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/superpageblock}
JOBS=${JOBS:-$(nproc)}

# Exit codes of every command
export EXIT_TEST=1 EXIT_KERNEL=2 EXIT_TIMEOUT=3 EXIT_SETUP=4

# shellcheck source=base-kernel
. "$ROOT/scripts/base-kernel"

die()
{
	echo "error: $*" >&2
	exit $EXIT_SETUP
}

note()
{
	echo "$*" >&2
}

# A command that fails where no script expects it is a matter of set-up; its own
# exit code could be taken for a verdict
unexpected()
{
	[ "$BASH_SUBSHELL" -eq 0 ] || return 0
	# A script below has said why already
	[ "$1" -ne $EXIT_SETUP ] || exit $EXIT_SETUP
	die "$(basename "$0"): '$3' in line $2 failed, exit $1"
}
trap 'unexpected $? $LINENO "$BASH_COMMAND"' ERR

# Create the cache folder, or say why it cannot be used
need_cache()
{
	if ! mkdir -p "$CACHE"/{locks,downloads,v,results,log,passed} 2>/dev/null || [ ! -w "$CACHE" ]; then
		die "cannot write to the cache folder $CACHE; set SPB_CACHE to a folder that can be written"
	fi
	CACHE=$(cd "$CACHE" && pwd)
	export CACHE
}

# need_space MIB WHAT: refuse before the disk is full, not halfway
need_space()
{
	local free

	free=$(df -Pm "$CACHE" | awk 'NR == 2 { print $4 }')
	[ "$free" -ge "$1" ] ||
		die "$2 needs $1 MiB in $CACHE, $free MiB are free; make room there or set SPB_CACHE to another disk"
}

# lock NAME: held until the script ends; a second run waits and says so
lock()
{
	local fd

	exec {fd}>"$CACHE/locks/$1"
	flock -n "$fd" && return
	note "waiting for another run that is using $1"
	flock "$fd"
}

# Seconds that a limit of SECONDS becomes on this machine; see machine_factor
scaled()
{
	awk -v s="$1" -v f="$(machine_factor)" 'BEGIN { printf "%d\n", s * f + 0.999 }'
}

# How many times slower than the machine the limits were written on, at least
# 1: one fixed amount of work, measured once an hour
machine_factor()
{
	local file=$CACHE/machine-factor

	if [ -z "$(find "$file" -mmin -60 -size +0 2>/dev/null)" ]; then
		local start end
		start=$(date +%s%N)
		head -c 200000000 /dev/zero | sha256sum >/dev/null
		end=$(date +%s%N)
		awk -v ms=$(((end - start) / 1000000)) \
			'BEGIN { f = ms / 800; if (f < 1) f = 1; printf "%.2f\n", f }' >"$file.$$"
		mv "$file.$$" "$file"
	fi
	cat "$file"
}

elapsed()
{
	local s=$((SECONDS - ${1:-0}))

	printf '%d:%02d' $((s / 60)) $((s % 60))
}

# end_group PID: end a process group, in the worst case by force
end_group()
{
	local tries=50

	kill -- "-$1" 2>/dev/null || true
	while [ $((tries--)) -gt 0 ] && kill -0 -- "-$1" 2>/dev/null; do
		sleep 0.1
	done
	kill -9 -- "-$1" 2>/dev/null || true
	wait "$1" 2>/dev/null || true
}

# step TEXT LOG COMMAND ...: run with output to LOG; show step, time and the
# log's last line while it runs. Steps are counted against $STEPS.
STEP=0
STEPS=1
step()
{
	# Not "log": COMMAND may be a function of the caller, and would see it
	local text=$1 step_log=$2 begin=$SECONDS pid status=0
	shift 2

	STEP=$((STEP + 1))
	mkdir -p "$(dirname "$step_log")"
	# A process group of its own, so that an interrupt reaches make and QEMU too
	set -m
	"$@" >"$step_log" 2>&1 </dev/null &
	pid=$!
	set +m
	trap 'end_group $pid; note "interrupted; run the same command again to go on"; exit 130' HUP INT TERM
	while kill -0 $pid 2>/dev/null; do
		if [ -t 2 ]; then
			printf '\r\033[K[%d/%d] %s  %s  %.60s' $STEP "$STEPS" "$text" \
				"$(elapsed $begin)" "$(tail -n 1 "$step_log" 2>/dev/null | tr -d '\r\t')" >&2
		elif [ $((SECONDS - begin)) -gt 0 ] && [ $(((SECONDS - begin) % 60)) -eq 0 ]; then
			note "[$STEP/$STEPS] $text  $(elapsed $begin)  $(tail -n 1 "$step_log" | cut -c 1-100)"
		fi
		sleep 1
	done
	wait $pid || status=$?
	trap - HUP INT TERM
	[ ! -t 2 ] || printf '\r\033[K' >&2
	if [ $status -eq 0 ]; then
		note "[$STEP/$STEPS] $text  done in $(elapsed $begin)"
	else
		note "[$STEP/$STEPS] $text  FAILED after $(elapsed $begin), exit $status; log: $step_log"
		tail -n 15 "$step_log" | sed 's/^/    /' >&2
	fi
	return $status
}

# steps TOTAL [DONE]: how many steps this run has, and had before
steps()
{
	STEPS=$1
	STEP=${2:-0}
}

# record_time NAME cold|warm: how long this run took, for README's table
record_time()
{
	echo "$1 $2 $SECONDS" >>"$CACHE/times"
}

# Is there anything of an earlier run to build on?
cache_state()
{
	if [ -d "$CACHE/v/series/test" ]; then
		echo warm
	else
		echo cold
	fi
}

# Compiler results are shared between variants: the same layout below each
# variant's folder gives the same relative paths
kbuild_env()
{
	export CCACHE_DIR=$CACHE/ccache CCACHE_BASEDIR=$CACHE CCACHE_NOHASHDIR=1
	export CCACHE_SLOPPINESS=time_macros,include_file_mtime,include_file_ctime
	export CCACHE_MAXSIZE=4G
	export KBUILD_BUILD_TIMESTAMP='Thu Jan  1 00:00:00 UTC 2026'
	export KBUILD_BUILD_USER=series KBUILD_BUILD_HOST=localhost
	export KCFLAGS=-fdiagnostics-color=never
}

# Applied patches of the series, one path below patches/ a line
series_patches()
{
	sed -e 's/[[:space:]]*#.*//' -e '/^$/d' "$ROOT/patches/series"
}

# The folder of selftests/ that a patch brings with it, from its line in series
series_adds()
{
	awk -v p="$1" '$1 == p && $2 == "#" && $3 == "adds" { print $4 }' "$ROOT/patches/series"
}

# One line that changes whenever the series or its selftests do
series_hash()
{
	(cd "$ROOT" && { cat patches/series; series_patches | sed 's,^,patches/,' | xargs cat
		find selftests -type f | LC_ALL=C sort | xargs sha256sum; }) | sha256sum | cut -c 1-16
}

# series_has_topic TOPIC
series_has_topic()
{
	series_patches | grep -q "^$1/"
}

known=
# passed_before KIND KEY: has a check of that kind passed where all that it depends
# on, which KEY stands for, was the same? On this machine or, as patches/record
# says, on another; RECORD=0 does not ask that. See also update-record.
passed_before()
{
	known=
	[ -e "$CACHE/passed/$1 $2" ] || {
		[ "${RECORD:-1}" != 0 ] && grep -qxF "$1 $2" "$ROOT/patches/record" 2>/dev/null
	} || return
	known="$1 $2"
	echo "$known" >>"$CACHE/passed/of-$1"
}

# passed KIND KEY: remember that it did; what was known has not been run here
passed()
{
	[ "$known" != "$1 $2" ] || return 0
	: >"$CACHE/passed/$1 $2"
	passed_before "$1" "$2"
}

# from_here KIND: what this run relies on is what update-record writes down
from_here()
{
	: >"$CACHE/passed/of-$1"
}

# content_hash PATH ...: one line that changes whenever a file below PATHs does
content_hash()
{
	(cd "$ROOT" && find "$@" -type f | LC_ALL=C sort | xargs sha256sum) | sha256sum | cut -c 1-12
}

# pack FOLDER: an archive for the guest's kernel to unpack, on standard output; the
# same bytes for the same files, as they are in the way of what a guest measures
pack()
{
	(cd "$1" && find . -exec touch -hd @0 {} + && find . | LC_ALL=C sort |
		cpio -o -H newc -R 0:0 --reproducible --quiet | gzip -1n)
}
