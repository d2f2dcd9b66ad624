package peerstable

import (
	"strings"
	"testing"
	"time"
)

func testRecord() *Record {
	r := &Record{
		SchemaVersion: SchemaVersion, Kind: KindRun, Config: Config{Rounds: 3, Replicas: 3, Fsync: true, Length: time.Second},
		Engines: []Engine{{Name: "paxbench"}, {Name: "etcd-raft"}, {Name: "dragonboat"}},
		Cells:   []Cell{{API: "call", Size: 16, Outstanding: 256, Block: 1}, {API: "block", Size: 16, Outstanding: 16384, Block: 512}},
		Invalid: []Invalid{{1, "dragonboat", "one\ntwo"}},
	}
	for round, rate := range []float64{300, 100, 200} {
		s := Sample{Round: round, Engine: "paxbench", PerSecond: 10 * rate, Latency: Times{P50: 1500}, CPUSeconds: 1, Allocs: 2, DiskBytes: 3, Flushes: 4}
		r.Samples = append(r.Samples, s, Sample{Round: round, Engine: "etcd-raft", PerSecond: 5 * rate})
	}
	return r
}

// A table that takes the ratio of medians, the mean, or a side's cell from another's column would publish a wrong number:
// the rates here are such that each of these would show.
func TestTable(t *testing.T) {
	out := testRecord().Markdown()
	for _, want := range []string{
		"**call 16B x 256**", "**block 16B x 16384 (512 x 32)**",
		"| paxbench | 2.00 k | 1.00 k - 3.00 k |  | 1.50 us | 0 us | 0 us | 1.00 | 2.00 | 3.00 | 4.00 |",
		"| etcd-raft | 1.00 k | 500 - 1.50 k | 2.00 |",
		"| dragonboat | - |",
		"INVALID, not counted: dragonboat in round 2: one\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

// Who was given its share of the cores, and who was not, must stand under the table; of a record from before, nothing.
func TestTableNamesProcs(t *testing.T) {
	r := testRecord()
	if out := r.Markdown(); strings.Contains(out, "GOMAXPROCS") {
		t.Error(out)
	}
	r.Engines[0].Procs = 2
	if out := r.Markdown(); strings.Count(out, "GOMAXPROCS 2 in each process.") != 1 || !strings.Contains(out, "- paxbench:  . . GOMAXPROCS 2") {
		t.Error(out)
	}
}

// The failovers of one kind of timeouts must not be counted with those of the other, nor the ratio be turned over.
func TestFailoverTable(t *testing.T) {
	r := &Failover{Engines: []Engine{{Name: "paxbench"}, {Name: "etcd-raft"}}, Invalid: []Invalid{{0, "etcd-raft", "no leader"}}}
	for i := range int64(3) {
		r.Trials = append(r.Trials,
			Trial{Engine: "paxbench", Unavailable: (i + 1) * 1e8}, Trial{Engine: "etcd-raft", Unavailable: (i + 1) * 4e8},
			Trial{Engine: "paxbench", Fast: true, Unavailable: (i + 1) * 1e6})
	}
	out := r.Markdown()
	for _, want := range []string{
		"| paxbench | 3 | 100 ms | 200 ms | 300 ms | 300 ms |  |", "| etcd-raft | 3 | 400 ms | 800 ms | 1.20 s | 1.20 s | 0.25 |",
		"| paxbench | 3 | 1.00 ms | 2.00 ms |", "equal timeouts: election 150ms to 300ms, heartbeat 15ms", "INVALID, not counted: etcd-raft in round 1: no leader",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

// A ratio must pair rounds: a round that only one side has says nothing about the other.
func TestRatioPairsRounds(t *testing.T) {
	r := testRecord()
	r.Samples = append(r.Samples, Sample{Round: 7, Engine: "paxbench", PerSecond: 1e9})
	if got := r.ratio("etcd-raft", 0); got != "2.00" {
		t.Errorf("ratio %s", got)
	}
	if got := r.ratio("dragonboat", 0); got != "-" {
		t.Errorf("ratio %s of an engine without samples", got)
	}
}

// A file of another kind, or samples of cells that are not there, must not become a table.
func TestDecodeRefuses(t *testing.T) {
	for text, want := range map[string]string{
		`{`: "x.json", `{"schema_version":1,"kind":"peers-failover"}`: "peers-failover", `{"schema_version":2,"kind":"peers"}`: "version 2",
		`{"schema_version":1,"kind":"peers","samples":[{"cell":3}]}`: "sample 0 is of cell 3",
	} {
		if _, err := Decode([]byte(text), "x.json"); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "x.json") {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := DecodeFailover([]byte(`{"schema_version":1,"kind":"peers"}`), "x.json"); err == nil {
		t.Error("a run was taken for failovers")
	}
}

// Rounding must not eat digits before the point, nor print a small cost as zero.
func TestSignificant(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 1234567: "1234567", 12.345: "12.3", 0.001234: "0.00123", 999.6: "1000", 5e-9: "0.000000"} {
		if got := significant(v); got != want {
			t.Errorf("significant(%v) = %s, want %s", v, got, want)
		}
	}
}
