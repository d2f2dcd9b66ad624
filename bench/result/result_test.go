package result

import (
	"bytes"
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/paxbench/paxbench/bench/env"
	"github.com/paxbench/paxbench/bench/load"
	"golang.org/x/perf/benchfmt"
	"golang.org/x/perf/benchproc"
)

var update = flag.Bool("update", false, "write the golden files anew")

// closed is a saturated closed-loop run, valid and safe.
func closed() *Result {
	return &Result{
		SchemaVersion: SchemaVersion, Name: "run", Seed: 42, Started: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		Config: Config{
			Cluster: "process", Nodes: 3, Mode: "multi", Fsync: "always", BatchBytes: 1 << 20, Window: 32, Compress: "none",
			Clients: 4, Inflight: 16384, Arrival: "uniform", Duration: 10e9, Warmup: 2e9, ValueSize: "16", ValueRatio: 1,
			Keys: 100_000, Dist: "uniform", ReadMode: "quorum", SM: "null", API: "block",
		},
		Env: env.Info{
			Host: "host", OS: "linux", Kernel: "6.8.0", Arch: "amd64", CPU: "Example CPU @ 2.30GHz", Cores: 2, GOMAXPROCS: 2,
			MemoryBytes: 24 << 30, Go: "go1.26", Commit: "0123456789abcdef0123", Disk: env.Disk{Type: "ext4"},
		},
		Validity:   Validity{Verdict: Valid},
		Safety:     Safety{Verdict: OK, Acked: 12_345_678, Linearizable: Unchecked, Replicas: 3},
		Throughput: Throughput{Ops: 12_345_670, OpsPerSec: 1_234_567, Window: 10e9},
		Latency: Latencies{
			Response: Latency{4_100_000, 7_340_000, 12_300_000, 25_000_000, 41_000_000, 4_410_000, 12_345_600},
			Service:  Latency{4_100_000, 7_340_000, 12_300_000, 25_000_000, 41_000_000, 4_410_000, 12_345_600},
		},
		Stages: Stages{
			Queue: Latency{310_000, 900_000, 1_500_000, 2_000_000, 3_000_000, 400_000, 8120},
			Batch: Latency{12_300, 20_000, 41_000, 80_000, 120_000, 14_000, 8120},
			WAL:   Latency{480_000, 700_000, 1_200_000, 3_000_000, 8_000_000, 520_000, 8120},
			// Nothing took long enough to be seen.
			Quorum: Latency{990_000, 1_400_000, 2_100_000, 5_000_000, 9_000_000, 1_000_000, 8120},
			Apply:  Latency{999, 12_000, 900_000, 1_000_000, 1_100_000, 4000, 8120},
		},
		Cost:   Cost{CPU: 812, WALBytes: 51.25, NetBytes: 34.5, Fsyncs: 0.00041, Messages: 0.0021, Allocs: 0.002},
		Limits: Limits{FsyncP50: 112_000, FsyncP99: 480_000, LoopbackRTTP50: 31_000, PipeOpsPerSec: 12_000_000},
		Intervals: []Interval{
			{Start: 0, Length: 1e8, Ops: 123_456, P50: 4_100_000, P99: 12_000_000, Max: 30_000_000, Outstanding: 65_536},
			{Start: 1e8, Length: 1e8, Ops: 123_000, P50: 4_200_000, P99: 12_100_000, Max: 31_000_000, Outstanding: 65_536},
		},
	}
}

