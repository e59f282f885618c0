# SPDX-License-Identifier: GPL-2.0
# Reads what draw-map's tables() prints and says what follows from it; comes before
# map-terminal.awk or map-page.awk.

BEGIN {
	FS = "\t"
	GIB = 262144
	# Below this share a gigabyte is lost for very little
	FEW = 0.05
	low = -1
	letter["tainted"] = "T"; letter["clean"] = "c"; letter["empty"] = "."
	letter["boot"] = "B"; letter["partial"] = "P"; letter[""] = " "
	meaning["tainted"] = "kernel pages sit in it; they cannot be moved"
	meaning["clean"] = "in use, but every page of it can be moved"
	meaning["empty"] = "all of it is free"
	meaning["boot"] = "no kernel pages, but memory held since boot"
	meaning["partial"] = "not a whole gigabyte of memory"
	categories = split("tainted clean empty boot partial", category_name, " ")
}

function add_kernel(k) {
	if (k in end)
		return
	kernel[++kernels] = k
	end[k] = got[k] = -1
}
function add_round(r) {
	known[r] = 1
	if (r > last)
		last = r
}
function add_gigabyte(k, r, g) {
	seen[k, r, g] = exists[g] = has_map[k, r] = 1
	zone[k, g] = $5
	if (r > end[k])
		end[k] = r
	if (low < 0 || g < low)
		low = g
	if (g > high)
		high = g
}
# Boot comes before any load, so it has one moment only
{ add_kernel($2); $3 += 0 }
$3 && $4 != moment { next }
$1 == "gigabytes" {
	g = $6 + 0
	add_round($3)
	add_gigabyte($2, $3, g)
	present[$2, $3, g] = $7; reserved[$2, $3, g] = $8
	slab[$2, $3, g] = $9; pgtable[$2, $3, g] = $10; other[$2, $3, g] = $11
	movable[$2, $3, g] = $12; free[$2, $3, g] = $13
}
$1 == "rounds" {
	add_round($3)
	if ($5 ~ /^[0-9]+$/)
		told[$2, $3] = $5
	if ($6 ~ /^[0-9]+$/) {
		obtainable[$2, $3] = $6
		measured = 1
		if ($3 > got[$2])
			got[$2] = $3
	}
}

function list_rounds(   r) {
	for (r = 0; r <= last; r++)
		if (r in known)
			round[++rounds] = r
}
# Rows of the map: a gigabyte each, and one for each stretch without memory
function list_rows(   g) {
	for (g = low; low >= 0 && g <= high; g++) {
		row[++rows] = g
		if (g in exists)
			continue
		while (!(g + 1 in exists))
			g++
		hole[rows] = g
	}
}

function kernel_pages(k, r, g) {
	return slab[k, r, g] + pgtable[k, r, g] + other[k, r, g]
}
function category(k, r, g) {
	if (!((k, r, g) in seen))
		return ""
	if (kernel_pages(k, r, g))
		return "tainted"
	if (reserved[k, r, g])
		return "boot"
	if (present[k, r, g] < GIB)
		return "partial"
	return free[k, r, g] == present[k, r, g] ? "empty" : "clean"
}
# Boot memory or a hole: without its kernel pages it would be no 1 GiB page either
function hopeless(k, r, g) {
	return reserved[k, r, g] || present[k, r, g] < GIB
}
function spoilt(k, r, g) {
	return category(k, r, g) == "tainted" && !hopeless(k, r, g) && kernel_pages(k, r, g) < FEW * GIB
}
function count(k, r, what,   g, n) {
	for (g in exists)
		n += category(k, r, g) == what
	return n + 0
}
function tainted(k, r) {
	if ((k, r) in has_map)
		return count(k, r, "tainted")
	return (k, r) in told ? told[k, r] : ""
}
function yield(k, r) {
	return (k, r) in obtainable ? obtainable[k, r] : ""
}

function plural(n, one, many) {
	return (n + 0 ? n : "no") " " (n + 0 <= 1 ? one : many)
}
function amount(n) {
	return n + 0 ? n : "none"
}
function huge_pages(n) {
	return plural(n, "page", "pages") " of 1 GiB"
}
function when(r) {
	return r ? "after round " r : "after boot"
}
function size(pages) {
	if (pages < 256)
		return pages * 4 " KiB"
	if (pages < GIB)
		return sprintf("%.1f MiB", pages / 256)
	return sprintf("%.1f GiB", pages / GIB)
}
# Rounded up, for it stands behind "at most"
function percent(pages,   share, unit) {
	share = 100 * pages / GIB
	unit = share < 0.01 ? 10000 : share < 0.1 ? 100 : share < 10 ? 10 : 1
	return int(share * unit + 0.999999) / unit " %"
}
# A gigabyte may be in another zone with another kernel
function label(k, i) {
	if (i in hole)
		return "GiB " row[i] (hole[i] > row[i] ? "-" hole[i] : "")
	return "GiB " row[i] " " zone[k, row[i]]
}
function longest_label(   i, j, n) {
	for (i = 1; i <= kernels; i++)
		for (j = 1; j <= rows; j++)
			if (length(label(kernel[i], j)) > n)
				n = length(label(kernel[i], j))
	return n + 0
}

