package report

import (
	"bytes"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/paxbench/paxbench/bench/env"
	"github.com/paxbench/paxbench/bench/load"
	"github.com/paxbench/paxbench/bench/result"
)

var update = flag.Bool("update", false, "write the golden files anew")

// distribution is n latencies around a middle with a long tail; the same for the same seed.
func distribution(seed uint64, n int, middle float64) *hdrhistogram.Histogram {
	h, rng := load.NewHistogram(), rand.New(rand.NewPCG(seed, 0))
	for range n {
		v := middle * (0.5 + rng.ExpFloat64())
		if err := h.RecordValue(int64(v)); err != nil {
			panic(err)
		}
	}
	return h
}

// closed is a valid closed-loop run, the caller's to change.
func closed() *result.Result {
	r := *closedOnce()
	h := *r.Histograms
	h.Stretches = slices.Clone(h.Stretches)
	r.Histograms, r.Intervals = &h, slices.Clone(r.Intervals)
	return &r
}

var closedOnce = sync.OnceValue(makeClosed)

func makeClosed() *result.Result {
	r := &result.Result{
		SchemaVersion: result.SchemaVersion, Name: "run", Seed: 42, Started: time.Date(2026, 3, 1, 12, 0, 0, 250e6, time.UTC),
		Config: result.Config{
			Cluster: "process", Nodes: 3, Mode: "multi", Fsync: "always", BatchBytes: 1 << 20, Window: 32, Compress: "none",
			Clients: 4, Inflight: 1024, Arrival: "uniform", Duration: 2e9, ValueSize: "16", ValueRatio: 1, Keys: 1000,
			Dist: "uniform", ReadMode: "quorum", SM: "null", API: "block",
		},
		Env:      env.Info{Host: "host", OS: "linux", Kernel: "6.8.0", Arch: "amd64", CPU: "Example CPU @ 2.30GHz", Cores: 2, Go: "go1.26", Disk: env.Disk{Type: "ext4"}},
		Validity: result.Validity{Verdict: result.Valid, Reasons: []string{}},
		Safety:   result.Safety{Verdict: result.OK, Acked: 4000, Linearizable: result.Unchecked, Replicas: 3},
		Cost:     result.Cost{CPU: 812, WALBytes: 51.25, NetBytes: 34.5, Fsyncs: 0.00041, Messages: 0.0021, Allocs: 0.002},
		Limits:   result.Limits{FsyncP50: 112_000, FsyncP99: 480_000, LoopbackRTTP50: 31_000, PipeOpsPerSec: 12_000_000},
		Faults:   []result.Fault{}, Histograms: &result.Histograms{},
	}
	r.Stages = result.Stages{
		Queue: result.FromHistogram(distribution(11, 500, 4e3)), Batch: result.FromHistogram(distribution(12, 500, 1e3)),
		WAL: result.FromHistogram(distribution(13, 500, 400e3)), Quorum: result.FromHistogram(distribution(14, 500, 600e3)),
		Apply: result.FromHistogram(distribution(15, 500, 9e3)),
	}
	all := load.NewHistogram()
	for i := range 4 {
		h := distribution(uint64(i), 1000, 1.5e6)
		all.Merge(h)
		start := int64(i) * 500e6
		r.Histograms.Stretches = append(r.Histograms.Stretches, result.Stretch{Start: start, Length: 500e6, Response: result.NewHistogram(h)})
		l := result.FromHistogram(h)
		r.Intervals = append(r.Intervals, result.Interval{Start: start, Length: 500e6, Ops: 1000, P50: l.P50, P99: l.P99, Max: l.Max, Outstanding: 4096})
	}
	r.Histograms.Response = result.NewHistogram(all)
	r.Latency.Response = result.FromHistogram(all)
	r.Latency.Service = r.Latency.Response
	r.Throughput = result.Throughput{Ops: 4000, OpsPerSec: 2000, Window: 2e9}
	return r
}

// faulty is an invalid open-loop run with faults, one of which did not heal, an outage, and objectives.
func faulty() *result.Result {
	r := closed()
	r.Config.Rate, r.Config.SM, r.Config.Faults = 2000, "kv", []string{"kill:leader@500ms+500ms", "pause:all@1500ms+10s"}
	service, lag := distribution(7, 4000, 1e6), distribution(8, 4000, 1e5)
	r.Latency.Service, r.Latency.Lag = result.FromHistogram(service), result.FromHistogram(lag)
	r.Histograms.Service, r.Histograms.Lag = result.NewHistogram(service), result.NewHistogram(lag)
	r.Intervals[1] = result.Interval{Start: 500e6, Length: 500e6, Outstanding: 1000, Waiting: 12}
	r.Histograms.Stretches[1].Response = ""
	r.Faults = []result.Fault{
		{Kind: "kill", Target: "leader", Nodes: []int{2}, At: 5e8, Healed: 1e9, Unavailable: 312e6, Recovered: 400e6, UnavailableAfterHeal: 480_000, LongestGap: 313e6, GapAt: 499e6, RateBefore: 2003},
		{Kind: "pause", Target: "all", Nodes: []int{1, 2, 3}, At: 15e8, Healed: result.Never, Unavailable: result.Never, Recovered: result.Never, UnavailableAfterHeal: result.Never, LongestGap: 5e8, GapAt: 15e8, RateBefore: 2003},
	}
	r.Errors = []result.Error{{Text: "client: </script><script>alert(1)</script> | reset & gone", Count: 12}}
	r.Invalidate("generator saturated: %d operations <were> never sent", 7)
	r.Check(objectivesOf("p99<5ms", "ops_per_s>=1000000"))
	return r
}

func objectivesOf(texts ...string) (slos []result.SLO) {
	for _, text := range texts {
		s, err := result.ParseSLO(text)
		if err != nil {
			panic(err)
		}
		slos = append(slos, s)
	}
	return slos
}

// violated is a run that lost a write.
func violated() *result.Result {
	r := faulty()
	r.Safety = result.Safety{
		Verdict: result.Violated, Acked: 39_210, Lost: 1, Duplicated: 2, Linearizable: result.Unchecked, Replicas: 3,
		Details: []string{"replica 1: key 7: 3 writes were acknowledged, 2 are there"},
	}
	return r
}

// slow is a valid run with objectives, one of them missed.
func slow() *result.Result {
	r := closed()
	r.Config.Nodes, r.Config.Window = 5, 1
	r.Check(objectivesOf("p99<1ms", "failed<=0"))
	return r
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (go test ./bench/report -update writes it anew); got:\n%.2000s", name, got)
	}
}

// reread is a result as a reader of its file sees it.
func reread(t *testing.T, r *result.Result) *result.Result {
	t.Helper()
	var b bytes.Buffer
	if err := r.Encode(&b); err != nil {
		t.Fatal(err)
	}
	out, err := result.Decode(&b)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
