package peerstable

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Markdown is the tables of a run, a cell each.
func (r *Record) Markdown() string {
	var b strings.Builder
	r.head(&b)
	b.WriteString(r.Summary())
	for i := range r.Cells {
		r.table(&b, i)
	}
	r.foot(&b)
	return b.String()
}

func (r *Record) head(out *strings.Builder) {
	processes := "one process each"
	if r.Config.Single {
		processes = "all in one process"
	}
	fsync := "fsync before every acknowledgement"
	if !r.Config.Fsync {
		fsync = "WITHOUT fsync"
	}
	fmt.Fprintf(out, "\n%d replicas, %s, loopback TCP, %s, null state machine, %s, GOGC %d; %d interleaved rounds, medians (and lowest to highest of the rate); cells of %s.\n",
		r.Config.Replicas, processes, fsync, r.Config.API, r.Config.GOGC, r.Config.Rounds, r.Config.Length)
	fmt.Fprintf(out, "%s, %d cores, %s, %s on %s; commit %s; %s, took %s.\n",
		r.Env.CPU, r.Env.Cores, r.Env.Kernel, r.Env.Go, r.Env.Disk.Type, short(r.Env.Commit, r.Env.Modified), r.Started.Format(time.DateOnly), r.Elapsed.Round(time.Second))
	fmt.Fprintln(out, "Ratio: paxbench's rate by this engine's, median of the rounds' ratios. CPU and allocations are of all processes, per million commands and per command. Bytes per command and flushes per thousand commands are the device's, whoever else wrote.")
	if r.Partial {
		fmt.Fprintln(out, "\n**Partial: the run was interrupted.**")
	}
}

func (r *Record) foot(out *strings.Builder) {
	fmt.Fprintln(out)
	for _, e := range r.Engines {
		given := ""
		if e.Procs > 0 {
			given = fmt.Sprintf(" GOMAXPROCS %d in each process.", e.Procs)
		}
		fmt.Fprintf(out, "- %s: %s %s. %s.%s\n", e.Name, e.Module, e.Version, e.Settings, given)
	}
	for _, v := range r.Invalid {
		fmt.Fprintf(out, "- %s\n", v)
	}
}

// table is the table of one cell.
func (r *Record) table(out *strings.Builder, at int) {
	fmt.Fprintf(out, "\n**%s**\n\n", r.Cells[at])
	fmt.Fprintln(out, "| engine | commands/s | lowest - highest | ratio | p50 | p99 | p99.9 | CPU s/M | allocs | disk B | flushes/k |")
	fmt.Fprintln(out, "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
	for _, e := range r.Engines {
		all := r.of(e.Name, at)
		if len(all) == 0 {
			fmt.Fprintf(out, "| %s | - | | | | | | | | | |\n", e.Name)
			continue
		}
		rate := pick(all, func(s Sample) float64 { return s.PerSecond })
		fmt.Fprintf(out, "| %s | %s | %s - %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", e.Name,
			count(median(rate)), count(slices.Min(rate)), count(slices.Max(rate)), r.ratio(e.Name, at),
			nanos(median(pick(all, func(s Sample) float64 { return float64(s.Latency.P50) }))),
			nanos(median(pick(all, func(s Sample) float64 { return float64(s.Latency.P99) }))),
			nanos(median(pick(all, func(s Sample) float64 { return float64(s.Latency.P999) }))),
			significant(median(pick(all, func(s Sample) float64 { return s.CPUSeconds }))),
			significant(median(pick(all, func(s Sample) float64 { return s.Allocs }))),
			significant(median(pick(all, func(s Sample) float64 { return s.DiskBytes }))),
			significant(median(pick(all, func(s Sample) float64 { return s.Flushes }))))
	}
}

// Title is how a run was made, in a few words.
func (r *Record) Title() string {
	title := "a process for each replica"
	if r.Config.Single {
		title = "all replicas in one process"
	}
	if !r.Config.Fsync {
		title += ", without fsync"
	}
	return title
}

// Ratio is how many times the rate of an engine the first engine of ours reaches in the same round: the median over the
// rounds in which both were measured.
// Its own ratio is 0, and so is one without such a round.
func (r *Record) Ratio(engine string, at int) float64 {
	i := slices.IndexFunc(r.Engines, func(e Engine) bool { return Ours(e.Name) })
	if i < 0 || r.Engines[i].Name == engine {
		return 0
	}
	if v := r.byRound(r.Engines[i].Name, engine, at, func(s Sample) float64 { return s.PerSecond }); !math.IsNaN(v) {
		return v
	}
	return 0
}

// Rate is the median rate of an engine in a cell, if it was measured.
func (r *Record) Rate(engine string, at int) (rate float64, ok bool) {
	all := r.of(engine, at)
	if len(all) == 0 {
		return 0, false
	}
	return median(pick(all, func(s Sample) float64 { return s.PerSecond })), true
}

func (r *Record) of(engine string, at int) (all []Sample) {
	for _, s := range r.Samples {
		if s.Engine == engine && s.Cell == at {
			all = append(all, s)
		}
	}
	return all
}

func pick(all []Sample, what func(Sample) float64) (values []float64) {
	for _, s := range all {
		values = append(values, what(s))
	}
	return values
}

// median of at least one value.
func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// count writes a rate with three significant digits and a unit.
func count(v float64) string {
	switch {
	case v >= 1e6:
		return significant(v/1e6) + " M"
	case v >= 1e3:
		return significant(v/1e3) + " k"
	}
	return significant(v)
}

func nanos(v float64) string {
	switch {
	case v >= 1e9:
		return significant(v/1e9) + " s"
	case v >= 1e6:
		return significant(v/1e6) + " ms"
	}
	return significant(v/1e3) + " us"
}

// significant writes three significant digits, never rounding what is before the point away.
func significant(v float64) string {
	if v == 0 {
		return "0"
	}
	digits := max(0, 2-int(math.Floor(math.Log10(math.Abs(v)))))
	return strconv.FormatFloat(v, 'f', min(digits, 6), 64)
}

func short(commit string, modified bool) string {
	if len(commit) > 12 {
		commit = commit[:12]
	}
	if commit == "" {
		commit = "unknown"
	}
	if modified {
		commit += " and changes"
	}
	return commit
}

// ratio is that as a cell of the table: empty for the engine that the others are compared with.
func (r *Record) ratio(engine string, at int) string {
	if i := slices.IndexFunc(r.Engines, func(e Engine) bool { return Ours(e.Name) }); i < 0 || r.Engines[i].Name == engine {
		return ""
	}
	if v := r.Ratio(engine, at); v > 0 {
		return fmt.Sprintf("%.2f", v)
	}
	return "-"
}
