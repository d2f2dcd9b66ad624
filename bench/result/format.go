package result

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Duration writes nanoseconds with three significant digits and a unit: 987 ns, 12.3 µs, 1.20 ms, 2.00 s. Durations
// of 10 minutes and more are written in minutes.
func Duration(nanos int64) string {
	v := math.Abs(float64(nanos))
	switch {
	case nanos == 0:
		return "0"
	case v < 999.5:
		return strconv.FormatInt(nanos, 10) + " ns"
	case v < 999.5e3:
		return significant(float64(nanos)/1e3) + " µs"
	case v < 999.5e6:
		return significant(float64(nanos)/1e6) + " ms"
	case v < 600e9:
		return significant(float64(nanos)/1e9) + " s"
	}
	return significant(float64(nanos)/60e9) + " min"
}

// significant writes three significant digits, and all digits before the point.
func significant(v float64) string {
	switch a := math.Abs(v); {
	case a >= 99.95:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a >= 9.995:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case a >= 0.9995 || a == 0:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

// Count writes a number, rounded to a whole one from 100 on, with commas between thousands.
func Count(v float64) string {
	if math.Abs(v) < 99.95 && v != math.Trunc(v) {
		return significant(v)
	}
	s := strconv.FormatFloat(math.Abs(v), 'f', 0, 64)
	var b strings.Builder
	if v < 0 {
		b.WriteByte('-')
	}
	for i, c := range s {
		if i > 0 && (len(s)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(c)
	}
	return b.String()
}

// Bytes writes a number of bytes with three significant digits and a binary unit.
func Bytes(v float64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	i := 0
	for math.Abs(v) >= 1023.5 && i < len(units)-1 {
		v /= 1024
		i++
	}
	if i == 0 && v == math.Trunc(v) {
		return strconv.FormatFloat(v, 'f', 0, 64) + " B"
	}
	return significant(v) + " " + units[i]
}

// plural writes a count and its noun.
func plural(n uint64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return Count(float64(n)) + " " + noun + "s"
}

// grid is a table for people: the first column to the left, the others to the right.
type grid struct {
	rows [][]string
	left map[int]bool // columns besides the first that are aligned to the left
}

func (g *grid) add(cells ...string) { g.rows = append(g.rows, cells) }

// lines renders the table, two spaces between columns, no space at line ends.
func (g *grid) lines() []string {
	var widths []int
	for _, row := range g.rows {
		for i, c := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(c))
		}
	}
	out := make([]string, 0, len(g.rows))
	for _, row := range g.rows {
		var b strings.Builder
		for i, c := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c))
			if i > 0 {
				b.WriteString("  ")
			}
			if i == 0 || g.left[i] {
				b.WriteString(c + pad)
			} else {
				b.WriteString(pad + c)
			}
		}
		out = append(out, strings.TrimRight(b.String(), " "))
	}
	return out
}