// faulty is an open-loop run with faults, an objective that was missed, and doubts.
func faulty() *Result {
	r := closed()
	r.Config.Nodes, r.Config.Rate, r.Config.Arrival, r.Config.SM, r.Config.API = 5, 2000, "poisson", "kv", "call"
	r.Config.Reads, r.Config.Dist, r.Config.ValueSize, r.Config.ValueRatio = 0.25, "zipf:0.99", "uniform:1..1024", 0.5
	r.Partial = true
	r.Throughput = Throughput{Ops: 39_210, OpsPerSec: 1960.5, Failed: 3, Unknown: 12, Unsent: 7, Window: 20e9}
	r.Latency.Response = Latency{410_000, 1_900_000, 611_000_000, 734_000_000, 741_000_000, 18_000_000, 39_985}
	r.Latency.Service = Latency{380_000, 1_700_000, 590_000_000, 730_000_000, 740_000_000, 17_000_000, 39_985}
	r.Latency.Lag = Latency{52_000, 98_000, 1_200_000, 9_000_000, 11_000_000, 70_000, 39_985}
	reads := Latency{300_000, 900_000, 600_000_000, 730_000_000, 740_000_000, 9_000_000, 9_980}
	r.Latency.Reads = &reads
	r.Stages, r.Cost = Stages{}, Cost{}
	r.Faults = []Fault{
		{Kind: "kill", Target: "leader", Nodes: []int{2}, At: 5e9, Healed: 10_012_000_000, Unavailable: 612_000_000, Recovered: 700_000_000, UnavailableAfterHeal: 480_000, LongestGap: 613_000_000, GapAt: 4_999_000_000, RateBefore: 2003,
			LeaderBefore: 2, LeaderAfter: 3, FaultCost: &FaultCost{Failed: 3, Unknown: 12, ExtraLatency: 311_000_000_000}, Notes: []string{"node 2 ended | as told"}},
		{Kind: "pause", Target: "all", Nodes: []int{1, 2, 3, 4, 5}, At: 15e9, Healed: Never, Unavailable: Never, Recovered: Never, UnavailableAfterHeal: Never, LongestGap: 5e9, GapAt: 15e9, RateBefore: 2003,
			Params: "how=hold,clients=yes", FaultCost: &FaultCost{RecoveredAfterHeal: Never}},
	}
	r.Errors = []Error{{"client: outcome unknown: read tcp 127.0.0.1:1->127.0.0.1:2: reset | by peer", 12}, {"client: busy", 3}}
	r.Safety.Unknown = 12
	r.Invalidate("generator saturated: 7 operations that were due were never sent")
	r.Invalidate("too few samples: 3, at least 1000 are needed; run longer")
	r.Validity.Notes = []string{"not steady: the rate went from 2003/s to 0/s"}
	var slos []SLO
	for _, text := range []string{"p99<5ms", "ops_per_s>=1000", "unavailable<2s"} {
		s, err := ParseSLO(text)
		if err != nil {
			panic(err)
		}
		slos = append(slos, s)
	}
	r.Check(slos)
	return r
}

// violated is a run that lost a write.
func violated() *Result {
	r := faulty()
	r.Config.Nodes = 1
	r.Safety = Safety{
		Verdict: Violated, Acked: 39_210, Lost: 1, Duplicated: 2, Linearizable: Unchecked, Replicas: 3, Diverged: true,
		Details: []string{"replica 1: key 7: 3 writes were acknowledged, 2 are there", "replicas that applied the same log hold different states"},
	}
	return r
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; got:\n%s", name, got)
	}
}

// What each format shows is read by people and programs; an unintended change would show here first. Changes are
// reviewed in the golden files (go test ./bench/result -update).
func TestGolden(t *testing.T) {
	for name, r := range map[string]*Result{"closed": closed(), "faulty": faulty(), "violated": violated()} {
		for format, write := range map[string]func(*bytes.Buffer) error{
			"txt":   func(b *bytes.Buffer) error { return r.Text(b, TextOptions{}) },
			"ansi":  func(b *bytes.Buffer) error { return r.Text(b, TextOptions{Color: true}) },
			"md":    func(b *bytes.Buffer) error { return r.Markdown(b) },
			"bench": func(b *bytes.Buffer) error { return r.GoBench(b) },
			"json":  func(b *bytes.Buffer) error { return r.Encode(b) },
		} {
			var b bytes.Buffer
			if err := write(&b); err != nil {
				t.Fatal(err)
			}
			golden(t, name+"."+format, b.Bytes())
		}
	}
}

