package peerstable

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Bare says whether an engine is the bare replicated pipe, which is a limit and no peer.
func Bare(name string) bool { return name == "pipe" }

// target is what a cell is to show against the best peer of the run. 0: nothing is asked.
type target struct {
	api         string
	size        int
	outstanding int
	rate        float64 // at least so many times its rate
	p50         float64 // at most so many times its p50
	p999        float64 // the same of p99.9
	bound       string  // what bounds it here, by profiles; "": not known
}

// What bounds the engine where targets are missed, as profiles and counts have it: bench/peers/README.md says how they were
// made and what they showed.
const (
	oneBound   = "most of the time is that of the disk, which three logs share: write and flush at the leader take three quarters of it, and what a follower does runs beside them. The rest is the way to a follower and back and the completion. Every engine here, and the pipe, has the same disk in its way."
	pathBound  = "write and flush of the three logs and one round trip, as in the pipe."
	blockMany  = "half of the processor time is the kernel's, for copies between sockets and the log's writes past the page cache, the same bytes as in the pipe. Beside it stand the building of the blocks, which is the load's, the copy of blocks into a batch, and memory that is new to the process because the log keeps what a snapshot does not cover."
	kibBound   = "the disk: three replicas write three copies of each byte to one device, whoever they are."
	callsBound = "the leader's process: the load itself, the gathering of single commands and their completions."
)

// targets are those that were set before anything was measured. For each cell the processor time is to be at most
// targetCPU of the best peer's, and the rate at least targetPipe of the bare pipe's.
var targets = []target{
	{"call", 16, 16384, 3, 0, 0, callsBound},
	{"call", 16, 4096, 3, 0.5, 0, callsBound},
	{"call", 16, 256, 2.5, 0.6, 0, ""},
	{"call", 16, 1, 0, 0.8, 0, oneBound},
	{"open", 16, 16384, 0, 0, 0.5, ""},
	{"block", 16, 16384, 3, 0, 0, blockMany},
	{"block", 16, 256, 3, 0.5, 0, pathBound},
	{"block", 1024, 256, 2, 0, 0, pathBound},
	{"block", 1024, 16384, 2, 0, 0, kibBound},
}

const (
	targetCPU  = 1.0 / 3
	targetPipe = 0.6
)

// Summary is the table of all cells against the best peer of each, with what was asked.
func (r *Record) Summary() string {
	var b strings.Builder
	ours := slices.IndexFunc(r.Engines, func(e Engine) bool { return Ours(e.Name) })
	if ours < 0 || !slices.ContainsFunc(r.Engines, func(e Engine) bool { return !Ours(e.Name) && !Bare(e.Name) }) {
		return ""
	}
	name := r.Engines[ours].Name
	fmt.Fprintf(&b, "\n**%s against the best peer of each column** (median of the rounds' ratios; in brackets what was asked, **bold** where it is missed)\n\n", name)
	fmt.Fprintf(&b, "| work | rate | best peer | p50 | p99.9 | CPU [%.2f] | of the pipe [%.1f] | p50 by the pipe's |\n|---|--:|---|--:|--:|--:|--:|--:|\n", targetCPU, targetPipe)
	var bounds strings.Builder
	for at, c := range r.Cells {
		if len(r.of(name, at)) == 0 {
			continue
		}
		var t target
		if i := slices.IndexFunc(targets, func(t target) bool {
			return t.api == c.API && t.size == c.Size && t.outstanding == c.Outstanding
		}); i >= 0 && r.Config.Fsync {
			t = targets[i]
		}
		rate, best := r.against(name, at, true, func(s Sample) float64 { return s.PerSecond })
		p50, _ := r.against(name, at, false, func(s Sample) float64 { return float64(s.Latency.P50) })
		p999, _ := r.against(name, at, false, func(s Sample) float64 { return float64(s.Latency.P999) })
		cpu, _ := r.against(name, at, false, cpuOf)
		pipe := r.byRound(name, "pipe", at, func(s Sample) float64 { return s.PerSecond })
		pipe50 := r.byRound(name, "pipe", at, func(s Sample) float64 { return float64(s.Latency.P50) })
		cpuMost, pipeLeast, pipe50Most := targetCPU, targetPipe, 0.0
		if !r.Config.Fsync {
			cpuMost, pipeLeast = 0, 0
		}
		if c.Outstanding == 1 {
			pipe50Most = 1.25
		}
		if c.API == "open" {
			rate = math.NaN() // each engine has a rate of its own
		}
		row := fmt.Sprintf("| %s | %s | %s | %s | %s | %s | %s | %s |\n", c, asked(rate, t.rate, true), best, asked(p50, t.p50, false), asked(p999, t.p999, false),
			against(cpu, cpuMost, false), against(pipe, pipeLeast, true), asked(pipe50, pipe50Most, false))
		b.WriteString(row)
		if !strings.Contains(row, "**") {
			continue
		}
		var why []string
		if t.bound != "" {
			why = append(why, t.bound)
		}
		if need, most := t.rate/rate*r.disk(name, at), r.diskMost(); rate < t.rate && need > most {
			why = append(why, fmt.Sprintf("The rate asked for takes %s/s of the disk, which gave nobody in this run more than %s/s.", megabytes(need), megabytes(most)))
		}
		mine, bare := r.middle(name, at, cpuOf), r.middle("pipe", at, cpuOf)
		if want := cpuMost / cpu * mine; cpu > cpuMost && want < bare {
			why = append(why, fmt.Sprintf("The processor time asked for, %s s/M, is less than that of the pipe, which is no engine: %s (paxbench: %s).", significant(want), significant(bare), significant(mine)))
		}
		if len(why) > 0 {
			fmt.Fprintf(&bounds, "- %s: %s\n", c, strings.Join(why, " "))
		}
	}
	if bounds.Len() > 0 {
		fmt.Fprintf(&b, "\nWhat bounds the rows in bold, by profiles (bench/peers/README.md) and by what this run measured:\n\n%s", &bounds)
	}
	return b.String()
}

