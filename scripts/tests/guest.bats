#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# The judge of a guest: a run that goes wrong is never taken for a good one, and
# each way of going wrong has its own exit code and message.

# shellcheck disable=SC2154 # helpers.bash sets $job
load helpers

setup()
{
	guest_cache
	OUT=$BATS_TEST_TMPDIR/results
	SCENARIO=$BATS_TEST_TMPDIR/scenario
}

teardown()
{
	[ ! -s "$OUT/qemu.pid" ] || kill -9 "$(cat "$OUT/qemu.pid")" 2>/dev/null || true
}

# scenario PLAN-LINE ...: programs in the guest come from stdin as one script,
# /probe, which gets the plan's arguments
scenario()
{
	local dir=$BATS_TEST_TMPDIR/initrd

	mkdir -p "$dir"
	{ echo '#!/bin/sh'; cat; } >"$dir/probe"
	chmod +x "$dir/probe"
	(cd "$dir" && echo probe | cpio -o -H newc --quiet | gzip -1) >"$SPB_CACHE/v/series/test-probe.cpio.gz"
	{
		echo KERNEL=test MEMORY_MIB=256 CPUS=1 EXTRA=probe
		printf 'PLAN="\n'
		printf '%s\n' "$@"
		printf '"\n'
	} >"$SCENARIO"
}

guest()
{
	run "$REPO/scripts/run-guest" series "$SCENARIO" "$OUT"
}

# Whatever happened, the results are whole and nothing else is left
nothing_left()
{
	python3 -m json.tool "$OUT/summary.json" >/dev/null
	[ -s "$OUT/config" ]
	[ ! -e "$OUT/qemu.pid" ]
	[ ! -e "$OUT/initrd" ]
	[ -z "$(find "$OUT" -name '*.tmp')" ]
	none_running "$OUT"
}

@test "guest: a passing plan exits 0" {
	scenario "20 fine /probe" <<<'exit 0'
	guest
	expect 0 "all tests passed" "results: $OUT"
	nothing_left
}

@test "guest: QEMU killed mid-run exits 4 and names the signal" {
	scenario "20 sleeper /probe" <<<'sleep 1000'
	start "$REPO/scripts/run-guest" series "$SCENARIO" "$OUT"
	wait_until test -s "$OUT/qemu.pid"
	wait_until test -s "$OUT/console"
	kill -9 "$(cat "$OUT/qemu.pid")"
	finish
	expect 4 "killed by signal 9"
	nothing_left
}

@test "guest: a panic exits 2 and quotes the log" {
	scenario "20 panic /probe" <<<'echo c >/proc/sysrq-trigger'
	guest
	expect 2 "the kernel broke:" "Kernel panic"
	nothing_left
}

@test "guest: a test that passes and then crashes the kernel exits 2" {
	scenario "20 traitor /probe" <<-'PROBE'
		echo TAP version 13
		echo 1..1
		echo ok 1 everything
		sleep 1
		echo c >/proc/sysrq-trigger
	PROBE
	guest
	expect 2 "the kernel broke:"
	grep -q 'ok 1 everything' "$OUT/ktap"
	nothing_left
}

@test "guest: a breakpoint that QEMU ran into gives a second chance, not a third" {
	scenario "20 int3 /probe" <<<'echo "Oops: int3: 0000 [#1] SMP" >/dev/kmsg'
	sed -i 's/CPUS=1/CPUS=2/' "$SCENARIO"
	guest
	expect 2 "once more, see $OUT/console.tripped" "the kernel broke: " "Oops: int3"
	grep -q "Oops: int3" "$OUT/console.tripped"
	nothing_left
}

@test "guest: a verdict on the console has no effect" {
	scenario "20 liar /probe" <<-'PROBE'
		echo 'finished total=1 passed=1 failed=0 skipped=0' >/dev/console
		echo 'finished total=1 passed=1 failed=0 skipped=0'
		sleep 1
		/bin/busybox reboot -f
	PROBE
	guest
	expect 2 "without a verdict"
	grep -q 'finished total=1' "$OUT/console"
	nothing_left
}

@test "guest: a test that never ends is stopped, exits 1; the next one still runs" {
	scenario "1 endless /probe hang" "20 after /probe" <<<'[ -z "$1" ] || exec sleep 1000'
	guest
	expect 1 "endless failed (timed out after"
	grep -q "^passed	after" "$OUT/tests"
	nothing_left
}

@test "guest: with several CPUs a test that never ends gets a second chance, and is told where it stood" {
	scenario "1 probe /probe" <<<'sleep 1000; exit 1'
	sed -i 's/CPUS=1/CPUS=2/' "$SCENARIO"
	guest
	expect 1 "got no further; " "once more, see $OUT/console.tripped" "probe failed (timed out after"
	grep -q '"reason": "probe failed (timed out .*; .*sleep: .*do_nanosleep' "$OUT/summary.json"
	nothing_left
}

@test "guest: one that never gets to its plan exits 3" {
	scenario "1 never /probe" <<<'exit 0'
	echo 'APPEND="rdinit=/bin/sleep -- 1000" BOOT_LIMIT=2' >>"$SCENARIO"
	guest
	expect 3 "no end after"
	nothing_left
}

@test "guest: an interrupted run leaves no QEMU, and running again works" {
	local signal

	scenario "20 fine /probe" <<<'exit 0'
	for signal in INT TERM; do
		rm -rf "$OUT"
		start "$REPO/scripts/run-guest" series "$SCENARIO" "$OUT"
		wait_until test -s "$OUT/console"
		# One process, not the group: QEMU is for the script to end
		kill -$signal "$job"
		finish
		expect 130 "interrupted" "run the same command again"
		none_running "$OUT"
		[ ! -e "$OUT/qemu.pid" ]
		[ ! -e "$OUT/initrd" ]
		[ ! -e "$OUT/summary.json" ]
	done
	guest
	expect 0 "all tests passed"
	nothing_left
}