// The contract names these keys; a rename breaks everybody's scripts.
func TestJSONKeys(t *testing.T) {
	var b bytes.Buffer
	if err := closed().Encode(&b); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	latency := []string{"p50", "p90", "p99", "p999", "max", "mean", "count"}
	for path, keys := range map[string][]string{
		"":                    {"schema_version", "partial", "config", "env", "seed", "validity", "safety", "throughput", "latency_ns", "stages_ns", "cost_per_op", "faults", "limits", "intervals"},
		"validity":            {"verdict", "reasons"},
		"safety":              {"verdict", "acked", "lost", "duplicated", "linearizable"},
		"throughput":          {"ops", "ops_per_s", "failed", "unknown"},
		"latency_ns.response": latency, "latency_ns.service": latency, "latency_ns.lag": latency,
		"stages_ns.queue": latency, "stages_ns.batch": latency, "stages_ns.wal": latency, "stages_ns.quorum": latency, "stages_ns.apply": latency,
		"cost_per_op": {"cpu_ns", "wal_bytes", "net_bytes", "fsyncs", "messages", "allocs"},
		"limits":      {"fsync_p50_ns", "fsync_p99_ns", "loopback_rtt_p50_ns", "pipe_ops_per_s"},
	} {
		at := got
		for _, p := range strings.FieldsFunc(path, func(r rune) bool { return r == '.' }) {
			at = at[p].(map[string]any)
		}
		for _, k := range keys {
			if _, ok := at[k]; !ok {
				t.Errorf("%q has no %q", path, k)
			}
		}
	}
	fault, _ := json.Marshal(Fault{})
	for _, k := range []string{"kind", "target", "at_ns", "healed_ns", "unavailable_ns", "recovered_95pct_ns", "unavailable_after_heal_ns"} {
		if !strings.Contains(string(fault), `"`+k+`":`) {
			t.Errorf("a fault has no %q", k)
		}
	}
	interval, _ := json.Marshal(Interval{})
	for _, k := range []string{"start_ns", "ops", "p50", "p99", "max"} {
		if !strings.Contains(string(interval), `"`+k+`":`) {
			t.Errorf("an interval has no %q", k)
		}
	}
	for _, r := range []*Result{closed(), faulty()} {
		b.Reset()
		if err := r.Encode(&b); err != nil {
			t.Fatal(err)
		}
		var all any
		d := json.NewDecoder(&b)
		d.UseNumber()
		if err := d.Decode(&all); err != nil {
			t.Fatal(err)
		}
		wholeNanos(t, all, "", false)
	}
	b.Reset()
	if err := closed().Encode(&b); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), `"reasons": []`) || !strings.Contains(b.String(), `"faults": []`) {
		t.Error("an empty list is written as null")
	}
}

// wholeNanos demands that every time in a record is a whole number of nanoseconds: what ends in _ns, and the percentiles.
func wholeNanos(t *testing.T, v any, path string, nanos bool) {
	t.Helper()
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			inner := nanos || strings.HasSuffix(k, "_ns") || path == ".intervals" && (k == "p50" || k == "p99" || k == "max" || k == "mean")
			wholeNanos(t, x, path+"."+k, inner)
		}
	case []any:
		for _, x := range v {
			wholeNanos(t, x, path, nanos)
		}
	case json.Number:
		if _, err := v.Int64(); nanos && err != nil {
			t.Errorf("%s is %s, not a whole number of nanoseconds", path, v)
		}
	}
}

