#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# make bench and make storm: what they conclude from what the guests print, and
# what is left of a storm that was interrupted.

# shellcheck disable=SC2154 # helpers.bash sets $job
load helpers

setup()
{
	private_cache
}

# bench NAME ALLOC FREE: a result line of one kernel
bench()
{
	printf 'case\t%s\t%s\t%s\n' "$1" "$2" "$3"
}

# table: of the files bars, base and series in the test's folder
table()
{
	cd "$BATS_TEST_TMPDIR" || return
	run awk -F '\t' -v OFS='\t' -v json=json -v series=0123 \
		-f "$REPO/scripts/bench-table.awk" bars base series
}

calibrated()
{
	printf 'calibration\t1000.020\tns per 1000 instructions\n'
}

@test "bench: within the bar passes, beyond it fails, per figure" {
	cd "$BATS_TEST_TMPDIR"
	printf 'a\talloc\t1\na\tfree\t1\n' >bars
	{ calibrated; bench a 500 400; } >base
	{ calibrated; bench a 504.9 403.9; } >series
	table
	expect 0 "+0.98%" "+0.98%" "alloc +1%, free +1%" ok
	python3 -m json.tool json >/dev/null

	{ calibrated; bench a 500 404.1; } >series
	table
	expect 1 MISSED
}

@test "bench: a bar on both figures takes their sum" {
	cd "$BATS_TEST_TMPDIR"
	printf 'a\tboth\t5\n' >bars
	{ calibrated; bench a 500 500; } >base
	{ calibrated; bench a 560 480; } >series
	table
	expect 0 "both +5%"
	{ calibrated; bench a 560 500; } >series
	table
	expect 1 MISSED
}

@test "bench: a bar that asks for less fails where nothing was saved" {
	cd "$BATS_TEST_TMPDIR"
	printf 'a\talloc\t-15\n' >bars
	{ calibrated; bench a 500 500; } | tee base >series
	table
	expect 1 "alloc -15%" MISSED
}

@test "bench: bad calibration, a failed or missing case and a bar without a case fail" {
	cd "$BATS_TEST_TMPDIR"
	: >bars
	{ printf 'calibration\t1002.000\tns\n'; bench a 500 500; } >base
	{ calibrated; bench a 500 500; } >series
	table
	expect 1 "calibration off on base"

	{ calibrated; bench a 500 500; } >base
	{ calibrated; bench a failed failed; } >series
	table
	expect 1 "a: an allocation failed on series"

	{ calibrated; } >series
	table
	expect 1 "missing"

	bench a 500 500 >series
	table
	expect 1 "no calibration on series"

	printf 'b\talloc\t1\n' >bars
	{ calibrated; bench a 500 500; } | tee base >series
	table
	expect 1 "no case for the bar of: b"
}

