#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# Getting the base kernel and keeping the cache: bad sources, no network, no
# space, two at once, interrupts.

# shellcheck disable=SC2154 # helpers.bash sets $job
load helpers

setup()
{
	private_cache
	mkdir -p "$SPB_CACHE/v/base/src"
	TARBALL=$SPB_CACHE/downloads/linux-$BASE_VERSION.tar.xz
}

teardown()
{
	if mountpoint -q "$BATS_TEST_TMPDIR/disk"; then
		umount "$BATS_TEST_TMPDIR/disk"
	fi
}

# The state a refused source must not change: the base of before
remember_base()
{
	git -C "$SPB_CACHE/v/base/src" init -q -b base
	echo "$BASE_VERSION $BASE_MM_SHA256" >"$SPB_CACHE/v/base/source"
	cp -a "$SPB_CACHE/v/base" "$BATS_TEST_TMPDIR/before"
}

base_unchanged()
{
	same_tree "$BATS_TEST_TMPDIR/before" "$SPB_CACHE/v/base"
	nothing_partial
}

nothing_partial()
{
	[ -z "$(find "$SPB_CACHE" -name 'unpack.*' -o -name '*.part.*')" ]
	[ ! -e "$SPB_CACHE/apt" ]
}

no_network()
{
	stub curl <<<$'#!/bin/sh\necho "curl: (6) no host" >&2\nexit 6'
	stub apt-get <<<$'#!/bin/sh\nexit 100'
}