func TestDecodeRoundTrip(t *testing.T) {
	for _, r := range []*Result{closed(), faulty()} {
		var b, again bytes.Buffer
		if err := r.Encode(&b); err != nil {
			t.Fatal(err)
		}
		first := b.String()
		back, err := Decode(&b)
		if err != nil {
			t.Fatal(err)
		}
		if err := back.Encode(&again); err != nil {
			t.Fatal(err)
		}
		if again.String() != first {
			t.Error("a result changes when it is read and written")
		}
		var one, two bytes.Buffer
		if err := r.Text(&one, TextOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := back.Text(&two, TextOptions{}); err != nil {
			t.Fatal(err)
		}
		if one.String() != two.String() {
			t.Errorf("the report of a recorded run differs from the live one:\n%s", two.String())
		}
	}
}

// A file that was cut, edited or made by a later schema is refused with what is wrong with it.
func TestDecodeRefuses(t *testing.T) {
	for want, damage := range map[string]func(*Result){
		"schema_version 2":     func(r *Result) { r.SchemaVersion = 2 },
		"validity.verdict":     func(r *Result) { r.Validity.Verdict = "fine" },
		"safety.verdict":       func(r *Result) { r.Safety.Verdict = "" },
		"safety is ok with":    func(r *Result) { r.Safety.Lost = 1 },
		"linearizable":         func(r *Result) { r.Safety.Linearizable = "no" },
		"not in order":         func(r *Result) { r.Latency.Response.P90 = 1 },
		"ops_per_s is -1":      func(r *Result) { r.Throughput.OpsPerSec = -1 },
		"intervals[1]":         func(r *Result) { r.Intervals[1].Start = -1 },
		"invalid without a re": func(r *Result) { r.Validity = Validity{Verdict: Invalid} },
	} {
		r := closed()
		damage(r)
		raw, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Decode(bytes.NewReader(raw)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	for _, text := range []string{"", "{", "[]", "paxbench"} {
		if _, err := Decode(strings.NewReader(text)); err == nil {
			t.Errorf("%q is taken for a result", text)
		}
	}
	if _, err := Decode(strings.NewReader(`{"schema_version":1,"validity":{"verdict":"valid"},"safety":{"verdict":"ok","linearizable":"ok"},"later":{"a":1}}`)); err != nil {
		t.Errorf("a field of a later version is refused: %v", err)
	}
}

// A violated run has no performance numbers, in no format.
func TestViolatedShowsNoNumbers(t *testing.T) {
	var text, md, gob, js bytes.Buffer
	r := violated()
	for _, err := range []error{r.Text(&text, TextOptions{}), r.Markdown(&md), r.GoBench(&gob), r.Encode(&js)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, out := range map[string]string{"text": text.String(), "markdown": md.String(), "go": gob.String(), "json": js.String()} {
		for _, number := range []string{"1,960", "1960.5", "1961", "611 ms", "611000000", "734", "612"} {
			if strings.Contains(out, number) {
				t.Errorf("%s shows %s:\n%s", name, number, out)
			}
		}
		if strings.Contains(out, "\nBenchmark") {
			t.Errorf("%s has a benchmark line", name)
		}
		if !strings.Contains(strings.ToLower(out), "violated") {
			t.Errorf("%s does not say violated", name)
		}
	}
	if r.Throughput.Ops == 0 {
		t.Error("writing changed the result")
	}
	back, err := Decode(&js)
	if err != nil || !back.Voided {
		t.Errorf("%+v, %v", back, err)
	}
}

// benchstat must read what GoBench writes, scale the units, and know which way is better.
func TestGoBenchIsReadable(t *testing.T) {
	var b bytes.Buffer
	if err := closed().GoBench(&b); err != nil {
		t.Fatal(err)
	}
	if err := faulty().GoBench(&b); err != nil {
		t.Fatal(err)
	}
	reader := benchfmt.NewReader(&b, "out")
	var names []string
	for reader.Scan() {
		switch rec := reader.Result().(type) {
		case *benchfmt.SyntaxError:
			t.Error(rec)
		case *benchfmt.Result:
			names = append(names, rec.Name.String())
			if v, ok := rec.Value("response-p99-sec"); !ok || v <= 0 || v > 1 {
				t.Errorf("%s: response p99 of %v s, %t", rec.Name, v, ok)
			}
			if v, ok := rec.Value("sec/op"); !ok || v <= 0 {
				t.Errorf("%s: %v sec/op, %t", rec.Name, v, ok)
			}
			if rec.GetConfig("fsync") != "always" || rec.GetConfig("validity") == "" {
				t.Errorf("settings are missing")
			}
		}
	}
	if err := reader.Err(); err != nil || len(names) != 2 || names[0] == names[1] {
		t.Errorf("benchmarks %q, %v", names, err)
	}
	if u := reader.Units(); u.GetBetter("ops/s") != 1 {
		t.Error("more operations per second are not better")
	}
}

// What can go wrong: benchstat puts each run into a table of its own, and compares nothing.
func TestGoBenchIsComparable(t *testing.T) {
	tables, err := new(benchproc.ProjectionParser).Parse(".config", nil) // benchstat's -table
	if err != nil {
		t.Fatal(err)
	}
	table := func(commit string, seed uint64, window int) benchproc.Key {
		r := closed()
		r.Env.Commit, r.Seed, r.Config.Window = commit, seed, window
		var b bytes.Buffer
		if err := r.GoBench(&b); err != nil {
			t.Fatal(err)
		}
		reader := benchfmt.NewReader(&b, "out")
		for reader.Scan() {
			if rec, ok := reader.Result().(*benchfmt.Result); ok {
				return tables.Project(rec)
			}
		}
		t.Fatalf("no result, %v", reader.Err())
		return benchproc.Key{}
	}
	if a, b := table("aaaa", 1, 8), table("bbbb", 2, 8); a != b {
		t.Errorf("two builds go into two tables, %v and %v", a, b)
	}
	if a, b := table("aaaa", 1, 8), table("aaaa", 1, 9); a == b {
		t.Errorf("two settings are averaged: %v", a)
	}
}

func TestUnits(t *testing.T) {
	for nanos, want := range map[int64]string{
		0: "0", 1: "1 ns", 999: "999 ns", 1000: "1.00 µs", 12_345: "12.3 µs", 999_499: "999 µs", 999_500: "1.00 ms",
		1_234_567: "1.23 ms", 99_960_000: "100 ms", 2e9: "2.00 s", 599e9: "599 s", 3600e9: "60.0 min", -1500: "-1.50 µs",
	} {
		if got := Duration(nanos); got != want {
			t.Errorf("%d ns is written as %q, want %q", nanos, got, want)
		}
	}
	for v, want := range map[float64]string{0: "0", 7: "7", 0.5: "0.5", 12.34: "12.3", 999: "999", 1000: "1,000", 1234567.8: "1,234,568", -1234: "-1,234"} {
		if got := Count(v); got != want {
			t.Errorf("%v is written as %q, want %q", v, got, want)
		}
	}
	for v, want := range map[float64]string{0: "0 B", 51.25: "51.2 B", 1023: "1023 B", 1024: "1.00 KiB", 1 << 20: "1.00 MiB", 1.5 * (1 << 30): "1.50 GiB"} {
		if got := Bytes(v); got != want {
			t.Errorf("%v bytes are written as %q, want %q", v, got, want)
		}
	}
}

// Columns line up by what is seen, not by bytes: µ has two.
func TestColumnsAlign(t *testing.T) {
	g := &grid{}
	g.add("", "p50", "p99")
	g.add("a", "12.3 µs", "1.00 ms")
	g.add("long name", "1 ns", "-")
	width := 0
	for i, l := range g.lines() {
		n := utf8.RuneCountInString(l)
		if i > 0 && n != width {
			t.Errorf("line %d is %d wide, the first %d:\n%s", i, n, width, strings.Join(g.lines(), "\n"))
		}
		width = n
	}
}

func TestSLO(t *testing.T) {
	r := faulty()
	for text, met := range map[string]bool{
		"p50<1ms": true, "p50 <= 410µs": true, "p50<410us": false, "p99<5ms": false, "max>=741ms": true, "mean>1s": false,
		"ops_per_s>1960": true, "failed<=3": true, "failed<3": false, "unknown<1": false, "unavailable<1h": false, "recovered<1s": false,
	} {
		s, err := ParseSLO(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if got := r.Check([]SLO{s}); got != met || r.SLOs[0].Met != met {
			t.Errorf("%q: met %t (measured %s)", text, got, r.SLOs[0].shown())
		}
	}
	r.Faults = r.Faults[:1]
	if s, _ := ParseSLO("unavailable<1s"); !r.Check([]SLO{s}) {
		t.Error("612 ms are not below 1 s")
	}
	if s, _ := ParseSLO("p99<1h"); (&Result{}).Check([]SLO{s}) {
		t.Error("a run without an acknowledgement meets a latency objective")
	}
	for _, text := range []string{"", "p99", "p99=5ms", "p98<5ms", "p99<5", "p99<", "ops_per_s>5ms", "failed<-1", "p99<-1ms", "ops_per_s>NaN"} {
		if _, err := ParseSLO(text); err == nil || !strings.Contains(err.Error(), "--slo") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// New takes everything over from a load's result, and MeasureFaults reads the timeline.
func TestNewFromLoad(t *testing.T) {
	const ms = int64(time.Millisecond)
	l := &load.Result{
		Config:   load.Config{Clients: 2, Inflight: 8, SM: load.Null, Seed: 9, Interval: 100 * time.Millisecond},
		Window:   10 * time.Second,
		Ops:      5000,
		Response: load.NewHistogram(), Service: load.NewHistogram(), Lag: load.NewHistogram(), Reads: load.NewHistogram(), OwnLag: load.NewHistogram(),
		Ledger:       load.NewLedger(load.Null, load.Values{}, 0),
		OpsPerSecond: 500, Failed: 1, Unknown: 2,
		Intervals: []load.Interval{{Start: 0, Length: 100 * ms, Ops: 50, P50: 1, P99: 2, Max: 3, Mean: 2}},
		Errors:    []load.ErrorCount{{Text: "busy", Count: 1}},
		Timeline:  &load.Timeline{Width: ms, Done: make([]uint32, 10_000), First: make([]int64, 10_000)},
	}
	for i := range int64(10_000) {
		l.Timeline.Done[i], l.Timeline.First[i] = 1, (i+1)*ms
		if i >= 5000 && i < 5600 {
			l.Timeline.Done[i], l.Timeline.First[i] = 0, 5600*ms
		}
	}
	for range 5000 {
		if err := l.Response.RecordValue(16e6); err != nil {
			t.Fatal(err)
		}
		if err := l.Service.RecordValue(16e6); err != nil {
			t.Fatal(err)
		}
	}
	r := New(l, load.Limits{Faults: true})
	if err := r.Validate(); err != nil {
		t.Error(err)
	}
	if r.Validity.Verdict != Valid || r.Throughput.OpsPerSec != 500 || r.Seed != 9 || r.Latency.Response.Count != 5000 || r.Latency.Lag != (Latency{}) ||
		r.Latency.Reads != nil || len(r.Intervals) != 1 || r.Errors[0].Text != "busy" || r.Config.SM != "null" || r.Config.ValueRatio != 1 {
		t.Errorf("%+v", r)
	}
	if math.Abs(float64(r.Latency.Response.P99)-16e6) > 16e3 {
		t.Errorf("p99 %d", r.Latency.Response.P99)
	}
	faults := []Fault{{Kind: "kill", Target: "leader", At: 5000 * ms, Healed: 7000 * ms}, {Kind: "pause", At: 9000 * ms, Healed: Never}}
	MeasureFaults(faults, l)
	if u := faults[0].Unavailable; u < 600*ms || u > 602*ms {
		t.Errorf("unavailable for %v", time.Duration(u))
	}
	if u := faults[0].UnavailableAfterHeal; u != ms {
		t.Errorf("unavailable after the heal for %v", time.Duration(u))
	}
	if faults[1].Unavailable > 2*ms || faults[1].UnavailableAfterHeal != Never || faults[0].RateBefore != 1000 {
		t.Errorf("%+v", faults)
	}
}

// One lost write is one, on however many replicas it is missing; any violation anywhere is the verdict.
func TestSetSafety(t *testing.T) {
	r := closed()
	r.SetSafety(nil, false)
	if !reflect.DeepEqual(r.Safety, closed().Safety) {
		t.Errorf("%+v", r.Safety)
	}
	good := &load.Findings{Acked: 10, Complete: true}
	bad := &load.Findings{Acked: 10, Lost: 2, Complete: true, Details: []string{"key 1"}}
	r.Safety = Safety{Verdict: Unchecked, Linearizable: Unchecked}
	r.SetSafety([]*load.Findings{good, good}, false)
	if r.Safety.Verdict != OK || r.Safety.Acked != 10 || r.Safety.Replicas != 2 {
		t.Errorf("%+v", r.Safety)
	}
	r.SetSafety([]*load.Findings{good, bad, bad}, false)
	if r.Safety.Verdict != Violated || r.Safety.Lost != 2 || len(r.Safety.Details) != 2 || !strings.Contains(r.Safety.Details[0], "replica 2") {
		t.Errorf("%+v", r.Safety)
	}
	r.Safety = Safety{}
	r.SetSafety([]*load.Findings{good, good}, true)
	if r.Safety.Verdict != Violated {
		t.Errorf("%+v", r.Safety)
	}
}

// NO_COLOR and a dumb terminal are honoured, and a file is no terminal.
func TestUseColor(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if UseColor(f) {
		t.Error("a file is taken for a terminal")
	}
}

// Extra latency that counts what was slow before, what the fault before left behind, or operations long after the heal, is
// not this fault's.
func TestFaultCost(t *testing.T) {
	const second = int64(time.Second)
	var all []load.Interval
	for i := range int64(40) {
		iv := load.Interval{Start: (i - 2) * second, Length: second, Ops: 10, Mean: 5}
		switch {
		case i < 2: // warm-up
			iv.Mean = 1000
		case i == 4: // left behind by another
			iv.Mean = 1e9
		case i >= 10 && i < 13:
			iv.Mean, iv.Failed, iv.Unknown = 105, 1, 2
		case i >= 30: // long after
			iv.Mean = 1e6
		}
		all = append(all, iv)
	}
	f := Fault{At: 8*second + second/2, Healed: 11 * second, FaultCost: &FaultCost{}}
	f.count(all, 27*second)
	// 8.5 s lies in the interval from 8 s, which is counted; so three of them, 10 operations each, 100 ns more.
	if want := (FaultCost{Failed: 3, Unknown: 6, ExtraLatency: 3000}); *f.FaultCost != want {
		t.Errorf("%+v, want %+v", *f.FaultCost, want)
	}
	f = Fault{At: 8 * second, Healed: Never, FaultCost: &FaultCost{}}
	if f.count(all, 9*second); f.Failed != 1 || f.ExtraLatency != 1000 {
		t.Errorf("up to the next fault: %+v", *f.FaultCost)
	}
	f = Fault{At: 3 * second, Healed: 4 * second, FaultCost: &FaultCost{}}
	if f.count(all, 5*second); f.ExtraLatency != 0 {
		t.Errorf("nothing happened: %+v", *f.FaultCost)
	}
	f = Fault{At: 0, Healed: second, FaultCost: &FaultCost{}}
	if f.count(all, 2*second); f.ExtraLatency != 0 {
		t.Errorf("nothing is known of before: %+v", *f.FaultCost)
	}
}

// The threads of a node are part of what was measured: a record that has them must keep and say them, and one from before there
// was such a setting must not seem to have had any.
func TestProcs(t *testing.T) {
	old, new := closed(), closed()
	new.Config.Procs = 2
	for _, r := range []*Result{old, new} {
		var b bytes.Buffer
		if err := r.Encode(&b); err != nil {
			t.Fatal(err)
		}
		has := r.Config.Procs > 0
		if strings.Contains(b.String(), `"procs"`) != has || strings.Contains(r.engine(), "2 processor threads a node") != has {
			t.Errorf("%d threads: %s\n%s", r.Config.Procs, r.engine(), b.String())
		}
		if back, err := Decode(&b); err != nil || back.Config.Procs != r.Config.Procs {
			t.Errorf("read back %+v, %v", back, err)
		}
	}
}
