package report

import (
	"cmp"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/paxbench/paxbench/bench/load"
	"github.com/paxbench/paxbench/bench/result"
)

// PlotsDir is where, beside the records, the plots of BENCHMARKS.md are.
const PlotsDir = "plots"

// family is a series of records in which one setting varies. A record belongs to it by its file's name: nodes-3.json
// is of the family nodes.
type family struct {
	prefix string
	title  string
	note   string
	label  func(c *result.Config) string  // of a record
	order  func(c *result.Config) float64 // of the records
}

var families = []family{
	{"nodes", "Cluster size", "Closed loop, everything durable; all nodes on one machine share its cores and its disk, so that more nodes are more work for it.",
		func(c *result.Config) string {
			return strconv.Itoa(c.Nodes) + map[bool]string{true: " node", false: " nodes"}[c.Nodes == 1]
		},
		func(c *result.Config) float64 { return float64(c.Nodes) }},
	{"fsync", "Fsync policy", "Only \"always\" keeps an acknowledged write through the power loss of a majority.",
		func(c *result.Config) string { return "fsync " + c.Fsync },
		func(c *result.Config) float64 {
			switch c.Fsync {
			case "always":
				return 0
			case "never":
				return 2
			}
			return 1
		}},
	{"value", "Value size", "Of large values fewer are outstanding; the records say how many.",
		func(c *result.Config) string { return c.ValueSize + " bytes" },
		func(c *result.Config) float64 { v, _ := strconv.ParseFloat(c.ValueSize, 64); return v }},
	{"window", "Window", "How many slots the leader may have under way. One is a protocol that waits for each batch.",
		func(c *result.Config) string {
			return strconv.Itoa(c.Window) + map[bool]string{true: " slot", false: " slots"}[c.Window == 1]
		},
		func(c *result.Config) float64 { return float64(c.Window) }},
	{"batch", "Batch size", "The most bytes that one slot carries.",
		func(c *result.Config) string { return load.FormatBytes(int64(c.BatchBytes)) },
		func(c *result.Config) float64 { return float64(c.BatchBytes) }},
	{"rate", "Latency at a rate", "Open loop: latency counts from when an operation was due.",
		func(c *result.Config) string { return result.Count(c.Rate) + "/s" },
		func(c *result.Config) float64 { return c.Rate }},
	{"fault", "Failures", "Open loop through a fault; each is one loss of one run, not a distribution.",
		func(c *result.Config) string { return strings.Join(c.Faults, " ") },
		func(c *result.Config) float64 { return 0 }},
	{"", "Other runs", "", nil, nil},
}

// ReadRuns reads the records of runs in a directory, in the order of their names.
func ReadRuns(dir fs.FS) ([]Run, error) {
	names, err := fs.Glob(dir, "*.json")
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	var runs []Run
	for _, name := range names {
		if strings.HasPrefix(name, peersPrefix) || strings.HasPrefix(name, curvePrefix) {
			continue
		}
		f, err := dir.Open(name)
		if err != nil {
			return nil, fmt.Errorf("report: %w", err)
		}
		r, err := result.Decode(f)
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("report: %s: %w", name, err)
		}
		runs = append(runs, Run{strings.TrimSuffix(path.Base(name), ".json"), r})
	}
	return runs, nil
}

// Benchmarks makes BENCHMARKS.md of records, and the plots that it shows, by their names in PlotsDir. where is the
// path from the document to the directory of the records.
func Benchmarks(runs []Run, peers Peers, where string) (document string, plots map[string]string) {
	var b strings.Builder
	plots = map[string]string{}
	fmt.Fprintf(&b, `# Benchmarks

This file is made of the recorded runs in [%[1]s/](%[1]s/README.md) by `+"`make report`"+`; no number is typed into it by hand. `+"`make results`"+` records them
anew on your machine. A run whose safety audit failed has no numbers here; one that calls itself invalid is marked.

`, where)
	if len(runs) == 0 {
		b.WriteString("Nothing is recorded yet. Measure on your own machine:\n\n    go run ./cmd/paxbench run\n    go run ./cmd/paxbench probe\n    make bench\n\n" +
			"The first prints the throughput and latencies of a cluster of three durable processes, together with what the machine's disk and loopback can do;\n" +
			"the second prints only the latter; the third runs the Go benchmarks of the library's parts.\n")
		peers.section(&b, where, plots)
		return b.String(), plots
	}
	shown := make([]Run, 0, len(runs))
	for _, run := range runs {
		if !strings.HasPrefix(run.Name, familyPrefix) { // their tables are in engine/PAXOS.md
			shown = append(shown, Run{run.Name, run.Result.Shown()})
		}
	}
	machines(&b, shown)
	for i := range families {
		f := &families[i]
		if members := f.members(shown); len(members) > 0 {
			f.section(&b, members, where, plots)
		}
	}
	peers.section(&b, where, plots)
	return b.String(), plots
}

