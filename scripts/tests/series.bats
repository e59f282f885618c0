#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
# The series on its way between patches/, commits, trees and mails, and the
# checks of it: what is broken is named, and nothing is left half done.

load helpers

setup()
{
	base_cache
	project_copy
	SRC=$SPB_CACHE/v/base/src
}

# A tree of the user's: the base's files, not a repository
user_tree()
{
	TREE=$BATS_TEST_TMPDIR/tree
	mkdir -p "$TREE"
	git -C "$SRC" archive base | tar -x -C "$TREE"
	cp -a "$TREE" "$BATS_TEST_TMPDIR/before"
}

# Change what a patch in the middle expects to find: $BROKEN
break_patch()
{
	BROKEN=$(cd "$COPY/patches" && grep -l '^--- a/mm/page_alloc.c' ./*/*.patch | sed 's,^\./,,' | sed -n 2p)
	awk '/^@@/ { hunk = 1 } hunk && /^ [^ ]*[a-z]/ && !done { sub(/[a-z]+/, "notinthetree"); done = 1 } { print }' \
		"$COPY/patches/$BROKEN" >"$BATS_TEST_TMPDIR/broken"
	differ "$BATS_TEST_TMPDIR/broken" "$COPY/patches/$BROKEN"
	cp "$BATS_TEST_TMPDIR/broken" "$COPY/patches/$BROKEN"
}

# one_patch SCRIPT: make the series one patch, which SCRIPT makes by editing
# mm/page_alloc.c
one_patch()
{
	local dir=$BATS_TEST_TMPDIR/edit

	mkdir -p "$dir"
	git -C "$SRC" archive base mm/page_alloc.c | tar -x -C "$dir"
	cp -a "$dir" "$dir.old"
	(cd "$dir" && eval "$1")
	rm -rf "$COPY/patches"/*/
	mkdir "$COPY/patches/topic"
	{
		printf 'Subject: mm: change something\n\nThis changes something, and says so here.\n---\n'
		(cd "$BATS_TEST_TMPDIR" && diff -u edit.old/mm/page_alloc.c edit/mm/page_alloc.c) |
			sed -e '1s,.*,--- a/mm/page_alloc.c,' -e '2s,.*,+++ b/mm/page_alloc.c,'
	} >"$COPY/patches/topic/0001-change.patch"
	{ sed 1q "$REPO/patches/series"; echo topic/0001-change.patch; } >"$COPY/patches/series"
}

no_identity()
{
	export HOME=$BATS_TEST_TMPDIR/home GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null
	unset XDG_CONFIG_HOME EMAIL
	mkdir -p "$HOME"
}

identity()
{
	no_identity
	export GIT_CONFIG_GLOBAL=$HOME/.gitconfig
	git config --global user.name 'Example Sender'
	git config --global user.email sender@example.org
}

@test "apply: round trip leaves the tree as it was" {
	user_tree
	run "$COPY/scripts/apply" "$TREE"
	expect 0 "applied $(sed 's/ *#.*//' "$COPY/patches/series" | grep -c .) patches" "make unapply"
	differ "$TREE/mm/page_alloc.c" "$BATS_TEST_TMPDIR/before/mm/page_alloc.c"
	diff -r "$COPY/selftests/page_alloc" "$TREE/tools/testing/selftests/mm/page_alloc"
	run "$COPY/scripts/apply" --undo "$TREE"
	expect 0 "the series is out of $TREE"
	same_tree "$BATS_TEST_TMPDIR/before" "$TREE"
}

@test "apply: gives the files that commit-series gives" {
	local head

	user_tree
	"$COPY/scripts/apply" "$TREE"
	rm -rf "$TREE/.pc"
	head=$("$COPY/scripts/commit-series" | tail -n 1 | cut -d' ' -f1)
	mkdir "$BATS_TEST_TMPDIR/commits"
	git -C "$SRC" archive "$head" | tar -x -C "$BATS_TEST_TMPDIR/commits"
	diff -r --no-dereference "$BATS_TEST_TMPDIR/commits" "$TREE"
}

@test "apply: twice is refused, and changes nothing" {
	user_tree
	"$COPY/scripts/apply" "$TREE"
	cp -a "$TREE" "$BATS_TEST_TMPDIR/applied"
	run "$COPY/scripts/apply" "$TREE"
	expect 4 "already applied to $TREE" "make unapply"
	same_tree "$BATS_TEST_TMPDIR/applied" "$TREE"
}

@test "apply: undo without apply is refused, and changes nothing" {
	user_tree
	run "$COPY/scripts/apply" --undo "$TREE"
	expect 4 "not applied to $TREE"
	same_tree "$BATS_TEST_TMPDIR/before" "$TREE"
}

@test "apply: a patch that does not apply is named, the tree is as it was" {
	user_tree
	break_patch
	run "$COPY/scripts/apply" "$TREE"
	expect 4 "$BROKEN does not apply to $TREE" "nothing was changed"
	same_tree "$BATS_TEST_TMPDIR/before" "$TREE"
}

@test "apply: fuzz is not applied" {
	user_tree
	# The outermost line of context only: patch would take it with fuzz
	sed -i "0,/^@@/{//!b};/^@@/{n;s/^ .*/ other context/;:a;n;ba}" "$COPY/patches/$(sed '/^#/d;/^$/d;s/ .*//;q' <(sed '/^#/d;/^$/d' "$COPY/patches/series"))"
	run "$COPY/scripts/apply" "$TREE"
	expect 4 "does not apply to $TREE"
	same_tree "$BATS_TEST_TMPDIR/before" "$TREE"
}

@test "apply: a folder of the user's is not overwritten" {
	user_tree
	mkdir -p "$TREE/tools/testing/selftests/mm/page_alloc"
	echo mine >"$TREE/tools/testing/selftests/mm/page_alloc/mine"
	run "$COPY/scripts/apply" "$TREE"
	expect 4 "the series would overwrite it"
	[ "$(cat "$TREE/tools/testing/selftests/mm/page_alloc/mine")" = mine ]
	cmp "$TREE/mm/page_alloc.c" "$BATS_TEST_TMPDIR/before/mm/page_alloc.c"
}

@test "commit-series: a patch that does not apply is named, no ref moves" {
	local before

	before=$(git -C "$SRC" for-each-ref; cat "$SRC/.git/HEAD"; git -C "$SRC" status --porcelain)
	break_patch
	run "$COPY/scripts/commit-series"
	expect 4 "$BROKEN does not apply to" "nothing was changed"
	[ "$(git -C "$SRC" for-each-ref; cat "$SRC/.git/HEAD"; git -C "$SRC" status --porcelain)" = "$before" ]
}

@test "commit-series: a patch that is missing is named" {
	echo highatomic/9999-lost.patch >>"$COPY/patches/series"
	run "$COPY/scripts/commit-series"
	expect 4 "patches/series names highatomic/9999-lost.patch, which does not exist"
}

@test "commit-series: the same series gives the same commits" {
	run "$COPY/scripts/commit-series"
	expect 0
	[ "$("$COPY/scripts/commit-series")" = "$output" ]
}

@test "port: tells which patch fails and leaves the tree alone" {
	user_tree
	run "$COPY/scripts/port" "$TREE"
	expect 0 applies
	break_patch
	run "$COPY/scripts/port" "$TREE"
	expect 1 "FAILS    $BROKEN"
	same_tree "$BATS_TEST_TMPDIR/before" "$TREE"
}

@test "make-tree: a checkout that was cut short is done anew" {
	"$COPY/scripts/make-tree" series
	[ ! -e "$SPB_CACHE/v/series/checkout-unfinished" ]
	rm -rf "$SPB_CACHE/v/series/src/mm"
	touch "$SPB_CACHE/v/series/checkout-unfinished"
	run "$COPY/scripts/make-tree" series
	expect 0
	[ -z "$(git -C "$SPB_CACHE/v/series/src" status --porcelain)" ]
	[ ! -e "$SPB_CACHE/v/series/checkout-unfinished" ]
}

@test "make-tree: changes and commits of the user's stop it" {
	local src=$SPB_CACHE/v/series/src

	"$COPY/scripts/make-tree" series
	echo 'int mine;' >>"$src/mm/page_alloc.c"
	run "$COPY/scripts/make-tree" series
	expect 4 "$src has changes that are in no patch" "make export"
	git -C "$src" -c user.name=test -c user.email=test@example.org commit -qam "mm: mine"
	run "$COPY/scripts/make-tree" series
	expect 4 "$src has commits that are in no patch" "make export"
	grep -q 'int mine' "$src/mm/page_alloc.c"
}

@test "make-tree: two at once both succeed" {
	start "$COPY/scripts/make-tree" series
	run "$COPY/scripts/make-tree" series
	expect 0
	finish
	expect 0
	[ -z "$(git -C "$SPB_CACHE/v/series/src" status --porcelain)" ]
}

@test "export-series: refuses a tree with changes" {
	"$COPY/scripts/make-tree" series
	echo 'int mine;' >>"$SPB_CACHE/v/series/src/mm/page_alloc.c"
	run "$COPY/scripts/export-series"
	expect 4 "has uncommitted changes"
	same_tree "$REPO/patches" "$COPY/patches"
}

@test "export-series: refuses a commit that series does not name" {
	"$COPY/scripts/make-tree" series
	git -C "$SPB_CACHE/v/series/src" -c user.name=test -c user.email=test@example.org \
		commit -q --allow-empty -m "mm: one more"
	run "$COPY/scripts/export-series"
	expect 4 "commits on top of base, patches/series names"
	same_tree "$REPO/patches" "$COPY/patches"
}

@test "export-series: without a tree says how to make one" {
	run "$COPY/scripts/export-series"
	expect 4 "no tree at" "make tree"
}

@test "export-series: round trip gives the same patches, byte for byte" {
	local patch

	"$COPY/scripts/make-tree" series
	run "$COPY/scripts/export-series"
	diff -ru "$REPO/patches" "$COPY/patches"
	expect 0
	[ -z "$output" ]
	# Git settings of the user's change nothing
	identity
	git config --global diff.noprefix true
	git config --global diff.algorithm patience
	git config --global core.abbrev 12
	for patch in "$COPY"/patches/*/*.patch; do
		: >"$patch"
	done
	run "$COPY/scripts/export-series"
	expect 0
	same_tree "$REPO/patches" "$COPY/patches"
}

@test "make-mbox: without a git identity exits 4 and says how to set one" {
	no_identity
	run "$COPY/scripts/make-mbox"
	expect 4 "git config --global user.name" "git config --global user.email"
	[ ! -e "$SPB_CACHE/mbox" ]
}

@test "make-mbox: an unknown topic lists the known ones" {
	identity
	run "$COPY/scripts/make-mbox" nonsense
	expect 4 "no topic nonsense; there are: highatomic"
}

@test "make-mbox: the mails, applied with git am, give the tree of the series" {
	local mail dir=$BATS_TEST_TMPDIR/am last

	identity
	run "$COPY/scripts/make-mbox" highatomic "$BATS_TEST_TMPDIR/mails"
	expect 0 "topic highatomic:"
	[ "$(find "$BATS_TEST_TMPDIR/mails/highatomic" -name '*.patch' | wc -l)" -eq \
		$(($(grep -c ^highatomic/ "$COPY/patches/series") + 1)) ]
	for mail in "$BATS_TEST_TMPDIR"/mails/highatomic/*.patch; do
		grep -q '^From: Example Sender <sender@example.org>$' "$mail"
		grep -q '^To: .*@' "$mail"
		grep -q '^Cc: .*linux-mm@kvack.org' "$mail"
	done
	grep -q "^base-commit: $(git -C "$SRC" rev-parse base)" "$BATS_TEST_TMPDIR"/mails/highatomic/0000-*
	# No template text of git's is left in the cover letter
	if grep -F '***' "$BATS_TEST_TMPDIR"/mails/highatomic/0000-*; then
		false
	fi

	git clone -q --shared -b base "$SRC" "$dir"
	for mail in "$BATS_TEST_TMPDIR"/mails/highatomic/*.patch; do
		case $mail in
		*/0000-*) ;;
		*)
			grep -q '^Signed-off-by: Example Sender <sender@example.org>$' "$mail"
			git -C "$dir" am -q "$mail" ;;
		esac
	done
	last=$("$COPY/scripts/commit-series" | grep ' highatomic/' | tail -n 1 | cut -d' ' -f1)
	[ "$(git -C "$dir" rev-parse 'HEAD^{tree}')" = "$(git -C "$SRC" rev-parse "$last^{tree}")" ]
	# Nothing is left in the repository of the base
	[ -z "$(git -C "$SRC" for-each-ref 'refs/heads/mail')" ]
	[ -z "$(git -C "$SRC" config --get-regexp '^branch\.mail')" ]
}

