#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# The map of memory, from small tables made up here.

load helpers

setup()
{
	private_cache
	unset COLUMNS NO_COLOR MOMENT
	DIR=$BATS_TEST_TMPDIR/tables
	PAGE=$BATS_TEST_TMPDIR/out/map.html
	mkdir -p "$DIR" "$BATS_TEST_TMPDIR/out"
	printf 'kernel round moment gigabyte zone present reserved slab pgtable other movable free\n' |
		tr ' ' '\t' >"$DIR/gigabytes"
}

# gigabytes: rows from stdin, blanks for tabs; G is a whole gigabyte of pages
gigabytes()
{
	sed 's/\bG\b/262144/g' | tr -s ' ' '\t' >>"$DIR/gigabytes"
}

# rounds: "kernel round moment tainted obtainable" from stdin
rounds()
{
	[ -f "$DIR/rounds" ] || printf 'kernel\tround\tmoment\ttainted\tobtainable\tseconds\n' >"$DIR/rounds"
	sed 's/$/ 31/' | tr -s ' ' '\t' >>"$DIR/rounds"
}

draw()
{
	run "$REPO/scripts/draw-map" "$DIR" "$@"
}

# cells LABEL CELLS: how the row of that gigabyte goes on, blanks squeezed
cells()
{
	tr -s ' ' <<<"$output" | grep -qE "^$1 $2" || { echo "no row '$1 $2'"; return 1; }
}

# shows TEXT ...: the page has them
shows()
{
	local text

	for text; do
		grep -qF -- "$text" "$PAGE" || { echo "no '$text' in the page"; return 1; }
	done
}

hides()
{
	if grep -F -- "$1" "$PAGE"; then
		echo "'$1' is in the page"
		return 1
	fi
}

well_formed()
{
	if command -v xmllint >/dev/null; then
		xmllint --noout "$1"
	else
		python3 -c 'import sys, xml.dom.minidom as m; m.parse(sys.argv[1])' "$1"
	fi
}

# height CLASS TITLE: of that part of the cell whose tooltip begins so
height()
{
	grep -F "<title>$2" "$PAGE" | head -n 1 |
		sed -n "s/.*<rect class=\"$1\"[^>]* height=\"\([0-9.]*\)\".*/\1/p"
}

# One kernel of five gigabytes, two of them spoilt after round 2
small_storm()
{
	gigabytes <<-END
		$1 0 dropped 0 DMA32 G 500 60 20 20 0 261544
		$1 0 dropped 4 Normal G 0 0 0 0 0 G
		$1 0 dropped 5 Normal G 0 0 0 0 0 G
		$1 0 dropped 6 Normal G 0 0 0 0 0 G
		$1 1 loaded 4 Normal G 0 9000 9000 9000 200000 35144
		$1 1 dropped 0 DMA32 G 500 60 20 20 0 261544
		$1 1 dropped 4 Normal G 0 7 0 0 1000 261137
		$1 1 dropped 5 Normal G 0 0 0 0 1000 261144
		$1 1 dropped 6 Normal G 0 0 0 0 0 G
		$1 2 dropped 0 DMA32 G 500 60 20 20 0 261544
		$1 2 dropped 4 Normal G 0 100 50 50 131072 130872
		$1 2 dropped 5 Normal G 0 300 50 50 1000 260744
		$1 2 dropped 6 Normal G 0 65536 0 0 0 196608
	END
	rounds <<-END
		$1 0 dropped 1 3
		$1 1 loaded 9 0
		$1 1 dropped 2 2
		$1 2 dropped 4 0
	END
}

