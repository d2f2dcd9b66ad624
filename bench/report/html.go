package report

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/paxbench/paxbench/bench/result"
)

//go:embed page.tmpl
var pageText string

//go:embed page.css
var pageStyle string

//go:embed page.js
var pageScript string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// page is what the template shows.
type page struct {
	Title, Subtitle string
	Style           template.CSS
	Script          template.JS
	Sections        []template.HTML // of scenarios
	Runs            []pageRun
	Single          *pageRun // of a report on one run
	Comparison      *comparison
	Differences     *result.Table
	Plots           []plot
}

type pageRun struct {
	Name, Prefix, Title string
	Color               int
	Voided              bool
	Safety              string
	Details, Invalid    []string
	Notes               []string
	Figures             []figure
	Verdicts            []verdict
	Tables              []pageTable
	Facts, Settings     [][]string
}

type pageTable struct {
	result.Table
	HasHead bool
	Words   bool // the last column is words
}

// figure is a number in large print.
type figure struct{ Name, Value, Unit, Note string }

type verdict struct{ Class, Name, Text string }

type comparison struct {
	Head []string
	Rows []comparisonRow
}

type comparisonRow struct {
	Name  string
	Color int
	Cells []string
}

type plot struct {
	Title, Note string
	Wide        bool // alone in its row
	SVG         template.HTML
	Legend      []legendEntry
}

type legendEntry struct {
	Name  string
	Line  int
	Color int
	Dash  bool
}

// HTML writes one file that shows the runs in a browser, overlaid if there are several. It needs nothing else: styles,
// script and plots are in it, and its content security policy forbids whatever would come over a network.
func HTML(w io.Writer, runs []Run) error {
	if len(runs) == 0 {
		return fmt.Errorf("report: no results")
	}
	var p page
	p.add(runs)
	return p.write(w)
}

// add shows runs.
func (p *page) add(runs []Run) {
	if len(runs) == 0 {
		return
	}
	shown := make([]Run, len(runs))
	for i, run := range runs {
		shown[i] = Run{run.Name, run.Result.Shown()}
		p.Runs = append(p.Runs, runOf(shown, i))
	}
	first := shown[0].Result
	title, subtitle := strconv.Itoa(len(runs))+" results", ""
	if len(runs) == 1 {
		title, p.Single = first.Title(), &p.Runs[0]
		subtitle = strings.Join([]string{runs[0].Name, first.Started.UTC().Format("2006-01-02 15:04 UTC"), first.Facts()[0][1]}, " · ")
	} else {
		names := make([]string, len(runs))
		for i := range runs {
			names[i] = runs[i].Name
		}
		subtitle = strings.Join(names, " · ")
		p.Comparison, p.Differences = compare(shown), differences(shown)
	}
	if p.Title == "" {
		p.Title, p.Subtitle = title, subtitle
	}
	p.Plots = append(p.Plots, plots(shown)...)
}

func (p *page) write(w io.Writer) error {
	p.Style = template.CSS(styles()) //nolint:gosec // our own constants
	p.Script = template.JS(pageScript)
	var b strings.Builder
	if err := pageTemplate.Execute(&b, p); err != nil {
		return fmt.Errorf("report: html: %w", err)
	}
	return write(w, b.String())
}

// styles is the page's style sheet: light or dark as the reader's system is, or as the button says; light on paper.
func styles() string {
	return palette(":root", false) + "@media screen and (prefers-color-scheme:dark){" + palette(":root", true) + "}\n" +
		`@media screen{` + palette(`:root[data-theme="dark"]`, true) + palette(`:root[data-theme="light"]`, false) + "}\n" + chartStyle() + pageStyle
}

func runOf(runs []Run, i int) pageRun {
	r := runs[i].Result
	out := pageRun{
		Name: runs[i].Name, Color: i % colors, Title: r.Title(), Voided: r.Voided, Safety: r.SafetyWords(), Details: r.Safety.Details,
		Notes: r.Validity.Notes, Facts: r.Facts(), Settings: settings(r),
	}
	if len(runs) > 1 {
		out.Prefix = runs[i].Name + ": "
	}
	if r.Validity.Verdict == result.Invalid {
		out.Invalid = r.Validity.Reasons
	}
	for _, t := range r.Tables() {
		out.Tables = append(out.Tables, pageTable{t, strings.Join(t.Head, "") != "", t.Head[len(t.Head)-1] == "" && len(t.Rows[0][len(t.Head)-1]) > 12})
	}
	if r.Voided {
		return out
	}
	p, l := &r.Throughput, &r.Latency.Response
	out.Figures = []figure{
		{"throughput", result.Count(p.OpsPerSec), "ops/s", fmt.Sprintf("%s failed, %s unknown", result.Count(float64(p.Failed)), result.Count(float64(p.Unknown)))},
		duration("p50", l.P50), duration("p99", l.P99), duration("p99.9", l.P999), duration("max", l.Max),
	}
	out.Verdicts = verdicts(r)
	return out
}

func duration(name string, d int64) figure {
	value, unit, _ := strings.Cut(result.Duration(d), " ")
	return figure{name, value, unit, "response"}
}

