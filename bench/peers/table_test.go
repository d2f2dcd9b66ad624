package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/paxbench/paxbench/bench/peers/peer"
)

func testRecord() *record {
	r := &record{
		SchemaVersion: schemaVersion, Kind: "peers", Config: runConfig{Rounds: 3, Replicas: 3, Fsync: true, Length: time.Second},
		Engines: []engineRecord{{Name: "paxbench"}, {Name: "etcd-raft"}, {Name: "dragonboat"}},
		Cells:   []cell{call(16, 256), block(16, 16384)},
		Invalid: []invalid{{1, "dragonboat", "two\nlines"}},
	}
	for round, rate := range []float64{300, 100, 200} {
		used := usage{counters: counters{CPUNanos: 1e9, Mallocs: 2e6}, Disk: diskCounters{WriteBytes: 3e6, Flushes: 4e3}}
		r.Samples = append(r.Samples,
			newSample(round, "paxbench", 0, peer.Result{PerSecond: 10 * rate, Commands: 1e6, Latency: peer.Times{P50: 1500}}, used),
			newSample(round, "etcd-raft", 0, peer.Result{PerSecond: 5 * rate, Commands: 1e6}, used))
	}
	return r
}

// A table that takes the ratio of medians, the mean, or a side's cell from another's column would publish a wrong number:
// the rates here are such that each of these would show.
func TestTable(t *testing.T) {
	var out bytes.Buffer
	if err := writeTable(&out, []*record{testRecord()}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"<!-- peers:begin -->\n", "<!-- peers:end -->\n",
		"**call 16B x 256**", "**block 16B x 16384 (512 x 32)**",
		"| paxbench | 2.00 k | 1.00 k - 3.00 k |  | 1.50 us | 0 us | 0 us | 1.00 | 2.00 | 3.00 | 4.00 |",
		"| etcd-raft | 1.00 k | 500 - 1.50 k | 2.00 |",
		"| dragonboat | - |",
		"INVALID, not counted: dragonboat in round 2: two lines",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

// A ratio must pair rounds: a round that only one side has says nothing about the other.
func TestRatioPairsRounds(t *testing.T) {
	r := testRecord()
	r.Samples = append(r.Samples, sample{Round: 7, Engine: "paxbench", PerSecond: 1e9})
	if got := r.ratio("etcd-raft", 0); got != "2.00" {
		t.Errorf("ratio %s", got)
	}
	if got := r.ratio("dragonboat", 0); got != "-" {
		t.Errorf("ratio %s of an engine without samples", got)
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