func cpuOf(s Sample) float64 { return s.CPUSeconds }

// middle is the median of a value; NaN: there is none.
func (r *Record) middle(engine string, at int, what func(Sample) float64) float64 {
	v := pick(r.of(engine, at), what)
	if len(v) == 0 {
		return math.NaN()
	}
	return median(v)
}

// disk is how many bytes a second the device wrote for an engine.
func (r *Record) disk(engine string, at int) float64 {
	return r.middle(engine, at, func(s Sample) float64 { return s.PerSecond * s.DiskBytes })
}

// diskMost is the most that it wrote for anybody, whatever the work.
func (r *Record) diskMost() (most float64) {
	for _, e := range r.Engines {
		for at := range r.Cells {
			if v := r.disk(e.Name, at); v > most {
				most = v
			}
		}
	}
	return most
}

func megabytes(bytes float64) string { return significant(bytes/1e6) + " MB" }

// against is the ratio to the peer that has the most of a value, or the least: the one which gives ours the worst ratio.
func (r *Record) against(ours string, at int, most bool, what func(Sample) float64) (ratio float64, peer string) {
	ratio = math.NaN()
	for _, e := range r.Engines {
		if Ours(e.Name) || Bare(e.Name) {
			continue
		}
		v := r.byRound(ours, e.Name, at, what)
		if !math.IsNaN(v) && (math.IsNaN(ratio) || most == (v < ratio)) {
			ratio, peer = v, e.Name
		}
	}
	return ratio, peer
}

// byRound is the median over the rounds of a value of one engine by that of another; NaN: no round has both.
func (r *Record) byRound(engine, other string, at int, what func(Sample) float64) float64 {
	var ratios []float64
	for _, a := range r.of(engine, at) {
		for _, b := range r.of(other, at) {
			if a.Round == b.Round && what(b) > 0 {
				ratios = append(ratios, what(a)/what(b))
			}
		}
	}
	if len(ratios) == 0 {
		return math.NaN()
	}
	return median(ratios)
}

// asked writes a ratio and what was asked of it.
func asked(v, want float64, least bool) string {
	if want == 0 || math.IsNaN(v) {
		return against(v, want, least)
	}
	return fmt.Sprintf("%s [%s]", against(v, want, least), significant(want))
}

// against writes a ratio, bold if it misses what was asked.
func against(v, want float64, least bool) string {
	switch {
	case math.IsNaN(v):
		return ""
	case want > 0 && (v < want) == least && v != want:
		return "**" + significant(v) + "**"
	}
	return significant(v)
}