// machines says where the runs were made; numbers of different machines do not compare.
func machines(b *strings.Builder, runs []Run) {
	var names []string
	count := map[string]int{}
	var slowest, fastest int64
	for _, run := range runs {
		facts := run.Result.Facts()
		name := facts[len(facts)-1][1]
		if count[name] == 0 {
			names = append(names, name)
		}
		count[name]++
		if p50 := run.Result.Limits.FsyncP50; p50 > 0 {
			slowest, fastest = max(slowest, p50), cmp.Or(min(fastest, p50), fastest, p50)
		}
	}
	b.WriteString("## Where this was measured\n\n")
	for _, name := range names {
		fmt.Fprintf(b, "- %d runs: %s\n", count[name], cell(name))
	}
	if len(names) > 1 {
		b.WriteString("\nThese are different machines or builds: numbers of one do not compare with those of another.\n")
	}
	if slowest > 0 {
		fmt.Fprintf(b, "\nAll nodes, the generator and their logs were on one machine, talking over its loopback. Beside the runs one fsync of its disk took a median of %s to %s;\n"+
			"where the two are far apart, other work shared the disk and the runs are no better than that.\n", result.Duration(fastest), result.Duration(slowest))
	}
	b.WriteString("\n")
}

// members are the records of a family, in its order.
func (f *family) members(runs []Run) (members []Run) {
	for _, run := range runs {
		prefix, _, _ := strings.Cut(run.Name, "-")
		known := slices.ContainsFunc(families, func(o family) bool { return o.prefix == prefix && prefix != "" })
		if f.prefix == prefix || f.prefix == "" && !known {
			members = append(members, run)
		}
	}
	slices.SortStableFunc(members, func(a, b Run) int {
		if f.order == nil {
			return 0
		}
		return cmp.Compare(f.order(&a.Result.Config), f.order(&b.Result.Config))
	})
	return members
}

func (f *family) section(b *strings.Builder, runs []Run, where string, plots map[string]string) {
	fmt.Fprintf(b, "## %s\n\n", f.title)
	if f.note != "" {
		fmt.Fprintf(b, "%s\n\n", f.note)
	}
	first := runs[0].Result.Facts()
	fmt.Fprintf(b, "Of the first: %s; %s; %s; %s.\n\n", cell(runs[0].Result.Title()), cell(first[0][1]), cell(first[1][1]), cell(first[2][1]))
	rate := &rows{title: f.title + ": throughput", label: "operations per second", unit: perSecond}
	response := &rows{title: f.title + ": response time", unit: nanos, log: true, spans: true}
	for _, run := range runs {
		r := run.Result
		if r.Voided {
			continue
		}
		invalid := r.Validity.Verdict == result.Invalid
		rate.rows = append(rate.rows, row{label: f.name(run), faint: invalid, value: r.Throughput.OpsPerSec, text: result.Count(r.Throughput.OpsPerSec)})
		response.rows = append(response.rows, row{label: f.name(run), color: 2, faint: invalid, span: r.Latency.Response})
	}
	name := cmp.Or(f.prefix, "other")
	if len(rate.rows) > 0 {
		add := func(file, title, svg string) {
			plots[file] = svg
			fmt.Fprintf(b, "![%s](%s/%s/%s)\n", cell(title), where, PlotsDir, file)
		}
		if f.prefix != "rate" && f.prefix != "fault" {
			add(name+"-throughput.svg", rate.title, rate.file())
		}
		add(name+"-latency.svg", response.title, response.file())
		for _, run := range runs {
			if over := latencies([]Run{run}); over != nil && len(run.Result.Faults) > 0 {
				over.title = run.Name + ": response time over time"
				add(run.Name+"-time.svg", over.title, over.file())
			}
		}
		b.WriteString("\n")
	}
	f.table(b, runs, where)
	f.faults(b, runs)
}

func (f *family) name(run Run) string {
	if f.label == nil {
		return run.Name
	}
	return f.label(&run.Result.Config)
}

func (f *family) table(b *strings.Builder, runs []Run, where string) {
	b.WriteString("| run | operations/s | p50 | p99 | p99.9 | max | cpu/op | fsyncs/op | messages/op | safety | measurement | record |\n" +
		"| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- | --- | --- |\n")
	for _, run := range runs {
		r, l := run.Result, run.Result.Latency.Response
		numbers := slices.Repeat([]string{"-"}, 8)
		if !r.Voided {
			numbers = []string{
				result.Count(r.Throughput.OpsPerSec), result.Duration(l.P50), result.Duration(l.P99), result.Duration(l.P999), result.Duration(l.Max),
				result.Duration(int64(r.Cost.CPU + 0.5)), three(r.Cost.Fsyncs), three(r.Cost.Messages),
			}
		}
		measurement := r.Validity.Verdict
		if measurement == result.Invalid {
			measurement = "**invalid**: " + cell(strings.Join(r.Validity.Reasons, "; "))
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | [%s](%s/%s.json) |\n",
			cell(f.name(run)), strings.Join(numbers, " | "), cell(r.Safety.Verdict), measurement, run.Name, where, run.Name)
	}
	b.WriteString("\n")
}

// faults tells what the faults of the runs did.
func (f *family) faults(b *strings.Builder, runs []Run) {
	head := false
	for _, run := range runs {
		for _, t := range run.Result.Tables() {
			if t.Name != "Faults" {
				continue
			}
			if !head {
				fmt.Fprintf(b, "Unavailable: from the fault to the first acknowledged operation that was due after it.\n\n| run | fault | %s |\n| --- | ---%s |\n",
					strings.Join(t.Head[1:], " | "), strings.Repeat(" | ---:", len(t.Head)-1))
				head = true
			}
			for _, cells := range t.Rows {
				fmt.Fprintf(b, "| %s | %s |\n", run.Name, strings.Join(cells, " | "))
			}
		}
	}
	if head {
		b.WriteString("\n")
	}
}

// cell keeps a text in its cell of a Markdown table.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "\r", " ", "<", "&lt;", ">", "&gt;").Replace(s)
}
