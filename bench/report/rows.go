package report

import (
	"fmt"
	"html"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/paxbench/paxbench/bench/result"
)

// row is a line of a rows chart: a bar up to value, or a range from p50 to p99 with whiskers to the maximum.
type row struct {
	label string
	color int
	group bool // a little space before it
	faint bool // must not be used as it is: an invalid run
	value float64
	span  result.Latency
	text  string // at the right; "": what is drawn, in words
}

// rows is a chart of horizontal bars (spans false) or ranges, one below the other.
type rows struct {
	title string
	label string // of the axis of bars
	unit  unit
	log   bool
	spans bool
	rows  []row
}

const (
	rowGap    = 10.0 // before a group
	rowsTop   = 8.0
	rowsFoot  = 40.0
	textWidth = 7.1 // of a character, about
)

// rowHeight is that of a row: few rows are given more room.
func (r *rows) rowHeight() float64 { return min(max(200/float64(max(len(r.rows), 1)), 24), 38) }

// height is that of the view box.
func (r *rows) height() float64 {
	h := rowsTop + rowsFoot
	for i := range r.rows {
		h += r.rowHeight()
		if r.rows[i].group && i > 0 {
			h += rowGap
		}
	}
	return h
}

func (r *rows) axis() axis {
	low, high := math.Inf(1), 0.0
	for _, x := range r.rows {
		if r.spans {
			if x.span.Count > 0 {
				low, high = min(low, float64(max(x.span.P50, 1))), max(high, float64(x.span.Max))
			}
			continue
		}
		low, high = min(low, x.value), max(high, x.value)
	}
	return fit(r.unit, r.log, low, high)
}

// svg writes the chart for embedding in HTML.
func (r *rows) svg() string {
	return fmt.Sprintf(`<svg class="chart" viewBox="0 0 %g %s" role="img" aria-label="%s">%s</svg>`,
		chartWidth, num(r.height()), html.EscapeString(r.title), r.body())
}

func (r *rows) body() string {
	labels, texts := 0, 0
	for i := range r.rows {
		labels = max(labels, utf8.RuneCountInString(r.rows[i].label))
		texts = max(texts, utf8.RuneCountInString(r.words(&r.rows[i])))
	}
	a := r.axis()
	left, right := min(float64(labels)*textWidth+14, chartWidth/2), chartWidth-float64(texts)*textWidth-14
	x := func(v float64) float64 { return left + a.at(v)*(right-left) }
	foot, rowHeight := r.height()-rowsFoot, r.rowHeight()
	var b strings.Builder
	for _, t := range a.ticks(5) {
		at := num(x(t.value))
		fmt.Fprintf(&b, `<line class="grid%s" x1="%s" y1="%g" x2="%s" y2="%g"/>`, minor(t), at, rowsTop, at, foot)
		if t.label != "" {
			fmt.Fprintf(&b, `<text x="%s" y="%g" text-anchor="middle">%s</text>`, at, foot+17, html.EscapeString(t.label))
		}
	}
	y := rowsTop
	for i := range r.rows {
		w := &r.rows[i]
		if w.group && i > 0 {
			y += rowGap
		}
		class := "s" + strconv.Itoa(w.color%colors)
		if w.faint {
			class += " faint"
		}
		fmt.Fprintf(&b, `<g class="%s"><text class="name" x="%s" y="%g" text-anchor="end">%s</text>`, class, num(left-8), y+rowHeight/2+4, html.EscapeString(w.label))
		if r.spans {
			span(&b, w, x, y+rowHeight/2)
		} else {
			fmt.Fprintf(&b, `<rect class="bar" x="%s" y="%g" width="%s" height="16" rx="2"/>`, num(left), y+rowHeight/2-8, num(max(x(w.value)-left, 1)))
		}
		fmt.Fprintf(&b, `<text class="value" x="%s" y="%g">%s</text></g>`, num(right+10), y+rowHeight/2+4, html.EscapeString(r.words(w)))
		y += rowHeight
	}
	if r.spans {
		fmt.Fprintf(&b, `<text class="label" x="%s" y="%g" text-anchor="middle">dot p50, bar to p99, thin bar to p99.9, line to the maximum; right: p50 / p99</text>`, num((left+right)/2), r.height()-5)
	} else {
		fmt.Fprintf(&b, `<text class="label" x="%s" y="%g" text-anchor="middle">%s</text>`, num((left+right)/2), r.height()-5, html.EscapeString(r.label))
	}
	return b.String()
}

// words is what stands at the right of a row.
func (r *rows) words(w *row) string {
	switch {
	case w.text != "":
		return w.text
	case r.spans && w.span.Count == 0:
		return "nothing recorded"
	case r.spans:
		return result.Duration(w.span.P50) + " / " + result.Duration(w.span.P99)
	}
	return r.unit.short(w.value)
}

func span(b *strings.Builder, w *row, x func(float64) float64, mid float64) {
	l := &w.span
	if l.Count == 0 {
		return
	}
	p50, p99, p999, top := x(float64(l.P50)), x(float64(l.P99)), x(float64(l.P999)), x(float64(l.Max))
	fmt.Fprintf(b, `<line class="whisker" x1="%s" y1="%g" x2="%s" y2="%g"/><line class="whisker" x1="%s" y1="%g" x2="%s" y2="%g"/>`,
		num(p999), mid, num(top), mid, num(top), mid-4, num(top), mid+4)
	fmt.Fprintf(b, `<rect class="bar tail" x="%s" y="%g" width="%s" height="6"/>`, num(p99), mid-3, num(max(p999-p99, 0)))
	fmt.Fprintf(b, `<rect class="bar" x="%s" y="%g" width="%s" height="12" rx="2"/>`, num(p50), mid-6, num(max(p99-p50, 1)))
	fmt.Fprintf(b, `<circle class="dot" cx="%s" cy="%g" r="4.5"/>`, num(p50), mid)
}
