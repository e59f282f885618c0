# SPDX-License-Identifier: GPL-2.0
# From bars, base and series, in this order: the table of make bench on standard
# output, a JSON into the file that the variable json names. Exit 1: a bar missed.

FILENAME ~ /bars$/ { bar[$1, $2] = $3; has_bar[$1] = 1; next }
FILENAME ~ /base$/ { file = "base" }
FILENAME ~ /series$/ { file = "series" }

$1 == "calibration" { calibrated[file]++ }
$1 == "calibration" && ($2 < 999 || $2 > 1001) {
	print "calibration off on " file ": " $2 " ns per 1000 instructions"
	bad = 1
}

$1 == "case" && $3 == "failed" { print $2 ": an allocation failed on " file; bad = 1; next }
$1 == "case" {
	figure[file, $2, "alloc"] = $3
	figure[file, $2, "free"] = $4
	figure[file, $2, "both"] = $3 + $4
	if (file == "base")
		order[n++] = $2
}

function change(name, what,    a, b)
{
	a = figure["base", name, what]
	b = figure["series", name, what]
	return a + 0 ? (b / a - 1) * 100 : 0
}

function shown(file, name, what,    x)
{
	x = figure[file, name, what]
	return x + 0 ? sprintf(x >= 100000 ? "%.0f" : "%.1f", x) : ""
}

function ratio(name, what)
{
	return figure["base", name, what] + 0 ? sprintf("%+.2f%%", change(name, what)) : ""
}

function shown_bar(limit)
{
	return limit ~ /^\+-/ ? limit "%" : sprintf("%+g%%", limit)
}

# "+-" in a bar: neither better
function missed(percent, limit)
{
	if (limit ~ /^\+-/)
		return (percent < 0 ? -percent : percent) > substr(limit, 3) + 0
	return percent > limit
}

# Adds to the bars and the verdict of a case
function judge(name, what)
{
	if (!((name, what) in bar))
		return
	limits = limits (limits == "" ? "" : ", ") what " " shown_bar(bar[name, what])
	if (missed(change(name, what), bar[name, what])) {
		verdict = "MISSED"
		bad = 1
	} else if (verdict == "") {
		verdict = "ok"
	}
}

function to_json(name)
{
	printf "%s\n  \"%s\": { \"base\": [%s, %s], \"series\": [%s, %s], \"verdict\": \"%s\" }", comma, name,
		figure["base", name, "alloc"], figure["base", name, "free"],
		figure["series", name, "alloc"], figure["series", name, "free"], verdict > json
	comma = ","
}

END {
	print "instructions per block", "base alloc", "series alloc", "ratio", "base free", "series free", "ratio", "bar", "verdict"
	printf "{ \"series\": \"%s\", \"cases\": {", series > json
	for (i = 0; i < n; i++) {
		name = order[i]
		if (!(("series", name, "alloc") in figure)) {
			print name, shown("base", name, "alloc"), "missing"
			bad = 1
			continue
		}
		limits = verdict = ""
		judge(name, "alloc")
		judge(name, "free")
		judge(name, "both")
		print name, shown("base", name, "alloc"), shown("series", name, "alloc"), ratio(name, "alloc"),
			shown("base", name, "free"), shown("series", name, "free"), ratio(name, "free"), limits, verdict
		to_json(name)
		seen[name] = 1
	}
	print "\n} }" > json
	if (!calibrated["base"] || !calibrated["series"]) {
		print "no calibration on " (calibrated["base"] ? "series" : "base")
		bad = 1
	}
	for (name in has_bar) {
		if (!(name in seen)) {
			print "no case for the bar of: " name
			bad = 1
		}
	}
	exit bad > 0
}
