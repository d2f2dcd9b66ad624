package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/paxbench/paxbench/bench/result"
)

// A number in BENCHMARKS.md that no record holds was typed or is out of date. `make report` sets it right.
func TestBenchmarksAreGenerated(t *testing.T) {
	root := filepath.Join("..", "..")
	runs, err := ReadRuns(os.DirFS(filepath.Join(root, "results")))
	if err != nil {
		t.Fatal(err)
	}
	for _, run := range runs {
		if run.Result.Validity.Verdict != result.Valid || run.Result.Partial || run.Result.Safety.Verdict != result.OK {
			t.Errorf("results/%s.json is %s, partial %v, safety %s: such a run is not published", run.Name, run.Result.Validity.Verdict, run.Result.Partial, run.Result.Safety.Verdict)
		}
	}
	peers, err := ReadPeers(os.DirFS(filepath.Join(root, "results")))
	if err != nil {
		t.Fatal(err)
	}
	document, plots := Benchmarks(runs, peers, "results")
	have, err := os.ReadFile(filepath.Join(root, "BENCHMARKS.md"))
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != document {
		t.Error("BENCHMARKS.md is not what results/ makes; run make report")
	}
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	if want, err := Readme(string(readme), runs); err != nil || want != string(readme) {
		t.Errorf("the run in README.md is not the record results/%s.json (%v); run make report", DefaultRun, err)
	}
	files, err := filepath.Glob(filepath.Join(root, "results", PlotsDir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != len(plots) {
		t.Errorf("there are %d plots in results/%s, the records make %d; run make report", len(files), PlotsDir, len(plots))
	}
	for name, want := range plots {
		have, err := os.ReadFile(filepath.Join(root, "results", PlotsDir, name))
		if err != nil || string(have) != want {
			t.Errorf("results/%s/%s is not what the records make (%v); run make report", PlotsDir, name, err)
		}
	}
}

// Families, order, links and plots: a run in the wrong section, or a plot that the document does not show, is lost.
func TestBenchmarks(t *testing.T) {
	with := func(name string, change func(*result.Result)) Run {
		r := closed()
		change(r)
		return Run{name, r}
	}
	runs := []Run{
		with("fsync-never", func(r *result.Result) { r.Config.Fsync = "never" }),
		with("fsync-always", func(*result.Result) {}),
		with("nodes-10", func(r *result.Result) { r.Config.Nodes = 10 }),
		with("nodes-3", func(*result.Result) {}),
		{"fault-kill", faulty()}, {"nodes-9", violated()},
		with("mine", func(r *result.Result) { r.Env.CPU = "Another | CPU" }),
	}
	document, plots := Benchmarks(runs, Peers{}, "results")
	golden(t, "benchmarks.md", []byte(document))
	again, plotsAgain := Benchmarks(runs, Peers{}, "results")
	if again != document || !maps.Equal(plots, plotsAgain) {
		t.Error("the same records make different documents")
	}
	for _, name := range slices.Sorted(maps.Keys(plots)) {
		if !strings.Contains(document, fmt.Sprintf("(results/%s/%s)", PlotsDir, name)) {
			t.Errorf("the document does not show %s", name)
		}
		d := xml.NewDecoder(strings.NewReader(plots[name]))
		for {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
	if strings.Index(document, "| 3 nodes |") > strings.Index(document, "| 10 nodes |") || strings.Index(document, "| fsync always |") > strings.Index(document, "| fsync never |") {
		t.Error("rows are not in the order of what varies")
	}
	for _, run := range runs {
		if strings.Count(document, "(results/"+run.Name+".json)") != 1 {
			t.Errorf("%s is not there once", run.Name)
		}
	}
	golden(t, "nodes-latency.svg", []byte(plots["nodes-latency.svg"]))
}

// The newest comparison must be what is shown, each kind by itself, and none be taken for a run of paxbench.
func TestPeers(t *testing.T) {
	const engines = `"engines":[{"name":"paxbench"},{"name":"pipe"}]`
	record := func(day string, rate int) *fstest.MapFile {
		return &fstest.MapFile{Data: fmt.Appendf(nil, `{"schema_version":1,"kind":"peers","started":"2026-01-%sT00:00:00Z",%s,"cells":[{"api":"call","size":16,"outstanding":1,"block":1}],`+
			`"samples":[{"engine":"paxbench","commands_per_s":%d},{"engine":"pipe","commands_per_s":1000}]}`, day, engines, rate)}
	}
	synced := record("03", 400)
	synced.Data = bytes.Replace(synced.Data, []byte(`"cells"`), []byte(`"config":{"fsync":true},"cells"`), 1)
	single := record("01", 500)
	single.Data = bytes.Replace(single.Data, []byte(`"cells"`), []byte(`"config":{"one_process":true},"cells"`), 1)
	dir := fstest.MapFS{
		"peers.json": record("05", 250), "peers-old.json": record("04", 777), "peers-one-process.json": single, "peers-synced.json": synced,
		"curve.json": {Data: []byte(`{"schema_version":1,"kind":"curve","started":"2026-01-02T00:00:00Z","config":{"default_fixed":32},"windows":[0,1,32],"cells":[{"api":"call","size":16,"outstanding":1,"block":1}],` +
			`"samples":[{"window":0,"commands_per_s":900,"latency_ns":{"p50":5000,"p99":7000}},{"window":1,"commands_per_s":1000,"latency_ns":{"p50":5000,"p99":7000}},{"window":32,"commands_per_s":600,"latency_ns":{"p50":5000,"p99":7000}}]}`)},
		"curve-slow.json": {Data: []byte(`{"schema_version":1,"kind":"curve","started":"2026-01-02T00:00:00Z","config":{"default_fixed":32,"delay_ns":2000000},"windows":[0,32],"cells":[{"api":"rate","size":16,"block":1,"commands_per_s":3000}],` +
			`"samples":[{"window":0,"commands_per_s":3000,"latency_ns":{"p50":5000,"p99":7000}},{"window":32,"commands_per_s":3000,"latency_ns":{"p50":6000,"p99":7000}}]}`)},
		"peers-failover.json": {Data: []byte(`{"schema_version":1,"kind":"peers-failover","started":"2026-01-09T00:00:00Z",` + engines + `,"trials":[{"engine":"paxbench","unavailable_ns":123000000}]}`)},
	}
	runs, err := ReadRuns(dir)
	if err != nil || len(runs) != 0 {
		t.Fatalf("%d runs, %v", len(runs), err)
	}
	peers, err := ReadPeers(dir)
	if err != nil {
		t.Fatal(err)
	}
	document, plots := Benchmarks(runs, peers, "results")
	for _, want := range []string{"(results/peers.json)", "### All replicas in one process, without fsync", "(results/peers-one-process.json)", "| 0.50 |", "| pipe | 1.00 k | 1.00 k - 1.00 k | 0.25 |", "(results/plots/peers-call.svg)", "(results/peers-failover.json)", "| paxbench | 1 | 123 ms |",
		"### Closed loops\n", "(results/curve.json)", "(results/plots/curve-p99.svg)", "### Open loops, round trips of 4ms\n", "(results/curve-slow.json)", "(results/plots/curve-slow-p50.svg)", "| call 16B x 1 | 900 | 1.00 k | 600 | 1 | 0.900 (0.900 - 0.900) | 1.50 (1.50 - 1.50) | **no** | yes | 5.00 us | 7.00 us |"} {
		if !strings.Contains(document, want) {
			t.Errorf("no %q in\n%s", want, document)
		}
	}
	// What the comparison is about stands first, and the plots are of it.
	if at := strings.Index(document, "### A process for each replica\n"); at < 0 || at > strings.Index(document, "### A process for each replica, without fsync") || !strings.Contains(plots["peers-call.svg"], "400") {
		t.Errorf("the order of the records in\n%s", document)
	}
	if strings.Contains(document, "777") || len(plots) != 6 {
		t.Errorf("an old record is shown, or %d plots", len(plots))
	}
	dir["peers-bad.json"] = &fstest.MapFile{Data: []byte(`{"schema_version":9}`)}
	if _, err := ReadPeers(dir); err == nil || !strings.Contains(err.Error(), "peers-bad.json") {
		t.Errorf("a record that cannot be read: %v", err)
	}
}
