package peerstable

import (
	"strings"
	"testing"
	"time"
)

// The summary could flatter: take the average peer for the best one, call a missed target reached, or hold a run without fsync
// against targets that are about runs with it.
func TestSummary(t *testing.T) {
	r := &Record{
		Config:  Config{Rounds: 1, Replicas: 3, Fsync: true},
		Engines: []Engine{{Name: "paxbench"}, {Name: "paxbench-client"}, {Name: "etcd-raft"}, {Name: "dragonboat"}, {Name: "pipe"}},
		Cells:   []Cell{{API: "call", Size: 16, Outstanding: 256, Block: 1}, {API: "call", Size: 16, Outstanding: 1, Block: 1}},
	}
	add := func(engine string, at int, rate float64, p50 int64, cpu float64) {
		r.Samples = append(r.Samples, Sample{Engine: engine, Cell: at, PerSecond: rate, Latency: Times{P50: p50}, CPUSeconds: cpu})
	}
	add("paxbench", 0, 1000, 50, 1)
	add("paxbench-client", 0, 1, 5000, 100)
	add("etcd-raft", 0, 500, 100, 2)   // the fastest: 2.0 of 2.5 asked; latency 0.5 of 0.6; processor 0.5 of a third
	add("dragonboat", 0, 100, 400, 10) // slower, and with all else it would be reached
	add("pipe", 0, 1250, 40, 0.5)
	add("paxbench", 1, 10, 90, 1)
	add("etcd-raft", 1, 8, 100, 4)
	add("pipe", 1, 20, 60, 1)
	for _, want := range []string{
		"| call 16B x 256 | **2.00** [2.50] | etcd-raft | 0.500 [0.600] |  | **0.500** | 0.800 | 1.25 |",
		"| call 16B x 1 | 1.25 | etcd-raft | **0.900** [0.800] |  | 0.250 | **0.500** | **1.50** [1.25] |",
		"\n- call 16B x 1: " + oneBound, // and what bounds it, because it is missed
	} {
		if !strings.Contains(r.Summary(), want) {
			t.Errorf("no %q in\n%s", want, r.Summary())
		}
	}
	if s := r.Summary(); strings.Contains(s, "- call 16B x 256: ") { // nothing that bounds it is known
		t.Error(s)
	}
	// 2.5 times 500 commands of 3 kB are 3.75 MB/s, as much as the pipe had; a third of the 2.5 s/M of etcd's is less than its own.
	for i := range r.Samples[:5] {
		r.Samples[i].DiskBytes, r.Samples[i].CPUSeconds = 3000, r.Samples[i].CPUSeconds+0.5
	}
	const processor = "The processor time asked for, 0.833 s/M, is less than that of the pipe, which is no engine: 1.00 (paxbench: 1.50).\n"
	if s := r.Summary(); !strings.Contains(s, "\n- call 16B x 256: "+processor) {
		t.Error(s)
	}
	r.Samples[4].DiskBytes = 2900
	if s := r.Summary(); !strings.Contains(s, "\n- call 16B x 256: The rate asked for takes 3.75 MB/s of the disk, which gave nobody in this run more than 3.62 MB/s. "+processor) {
		t.Error(s)
	}
	r.Samples[5].Latency.P50 = 50 // the first of the second cell
	r.Samples[5].PerSecond = 15
	if s := r.Summary(); strings.Contains(s, oneBound) {
		t.Errorf("nothing is missed, and still bounded:\n%s", s)
	}
	r.Config.Fsync = false
	if s := r.Summary(); strings.Contains(s, "[2.50]") || !strings.Contains(s, "| call 16B x 256 | 2.00 | etcd-raft | 0.500 |") {
		t.Errorf("without fsync:\n%s", s)
	}
	r.Engines = r.Engines[:2]
	if r.Summary() != "" {
		t.Error("a summary without peers")
	}
}

// The curve could pair rounds that did not happen together, or hold the adapting window against a fixed one that is not the best.
func TestCurve(t *testing.T) {
	c := &Curve{Config: CurveConfig{Fixed: 8}, Cells: []Cell{{API: "call", Size: 16, Outstanding: 4, Block: 1}}, Windows: []int{0, 1, 8}}
	for round, rates := range [][3]float64{{100, 50, 200}, {300, 150, 600}, {190, 100, 100}} {
		for i, w := range c.Windows {
			c.Samples = append(c.Samples, CurveSample{Round: round, Window: w, PerSecond: rates[i]})
		}
	}
	if best := c.Best(0); best != 8 {
		t.Errorf("the best window is %d", best)
	}
	// Against 8: 0.5, 0.5, 1.9. The ratio of the medians would be 0.95.
	if s := c.Markdown(); !strings.Contains(s, "| call 16B x 4 | 190 | 100 | 200 | 8 | 0.500 (0.500 - 1.90) | 0.500 (0.500 - 1.90) | open | open |") {
		t.Error(s)
	}
	// 0.5, 0.5, 1.9 and 0.25, 0.25, 1 of 8.
	if s := c.Markdown(); !strings.Contains(s, "over all rounds, and 1.96 standard errors): adapting 0.780 ± 0.872, window 1 0.397 ± 0.906.\n") {
		t.Error(s)
	}
	for i := range c.Samples {
		if s := &c.Samples[i]; s.Round == 2 && s.Window == 8 {
			s.PerSecond = 380 // 0.5 in each round: no chance
		}
	}
	if s := c.Markdown(); !strings.Contains(s, "0.500 (0.500 - 0.500) | **no** | **no** |") {
		t.Error(s)
	}
	// An open loop is judged by its p50, the less the better.
	open := &Curve{Config: CurveConfig{Fixed: 8, Delay: 2 * time.Millisecond}, Cells: []Cell{{API: "rate", Size: 16, Block: 1, PerSecond: 3000}}, Windows: []int{0, 1, 8}}
	for i, p50 := range []int64{5000, 4000, 10000} {
		open.Samples = append(open.Samples, CurveSample{Window: open.Windows[i], PerSecond: 3000, Latency: Times{P50: p50, P99: 20000}})
	}
	if s := open.Markdown(); !strings.Contains(s, "| calls 16B at 3.00 k/s | 5.00 us | 4.00 us | 10.0 us | 1 | 0.800 (0.800 - 0.800) | 2.00 (2.00 - 2.00) | **no** | yes | 5.00 us |") ||
		!strings.Contains(s, "open loop in the leader's process; what a replica sends to another arrives 2ms later") {
		t.Error(s)
	}
	if _, err := DecodeCurve([]byte(`{"schema_version":1,"kind":"curve","windows":[1],"cells":[{}],"samples":[{"window":2}]}`), "x"); err == nil {
		t.Error("a sample of a window that the record does not have")
	}
}
