# SPDX-License-Identifier: GPL-2.0
# The body of the map's HTML page, pictures as inline SVG.

function esc(s) {
	gsub(/&/, "\\&amp;", s)
	gsub(/</, "\\&lt;", s)
	gsub(/>/, "\\&gt;", s)
	gsub(/"/, "\\&quot;", s)
	return s
}
function element(name, class, text) {
	return "<" name (class == "" ? "" : " class=\"" class "\"") ">" esc(text) "</" name ">"
}
function text_at(x, y, class, s) {
	printf "<text x=\"%.1f\" y=\"%.1f\" class=\"%s\">%s</text>\n", x, y, class, esc(s)
}
function rect(class, x, y, w, h) {
	printf "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>", class, x, y, w, h
}
function at_least(n, least) {
	return n && n < least ? least : n
}
# A single page of 262144 has to be seen, hence the least height
function draw_cell(what, x, y, all, kern, boot, mov,   unit, high_k, high_b, high_m, high_all) {
	unit = CELL_HEIGHT / GIB
	high_k = at_least(kern * unit, 3)
	high_b = at_least(boot * unit, 3)
	high_all = at_least(all * unit, high_k + high_b)
	if (high_k + high_b > high_all)
		high_k = high_all - high_b
	high_m = mov * unit
	if (high_m > high_all - high_k - high_b)
		high_m = high_all - high_k - high_b
	y += CELL_HEIGHT
	rect("free", x, y - high_all, cell_wide, high_all)
	rect("movable", x, y - high_k - high_b - high_m, cell_wide, high_m)
	rect("boot", x, y - high_k - high_b, cell_wide, high_b)
	rect("kernel", x, y - high_k, cell_wide, high_k)
	rect("frame", x, y - CELL_HEIGHT, cell_wide, CELL_HEIGHT)
}
function contents(k, r, g) {
	return plural(kernel_pages(k, r, g), "kernel page", "kernel pages") " (slab " slab[k, r, g] + 0 \
		", page tables " pgtable[k, r, g] + 0 ", other " other[k, r, g] + 0 "), movable " \
		movable[k, r, g] + 0 ", free " free[k, r, g] + 0 ", held since boot " reserved[k, r, g] + 0
}
function cell(k, r, g, x, y,   what) {
	what = category(k, r, g)
	if (what == "")
		return
	printf "<g class=\"cell %s\"><title>%s</title>", what, esc("GiB " g " " zone[k, g] " " when(r) ": " what \
		". " contents(k, r, g))
	draw_cell(what, x, y, present[k, r, g], kernel_pages(k, r, g), reserved[k, r, g], movable[k, r, g])
	print "</g>"
}

# Boot is no round of load and stands a little apart
function column_x(j) {
	return label_wide + (j - 1) * (cell_wide + GAP) + (j > 1 && !round[1] ? 10 : 0)
}
# Numbers of neighbours must not run into each other; the last is the one to read
function numbered(j,   every) {
	every = int(20 / (cell_wide + GAP) + 0.999)
	return !round[j] || (rounds - j) % every == 0
}
function row_y(i) {
	return TOP + (i - 1) * (CELL_HEIGHT + GAP)
}
function end_text(k, g) {
	if (spoilt(k, end[k], g))
		return "spoilt by " plural(kernel_pages(k, end[k], g), "page", "pages")
	return kernel_pages(k, end[k], g) ? plural(kernel_pages(k, end[k], g), "kernel page", "kernel pages") : ""
}
function longest_note(   i, j, n) {
	n = length("after round 10")
	for (i = 1; i <= kernels; i++)
		for (j = 1; j <= rows; j++)
			if (length(end_text(kernel[i], row[j])) > n)
				n = length(end_text(kernel[i], row[j]))
	return n
}
function map_row(k, i,   j, y) {
	y = row_y(i)
	text_at(label_wide - 8, y + CELL_HEIGHT - 5, i in hole ? "end faint" : "end", label(k, i))
	if (i in hole) {
		text_at(label_wide, y + CELL_HEIGHT - 5, "faint", "no memory here")
		return
	}
	for (j = 1; j <= rounds; j++)
		cell(k, round[j], row[i], column_x(j), y)
	text_at(column_x(rounds + 1) + 8, y + CELL_HEIGHT - 5, spoilt(k, end[k], row[i]) ? "bad" : "", end_text(k, row[i]))
}
function number_row(k, what, y, first, second,   j, n, final) {
	final = what == "yield" ? got[k] : end[k]
	text_at(label_wide - 8, y, "end", first)
	text_at(label_wide - 8, y + 14, "end", second)
	for (j = 1; j <= rounds; j++) {
		n = what == "yield" ? yield(k, round[j]) : tainted(k, round[j])
		if (n != "" && numbered(j))
			text_at(column_x(j) + cell_wide / 2, y + 7, round[j] == final ? "mid strong" : "mid", n)
	}
}
function panel(k,   i, j, y, width, height) {
	width = column_x(rounds + 1) + 8 + note_wide
	y = row_y(rows + 1) + 18
	height = y + 22 + 36 * measured
	printf "<section class=\"panel\" style=\"max-width: %dpx\">\n", width
	print element("h2", "", k)
	printf "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\"", \
		width, height, width, height
	printf " aria-label=\"%s\">\n", esc("Map of " k ": the tables below have the same numbers")
	if (last)
		text_at(label_wide + cell_wide / 2 - 20, TOP - 8, "end faint", "round of load")
	for (j = 1; j <= rounds; j++)
		if (numbered(j))
			text_at(column_x(j) + cell_wide / 2, TOP - 8, "mid faint", round[j] ? round[j] : "boot")
	text_at(column_x(rounds + 1) + 8, TOP - 8, "faint", end[k] < 0 ? "" : when(end[k]))
	for (i = 1; i <= rows; i++)
		map_row(k, i)
	if (measured)
		number_row(k, "yield", y, "1 GiB pages", "obtainable")
	number_row(k, "tainted", y + 36 * measured, "gigabytes", "tainted")
	print "</svg>"
	print "</section>"
}
function lay_out(   longest) {
	CELL_HEIGHT = 20
	GAP = 2
	TOP = 26
	longest = length("round of load")
	if (longest_label() > longest)
		longest = longest_label()
	label_wide = longest * 7.6 + 12
	note_wide = longest_note() * 7.4
	cell_wide = 220 / (rounds ? rounds : 1) - GAP
	if (cell_wide > 40)
		cell_wide = 40
	if (cell_wide < 8)
		cell_wide = 8
}

function sample(class, all, kern, boot, mov) {
	printf "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"24\" height=\"22\" aria-hidden=\"true\">"
	printf "<g class=\"cell %s\" transform=\"translate(1 1)\">", class
	draw_cell(class, 0, 0, all * GIB, kern * GIB, boot * GIB, mov * GIB)
	print "</g></svg>"
}
function sample_of(what) {
	if (what == "tainted")
		sample(what, 1, 0.02, 0, 0.5)
	else if (what == "clean")
		sample(what, 1, 0, 0, 0.5)
	else if (what == "empty")
		sample(what, 1, 0, 0, 0)
	else if (what == "boot")
		sample(what, 1, 0, 0.2, 0.4)
	else
		sample(what, 0.6, 0, 0, 0.3)
}
# What is drawn in two colours, one a category, shows both
function swatch(class, what, class2, what2, text) {
	printf "<li><svg xmlns=\"http://www.w3.org/2000/svg\" width=\"24\" height=\"14\" aria-hidden=\"true\">"
	printf "<g class=\"cell %s\">", class
	rect(what, 0, 0, class2 == "" ? 24 : 12, 14)
	printf "</g>"
	if (class2 != "") {
		printf "<g class=\"cell %s\">", class2
		rect(what2, 12, 0, 12, 14)
		printf "</g>"
	}
	print "</svg>" element("span", "", text) "</li>"
}
function legend(   i, keep) {
	keep = cell_wide
	cell_wide = 22
	print "<section class=\"legend\">"
	print element("h2", "", "Legend")
	print "<ul>"
	for (i = 1; i <= categories; i++) {
		print "<li>"
		sample_of(category_name[i])
		print "<span>" element("b", "", category_name[i]) ": " esc(meaning[category_name[i]]) "</span></li>"
	}
	print "</ul>"
	print element("p", "", "A cell is filled from below, its full height being 1 GiB = 262144 pages of 4 KiB; " \
		"a few kernel pages are drawn higher than they are, or nobody would see them:")
	print "<ul>"
	swatch("tainted", "kernel", "", "", "kernel pages: slab, page tables and others that cannot be moved")
	swatch("tainted", "boot", "", "", "held since boot by firmware or boot memory")
	swatch("tainted", "movable", "clean", "movable", "movable: user pages, page cache")
	swatch("tainted", "free", "clean", "free", "free")
	print "</ul>"
	print element("p", "", "Spoilt: kernel pages fill less than " FEW * 100 " % of a gigabyte that could be a " \
		"1 GiB page but for them." (measured ? " Obtainable: 1 GiB pages really allocated and written at " \
		"that moment." : ""))
	print "</section>"
	cell_wide = keep
}

function summary_of_many(   i, text) {
	text = comparison()
	if (text != "")
		print element("p", "big", text)
	print "<ul>"
	for (i = 1; i <= kernels; i++)
		print "<li>" element("b", "", kernel[i] ":") " " esc(conclusion(kernel[i])) ".</li>"
	print "</ul>"
}
function summary() {
	print "<section class=\"conclusion\">"
	if (kernels > 1)
		summary_of_many()
	else
		print element("p", "big", kernel[1] ": " conclusion(kernel[1]) ".")
	print "</section>"
}

function open_table(caption) {
	print "<div class=\"scroll\"><table>"
	print element("caption", "", caption)
	printf "<tr>"
}
function heads(names,   i, n, name) {
	n = split(names, name, ",")
	for (i = 1; i <= n; i++)
		printf "<th scope=\"col\">%s</th>", esc(name[i])
}
function round_heads(   j) {
	for (j = 1; j <= rounds; j++)
		heads(round[j] ? "round " round[j] : "boot")
	print "</tr>"
}
function data(s) {
	printf "<td>%s</td>", s == "" ? "-" : esc(s)
}
function row_head(s) {
	printf "<tr><th scope=\"row\">%s</th>", esc(s)
}
function row_of_rounds(k, what, title,   j) {
	row_head(k)
	data(title)
	for (j = 1; j <= rounds; j++)
		data(what == "yield" ? yield(k, round[j]) : tainted(k, round[j]))
	print "</tr>"
}
function table_of_rounds(   i) {
	open_table("For each kernel")
	heads("kernel,number of")
	round_heads()
	for (i = 1; i <= kernels; i++) {
		if (measured)
			row_of_rounds(kernel[i], "yield", "1 GiB pages obtainable")
		row_of_rounds(kernel[i], "tainted", "gigabytes tainted")
	}
	print "</table></div>"
}
function table_over_time(k,   i, j, what) {
	open_table(k ": state of each gigabyte, and the number of kernel pages if it is tainted")
	heads("gigabyte")
	round_heads()
	for (i = 1; i <= rows; i++) {
		if (i in hole)
			continue
		row_head(label(k, i))
		for (j = 1; j <= rounds; j++) {
			what = category(k, round[j], row[i])
			data(what == "tainted" ? what " " kernel_pages(k, round[j], row[i]) : what)
		}
		print "</tr>"
	}
	print "</table></div>"
}
function table_at_end(k,   i, g, r) {
	r = end[k]
	open_table(k " " when(r) ": pages of 4 KiB in each gigabyte")
	heads("gigabyte,state,slab,page tables,other kernel,held since boot,movable,free,present")
	print "</tr>"
	for (i = 1; i <= rows; i++) {
		g = row[i]
		if (!((k, r, g) in seen))
			continue
		row_head(label(k, i))
		data(category(k, r, g)); data(slab[k, r, g]); data(pgtable[k, r, g]); data(other[k, r, g])
		data(reserved[k, r, g]); data(movable[k, r, g]); data(free[k, r, g]); data(present[k, r, g])
		print "</tr>"
	}
	print "</table></div>"
}
function all_tables(   i) {
	print "<section class=\"tables\">"
	print element("h2", "", "The same in numbers")
	table_of_rounds()
	for (i = 1; i <= kernels; i++) {
		if (end[kernel[i]] < 0)
			continue
		if (rounds > 1)
			table_over_time(kernel[i])
		table_at_end(kernel[i])
	}
	print "</section>"
}
function introduction() {
	if (!last)
		return "Each row is one gigabyte of memory of a machine that has just booted."
	return "Each row is one gigabyte of memory, each column a moment: after boot, then after each round of load, " \
		(moment == "dropped" ? "when its memory and caches were dropped." : "with its left-overs in place.")
}

END {
	list_rounds()
	list_rows()
	lay_out()
	print element("h1", "", "Which gigabytes can still become 1 GiB pages?")
	print element("p", "", introduction())
	summary()
	legend()
	print "<div class=\"panels\">"
	for (i = 1; i <= kernels; i++)
		panel(kernel[i])
	print "</div>"
	all_tables()
}
