#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# Names that do not exist, configs that cannot be, and how KTAP is counted.

load helpers

setup()
{
	private_cache
}

# listed PATTERN: every file of configs/ that matches is in the output
listed()
{
	local file

	for file in "$REPO"/configs/$1; do
		[ -f "$file" ] || continue
		file=$(basename "$file")
		[[ $output == *"${file%.config}"* ]] || { echo "$file is not listed"; return 1; }
	done
}

@test "names: an unknown make target lists all targets" {
	local target

	run make -C "$REPO" nonsense
	expect 2 "error: no target nonsense" "Error 4"
	for target in $(sed -n 's/^\.PHONY: //p' "$REPO/Makefile"); do
		[[ $output == *" $target "* ]]
	done
}

@test "names: an unknown test lists the known ones" {
	run "$REPO/scripts/run-tests" series nonsense
	expect 4 "no test named nonsense"
	listed 'scenarios/*'
	run "$REPO/scripts/run-tests" nosuchvariant highatomic
	expect 4 "no variant nosuchvariant; there are: base, series, before-TOPIC"
	run "$REPO/scripts/run-tests" before-nonsense highatomic
	expect 4 "no topic nonsense"
	run make -C "$REPO" test T=nonsense
	expect 2 "no test named nonsense" "Error 4"
	listed 'scenarios/*'
	run make -C "$REPO" test
	expect 2 "Error 4"
	listed 'scenarios/*'
}

@test "names: an unknown scenario lists the known ones" {
	run "$REPO/scripts/run-guest" series nonsense
	expect 4 "no scenario nonsense"
	listed 'scenarios/*'
}

@test "names: an unknown config lists the known ones" {
	run "$REPO/scripts/build-kernel" series nonsense
	expect 4 "no configs/nonsense.config"
	listed '*.config'
}

@test "names: an unknown variant exits 4 and says how to make it" {
	run "$REPO/scripts/build-kernel" nosuchvariant test
	expect 4 "no tree for variant nosuchvariant" "make-tree nosuchvariant"
	[ ! -e "$SPB_CACHE/v/nosuchvariant" ]
}

@test "names: what cannot be a variant exits 4 and builds nothing" {
	run "$REPO/scripts/make-tree" --help
	expect 4 '"--help" names no variant: base, series'
	run "$REPO/scripts/bench" --help
	expect 4 "usage: bench [--remembered] [VARIANT]"
	[ ! -e "$SPB_CACHE/v/--help" ]
}

@test "names: a missing or wrong tree exits 4" {
	run "$REPO/scripts/apply" ""
	expect 4 "which tree?"
	run "$REPO/scripts/apply" "$BATS_TEST_TMPDIR"
	expect 4 "is not a Linux source tree"
	run "$REPO/scripts/port" "$BATS_TEST_TMPDIR"
	expect 4 "is not a Linux source tree"
}

@test "names: wrong arguments exit 4 with the usage" {
	local script

	for script in build-kernel build-guest run-guest run-tests make-tree probe-accel \
			ktap-summary tree-digest; do
		run "$REPO/scripts/$script"
		expect 4 "usage: $script"
	done
}

@test "config: an option that cannot be set exits 4 and is named" {
	[ -f "$REAL/v/series/test/.config" ] || skip "there is no patched tree yet (make run)"
	project_copy
	mkdir -p "$SPB_CACHE/v/series/bad"
	ln -s "$REAL/v/series/src" "$SPB_CACHE/v/series/src"
	cat >"$COPY/configs/bad.config" <<-CONFIG
		# over: base
		CONFIG_NO_SUCH_OPTION=y
		# CONFIG_MMU is not set
		CONFIG_NUMA_BALANCING=y
	CONFIG
	run "$COPY/scripts/build-kernel" series bad
	expect 4 "config bad: these options did not take the value asked for:" \
		CONFIG_NO_SUCH_OPTION CONFIG_MMU CONFIG_NUMA_BALANCING
	[[ $output != *CONFIG_SMP* ]]
	# Noticed before anything of the kernel was compiled
	[ ! -e "$SPB_CACHE/v/series/bad.built" ]
	[ -z "$(find "$SPB_CACHE/v/series/bad" -name '*.o' ! -path '*/scripts/*')" ]
}

# ktap VERDICT: KTAP from stdin
ktap()
{
	cat >"$BATS_TEST_TMPDIR/ktap"
	run "$REPO/scripts/ktap-summary" "$BATS_TEST_TMPDIR/ktap" "$1"
}

@test "ktap: programs with and without KTAP of their own pass" {
	ktap "total=2 passed=2 failed=0 skipped=0" <<-'END'
		KTAP version 1
		# Subtest: one
		  TAP version 13
		  1..2
		  # RUN a
		  ok 1 - a
		  ok 2 b # comment
		# one took 0.1 s
		ok 1 one
		# Subtest: two
		  no KTAP here, not ok
		ok 2 two
		1..2
	END
	expect 0
	[ "$output" = $'passed\tone 1 a\npassed\tone 2 b\npassed\ttwo' ]
}

