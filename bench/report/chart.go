package report

import (
	"encoding/json"
	"fmt"
	"html"
	"math"
	"strconv"
	"strings"
)

// point is a value at a place; a NaN value interrupts the line.
type point struct{ x, y float64 }

// line is one line of a chart.
type line struct {
	name   string
	color  int
	dash   bool
	thin   bool
	step   bool // each value holds from the place before up to its own
	points []point
}

// band is a stretch of time in which something was wrong.
type band struct {
	from, to float64
	open     bool // it did not end
	label    string
	color    int // of the run, if there are several; otherwise bandColor
}

// bandColor marks what was broken on purpose.
const bandColor = 100

// chart is lines over a common place: an SVG of its own, without anything from outside.
type chart struct {
	title  string // for those who cannot see it, and of a file of its own
	xLabel string
	x, y   axis
	lines  []line
	bands  []band
}

// The geometry of all charts, in units of the view box.
const (
	chartWidth, chartHeight = 560.0, 280.0
	padLeft, padRight       = 62.0, 20.0
	padTop, padBottom       = 14.0, 42.0
)

func (c *chart) px(x float64) float64 {
	return padLeft + c.x.at(x)*(chartWidth-padLeft-padRight)
}

func (c *chart) py(y float64) float64 {
	return chartHeight - padBottom - c.y.at(y)*(chartHeight-padTop-padBottom)
}

// svg writes the chart for embedding in HTML, where the page has the styles and a legend.
func (c *chart) svg() string {
	return fmt.Sprintf(`<svg class="chart" viewBox="0 0 %g %g" role="img" aria-label="%s" data-chart="%s">%s<g class="hover"></g></svg>`,
		chartWidth, chartHeight, html.EscapeString(c.title), html.EscapeString(c.data()), c.body())
}

// body draws: what is later lies above.
func (c *chart) body() string {
	var b strings.Builder
	c.grid(&b)
	for _, x := range c.bands {
		c.band(&b, x)
	}
	for i := range c.lines {
		c.path(&b, i)
	}
	for _, x := range c.bands {
		c.bandLabel(&b, x)
	}
	fmt.Fprintf(&b, `<line class="axis" x1="%g" y1="%g" x2="%g" y2="%g"/>`, padLeft, chartHeight-padBottom, chartWidth-padRight, chartHeight-padBottom)
	return b.String()
}

func (c *chart) grid(b *strings.Builder) {
	for _, t := range c.y.ticks(5) {
		y := c.py(t.value)
		fmt.Fprintf(b, `<line class="grid%s" x1="%g" y1="%s" x2="%g" y2="%s"/>`, minor(t), padLeft, num(y), chartWidth-padRight, num(y))
		if t.label != "" {
			fmt.Fprintf(b, `<text x="%g" y="%s" text-anchor="end">%s</text>`, padLeft-8, num(y+4), html.EscapeString(t.label))
		}
	}
	for _, t := range c.x.ticks(7) {
		x := c.px(t.value)
		fmt.Fprintf(b, `<line class="grid%s" x1="%s" y1="%g" x2="%s" y2="%g"/>`, minor(t), num(x), padTop, num(x), chartHeight-padBottom)
		if t.label != "" {
			fmt.Fprintf(b, `<text x="%s" y="%g" text-anchor="middle">%s</text>`, num(x), chartHeight-padBottom+17, html.EscapeString(t.label))
		}
	}
	fmt.Fprintf(b, `<text class="label" x="%g" y="%g" text-anchor="middle">%s</text>`,
		(padLeft+chartWidth-padRight)/2, chartHeight-6, html.EscapeString(c.xLabel))
}

func minor(t tick) string {
	if t.label == "" {
		return " minor"
	}
	return ""
}

