package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/paxbench/paxbench/bench/peers/node"
	"github.com/paxbench/paxbench/bench/peers/peer"
	"github.com/paxbench/paxbench/bench/peerstable"
)

func testRecord() *record {
	r := &record{
		SchemaVersion: peerstable.SchemaVersion, Kind: peerstable.KindRun, Config: runConfig{Rounds: 3, Replicas: 3, Fsync: true, Length: time.Second},
		Engines: []engineRecord{{Name: "paxbench"}, {Name: "etcd-raft"}, {Name: "dragonboat"}},
		Cells:   []cell{call(16, 256), block(16, 16384)},
		Invalid: []invalid{{Round: 1, Engine: "dragonboat", Why: "two\nlines"}},
	}
	for round, rate := range []float64{300, 100, 200} {
		used := usage{Counters: node.Counters{CPUNanos: 1e9, Mallocs: 2e6}, Disk: diskCounters{WriteBytes: 3e6, Flushes: 4e3}}
		r.Samples = append(r.Samples,
			newSample(round, "paxbench", 0, peer.Result{PerSecond: 10 * rate, Commands: 1e6, Latency: peer.Times{P50: 1500}}, used),
			newSample(round, "etcd-raft", 0, peer.Result{PerSecond: 5 * rate, Commands: 1e6}, used))
	}
	return r
}

// A sample whose costs are by the wrong count, or a table without its marks, would publish a wrong number or none.
func TestTable(t *testing.T) {
	var out bytes.Buffer
	if err := writeTable(&out, []*record{testRecord()}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"<!-- peers:begin -->\n", "<!-- peers:end -->\n",
		"| paxbench | 2.00 k | 1.00 k - 3.00 k |  | 1.50 us | 0 us | 0 us | 1.00 | 2.00 | 3.00 | 4.00 |",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}