@test "bench: every bar names a case of the bench module, a figure and a number" {
	run awk -F '\t' '
		FILENAME ~ /\.c$/ {
			if (match($0, /PAB_CASE\(GFP_[A-Z_]+, [0-9]+, PAB_[A-Z_]+\)/)) {
				split(substr($0, RSTART + 9, RLENGTH - 10), w, ", ")
				known["order-" w[2] " " w[1]] = 1
			}
			next
		}
		/^(#|$)/ { next }
		{ name = $1; sub(/, .*/, "", name) }
		!(name in known) && name != "1 GiB page" && name != "storm" { print "no such case: " $1; bad = 1 }
		$2 !~ /^(alloc|free|both)$/ || $3 !~ /^-?[0-9.]+$/ || NF != 4 { print "cannot be read: " $0; bad = 1 }
		{ n++ }
		END { exit bad || n < 20 }' \
		"$REPO/scripts/guest/modules/page_alloc_bench.c" "$REPO/configs/bench-bars"
	expect 0
}

@test "storm: wrong options exit 4 and say what is right" {
	run "$REPO/scripts/storm" --rounds many
	expect 4 "--rounds wants a whole number from 1 to 1000, not 'many'"
	run "$REPO/scripts/storm" --memory-mib 64
	expect 4 "--memory-mib wants a whole number from 2048"
	run "$REPO/scripts/storm" --kernels "unpatched nosuch"
	expect 4 "no kernel nosuch to compare; there are: unpatched defrag_mode"
	run "$REPO/scripts/storm" --rounds
	expect 4 "usage: storm"
	run "$REPO/scripts/storm" --sometimes 3
	expect 4 "usage: storm"
}

# The project with guests that only print: round by round, and before the second
# round of the kernel "patched" they wait for the file $GO
paper_guests()
{
	local name

	project_copy
	export GO=$BATS_TEST_TMPDIR/go
	for name in make-tree build-kernel build-guest setup; do
		printf '#!/bin/bash\nexit 0\n' >"$COPY/scripts/$name"
	done
	cat >"$COPY/scripts/run-guest" <<-'GUEST'
		#!/bin/bash
		mkdir -p "$3"
		echo ran >>"$3/runs"
		head='round_head\tround\tmoment\ttainted\tobtainable\tkernel_peak_mib\tsurge_full\tpgscan_kswapd\twork_anon'
		printf "  $head\n  round\t0\tdropped\t2\t12\t10\t0\t0\t0\n" >"$3/ktap"
		for round in 1 2; do
			[ $round$1 != 2series ] || until [ -e "$GO" ]; do sleep 0.1; done
			printf "  progress\tround $round: mixed load\n" >>"$3/ktap"
			for moment in loaded dropped; do
				printf "  gigabyte\t$round\t$moment\t4\tNormal\t262144\t0\t1\t0\t0\t3\t262140\n"
				printf "  round\t$round\t$moment\t$((2 + round))\t$((12 - round))\t1500\t1\t100\t50\n"
			done >>"$3/ktap"
		done
	GUEST
}

@test "storm: tables and prices are computed from what the guests print" {
	paper_guests
	touch "$GO"
	run "$COPY/scripts/storm" --rounds 2 --seconds 3 --kernels "unpatched patched"
	expect 0 "1 GiB pages obtained at boot" "results:"
	dir=$SPB_CACHE/results/latest-storm
	grep -q "^unpatched	2	dropped	4	10	1500" "$dir/rounds"
	grep -q "^patched	1	loaded	4	Normal	262144" "$dir/gigabytes"
	grep -q "^mean of the rounds, load dropped	10.5	10.5$" "$dir/price"
	grep -q "^at the end, load dropped	10	10$" "$dir/price"
	grep -q "^tainted at the end, load dropped	4	4$" "$dir/price"
	grep -q "^scanned by kswapd, pages	200	200$" "$dir/price"
	grep -q "^surges that filled memory	2 of 2	2 of 2$" "$dir/price"
	grep -q "^work done by the mixed load, of the first kernel	100%	100%$" "$dir/price"
	[ -z "$(ls -d "$SPB_CACHE"/results/storm-unfinished-* 2>/dev/null)" ]
}

# priced NAME WORK PACE SURGE-SECONDS FULL: a round of that kernel
priced()
{
	printf '%s\t1\tloaded\t4\t9\t1500\t%s\t%s\t%s\t%s\t%s\n' "$1" "$4" "$5" "$2" "$2" "$3"
}

@test "storm: work is compared at the same speed of the machine" {
	cd "$BATS_TEST_TMPDIR"
	{
		printf 'kernel\tround\tmoment\ttainted\tobtainable\tkernel_peak_mib'
		printf '\tsurge_seconds\tsurge_full\twork_anon\twork_udp\twork_pace\n'
		priced as-fast 100 3000 10.0 1
		priced machine-slow 45 1500 20.0 1
		priced kernel-slow 90 3000 11.0 0
	} >rounds
	run "$REPO/scripts/storm-price" .
	expect 0 "surges that filled memory	1 of 1	1 of 1	0 of 1" \
		"time that a surge took, of the first kernel	100%	200%	110%" \
		"speed of the machine meanwhile, of the first kernel	100%	50%	100%" \
		"work done by the mixed load, of the first kernel	100%	90%	90%"
}

@test "storm: interrupted, it keeps the finished rounds, and goes on from there" {
	paper_guests
	start "$COPY/scripts/storm" --rounds 2 --seconds 3 --kernels "unpatched patched"
	wait_until bash -c 'grep -qs "round 1" "$SPB_CACHE"/results/storm-unfinished-*/patched/ktap'
	kill -INT -- "-$job"
	finish
	expect 130 "run the same command again to go on" "finished rounds are in"
	dir=$(echo "$SPB_CACHE"/results/storm-unfinished-*)
	grep -q "^unpatched	2	dropped" "$dir/rounds"
	grep -q "^patched	1	dropped" "$dir/rounds"
	[ ! -e "$SPB_CACHE/results/latest-storm" ]

	touch "$GO"
	run "$COPY/scripts/storm" --rounds 2 --seconds 3 --kernels "unpatched patched"
	expect 0 "going on with the run that was interrupted" "storm: unpatched  done before"
	[ "$(wc -l <"$SPB_CACHE/results/latest-storm/unpatched/runs")" -eq 1 ]
	grep -q "^patched	2	dropped" "$SPB_CACHE/results/latest-storm/rounds"
}

@test "storm: a guest that shows nothing fails with its own exit code" {
	paper_guests
	printf '#!/bin/bash\nmkdir -p "$3"; echo "KTAP version 1" >"$3/ktap"; exit 2\n' >"$COPY/scripts/run-guest"
	run "$COPY/scripts/storm" --rounds 2 --seconds 3 --kernels unpatched
	expect 2 "FAILED"
	[ ! -e "$SPB_CACHE/results/latest-storm" ]
}

@test "storm: a guest that finds a wrong word fails the storm" {
	paper_guests
	touch "$GO"
	echo 'exit 1' >>"$COPY/scripts/run-guest"
	run "$COPY/scripts/storm" --rounds 2 --seconds 3 --kernels unpatched
	expect 1 "FAILED" "1 GiB pages obtained at boot"
}
