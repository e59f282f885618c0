#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# What has passed before is not repeated; what depends on something else is.

load helpers

setup()
{
	export SPB_CACHE=$BATS_TEST_TMPDIR/cache
	project_copy
}

# In a shell that has the functions of lib.sh
with_lib()
{
	# shellcheck disable=SC2016 # for the inner shell
	bash -c '. "$(dirname "$0")/lib.sh"; need_cache; '"$1" "$COPY/scripts/check"
}

@test "record: passed here, nothing is repeated here" {
	run with_lib 'passed boot abc; passed_before boot abc && echo yes'
	expect 0 "yes"
	run with_lib 'passed_before boot abd || echo other content; passed_before build abc || echo other kind'
	expect 0 "other content" "other kind"
}

@test "record: passed elsewhere, unless RECORD=0" {
	echo "boot abc" >"$COPY/patches/record"
	run with_lib 'passed_before boot abc && echo yes'
	expect 0 "yes"
	RECORD=0 run with_lib 'passed_before boot abc || echo no'
	expect 0 "no"
	run with_lib 'passed_before boot ab || echo no'
	expect 0 "no"
}

@test "record: what is only known from elsewhere has not passed here" {
	echo "boot abc" >"$COPY/patches/record"
	with_lib 'passed_before boot abc; passed boot abc'
	RECORD=0 run with_lib 'passed_before boot abc || echo no'
	expect 0 "no"
}

@test "record: written is what the last check relied on" {
	run "$COPY/scripts/update-record"
	expect 4 "nothing to record of build" "make check"
	with_lib 'passed boot old; for k in build boot mutation; do from_here $k; passed $k new; done'
	run "$COPY/scripts/update-record"
	expect 0 "3 results"
	[ "$(cat "$COPY/patches/record")" = "$(printf 'boot new\nbuild new\nmutation new')" ]
}