@test "check-files: what is wrong with the files is named" {
	# The linter alone would take most of the time
	stub shellcheck <<<$'#!/bin/sh\nexit 0'
	mkdir "$COPY/scripts/tests"
	cp "$REPO/scripts/tests/guest.bats" "$COPY/scripts/tests/"
	git -C "$COPY" init -q
	run "$COPY/scripts/check-files"
	[[ $output != *"not ok"* ]] || { show; return 1; }

	cp "$COPY"/patches/highatomic/0001-*.patch "$COPY/patches/highatomic/9998-stray.patch"
	echo highatomic/9999-lost.patch >>"$COPY/patches/series"
	printf 'CONFIG_A=y \n' >>"$COPY/configs/test.config"
	printf '\tint a; \t/* b */\n' >>"$COPY/scripts/guest/init.c"
	echo '.PHONY: hidden' >>"$COPY/Makefile"
	printf 'H98\t-\tno such test\tsuperpageblock.nonsense\nH99\t-\tnone at all\t\n' >>"$COPY/configs/hazards"
	mkdir "$COPY/stray"
	run "$COPY/scripts/check-files"
	expect 1 "not ok files: every patch is in the series" \
		"patches/highatomic/9998-stray.patch is not in patches/series" \
		"not ok files: every patch of the series exists" \
		"patches/series names highatomic/9999-lost.patch, which does not exist" \
		"not ok files: no whitespace damage" \
		"configs/test.config:" "scripts/guest/init.c:" \
		"make help does not list hidden" \
		"H98: there is no test superpageblock.nonsense" "H99 names no test" \
		"not ok files: top-level layout"
}