func verdicts(r *result.Result) (all []verdict) {
	class := map[string]string{result.OK: "good", result.Violated: "bad", result.Valid: "good", result.Invalid: "bad"}
	all = append(all, verdict{class[r.Safety.Verdict], "Safety " + r.Safety.Verdict, r.SafetyWords()},
		verdict{class[r.Validity.Verdict], "Measurement", r.Validity.Verdict})
	for _, o := range r.SLOs {
		v := verdict{"good", "Objective met", o.Text + ", measured " + o.Shown()}
		if !o.Met {
			v.Class, v.Name = "bad", "Objective missed"
		}
		all = append(all, v)
	}
	return all
}

// plot is the chart with its legend.
func (c *chart) plot(note string) plot {
	p := plot{Title: c.title, Note: note, SVG: template.HTML(c.svg())} //nolint:gosec // escaped by svg
	for i, l := range c.lines {
		p.Legend = append(p.Legend, legendEntry{l.name, i, l.color % colors, l.dash})
	}
	return p
}

// plots are the charts that the runs have data for.
func plots(runs []Run) (all []plot) {
	for _, c := range []struct {
		*chart
		note string
	}{
		{percentiles(runs), "response times of acknowledged operations; the axis stretches towards 100%"},
		{throughput(runs), "acknowledged operations per second"},
		{latencies(runs), "of what was acknowledged in the interval, whenever it was due"},
		{backlog(runs), "a queue that grows is a cluster that does not keep up"},
		{memory(runs), "objects and garbage; a gap is a node that did not answer"},
	} {
		if c.chart == nil {
			continue
		}
		all = append(all, c.plot(c.note))
	}
	if s := stages(runs); s != nil {
		p := plot{Title: "Stages", Note: "inside the cluster, per batch; they overlap", SVG: template.HTML(s.svg())} //nolint:gosec // escaped by svg
		if len(runs) > few {                                                                                         // too high to stand beside another
			p.Wide = true
			all = append(all, p)
		} else {
			all = slices.Insert(all, min(len(all), 3), p)
		}
	}
	if n := slices.IndexFunc(all, func(p plot) bool { return p.Wide }); n%2 == 1 {
		all[n-1].Wide = true
	} else if n < 0 && len(all)%2 == 1 {
		all[len(all)-1].Wide = true
	}
	return all
}

// compare is a row per run.
func compare(runs []Run) *comparison {
	c := &comparison{Head: []string{"", "ops/s", "p50", "p90", "p99", "p99.9", "max", "cpu/op", "fsyncs/op", "messages/op", "safety", "measurement"}}
	for i, run := range runs {
		r, l := run.Result, run.Result.Latency.Response
		row := comparisonRow{Name: run.Name, Color: i % colors}
		if r.Voided {
			row.Cells = []string{"-", "-", "-", "-", "-", "-", "-", "-", "-"}
		} else {
			row.Cells = []string{
				result.Count(r.Throughput.OpsPerSec), result.Duration(l.P50), result.Duration(l.P90), result.Duration(l.P99),
				result.Duration(l.P999), result.Duration(l.Max), result.Duration(int64(r.Cost.CPU)), three(r.Cost.Fsyncs), three(r.Cost.Messages),
			}
		}
		row.Cells = append(row.Cells, r.Safety.Verdict, r.Validity.Verdict)
		c.Rows = append(c.Rows, row)
	}
	return c
}

// settings is everything that was asked for and where it ran, by the names of the record.
func settings(r *result.Result) [][]string {
	rows := flatten("", r.Config)
	rows = append(rows, []string{"seed", strconv.FormatUint(r.Seed, 10)})
	return append(rows, flatten("env.", r.Env)...)
}

// flatten lists the JSON fields of v in the order of their names, with times as people write them.
func flatten(prefix string, v any) (rows [][]string) {
	text, err := json.Marshal(v)
	if err != nil {
		panic("BUG: report: " + err.Error())
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(text, &fields) == nil {
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			rows = append(rows, flatten(prefix+name+".", fields[name])...)
		}
		return rows
	}
	name, value := strings.TrimSuffix(prefix, "."), string(text)
	var list []string
	var word string
	if json.Unmarshal(text, &list) == nil {
		value = strings.Join(list, ", ")
	} else if json.Unmarshal(text, &word) == nil {
		value = word
	} else if d, err := strconv.ParseInt(value, 10, 64); err == nil && strings.HasSuffix(name, "_ns") {
		name, value = strings.TrimSuffix(name, "_ns"), trim(result.Duration(d))
	}
	return [][]string{{name, value}}
}

// differences are the settings, and what of the machine matters, in which the runs are not alike.
func differences(runs []Run) *result.Table {
	t := &result.Table{Head: []string{"setting"}}
	values := map[string][]string{}
	var names []string
	for i, run := range runs {
		t.Head = append(t.Head, run.Name)
		for _, row := range settings(run.Result) {
			name := row[0]
			if values[name] == nil {
				values[name] = slices.Repeat([]string{"-"}, len(runs))
				names = append(names, name)
			}
			values[name][i] = row[1]
		}
	}
	for _, name := range names {
		v := values[name]
		varies := name == "seed" || strings.HasSuffix(name, "free_bytes") || name == "env.disk.path" || name == "env.steal"
		if !varies && slices.ContainsFunc(v, func(s string) bool { return s != v[0] }) {
			t.Rows = append(t.Rows, append([]string{name}, v...))
		}
	}
	if len(t.Rows) == 0 {
		return nil
	}
	return t
}
