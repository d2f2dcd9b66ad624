package report

import (
	"fmt"
	"html"
	"strconv"
	"strings"
	"unicode/utf8"
)

// colors is how many lines can be told apart; further ones begin again.
const colors = 8

var (
	lightColors = [colors]string{"#2a6fdb", "#d9480f", "#0b8a5e", "#9c36b5", "#a87900", "#0c8599", "#c2255c", "#5c6770"}
	darkColors  = [colors]string{"#6ea8ff", "#ff8a4c", "#45c997", "#d58cf0", "#e0b93b", "#4cc9dc", "#ff7ba5", "#a9b4be"}
)

// palette is the variables that all colours come from, for a selector.
func palette(selector string, dark bool) string {
	c, rest := lightColors, "--ink:#1c2128;--soft:#5a6572;--grid:#e4e8ed;--paper:#ffffff;--card:#f7f9fb;--edge:#d5dbe2;--bad:#c92a2a;--good:#1b7f4b;--fault:#c92a2a"
	if dark {
		c, rest = darkColors, "--ink:#e6eaef;--soft:#9aa6b3;--grid:#2a323c;--paper:#12161b;--card:#1a2027;--edge:#323c47;--bad:#ff7b7b;--good:#57cc8f;--fault:#ff7b7b"
	}
	var b strings.Builder
	b.WriteString(selector + "{" + rest)
	for i, v := range c {
		fmt.Fprintf(&b, ";--c%d:%s", i, v)
	}
	b.WriteString("}\n")
	return b.String()
}

// chartStyle is how charts look; the colours come from palette.
func chartStyle() string {
	var b strings.Builder
	for i := range colors {
		fmt.Fprintf(&b, ".s%d{--c:var(--c%d)}\n", i, i)
	}
	b.WriteString(`svg text{fill:var(--soft);font:12px system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;font-variant-numeric:tabular-nums}
svg text.name,svg text.value,svg text.title{fill:var(--ink)}
svg text.title{font-size:15px;font-weight:600}
.grid{stroke:var(--grid);stroke-width:1}
.grid.minor{opacity:.55}
.axis{stroke:var(--soft);stroke-width:1}
.line{fill:none;stroke:var(--c);stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.line.thin{stroke-width:1.2;opacity:.75}
.line.dash{stroke-dasharray:5 4;stroke-linecap:butt}
.bar{fill:var(--c);opacity:.8}
.bar.tail{opacity:.4}
.whisker{stroke:var(--c);stroke-width:1.4;opacity:.65}
.dot{fill:var(--paper);stroke:var(--c);stroke-width:2.5}
.faint{opacity:.4}
.band{--c:var(--fault)}
.band rect{fill:var(--c);opacity:.1}
.band line{stroke:var(--c);stroke-width:1.4}
.band line.heal{stroke-dasharray:3 3}
.band text{fill:var(--c);font-size:11px;paint-order:stroke;stroke:var(--card);stroke-width:3px}
`)
	for i := range colors {
		fmt.Fprintf(&b, ".band.s%d{--c:var(--c%d)}\n", i, i)
	}
	return b.String()
}

// file makes an SVG file of its own.
func (r *rows) file() string { return svgFile(r.title, r.height(), r.body()) }

// file makes an SVG file of its own, with a legend.
func (c *chart) file() string {
	const legend = 24.0
	var b strings.Builder
	b.WriteString(c.body())
	x := padLeft
	for _, l := range c.lines {
		class := "line s" + strconv.Itoa(l.color%colors)
		if l.dash {
			class += " dash"
		}
		y := chartHeight + legend/2 - 4
		fmt.Fprintf(&b, `<path class="%s" d="M%s %sh18"/><text class="name" x="%s" y="%s">%s</text>`,
			class, num(x), num(y), num(x+24), num(y+4), html.EscapeString(l.name))
		x += 24 + textWidth*float64(utf8.RuneCountInString(l.name)) + 16
	}
	return svgFile(c.title, chartHeight+legend, b.String())
}

// svgFile makes an SVG file with title and colours, light or dark as the reader's system is.
func svgFile(title string, height float64, body string) string {
	const head = 30.0
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %s" width="%g" height="%s" role="img" aria-label="%s">`,
		chartWidth, num(height+head), chartWidth, num(height+head), html.EscapeString(title))
	b.WriteString("\n<style>\n" + palette(":root", false) + "@media (prefers-color-scheme:dark){" + palette(":root", true) + "}\n" + chartStyle() + "</style>\n")
	fmt.Fprintf(&b, `<rect width="%g" height="%s" rx="6" style="fill:var(--paper)"/>`, chartWidth, num(height+head))
	fmt.Fprintf(&b, `<text class="title" x="14" y="22">%s</text>`, html.EscapeString(title))
	fmt.Fprintf(&b, `<g transform="translate(0 %g)">%s</g></svg>`, head, strings.ReplaceAll(body, "/><", "/>\n<"))
	b.WriteByte('\n')
	return b.String()
}