# Sorted into pages[1..]; the number of them
function spoilers(k, r, pages,   g, i, n) {
	for (g in exists) {
		if (!spoilt(k, r, g))
			continue
		for (i = ++n; i > 1 && pages[i - 1] > kernel_pages(k, r, g); i--)
			pages[i] = pages[i - 1]
		pages[i] = kernel_pages(k, r, g)
	}
	return n + 0
}
function median(pages, n) {
	return int((pages[int((n + 1) / 2)] + pages[int(n / 2) + 1]) / 2)
}
function say_spoilt(k, r,   n, pages) {
	n = spoilers(k, r, pages)
	if (!n)
		return tainted(k, r) ? "no gigabyte is spoilt by a few kernel pages" : "no gigabyte holds a kernel page"
	if (n == 1)
		return "1 gigabyte is spoilt by " plural(pages[1], "kernel page", "kernel pages") \
			" = " size(pages[1]) ", " percent(pages[1]) " of it"
	return n " gigabytes are spoilt by kernel pages that fill at most " percent(pages[n]) \
		" of them (median " plural(median(pages, n), "page", "pages") " = " size(median(pages, n)) ")"
}
# The other tainted ones, whose kernel pages do not take them away for nothing
function say_used(k, r,   g, n, most) {
	for (g in exists) {
		if (category(k, r, g) != "tainted" || hopeless(k, r, g) || spoilt(k, r, g))
			continue
		n++
		if (kernel_pages(k, r, g) > most)
			most = kernel_pages(k, r, g)
	}
	if (!n)
		return ""
	return ", " n (n == 1 ? " holds many (" : " hold many (up to ") percent(most) " of it)"
}
# What the map alone can tell: no more than these, if their pages can be moved
function say_candidates(k,   n) {
	n = count(k, end[k], "clean") + count(k, end[k], "empty")
	return plural(n, "gigabyte could", "gigabytes could each") " be made a 1 GiB page " when(end[k])
}
function say_yield(k) {
	if (got[k] < 0)
		return say_candidates(k)
	if (!got[k] || yield(k, 0) == "")
		return huge_pages(yield(k, got[k])) " " when(got[k])
	return huge_pages(yield(k, 0)) " at boot, " amount(yield(k, got[k])) " " when(got[k])
}
function say_missing(k,   done) {
	done = end[k] > got[k] ? end[k] : got[k]
	if (done == last)
		return ""
	return done + 1 == last ? "; round " last " is missing" : "; rounds " done + 1 " to " last " are missing"
}
function conclusion(k,   text) {
	if (end[k] < 0 && got[k] < 0)
		return "nothing was measured"
	text = say_yield(k)
	if (end[k] >= 0)
		text = text "; " (got[k] >= 0 && got[k] != end[k] ? when(end[k]) ", " : "") \
			say_spoilt(k, end[k]) say_used(k, end[k])
	return text say_missing(k)
}

# The last round for which TABLE knows both, -1 if there is none
function common(table, a, b,   r) {
	for (r = last; r >= 0; r--)
		if (figure(table, a, r) != "" && figure(table, b, r) != "")
			return r
	return -1
}
function figure(table, k, r) {
	if (table == "yield")
		return yield(k, r)
	return (k, r) in has_map ? tainted(k, r) : ""
}
# Fewer tainted gigabytes are better, more 1 GiB pages are
function better(table, a, b, r) {
	if (figure(table, a, r) == "" || figure(table, b, r) == "")
		return 0
	return table == "yield" ? yield(a, r) + 0 > yield(b, r) + 0 : tainted(a, r) < tainted(b, r)
}
function best(table, r, start,   i, k) {
	k = start
	for (i = 1; i <= kernels; i++)
		if (better(table, kernel[i], k, r))
			k = kernel[i]
	return k
}
# Whom to hold against the base: the patched kernel, else the best
function rival(table, base,   i, k, r) {
	if (base != "patched" && ("patched" in end) && common(table, base, "patched") >= 0)
		return "patched"
	for (i = 1; i <= kernels; i++) {
		r = common(table, base, kernel[i])
		if (kernel[i] != base && r >= 0 && (k == "" || better(table, kernel[i], k, r)))
			k = kernel[i]
	}
	return k
}
function difference(n, more, less) {
	return n ? (n > 0 ? n " " more : -n " " less) : "no difference"
}
function compare_by(table, base,   k, r, top, text) {
	k = rival(table, base)
	if (k == "")
		return ""
	r = common(table, base, k)
	top = best(table, r, k)
	if (table == "yield")
		text = k " gives " huge_pages(yield(k, r)) ", " base " " amount(yield(base, r)) \
			": " difference(yield(k, r) - yield(base, r), "more", "fewer")
	else
		text = plural(tainted(k, r), "gigabyte holds", "gigabytes hold") " kernel pages with " k ", " \
			amount(tainted(base, r)) " with " base ": " difference(tainted(k, r) - tainted(base, r), "more", "fewer")
	if (top != k && top != base)
		text = text "; best is " top ", " figure(table, top, r)
	return (r ? "After round " r ", " : "After boot, ") text "."
}
function comparison(   base, text) {
	base = "unpatched" in end ? "unpatched" : kernel[1]
	text = compare_by("yield", base)
	return text == "" ? compare_by("tainted", base) : text
}
