# SPDX-License-Identifier: GPL-2.0
# The map in the terminal. Only ASCII is measured: this awk counts bytes.

function repeat(c, n,   s) {
	while (length(s) < n)
		s = s c
	return s
}
function left(s, n) {
	return s repeat(" ", n - length(s))
}
function right(s, n) {
	return repeat(" ", n - length(s)) s
}
function painted(s, what) {
	return colour && what in paint ? "\033[" paint[what] "m" s "\033[0m" : s
}

# Every step-th round, the last in any case
function choose(step,   i) {
	shown = 0
	for (i = 1; i <= rounds; i++)
		if ((i - 1) % step == 0 || i == rounds)
			show[++shown] = round[i]
}
function cell_width(r) {
	return r ? length(last) + 1 + (last < 10) : 5
}
function measure(   i) {
	wide = label_width + 2 + NOTE
	for (i = 1; i <= shown; i++)
		wide += cell_width(show[i])
	return wide
}
function lay_out() {
	label_width = length(measured ? "1 GiB pages obtainable" : "gigabytes tainted")
	if (longest_label() > label_width)
		label_width = longest_label()
	step = 1
	for (choose(step); measure() > columns && shown > 2; choose(step))
		step++
	across = int((columns + GAP) / (wide + GAP))
	if (across < 1)
		across = 1
}

function part(pages, least) {
	return pages ? (pages * 10 / GIB < least ? least : int(pages * 10 / GIB + 0.5)) : 0
}
function bar(k, r, g,   s) {
	s = repeat("#", part(kernel_pages(k, r, g), 1)) repeat("b", part(reserved[k, r, g], 1))
	s = s repeat("=", part(movable[k, r, g], 1))
	return "[" left(substr(s repeat(".", part(present[k, r, g], 1) - length(s)), 1, 10), 10) "]"
}
function remark(k, r, g) {
	if (!((k, r, g) in seen))
		return ""
	return bar(k, r, g) right(kernel_pages(k, r, g), 7) " kernel page" \
		(kernel_pages(k, r, g) == 1 ? "" : "s") (spoilt(k, r, g) ? " spoilt" : "")
}
function map_row(k, i,   j, s, what) {
	if (i in hole)
		return left(left(label(k, i), label_width) "  no memory here", wide)
	s = left(label(k, i), label_width)
	for (j = 1; j <= shown; j++) {
		what = category(k, show[j], row[i])
		s = s right("", cell_width(show[j]) - 1) painted(letter[what], what)
	}
	return s "  " left(remark(k, end[k], row[i]), NOTE)
}
function header(   j, s) {
	s = left("", label_width)
	for (j = 1; j <= shown; j++)
		s = s right(show[j] ? show[j] : "boot", cell_width(show[j]))
	return s "  "
}
function numbers(k, what, title,   j, s) {
	s = left(title, label_width)
	for (j = 1; j <= shown; j++)
		s = s right(what == "yield" ? yield(k, show[j]) : tainted(k, show[j]), cell_width(show[j]))
	return left(s, wide)
}
function panel_line(k, n) {
	if (n == 1)
		return left(k, wide)
	if (n == 2)
		return header() left(end[k] < 0 ? "" : when(end[k]), NOTE)
	if (n <= rows + 2)
		return map_row(k, n - 2)
	if (n == rows + 3 && measured)
		return numbers(k, "yield", "1 GiB pages obtainable")
	return numbers(k, "tainted", "gigabytes tainted")
}
function panels(first,   n, i, s) {
	for (n = 1; n <= rows + 3 + measured; n++) {
		s = ""
		for (i = first; i < first + across && i <= kernels; i++)
			s = s (i > first ? repeat(" ", GAP) : "") panel_line(kernel[i], n)
		sub(/ +$/, "", s)
		print s
	}
	print ""
}

function legend(   i, what) {
	print "A row is one gigabyte, 262144 pages of 4 KiB" (last ? "; a column is one round of load, " \
		(moment == "dropped" ? "its memory and caches dropped" : "its left-overs in place") : "") "."
	if (step > 1)
		print "Only some rounds fit into " columns " columns; all are in the HTML page."
	for (i = 1; i <= categories; i++) {
		what = category_name[i]
		print "  " painted(letter[what], what) " " left(what, 10) meaning[what]
	}
	print "  bar         a tenth of the gigabyte a character, the least amount is one:"
	print "              # kernel  b held since boot  = movable  . free"
	print "  spoilt      kernel pages fill less than " FEW * 100 " % of it; but for them it could be a 1 GiB page"
	if (measured)
		print "  obtainable  1 GiB pages really allocated and written at that moment"
	print ""
}

END {
	GAP = 3
	NOTE = 39
	paint["tainted"] = "97;41"; paint["clean"] = "30;46"; paint["empty"] = "36"
	paint["boot"] = "97;100"; paint["partial"] = "90"
	list_rounds()
	list_rows()
	lay_out()
	for (i = 1; i <= kernels; i += across)
		panels(i)
	legend()
	for (i = 1; i <= kernels; i++)
		print kernel[i] ": " conclusion(kernel[i]) "."
	if (comparison() != "")
		print comparison()
}
