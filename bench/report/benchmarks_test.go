package report

import (
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
	document, plots := Benchmarks(runs, "results")
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
	document, plots := Benchmarks(runs, "results")
	golden(t, "benchmarks.md", []byte(document))
	again, plotsAgain := Benchmarks(runs, "results")
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
