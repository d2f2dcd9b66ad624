package report

import (
	"cmp"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/paxbench/paxbench/bench/peerstable"
	"github.com/paxbench/paxbench/bench/result"
)

const (
	peersPrefix    = "peers" // of the files' names
	failoverPrefix = "peers-failover"
)

// Peers is the newest of each kind of record that bench/peers makes, and the files they are in.
type Peers struct {
	Runs         []PeersRun // the newest of each Title, in the order of the files' names
	Failover     *peerstable.Failover
	FailoverFile string
	Curves       []CurveFile // see curvesInOrder
}

// CurveFile is a curve and the file that it is in.
type CurveFile struct {
	*peerstable.Curve
	File string
}

// PeersRun is a comparison and the file that it is in.
type PeersRun struct {
	*peerstable.Record
	File string
}

// ReadPeers reads the records of bench/peers in a directory and keeps the newest of each kind.
func ReadPeers(dir fs.FS) (p Peers, err error) {
	names, err := fs.Glob(dir, peersPrefix+"*.json")
	if err != nil {
		return p, fmt.Errorf("report: %w", err)
	}
	for _, name := range names {
		b, err := fs.ReadFile(dir, name)
		if err != nil {
			return p, fmt.Errorf("report: %w", err)
		}
		if strings.HasPrefix(name, failoverPrefix) {
			r, err := peerstable.DecodeFailover(b, name)
			if err != nil {
				return p, fmt.Errorf("report: %w", err)
			}
			if p.Failover == nil || r.Started.After(p.Failover.Started) {
				p.Failover, p.FailoverFile = r, name
			}
			continue
		}
		r, err := peerstable.Decode(b, name)
		if err != nil {
			return p, fmt.Errorf("report: %w", err)
		}
		p.keep(PeersRun{r, name})
	}
	slices.SortStableFunc(p.Runs, func(a, b PeersRun) int { return cmp.Compare(a.remote(), b.remote()) })
	return p, p.readCurves(dir)
}

// remote is how far a run is from what the comparison is about, a process for each replica and fsync: those stand first.
func (r PeersRun) remote() (n int) {
	if r.Config.Single {
		n++
	}
	if !r.Config.Fsync {
		n += 2
	}
	return n
}

// keep replaces an older run of the same kind.
func (p *Peers) keep(r PeersRun) {
	i := slices.IndexFunc(p.Runs, func(o PeersRun) bool { return o.Title() == r.Title() })
	switch {
	case i < 0:
		p.Runs = append(p.Runs, r)
	case r.Started.After(p.Runs[i].Started):
		p.Runs[i] = r
	}
}

func (p Peers) section(b *strings.Builder, where string, plots map[string]string) {
	p.peersSection(b, where, plots)
	p.curveSection(b, where, plots)
}

func (p Peers) peersSection(b *strings.Builder, where string, plots map[string]string) {
	b.WriteString("## Beside other engines\n\n")
	if len(p.Runs) == 0 {
		b.WriteString("Nothing is recorded yet: `make peers` does, see bench/peers/README.md.\n")
	} else {
		b.WriteString("The same work under the same fsync policy, interleaved on one machine; how, and where it is unfair in both directions, is in bench/peers/README.md. The row `pipe` is the bare\n" +
			"replicated pipe, no engine: the ratio there is the fraction of it that paxbench reaches.\n")
	}
	for i, r := range p.Runs {
		fmt.Fprintf(b, "\n### %s\n\nRecord: [%[2]s](%[3]s/%[2]s).\n\n", strings.ToUpper(r.Title()[:1])+r.Title()[1:], r.File, where)
		if i == 0 {
			r.plot(b, where, plots)
		}
		b.WriteString(r.Markdown())
	}
	b.WriteString("\n## Failover beside other engines\n\n")
	if p.Failover == nil {
		b.WriteString("Nothing is recorded yet: `make peers-failover` does.\n")
		return
	}
	fmt.Fprintf(b, "Record: [%[1]s](%[2]s/%[1]s).\n", p.FailoverFile, where)
	b.WriteString(p.Failover.Markdown())
}

// plot shows, of each way of proposing, the cell with the smallest commands and the most of them outstanding.
func (r PeersRun) plot(b *strings.Builder, where string, plots map[string]string) {
	for _, api := range []string{"call", "block"} {
		best := -1
		for i, c := range r.Cells {
			if c.API != api {
				continue
			}
			if best < 0 || c.Size < r.Cells[best].Size || c.Size == r.Cells[best].Size && c.Outstanding > r.Cells[best].Outstanding {
				best = i
			}
		}
		if best < 0 {
			continue
		}
		chart := &rows{title: r.Cells[best].String() + ": throughput", label: "commands per second, median of the rounds", unit: perSecond}
		for _, e := range r.Engines {
			if rate, ok := r.Rate(e.Name, best); ok {
				color := 1
				if peerstable.Ours(e.Name) {
					color = 0
				}
				chart.rows = append(chart.rows, row{label: e.Name, color: color, value: rate, text: result.Count(rate)})
			}
		}
		if len(chart.rows) == 0 {
			continue
		}
		file := peersPrefix + "-" + api + ".svg"
		plots[file] = chart.file()
		fmt.Fprintf(b, "![%s](%s/%s/%s)\n", cell(chart.title), where, PlotsDir, file)
	}
}