@test "map: each gigabyte gets its category, in the terminal and in the page" {
	gigabytes <<-END
		k 0 dropped 0 DMA G 9 1 0 0 0 262134
		k 0 dropped 1 DMA32 G 0 0 1 0 0 262143
		k 0 dropped 2 DMA32 G 0 0 0 1 0 262143
		k 0 dropped 3 DMA32 G 1 0 0 0 0 262143
		k 0 dropped 4 Normal 200000 0 0 0 0 0 200000
		k 0 dropped 5 Normal 200000 1 0 0 0 0 199999
		k 0 dropped 6 Normal G 0 0 0 0 0 G
		k 0 dropped 7 Normal G 0 0 0 0 1 262143
	END
	draw "$PAGE"
	expect 0
	cells "GiB 0 DMA" 'T \['
	cells "GiB 1 DMA32" 'T \['
	cells "GiB 2 DMA32" 'T \['
	cells "GiB 3 DMA32" 'B \['
	cells "GiB 4 Normal" 'P \['
	cells "GiB 5 Normal" 'B \['
	cells "GiB 6 Normal" '\. \['
	cells "GiB 7 Normal" 'c \['
	shows 'class="cell tainted"><title>GiB 2 ' 'class="cell boot"><title>GiB 5 ' \
		'class="cell partial"><title>GiB 4 ' 'class="cell empty"><title>GiB 6 ' \
		'class="cell clean"><title>GiB 7 '
	# Each is explained
	expect 0 "T tainted" "c clean" ". empty" "B boot" "P partial"
}

@test "map: one column a round, dropped unless asked for loaded" {
	small_storm k
	draw "$PAGE"
	expect 0 "boot  1  2  after round 2"
	cells "GiB 0 DMA32" 'T T T \[.* 100 kernel pages'
	cells "GiB 4 Normal" '\. T T \[.* 200 kernel pages spoilt'
	cells "GiB 6 Normal" '\. \. T \[.* 65536 kernel pages'
	cells "GiB 1-3" "no memory here"
	cells "1 GiB pages obtainable" "3 2 0$"
	cells "gigabytes tainted" "1 2 4$"
	MOMENT=loaded draw "$PAGE"
	expect 0
	cells "GiB 4 Normal" '\. T \[.* 27000 kernel pages'
	cells "gigabytes tainted" "1 1$"
	MOMENT=never draw
	expect 4 "MOMENT is dropped or loaded"
}

@test "map: the conclusion's numbers follow from the tables" {
	small_storm unpatched
	draw "$PAGE"
	expect 0
	# At most 400 of 262144 pages, rounded up; the median of 200 and 400; GiB 0 is
	# not spoilt, boot sits in it, and GiB 6 has a quarter full of kernel pages
	[ "${lines[-1]}" = "unpatched: 3 pages of 1 GiB at boot, none after round 2; 2 gigabytes are spoilt by \
kernel pages that fill at most 0.2 % of them (median 300 pages = 1.2 MiB), 1 holds many (25 % of it)." ]
	shows "${lines[-1]}"
}

@test "map: one of a thing is not many" {
	gigabytes <<-END
		k 0 dropped 4 Normal G 0 0 0 0 0 G
		k 0 dropped 5 Normal G 0 0 0 0 0 G
		k 1 dropped 4 Normal G 0 0 0 1 0 262143
		k 1 dropped 5 Normal G 0 0 0 0 0 G
	END
	rounds <<-END
		k 0 dropped 0 1
		k 1 dropped 1 1
	END
	draw "$PAGE"
	expect 0 " 1 kernel page spoilt"
	[ "${lines[-1]}" = "k: 1 page of 1 GiB at boot, 1 after round 1; \
1 gigabyte is spoilt by 1 kernel page = 4 KiB, 0.0004 % of it." ]
	shows ">spoilt by 1 page<"
}