# fake_tree DIR VERSION.PATCHLEVEL.SUBLEVEL
fake_tree()
{
	mkdir -p "$1/mm"
	echo 'int x;' >"$1/mm/page_alloc.c"
	printf 'VERSION = %s\nPATCHLEVEL = %s\nSUBLEVEL = %s\nEXTRAVERSION =\n' ${2//./ } >"$1/Makefile"
}

@test "fetch: LINUX= a truncated tarball exits 4, the base of before stays" {
	remember_base
	fake_tree "$BATS_TEST_TMPDIR/linux-$BASE_VERSION" "$BASE_VERSION"
	head -c 100000 /dev/urandom >"$BATS_TEST_TMPDIR/linux-$BASE_VERSION/mm/noise"
	tar -C "$BATS_TEST_TMPDIR" -cJf "$BATS_TEST_TMPDIR/whole.tar.xz" "linux-$BASE_VERSION"
	head -c 50000 "$BATS_TEST_TMPDIR/whole.tar.xz" >"$BATS_TEST_TMPDIR/cut.tar.xz"
	LINUX=$BATS_TEST_TMPDIR/cut.tar.xz run "$REPO/scripts/fetch-base"
	expect 4 "cut.tar.xz is not a complete tarball"
	base_unchanged
	# The user's own file is left alone
	[ -s "$BATS_TEST_TMPDIR/cut.tar.xz" ]
}

@test "fetch: LINUX= that does not exist exits 4" {
	LINUX=/nonexistent run "$REPO/scripts/fetch-base"
	expect 4 "LINUX=/nonexistent does not exist" "$BASE_VERSION"
}

@test "fetch: a tree of the wrong version exits 4, says wanted, found and the override" {
	remember_base
	fake_tree "$BATS_TEST_TMPDIR/linux" 7.1.0
	LINUX=$BATS_TEST_TMPDIR/linux run "$REPO/scripts/fetch-base"
	expect 4 "is Linux 7.1.0" "needs $BASE_VERSION" "ANY_VERSION=1"
	base_unchanged
}

@test "fetch: a tarball of the wrong version likewise" {
	remember_base
	fake_tree "$BATS_TEST_TMPDIR/linux" 7.1.0
	tar -C "$BATS_TEST_TMPDIR" -cf "$BATS_TEST_TMPDIR/linux.tar" linux
	LINUX=$BATS_TEST_TMPDIR/linux.tar run "$REPO/scripts/fetch-base"
	expect 4 "is Linux 7.1.0" "needs $BASE_VERSION" "ANY_VERSION=1"
	base_unchanged
}

@test "fetch: the right version with another mm/ exits 4; the override takes it" {
	remember_base
	fake_tree "$BATS_TEST_TMPDIR/linux" "$BASE_VERSION"
	LINUX=$BATS_TEST_TMPDIR/linux run "$REPO/scripts/fetch-base"
	expect 4 "digest of mm/" "$BASE_MM_SHA256" "ANY_VERSION=1"
	base_unchanged
	LINUX=$BATS_TEST_TMPDIR/linux ANY_VERSION=1 run "$REPO/scripts/fetch-base"
	expect 0 "base kernel: Linux $BASE_VERSION"
	git -C "$SPB_CACHE/v/base/src" show base:mm/page_alloc.c | cmp - "$BATS_TEST_TMPDIR/linux/mm/page_alloc.c"
	nothing_partial
}

@test "fetch: a new base does not replace a tree with changes" {
	fake_tree "$BATS_TEST_TMPDIR/linux" "$BASE_VERSION"
	LINUX=$BATS_TEST_TMPDIR/linux ANY_VERSION=1 run "$REPO/scripts/fetch-base"
	expect 0
	git -C "$SPB_CACHE/v/base/src" worktree add -q --detach "$SPB_CACHE/v/series/src" base
	echo 'int mine;' >>"$SPB_CACHE/v/series/src/mm/page_alloc.c"
	cp -a "$BATS_TEST_TMPDIR/linux" "$BATS_TEST_TMPDIR/other"
	LINUX=$BATS_TEST_TMPDIR/other ANY_VERSION=1 run "$REPO/scripts/fetch-base"
	expect 4 "$SPB_CACHE/v/series/src, which has changes that are in no patch"
	grep -q mine "$SPB_CACHE/v/series/src/mm/page_alloc.c"
}

@test "fetch: a corrupted tarball in the cache is noticed and not used" {
	no_network
	mkdir -p "$SPB_CACHE/downloads"
	echo garbage >"$TARBALL"
	echo "$BASE_DEBIAN_SHA256" >"$TARBALL.sha256"
	run "$REPO/scripts/fetch-base"
	expect 4 "does not have the checksum it was stored with" "fetching it again" \
		"no source for Linux $BASE_VERSION" "LINUX="
	[ ! -e "$TARBALL" ]
	nothing_partial
}

@test "fetch: a proxy's page instead of a tarball is not kept" {
	no_network
	stub curl <<-'STUB'
		#!/bin/sh
		while [ "$1" != -o ]; do shift; done
		echo '<html>please log in</html>' >"$2"
	STUB
	run "$REPO/scripts/fetch-base"
	expect 4 "no source for Linux $BASE_VERSION"
	[ ! -e "$TARBALL" ]
	nothing_partial
}

@test "fetch: a download that is another kernel is refused and not found again" {
	no_network
	fake_tree "$BATS_TEST_TMPDIR/linux" "$BASE_VERSION"
	tar -C "$BATS_TEST_TMPDIR" -cJf "$BATS_TEST_TMPDIR/linux.tar.xz" linux
	stub curl <<-STUB
		#!/bin/sh
		while [ "\$1" != -o ]; do shift; done
		cp "$BATS_TEST_TMPDIR/linux.tar.xz" "\$2"
	STUB
	run "$REPO/scripts/fetch-base"
	expect 4 "digest of mm/" "run the same command again"
	[ ! -e "$TARBALL" ]
	nothing_partial
}

@test "fetch: an interrupted download leaves nothing" {
	stub curl <<-'STUB'
		#!/bin/sh
		while [ "$1" != -o ]; do shift; done
		echo part >"$2"
		exec sleep 98766
	STUB
	start "$REPO/scripts/fetch-base"
	wait_until pgrep -f 'sleep 98766'
	kill -INT -- "-$job"
	finish
	expect 130
	nothing_partial
	none_running_soon "sleep 98766"
}

@test "cache: a full disk exits 4 and says how much is needed, where" {
	mkdir "$BATS_TEST_TMPDIR/disk"
	mount -t tmpfs -o size=2m tmpfs "$BATS_TEST_TMPDIR/disk" 2>/dev/null ||
		skip "mounting a small file system is not permitted here"
	SPB_CACHE=$BATS_TEST_TMPDIR/disk run "$REPO/scripts/fetch-base"
	expect 4 "needs 6000 MiB in $BATS_TEST_TMPDIR/disk" "make room there or set SPB_CACHE"
	LINUX=$REPO run env SPB_CACHE="$BATS_TEST_TMPDIR/disk" "$REPO/scripts/fetch-base"
	expect 4 "needs 6000 MiB"
	[ -z "$(find "$BATS_TEST_TMPDIR/disk" -type f -size +0)" ]
}

@test "cache: a disk that fills up on the way exits 4, not as a failed test" {
	local file

	mkdir "$BATS_TEST_TMPDIR/disk"
	mount -t tmpfs -o size=1m tmpfs "$BATS_TEST_TMPDIR/disk" 2>/dev/null ||
		skip "mounting a small file system is not permitted here"
	project_copy
	# As if there had been room when it was asked for
	echo 'need_space() { :; }' >>"$COPY/scripts/lib.sh"
	mkdir -p "$BATS_TEST_TMPDIR/disk/v/series/test/arch/x86/boot"
	touch "$BATS_TEST_TMPDIR/disk/v/series/test/arch/x86/boot/bzImage"
	echo 1.00 >"$BATS_TEST_TMPDIR/disk/machine-factor"
	file=$SPB_CACHE/guest
	head -c 2000000 /dev/urandom >"$file"
	ln -s "$file" "$BATS_TEST_TMPDIR/disk/v/series/test-guest.cpio.gz"
	SPB_CACHE=$BATS_TEST_TMPDIR/disk run "$COPY/scripts/run-guest" series highatomic
	expect 4 "No space left on device" "error: run-guest:"
}

@test "cache: one that cannot be written exits 4 and says what to set" {
	local cache script

	for cache in /proc/nope "$REPO/Makefile/below"; do
		for script in "fetch-base" "make-tree series" "build-kernel series test" \
				"run-guest series highatomic" "run-tests series highatomic"; do
			# shellcheck disable=SC2086 # a command with arguments
			SPB_CACHE=$cache run "$REPO/scripts/"$script
			expect 4 "cannot write to the cache folder $cache" "set SPB_CACHE"
		done
	done
}

@test "lock: a second run waits, says for what, and succeeds" {
	local held=$BATS_TEST_TMPDIR/held

	cat >"$BATS_TEST_TMPDIR/run" <<-RUN
		. "$REPO/scripts/lib.sh"
		need_cache
		lock thing
		echo "\$1 begins" >>"$BATS_TEST_TMPDIR/order"
		[ "\$1" != first ] || { touch "$held"; sleep 2; }
		echo "\$1 ends" >>"$BATS_TEST_TMPDIR/order"
	RUN
	start bash "$BATS_TEST_TMPDIR/run" first
	wait_until test -e "$held"
	run bash "$BATS_TEST_TMPDIR/run" second
	expect 0 "waiting for another run that is using thing"
	finish
	expect 0
	[ "$(paste -sd, "$BATS_TEST_TMPDIR/order")" = "first begins,first ends,second begins,second ends" ]
}

@test "lock: one whose holder was killed is free" {
	cat >"$BATS_TEST_TMPDIR/run" <<-RUN
		. "$REPO/scripts/lib.sh"
		need_cache
		lock thing
		touch "$BATS_TEST_TMPDIR/held"
		[ "\$1" != first ] || exec sleep 98767
	RUN
	start bash "$BATS_TEST_TMPDIR/run" first
	wait_until test -e "$BATS_TEST_TMPDIR/held"
	kill -9 -- "-$job"
	finish
	run timeout 10 bash "$BATS_TEST_TMPDIR/run" second
	expect 0
	[ -z "$output" ]
}

@test "step: an interrupt ends everything below, says how to go on, and running again works" {
	local signal

	# A step whose command has a child, which has one of its own, as make has
	cat >"$BATS_TEST_TMPDIR/run" <<-RUN
		. "$REPO/scripts/lib.sh"
		steps 1
		step "long work" "$BATS_TEST_TMPDIR/log" bash -c 'bash -c "sleep 98768; :"; :'
	RUN
	for signal in INT TERM HUP; do
		start bash "$BATS_TEST_TMPDIR/run"
		wait_until pgrep -f '^sleep 98768'
		kill -$signal "$job"
		finish
		expect 130 "interrupted; run the same command again to go on"
		none_running_soon "sleep 98768"
	done
	sed -i 's/98768/0/' "$BATS_TEST_TMPDIR/run"
	run bash "$BATS_TEST_TMPDIR/run"
	expect 0 "[1/1] long work  done"
}

@test "step: an interrupt goes through steps of steps" {
	cat >"$BATS_TEST_TMPDIR/inner" <<-RUN
		. "$REPO/scripts/lib.sh"
		step "inner work" "$BATS_TEST_TMPDIR/inner.log" bash -c 'sleep 98769; :'
	RUN
	cat >"$BATS_TEST_TMPDIR/run" <<-RUN
		. "$REPO/scripts/lib.sh"
		step "outer work" "$BATS_TEST_TMPDIR/log" bash "$BATS_TEST_TMPDIR/inner"
	RUN
	start bash "$BATS_TEST_TMPDIR/run"
	wait_until pgrep -f '^sleep 98769'
	kill -INT "$job"
	finish
	expect 130 "interrupted; run the same command again to go on"
	none_running_soon "sleep 98769"
	grep -q "interrupted" "$BATS_TEST_TMPDIR/log"
}

@test "step: a failing command's exit code, log and last lines are shown" {
	cat >"$BATS_TEST_TMPDIR/run" <<-RUN
		. "$REPO/scripts/lib.sh"
		steps 3 1
		step "bad work" "$BATS_TEST_TMPDIR/log" bash -c 'echo the reason; exit 3'
	RUN
	run bash "$BATS_TEST_TMPDIR/run"
	show
	[[ $output == *"[2/3] bad work  FAILED"*"exit 3; log: $BATS_TEST_TMPDIR/log"*"the reason"* ]]
}

@test "step: a function it runs sees its caller's variables" {
	cat >"$BATS_TEST_TMPDIR/run" <<-RUN
		. "$REPO/scripts/lib.sh"
		log=the-callers
		show_log() { echo "log is \$log"; }
		step "some work" "$BATS_TEST_TMPDIR/log" show_log
	RUN
	bash "$BATS_TEST_TMPDIR/run"
	grep -x "log is the-callers" "$BATS_TEST_TMPDIR/log"
}

@test "lib: a command that fails unexpectedly is set-up, not a verdict" {
	cat >"$BATS_TEST_TMPDIR/run" <<-RUN
		. "$REPO/scripts/lib.sh"
		inner() { bash -c 'exit 2'; }
		inner
		echo not reached
	RUN
	run bash "$BATS_TEST_TMPDIR/run"
	expect 4 "error: run: 'bash -c 'exit 2'' in line 2 failed, exit 2"
	[[ $output != *"not reached"* ]]
}