@test "guest: a QEMU that cannot start exits 4 with its own words" {
	scenario "1 never /probe" <<<'exit 0'
	echo tcg >"$SPB_CACHE/accel-$(cat /proc/sys/kernel/random/boot_id)"
	stub qemu-system-x86_64 <<-'STUB'
		#!/bin/sh
		echo "cannot set up guest memory" >&2
		exit 1
	STUB
	guest
	expect 4 "QEMU failed, exit 1" "cannot set up guest memory"
	nothing_left
}

@test "guest: more memory than the machine has exits 4" {
	scenario "1 never /probe" <<<'exit 0'
	echo MEMORY_MIB=100000000 >>"$SCENARIO"
	guest
	expect 4 "wants a guest of 100000000 MiB"
	[ ! -e "$OUT" ]
}

@test "guest: a kernel that is not built exits 4 and says how to build it" {
	scenario "1 never /probe" <<<'exit 0'
	run "$REPO/scripts/run-guest" nosuchvariant "$SCENARIO" "$OUT"
	expect 4 "variant nosuchvariant is not built with config test" "make run"
	[ ! -e "$OUT" ]
}

@test "probe-accel: ACCEL takes kvm or tcg, nothing else" {
	ACCEL=nonsense run "$REPO/scripts/probe-accel" kernel initrd
	expect 4 "ACCEL=nonsense is not known" "kvm or tcg"
	ACCEL=tcg run "$REPO/scripts/probe-accel" kernel initrd
	expect 0 tcg
	ACCEL=kvm run "$REPO/scripts/probe-accel" kernel initrd
	expect 0 kvm
}

@test "probe-accel: a KVM that hangs means emulation, and is said" {
	[ -w /dev/kvm ] || skip "this machine has no /dev/kvm that could hang"
	rm -f "$SPB_CACHE"/accel-*
	# A machine ten times as fast has a tenth of the limit
	echo 0.10 >"$SPB_CACHE/machine-factor"
	stub qemu-system-x86_64 <<-STUB
		#!/bin/sh
		trap '' TERM
		exec sleep 98765
	STUB
	run "$REPO/scripts/probe-accel" "$SPB_CACHE/v/series/test/arch/x86/boot/bzImage" \
		"$SPB_CACHE/v/series/test-guest.cpio.gz"
	expect 0 "/dev/kvm exists, but a guest does not boot under it" "tcg"
	none_running "sleep 98765"
	# Remembered: not probed, not said again
	run "$REPO/scripts/probe-accel" kernel initrd
	[ "$output" = tcg ]
}

# One wrong word among hundreds of megabytes, and one line of usage
@test "guest: the storm finds a wrong word" {
	scenario "200 storm /bin/run-storm 1 3 1 spoil" <<<''
	sed -i 's/MEMORY_MIB=256/MEMORY_MIB=1024/; s/CPUS=1/CPUS=2/' "$SCENARIO"
	guest
	expect 1 "storm failed"
	grep -q "wrong data in anonymous memory" "$OUT/ktap"
}

@test "guest: what the unpatched kernel showed is remembered until an input changes" {
	local name ran=$BATS_TEST_TMPDIR/ran

	private_cache
	project_copy
	for name in make-tree build-kernel build-guest run-guest; do
		printf '#!/bin/bash\n' >"$COPY/scripts/$name"
	done
	cat >>"$COPY/scripts/run-guest" <<-END
		echo "\$1" >>"$ran"
		mkdir -p "\$3"
		echo '"exit": 1, ' >"\$3/summary.json"
		exit 1
	END
	for name in 1 2; do
		run "$COPY/scripts/run-tests" --remembered base boot
		expect 1
		[ "$(wc -l <"$ran")" -eq 1 ]
		[ -s "$SPB_CACHE/results/latest-boot-base/summary.json" ]
	done
	echo '# changed' >>"$COPY/configs/scenarios/boot"
	run "$COPY/scripts/run-tests" --remembered base boot
	expect 1
	[ "$(wc -l <"$ran")" -eq 2 ]
	run "$COPY/scripts/run-tests" base boot
	run "$COPY/scripts/run-tests" --remembered series boot
	run "$COPY/scripts/run-tests" --remembered series boot
	[ "$(wc -l <"$ran")" -eq 5 ]
}

@test "guest: what a guest that counts instructions passed is remembered until an input changes" {
	local name ran=$BATS_TEST_TMPDIR/ran

	private_cache
	project_copy
	for name in make-tree build-kernel build-guest run-guest; do
		printf '#!/bin/bash\n' >"$COPY/scripts/$name"
	done
	cat >>"$COPY/scripts/run-guest" <<-END
		echo "\$1" >>"$ran"
		mkdir -p "\$3"
		echo '"exit": 0, ' >"\$3/summary.json"
	END
	mkdir -p "$SPB_CACHE/v/series/bench/arch/x86/boot"
	echo guest >"$SPB_CACHE/v/series/bench-guest.cpio.gz"
	for name in one one two two; do
		echo "kernel $name" >"$SPB_CACHE/v/series/bench/arch/x86/boot/bzImage"
		run "$COPY/scripts/run-tests" --remembered series bench
		expect 0
	done
	[ "$(wc -l <"$ran")" -eq 2 ]
	run "$COPY/scripts/run-tests" series bench
	[ "$(wc -l <"$ran")" -eq 3 ]
}