@test "map: spoilt ends where kernel pages fill 5 %" {
	gigabytes <<-END
		k 0 dropped 4 Normal G 0 13107 0 0 0 249037
		k 0 dropped 5 Normal G 0 13108 0 0 0 249036
		k 0 dropped 6 Normal 200000 0 5 0 0 0 199995
	END
	draw "$PAGE"
	expect 0 "13107 kernel pages = 51.2 MiB, 5 % of it, 1 holds many (5.1 % of it)"
	cells "GiB 4 Normal" 'T \[.* 13107 kernel pages spoilt'
	cells "GiB 5 Normal" 'T \[.* 13108 kernel pages$'
	cells "GiB 6 Normal" 'T \[.* 5 kernel pages$'
	shows ">spoilt by 13107 pages<" ">13108 kernel pages<" ">5 kernel pages<"
	hides "spoilt by 13108"
	hides "spoilt by 5 "
}

@test "map: a single snapshot needs no rounds" {
	gigabytes <<-END
		here 0 dropped 0 DMA32 G 500 60 20 20 0 261544
		here 0 dropped 1 DMA32 G 0 0 0 0 5 262139
		here 0 dropped 2 Normal G 0 0 0 0 0 G
	END
	draw "$PAGE"
	expect 0 "after boot"
	[ "${lines[-1]}" = "here: 2 gigabytes could each be made a 1 GiB page after boot; \
no gigabyte is spoilt by a few kernel pages." ]
	[[ $output != *obtainable* && $output != *round* ]]
	hides obtainable
	hides "round of load"
	well_formed "$PAGE"
}

@test "map: an interrupted run shows what there is and says what is missing" {
	small_storm unpatched
	gigabytes <<-END
		patched 0 dropped 4 Normal G 0 0 0 0 0 G
		patched 0 dropped 5 Normal G 0 0 0 0 0 G
		patched 1 dropped 4 Normal G 0 0 0 0 0 G
		patched 1 dropped 5 Normal G 0 3 0 0 0 262141
		patched 1 dropped 6 Normal G 0
	END
	printf 'patched\t1\tdropped\t7\tNormal\t262144\t0\t0\t0\t0\t0\t2621' >>"$DIR/gigabytes"
	rounds <<-END
		patched 0 dropped 0 3
	END
	draw "$PAGE"
	expect 0 "gigabytes: the last line is not complete and left out" "gigabytes: 1 damaged row left out" \
		"patched: 3 pages of 1 GiB after boot; after round 1, 1 gigabyte is spoilt by 3 kernel pages = 12 KiB, 0.0012 % of it; round 2 is missing." \
		"After boot, patched gives 3 pages of 1 GiB, unpatched 3: no difference."
	[[ $output != *"GiB 7"* ]]
	well_formed "$PAGE"
	# Not even a header
	: >"$DIR/rounds"
	draw
	expect 0 "After round 1, 1 gigabyte holds kernel pages with patched, 2 with unpatched: 1 fewer."
}

@test "map: kernels are compared where both were measured" {
	small_storm unpatched
	small_storm patched
	small_storm carve-out
	sed -i -e 's/^\(patched\t2.*\)\t0\t31$/\1\t2\t31/' -e 's/^\(carve-out\t2.*\)\t0\t31$/\1\t3\t31/' "$DIR/rounds"
	draw "$PAGE"
	expect 0
	[ "${lines[-1]}" = "After round 2, patched gives 2 pages of 1 GiB, unpatched none: 2 more; best is carve-out, 3." ]
	shows "${lines[-1]}"
	[ "$(grep -c '<section class="panel"' "$PAGE")" -eq 3 ]
	# Without the patched kernel it is the best one
	sed -i '/^patched/d' "$DIR/gigabytes" "$DIR/rounds"
	draw
	expect 0 "After round 2, carve-out gives 3 pages of 1 GiB, unpatched none: 3 more."
	# What gives less is said as plainly
	sed -i -e 's/^\(carve-out\t2.*\)\t3\t31$/\1\t1\t31/' -e 's/^\(unpatched\t2.*\)\t0\t31$/\1\t2\t31/' "$DIR/rounds"
	draw
	expect 0 "After round 2, carve-out gives 1 page of 1 GiB, unpatched 2: 1 fewer."
}