@test "ktap: carriage returns of the serial port do not matter" {
	printf 'KTAP version 1\r\n# Subtest: a\r\n  1..1\r\n  ok 1 x\r\nok 1 a\r\n1..1\r\n' >"$BATS_TEST_TMPDIR/crlf"
	ktap "total=1 passed=1 failed=0 skipped=0" <"$BATS_TEST_TMPDIR/crlf"
	expect 0
	[ "$output" = $'passed\ta 1 x' ]
}

@test "ktap: a nested test counts once, by its own result" {
	ktap "total=1 passed=1 failed=0 skipped=0" <<-'END'
		# Subtest: suite
		  1..1
		    # Subtest: inner
		    1..2
		    ok 1 deep
		    not ok 2 deeper
		  ok 1 inner
		ok 1 suite
		1..1
	END
	expect 0
	[ "$output" = $'passed\tsuite 1 inner' ]
}

@test "ktap: a failed test fails, with its name" {
	ktap "total=1 passed=0 failed=1 skipped=0" <<-'END'
		# Subtest: a
		  1..3
		  ok 1 x
		  not ok 2 y
		  not ok 3 z
		not ok 1 a # exit 1
		1..1
	END
	expect 1 $'failed\ta 2 y' "a 2 y failed, and 1 more"
}

@test "ktap: a failed test fails although its program exits 0" {
	ktap "total=1 passed=1 failed=0 skipped=0" <<-'END'
		# Subtest: a
		  1..1
		  not ok 1 x
		ok 1 a
		1..1
	END
	expect 1 "x failed"
}

@test "ktap: a program fails although no test of it did" {
	ktap "total=1 passed=0 failed=1 skipped=0" <<-'END'
		# Subtest: a
		  1..1
		  ok 1 x
		not ok 1 a # signal 11
		1..1
	END
	expect 1 $'failed\ta' "a failed (signal 11)"
}

@test "ktap: a skipped test counts as failed" {
	ktap "total=1 passed=1 failed=0 skipped=0" <<-'END'
		# Subtest: a
		  1..2
		  ok 1 x
		  ok 2 y # SKIP no such device
		ok 1 a
		1..1
	END
	expect 1 $'skipped\ta 2 y' "a 2 y skipped (SKIP no such device)"
}

@test "ktap: a program that skips as a whole counts as failed" {
	ktap "total=1 passed=0 failed=0 skipped=1" <<-'END'
		# Subtest: a
		  1..0 # SKIP needs root
		ok 1 a # SKIP
		1..1
	END
	expect 1 $'skipped\ta' "a skipped"
	ktap "total=1 passed=0 failed=0 skipped=1" <<-'END'
		# Subtest: a
		ok 1 a # SKIP
		1..1
	END
	expect 1 $'skipped\ta'
}

@test "ktap: a program that plans no test and passes counts as failed" {
	ktap "total=1 passed=1 failed=0 skipped=0" <<-'END'
		# Subtest: a
		  1..0
		ok 1 a
		1..1
	END
	expect 1 "a ran no test"
}

@test "ktap: fewer or more tests than planned fail" {
	ktap "total=1 passed=1 failed=0 skipped=0" <<-'END'
		# Subtest: a
		  1..3
		  ok 1 x
		ok 1 a
		1..1
	END
	expect 1 "a reported 1 of 3 tests"
	ktap "total=1 passed=1 failed=0 skipped=0" <<-'END'
		# Subtest: a
		  1..1
		  ok 1 x
		  ok 2 y
		ok 1 a
		1..1
	END
	expect 1 "a reported 2 of 1 tests"
}

@test "ktap: tests without a plan fail" {
	ktap "total=1 passed=1 failed=0 skipped=0" <<-'END'
		# Subtest: a
		  ok 1 x
		ok 1 a
		1..1
	END
	expect 1 "a reported 1 tests without a plan"
}

@test "ktap: no plan at the end fails" {
	ktap "total=1 passed=1 failed=0 skipped=0" <<-'END'
		# Subtest: a
		  1..1
		  ok 1 x
		ok 1 a
	END
	expect 1 "the guest said total=1" "the log shows total=0"
}

@test "ktap: a verdict that is not what the log shows fails" {
	ktap "total=2 passed=2 failed=0 skipped=0" <<-'END'
		# Subtest: a
		  1..1
		  ok 1 x
		ok 1 a
		1..1
	END
	expect 1 "the guest said total=2 passed=2" "the log shows total=1 passed=1"
}

@test "ktap: an empty log fails" {
	ktap "total=0 passed=0 failed=0 skipped=0" </dev/null
	expect 1 "no test ran"
}
