# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
# Shared by the tests of the tooling. Every test has a cache folder of its own,
# into which it links or copies what it needs of the real one, and never writes
# to the real one or to the repository.

REPO=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
REAL=${SPB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/superpageblock}
# shellcheck source=../base-kernel
. "$REPO/scripts/base-kernel"

# What the user has set is for the kernel under test, not for these tests
unset LINUX ACCEL ANY_VERSION QUIET STEPS_TOTAL STEP_DONE CACHE MAKEFLAGS MAKELEVEL MFLAGS

# A cache of its own for the test; the speed of the machine is known already
private_cache()
{
	export SPB_CACHE=$BATS_TEST_TMPDIR/cache
	mkdir -p "$SPB_CACHE"/v
	cat "$REAL/machine-factor" >"$SPB_CACHE/machine-factor" 2>/dev/null || echo 1.00 >"$SPB_CACHE/machine-factor"
}

# The patched test kernel, from the real cache, and its accelerator
guest_cache()
{
	private_cache
	[ -f "$REAL/v/series/test/arch/x86/boot/bzImage" ] && [ -f "$REAL/v/series/test-guest.cpio.gz" ] ||
		skip "the patched test kernel is not built (make run)"
	mkdir -p "$SPB_CACHE/v/series"
	ln -s "$REAL"/v/series/test "$REAL"/v/series/test-guest.cpio.gz "$SPB_CACHE/v/series/"
	cp -p "$REAL"/accel-* "$SPB_CACHE/" 2>/dev/null || true
}

# A base of the files that the series and its checks touch, as the repository
# that fetch-base would leave; made once a run. The whole tree would take minutes.
base_cache()
{
	local small=$BATS_RUN_TMPDIR/base files

	private_cache
	if [ ! -d "$small/src" ]; then
		[ -d "$REAL/v/base/src/.git" ] || skip "there is no base kernel yet (make run)"
		mkdir -p "$small/src"/{Documentation,arch,drivers,fs,include,init,ipc,kernel,lib}
		touch "$small/src"/{Documentation,arch,drivers,fs,include,init,ipc,kernel,lib}/.keep
		# What a patch of the series adds, and another one changes, is not in the base
		files=$(cd "$REPO" && sed -n 's,^--- a/,,p' patches/*/*.patch | grep -v '^mm/' |
			xargs git -C "$REAL/v/base/src" ls-tree --name-only base -- | sort -u)
		# shellcheck disable=SC2086 # paths without blanks
		git -C "$REAL/v/base/src" archive base .gitattributes Makefile Kbuild COPYING CREDITS README \
			MAINTAINERS mm scripts/checkpatch.pl scripts/spelling.txt \
			scripts/const_structs.checkpatch scripts/get_maintainer.pl \
			scripts/kernel-doc tools/docs/kernel-doc tools/lib/python $files |
			tar -x -C "$small/src"
		mkdir -p "$small/src/tools/testing/selftests/mm"
		touch "$small/src/tools/testing/selftests/mm/.keep"
		git -C "$small/src" init -q -b base
		git -C "$small/src" -c core.autocrlf=false add -A -f
		git -C "$small/src" -c user.name=test -c user.email=test@example.org commit -q -m "Linux $BASE_VERSION"
		# Few files are quicker to copy and to remove
		git -C "$small/src" repack -q -a -d
		git -C "$small/src" config gc.auto 0
		echo "$BASE_VERSION $BASE_MM_SHA256" >"$small/source"
	fi
	cp -a "$small" "$SPB_CACHE/v/base"
}

# A copy of the project, for tests that change it: $COPY
project_copy()
{
	COPY=$BATS_TEST_TMPDIR/project
	mkdir -p "$COPY"
	cp -a "$REPO"/{.ci,Makefile,configs,patches,scripts,selftests} "$COPY/"
	rm -rf "$COPY/scripts/tests"
}

# stub NAME: put a program before the real one; its text comes from stdin
stub()
{
	local dir=$BATS_TEST_TMPDIR/stubs

	mkdir -p "$dir"
	cat >"$dir/$1"
	chmod +x "$dir/$1"
	PATH=$dir:${PATH#"$dir:"}
}

# Bats shows these lines when the test fails
show()
{
	echo "exit $status, output:"
	echo "$output"
}

# expect CODE TEXT ...: of the last "run"
expect()
{
	local code=$1 text
	shift

	show
	[ "$status" -eq "$code" ] || { echo "wanted exit $code"; return 1; }
	for text; do
		[[ $output == *"$text"* ]] || { echo "no '$text' in the output"; return 1; }
	done
}

# start COMMAND ...: in the background, as from a terminal: one process group,
# SIGINT not ignored. Sets $job; its output is $BATS_TEST_TMPDIR/output
start()
{
	set -m
	# Bats waits for whoever holds its file descriptor 3
	env --default-signal=INT,QUIT "$@" >"$BATS_TEST_TMPDIR/output" 2>&1 3>&- </dev/null &
	job=$!
	set +m
}

# Wait for $job, as "run" leaves it
finish()
{
	status=0
	wait "$job" || status=$?
	output=$(cat "$BATS_TEST_TMPDIR/output")
}

# wait_until COMMAND ...: for at most 30 s
wait_until()
{
	local tries=300

	until "$@"; do
		[ $((tries--)) -gt 0 ] || { echo "never came true: $*"; return 1; }
		sleep 0.1
	done
}

# No process left whose command line names TEXT
none_running()
{
	if pgrep -af -- "$1" | grep -v pgrep; then
		return 1
	fi
}

# For one that was told to end a moment ago
none_running_soon()
{
	wait_until none_running "$1"
}

# Bats does not see a failing "! cmp"
differ()
{
	if cmp -s "$1" "$2"; then
		echo "$1 and $2 are the same"
		return 1
	fi
}

# Same names and contents, empty folders included
same_tree()
{
	diff -r --no-dereference "$1" "$2"
	diff <(cd "$1" && find . | sort) <(cd "$2" && find . | sort)
}