// band draws a fault: shaded from the cut to the heal, with a line at each.
func (c *chart) band(b *strings.Builder, x band) {
	from, to := c.px(x.from), c.px(x.to)
	class := "band"
	if x.color != bandColor {
		class += " s" + strconv.Itoa(x.color%colors)
	}
	fmt.Fprintf(b, `<g class="%s"><rect x="%s" y="%g" width="%s" height="%g"/>`, class, num(from), padTop, num(max(to-from, 0.5)), chartHeight-padTop-padBottom)
	fmt.Fprintf(b, `<line x1="%s" y1="%g" x2="%s" y2="%g"/>`, num(from), padTop, num(from), chartHeight-padBottom)
	if !x.open {
		fmt.Fprintf(b, `<line class="heal" x1="%s" y1="%g" x2="%s" y2="%g"/>`, num(to), padTop, num(to), chartHeight-padBottom)
	}
	b.WriteString("</g>")
}

// bandLabel names a fault, above the lines.
func (c *chart) bandLabel(b *strings.Builder, x band) {
	if x.label == "" {
		return
	}
	anchor, at := "start", c.px(x.from)+4
	if at > chartWidth*0.75 {
		anchor, at = "end", at-8
	}
	fmt.Fprintf(b, `<g class="band"><text x="%s" y="%g" text-anchor="%s">%s</text></g>`, num(at), padTop+11, anchor, html.EscapeString(x.label))
}

// path draws line i. Where a value is missing the line is interrupted; a value alone becomes a dash.
func (c *chart) path(b *strings.Builder, i int) {
	l := &c.lines[i]
	class := "line s" + strconv.Itoa(l.color%colors)
	if l.dash {
		class += " dash"
	}
	if l.thin {
		class += " thin"
	}
	var d strings.Builder
	down, last := false, 0.0
	for k, p := range l.points {
		if math.IsNaN(p.y) {
			down = false
			continue
		}
		x, y := c.px(p.x), c.py(p.y)
		switch {
		case !down:
			fmt.Fprintf(&d, "M%s %s", num(x), num(y))
			if k+1 == len(l.points) || math.IsNaN(l.points[k+1].y) {
				d.WriteString("m-1.5 0h3") // else it could not be seen
			}
		case l.step:
			fmt.Fprintf(&d, "V%sH%s", num(y), num(x))
		case y == last:
			fmt.Fprintf(&d, "H%s", num(x))
		default:
			fmt.Fprintf(&d, "L%s %s", num(x), num(y))
		}
		down, last = true, y
	}
	fmt.Fprintf(b, `<path class="%s" data-line="%d" d="%s"/>`, class, i, d.String())
}

// num writes a coordinate to a tenth of a unit.
func num(v float64) string { return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64) }

// data is what the page's script needs to say what is under the pointer.
func (c *chart) data() string {
	type jsonLine struct {
		Name   string `json:"n"`
		Color  int    `json:"c"`
		Points string `json:"p"` // x y x y ...; "-" for none
	}
	out := struct {
		Box    [4]float64 `json:"box"` // left, right, top, bottom
		XUnit  unit       `json:"xu"`
		YUnit  unit       `json:"yu"`
		XRange [2]float64 `json:"x"`
		XLog   bool       `json:"xlog"`
		YRange [2]float64 `json:"y"`
		YLog   bool       `json:"ylog"`
		Lines  []jsonLine `json:"lines"`
	}{
		Box:   [4]float64{padLeft, chartWidth - padRight, padTop, chartHeight - padBottom},
		XUnit: c.x.unit, YUnit: c.y.unit, XLog: c.x.log, YLog: c.y.log,
		XRange: [2]float64{c.x.min, c.x.max}, YRange: [2]float64{c.y.min, c.y.max},
	}
	for _, l := range c.lines {
		fields := make([]string, 0, 2*len(l.points))
		for _, p := range l.points {
			y := "-"
			if !math.IsNaN(p.y) {
				y = strconv.FormatFloat(p.y, 'g', 4, 64)
			}
			fields = append(fields, strconv.FormatFloat(p.x, 'g', 6, 64), y)
		}
		out.Lines = append(out.Lines, jsonLine{l.name, l.color % colors, strings.Join(fields, " ")})
	}
	text, err := json.Marshal(out)
	if err != nil {
		panic("BUG: report: " + err.Error())
	}
	return string(text)
}
