package result

import (
	"fmt"
	"strings"
)

// The parts of a report that are sentences, common to text and Markdown.

// title says what ran, in a line.
func (r *Result) title() string {
	c := &r.Config
	where := map[string][2]string{
		"process": {"process", "processes"},
		"inproc":  {"node in this process", "nodes in this process"},
		"remote":  {"node of a running cluster", "nodes of a running cluster"},
		"sim":     {"simulated node", "simulated nodes"},
	}[c.Cluster]
	if where[0] == "" {
		where = [2]string{"node", "nodes"}
	}
	which := 1
	if c.Nodes == 1 {
		which = 0
	}
	parts := []string{fmt.Sprintf("%d %s", c.Nodes, where[which])}
	if mode, ok := map[string]string{"multi": "Multi-Paxos", "basic": "basic Paxos", "fast": "Fast Paxos"}[c.Mode]; ok {
		parts = append(parts, mode)
	}
	parts = append(parts, "fsync "+orDash(c.Fsync), c.SM+" state machine")
	return strings.Join(parts, ", ")
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// load says how operations were issued.
func (r *Result) load() string {
	c := &r.Config
	api := "one completion per block"
	if c.API == "call" {
		api = "one completion per command"
	}
	clients := plural(uint64(c.Clients), "client")
	if c.Rate == 0 {
		return fmt.Sprintf("closed loop, %s x %s outstanding, %s", clients, Count(float64(c.Inflight)), api)
	}
	return fmt.Sprintf("open loop, %s operations/s, %s arrivals, %s, at most %s outstanding each, %s",
		Count(c.Rate), c.Arrival, clients, Count(float64(c.Inflight)), api)
}

// data says what the operations were.
func (r *Result) data() string {
	c := &r.Config
	what := "values"
	if c.SM == "null" {
		what = "commands"
	}
	parts := []string{c.ValueSize + "-byte " + what}
	if strings.Contains(c.ValueSize, ":") {
		parts[0] = what + " of " + c.ValueSize + " bytes"
	}
	if c.ValueRatio > 0 && c.ValueRatio < 1 {
		parts[0] += fmt.Sprintf(", compressible to %g", c.ValueRatio)
	}
	if c.SM != "null" {
		parts = append(parts, fmt.Sprintf("%s keys %s", Count(float64(c.Keys)), c.Dist))
		if c.Reads > 0 {
			parts = append(parts, fmt.Sprintf("%g%% reads (%s)", 100*c.Reads, c.ReadMode))
		} else {
			parts = append(parts, "no reads")
		}
	}
	return strings.Join(parts, ", ")
}

// engine says how the cluster was set up.
func (r *Result) engine() string {
	c := &r.Config
	if c.BatchBytes == 0 {
		return "as its nodes were started"
	}
	parts := []string{fmt.Sprintf("batches up to %s", Bytes(float64(c.BatchBytes)))}
	if c.BatchDelay > 0 {
		parts = append(parts, "delay "+Duration(c.BatchDelay))
	}
	parts = append(parts, fmt.Sprintf("window %d slots", c.Window), "compression "+orDash(c.Compress))
	if c.Procs > 0 {
		parts = append(parts, plural(uint64(c.Procs), "processor thread")+" a node")
	}
	return strings.Join(parts, ", ")
}

// span says how long was measured.
func (r *Result) span() string {
	s := Duration(r.Throughput.Window)
	if r.Config.Warmup > 0 {
		s += " after " + Duration(r.Config.Warmup) + " of warm-up"
	}
	if r.Partial {
		s += ", interrupted"
	}
	return s + fmt.Sprintf(", seed %d", r.Seed)
}

// machine says where it ran.
func (r *Result) machine() string {
	e := &r.Env
	parts := []string{plural(uint64(e.Cores), "core"), orDash(e.CPU)}
	if e.MemoryBytes > 0 {
		parts = append(parts, Bytes(float64(e.MemoryBytes))+" memory")
	}
	parts = append(parts, e.OS+" "+e.Kernel)
	if e.Disk.Type != "" {
		parts = append(parts, "logs on "+e.Disk.Type)
	}
	parts = append(parts, e.Go)
	if e.Commit != "" {
		commit := "commit " + e.Commit[:min(len(e.Commit), 12)]
		if e.Modified {
			commit += " and changes"
		}
		parts = append(parts, commit)
	}
	return strings.Join(parts, ", ")
}

// words says in plain words what became of the acknowledged writes.
func (s *Safety) words() string {
	lin := map[string]string{
		OK: "; the sampled history is linearizable", Violated: "; the sampled history is NOT linearizable",
		Unknown: "; whether the sampled history is linearizable could not be decided", Unchecked: "",
		Stale: "; the sampled history is linearizable but for the stale reads",
	}[s.Linearizable]
	if h := s.History; h != nil && (s.Linearizable == OK || s.Linearizable == Stale) {
		lin += fmt.Sprintf(" (%s in order", plural(uint64(h.Calls), "call"))
		if h.Keys > 0 {
			lin += fmt.Sprintf(", %s on %s executed again, %s by porcupine", plural(uint64(h.Ops), "operation"), plural(uint64(h.Keys+h.Undecided), "key"), Count(float64(h.Keys)))
		}
		if h.Stale > 0 {
			lin += fmt.Sprintf("; of %s %s showed the past", plural(uint64(h.Stale), "stale read"), Count(float64(h.Behind)))
		}
		lin += ")"
	}
	if s.Verdict == Unchecked {
		return "not checked" + lin
	}
	where := ""
	if s.Replicas > 0 {
		where = " from " + plural(uint64(s.Replicas), "replica")
	}
	if s.Verdict == OK {
		unknown := ""
		if s.Unknown > 0 {
			unknown = fmt.Sprintf(" (%s more may be there: their outcome was never told)", Count(float64(s.Unknown)))
		}
		return fmt.Sprintf("all %s acknowledged writes were read back%s: none lost, none doubled%s%s", Count(float64(s.Acked)), where, unknown, lin)
	}
	found := []string{}
	for _, f := range []struct {
		n    uint64
		noun string
	}{{s.Lost, "lost"}, {s.Duplicated, "doubled"}, {s.Wrong, "otherwise wrong"}} {
		if f.n > 0 {
			found = append(found, Count(float64(f.n))+" "+f.noun)
		}
	}
	if s.Diverged {
		found = append(found, "replicas contradict each other")
	}
	if len(found) == 0 {
		found = []string{"see below"}
	}
	return fmt.Sprintf("of %s acknowledged writes, read back%s: %s%s", Count(float64(s.Acked)), where, strings.Join(found, ", "), lin)
}

// stageWords explains the stages.
var stageWords = []struct {
	name, words string
	of          func(*Stages) Latency
}{
	{"queue", "waiting at the leader for a batch", func(s *Stages) Latency { return s.Queue }},
	{"batch", "building the batch", func(s *Stages) Latency { return s.Batch }},
	{"wal", "to the disk: write and fsync", func(s *Stages) Latency { return s.WAL }},
	{"quorum", "proposed until a majority has it on disk", func(s *Stages) Latency { return s.Quorum }},
	{"apply", "executing and answering", func(s *Stages) Latency { return s.Apply }},
}

// latencyRow is the cells of a latency.
func latencyRow(name string, l Latency) []string {
	if l.Count == 0 {
		return []string{name, "-", "-", "-", "-", "-", "-", "0"}
	}
	return []string{name, Duration(l.P50), Duration(l.P90), Duration(l.P99), Duration(l.P999), Duration(l.Max), Duration(l.Mean), Count(float64(l.Count))}
}

var latencyHead = []string{"p50", "p90", "p99", "p99.9", "max", "mean", "count"}

// faultRow is the cells of a fault.
func faultRow(f *Fault) []string {
	after := func(d int64) string {
		if d == Never {
			return "never"
		}
		return Duration(d)
	}
	name := strings.TrimSpace(f.Kind + " " + f.Target)
	if f.Params != "" {
		name += " " + strings.ReplaceAll(f.Params, ",", " ")
	}
	if len(f.Nodes) > 0 && f.Target != "" {
		nodes := make([]string, len(f.Nodes))
		for i, n := range f.Nodes {
			nodes[i] = fmt.Sprint(n)
		}
		name += " (node " + strings.Join(nodes, ", ") + ")"
	}
	heal := "-"
	if f.Healed != Never {
		heal = after(f.UnavailableAfterHeal)
	}
	return []string{name, Duration(f.At), after(f.Healed), after(f.Unavailable), Duration(f.LongestGap), after(f.Recovered), heal}
}

var faultHead = []string{"struck at", "healed at", "unavailable", "longest gap", "95% of rate after", "unavailable after heal"}

const (
	faultWords     = "unavailable: from the fault to the first acknowledged operation that was due after it"
	faultCostWords = "operations meanwhile; extra latency: by how much all of them together waited longer than before"
)

var faultCostHead = []string{"95% of rate after heal", "failed", "unknown", "lost", "extra latency"}

// faultCostRows is the cells of the table of costs. Lost writes are looked for at the end: none were, or they may be any
// fault's.
func (r *Result) faultCostRows() (rows [][]string) {
	lost := "-"
	if r.Safety.Verdict == OK {
		lost = "0"
	}
	for i := range r.Faults {
		f := &r.Faults[i]
		if f.FaultCost == nil {
			continue
		}
		back := "-"
		switch {
		case f.Healed != Never && f.RecoveredAfterHeal == Never:
			back = "never"
		case f.Healed != Never:
			back = Duration(f.RecoveredAfterHeal)
		}
		rows = append(rows, []string{faultRow(f)[0], back, Count(float64(f.Failed)), Count(float64(f.Unknown)), lost, Duration(f.ExtraLatency)})
	}
	return rows
}

// faultNotes are sentences on what else the faults did.
func (r *Result) faultNotes() (lines []string) {
	for i := range r.Faults {
		f := &r.Faults[i]
		var parts []string
		switch {
		case f.LeaderBefore != 0 && f.LeaderAfter != 0 && f.LeaderBefore != f.LeaderAfter:
			parts = append(parts, fmt.Sprintf("leadership went from node %d to node %d", f.LeaderBefore, f.LeaderAfter))
		case f.LeaderBefore != 0 && f.LeaderBefore == f.LeaderAfter:
			parts = append(parts, fmt.Sprintf("node %d led before and after", f.LeaderBefore))
		}
		parts = append(parts, f.Notes...)
		if len(parts) > 0 {
			lines = append(lines, fmt.Sprintf("%s at %s: %s", strings.TrimSpace(f.Kind+" "+f.Target), Duration(f.At), strings.Join(parts, "; ")))
		}
	}
	return lines
}

// cells is the cells of the cost table: name, value.
func (c *Cost) cells() [][]string {
	if *c == (Cost{}) {
		return nil
	}
	return [][]string{
		{"cpu", Duration(int64(c.CPU + 0.5))}, {"log", Bytes(c.WALBytes)}, {"network", Bytes(c.NetBytes)},
		{"fsyncs", share(c.Fsyncs)}, {"messages", share(c.Messages)}, {"allocations", share(c.Allocs)},
	}
}

// share writes a number per operation; a small one as one per so many.
func share(v float64) string {
	if v > 0 && v < 0.1 {
		return "1 in " + Count(1/v)
	}
	return significant(v)
}

// limitCells is the cells of the limits table: name, value.
func (r *Result) limitCells() (cells [][]string) {
	l := &r.Limits
	if l.FsyncP50 > 0 {
		cells = append(cells, []string{"fsync of this disk", "p50 " + Duration(l.FsyncP50) + ", p99 " + Duration(l.FsyncP99)})
	}
	if l.LoopbackRTTP50 > 0 {
		cells = append(cells, []string{"loopback round trip", "p50 " + Duration(l.LoopbackRTTP50)})
	}
	if l.PipeOpsPerSec > 0 {
		text := Count(l.PipeOpsPerSec) + " operations/s"
		if r.Throughput.OpsPerSec > 0 {
			text += fmt.Sprintf("; this run reaches %s%%", significant(100*r.Throughput.OpsPerSec/l.PipeOpsPerSec))
		}
		cells = append(cells, []string{"bare replicated pipe", text})
	}
	return cells
}