@test "map: kernels stand side by side if there is room" {
	small_storm unpatched
	small_storm patched
	COLUMNS=200 draw
	expect 0
	# The second panel starts in the same column in every row
	[ "$(awk '/^unpatched +patched$/ { print index($0, " patched") + 1 }
		/^GiB/ { print index(substr($0, 10), "GiB") + 9 }' <<<"$output" | uniq -c | wc -l)" -eq 1 ]
	grep -qE '^unpatched +patched$' <<<"$output"
	draw
	expect 0
	expect 0 "After round 2, patched gives no page of 1 GiB, unpatched none: no difference."
	grep -qx unpatched <<<"$output"
	grep -qx patched <<<"$output"
	[ "$(awk '/^GiB/ && length($0) > 100' <<<"$output")" = "" ]
}

@test "map: rounds that do not fit are left out, but never the last" {
	local r

	for r in $(seq 0 31); do
		echo "k $r dropped 4 Normal G 0 $r 0 0 0 262000"
	done | gigabytes
	COLUMNS=80 draw
	expect 0 "Only some rounds fit into 80 columns" " 31  after round 31" "boot "
	[ "$(awk '/^(GiB|  *boot)/ && length($0) > 80' <<<"$output")" = "" ]
	COLUMNS=300 draw
	[[ $output != *"Only some"* ]]
}

@test "map: columns are found by name, wherever they stand" {
	small_storm k
	draw
	expect 0
	cp "$BATS_TEST_TMPDIR/tables/gigabytes" "$BATS_TEST_TMPDIR/before"
	printf '%s\n' "$output" >"$BATS_TEST_TMPDIR/first"
	awk -F '\t' -v OFS='\t' '{ print "x" NR, $12, $11, $10, $9, $8, $7, $6, $5, $4, $3, $2, $1 }' \
		"$BATS_TEST_TMPDIR/before" >"$DIR/gigabytes"
	draw
	expect 0
	[ "$output" = "$(cat "$BATS_TEST_TMPDIR/first")" ]
}

@test "map: a missing column exits 4, naming it and what writes the table" {
	local table name by

	for table in gigabytes rounds; do
		by="make storm or make map writes"
		[ $table = gigabytes ] || by="make storm writes"
		rm -f "$DIR"/*
		setup
		small_storm k
		cp "$DIR/$table" "$BATS_TEST_TMPDIR/whole"
		for name in $(head -n 1 "$DIR/$table"); do
			[ "$name" != seconds ] || continue
			sed "1s/\\b$name\\b/another/" "$BATS_TEST_TMPDIR/whole" >"$DIR/$table"
			draw "$PAGE"
			expect 4 "/$table has no column $name; $by"
			[ ! -e "$PAGE" ]
		done
	done
}

@test "map: missing tables exit 4 and say what writes them" {
	run "$REPO/scripts/draw-map"
	expect 4 "usage: draw-map"
	run "$REPO/scripts/draw-map" "$DIR/none" "$PAGE"
	expect 4 "no folder '$DIR/none'" "make storm" "make map"
	draw "$PAGE"
	expect 4 "$DIR/gigabytes has no rows" "make storm" "make map"
	rm "$DIR/gigabytes"
	draw "$PAGE"
	expect 4 "no table $DIR/gigabytes" "make storm" "make map"
	[ -z "$(ls "$BATS_TEST_TMPDIR/out")" ]
}

@test "map: a page is whole or not there" {
	local real

	small_storm k
	draw "$BATS_TEST_TMPDIR/none/map.html"
	expect 4 "cannot write to the folder of"
	draw "$BATS_TEST_TMPDIR/out"
	expect 4 "is a folder"
	real=$(command -v awk)
	stub awk <<-END
		#!/bin/sh
		case "\$*" in
		*map-page.awk*) echo half; exit 2 ;;
		esac
		exec $real "\$@"
	END
	draw "$PAGE"
	expect 4
	[ -z "$(ls "$BATS_TEST_TMPDIR/out")" ]
	# One that was there stays as it was
	echo old >"$PAGE"
	draw "$PAGE"
	expect 4
	[ "$(cat "$BATS_TEST_TMPDIR"/out/*)" = old ]
}

@test "map: the page is well-formed and needs nothing from elsewhere" {
	small_storm unpatched
	small_storm patched
	draw "$PAGE"
	expect 0 "page: $PAGE"
	well_formed "$PAGE"
	[ "$(ls "$BATS_TEST_TMPDIR/out")" = map.html ]
	[ "$(grep -o 'http[^"]*' "$PAGE" | sort -u)" = http://www.w3.org/2000/svg ]
	hides "<script"
	hides "url("
	hides "@import"
	hides " src="
	shows "prefers-color-scheme: dark" "<!DOCTYPE html>" '<meta charset="utf-8"/>'
}

@test "map: the page has the numbers of every cell" {
	small_storm k
	draw "$PAGE"
	shows "<title>GiB 4 Normal after round 2: tainted. 200 kernel pages (slab 100, page tables 50, other 50), movable 131072, free 130872, held since boot 0</title>" \
		">spoilt by 200 pages<" ">65536 kernel pages<" \
		"<td>tainted 65536</td>" "<td>130872</td>" \
		"<td>1 GiB pages obtainable</td><td>3</td><td>2</td><td>0</td>" \
		"<td>gigabytes tainted</td><td>1</td><td>2</td><td>4</td>"
}

@test "map: cells are filled by content, and a single kernel page is seen" {
	small_storm k
	draw "$PAGE"
	expect 0
	[ "$(height frame "GiB 4 Normal after round 2")" = 20.0 ]
	[ "$(height movable "GiB 4 Normal after round 2")" = 10.0 ]
	[ "$(height kernel "GiB 6 Normal after round 2")" = 5.0 ]
	[ "$(height kernel "GiB 6 Normal after round 1")" = 0.0 ]
	# 7 pages of 262144
	awk -v h="$(height kernel "GiB 4 Normal after round 1")" 'BEGIN { exit !(h >= 1.5 && h < 5) }'
	[ "$(height boot "GiB 4 Normal after round 1")" = 0.0 ]
	[ "$(height boot "GiB 0 DMA32 after round 1")" != 0.0 ]
}

@test "map: names cannot break the page or the terminal" {
	local name='a<b>&"c'

	small_storm "$name"
	gigabytes <<-END
		$name 0 dropped 7 No<r>mal G 0 0 0 0 0 G
	END
	printf 'evil\033[31m\t0\tdropped\t4\tNormal\t262144\t0\t0\t0\t0\t0\t262144\n' >>"$DIR/gigabytes"
	draw "$PAGE"
	expect 0 "$name: 3 pages" 'evil?[31m'
	[[ $output != *$'\033'* ]]
	well_formed "$PAGE"
	shows "<h2>a&lt;b&gt;&amp;&quot;c</h2>" "No&lt;r&gt;mal"
	hides "a<b>"
	hides $'\033'
}

@test "map: colour only in a terminal, and not if it is not wanted" {
	small_storm k
	draw
	expect 0
	[[ $output != *$'\033'* ]]
	command -v script >/dev/null || skip "there is no script(1)"
	run script -qec "'$REPO/scripts/draw-map' '$DIR' '$PAGE'" /dev/null
	expect 0 $'\033[97;41mT\033[0m' $'\033[30;46mc\033[0m'
	hides $'\033'
	NO_COLOR=1 run script -qec "'$REPO/scripts/draw-map' '$DIR'" /dev/null
	expect 0 "GiB 4 Normal"
	[[ $output != *$'\033'* ]]
}

@test "map: who reads the first lines only causes no error" {
	small_storm k
	run bash -c "set -o pipefail; '$REPO/scripts/draw-map' '$DIR' | true"
	expect 0
	[[ $output != *error* ]]
}