@test "check-files: a shell script with an error is noticed" {
	local keep

	git -C "$COPY" init -q
	# Only few scripts, for time
	for keep in "$COPY"/scripts/*; do
		case ${keep##*/} in lib.sh|base-kernel|check-files) ;; *) rm -rf "$keep" ;; esac
	done
	# shellcheck disable=SC2016 # the text of a script
	printf '#!/bin/bash\nif [ $1 = ]; then\n' >"$COPY/scripts/bad"
	run "$COPY/scripts/check-files"
	expect 1 "not ok files: shell scripts pass shellcheck" "scripts/bad"
}

@test "check-series: a function past its bar and a checkpatch complaint are noticed" {
	cat >"$BATS_TEST_TMPDIR/grow" <<-'AWK'
		{ print }
		/^get_page_from_freelist\(/ { inside = 1 }
		inside && /^{/ { for (i = 0; i < 10; i++) print "\tif(order==" i ") return NULL;"; inside = 0 }
	AWK
	one_patch 'awk -f "$BATS_TEST_TMPDIR/grow" mm/page_alloc.c >new && mv new mm/page_alloc.c'
	run "$COPY/scripts/check-series"
	expect 1 "ok series: applies with zero fuzz" \
		"not ok series: checkpatch --strict topic/0001-change.patch" "ERROR:" \
		"not ok series: no function outgrew its bar" "get_page_from_freelist() grew from" \
		"ok series: size budget" "ok series: quilt and git agree"
}

@test "check-series: a patch that is too large and one with whitespace damage are noticed" {
	one_patch 'for i in $(seq 1 310); do echo "int spb_$i;"; done >>mm/page_alloc.c'
	run "$COPY/scripts/check-series"
	expect 1 "not ok series: size of topic/0001-change.patch" "310 lines added, at most 300"
	one_patch 'echo "int spb; " >>mm/page_alloc.c'
	run "$COPY/scripts/check-series"
	expect 1 "not ok series: applies with zero fuzz and no whitespace complaint" "trailing whitespace"
}
