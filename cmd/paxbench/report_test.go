package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/paxbench/paxbench/bench/load"
	"github.com/paxbench/paxbench/bench/result"
)

// recordFile writes a small valid record and gives its name.
func recordFile(t *testing.T, name string, histograms bool) string {
	t.Helper()
	h := load.NewHistogram()
	for i := range int64(100) {
		if err := h.RecordValue(1e6 + i*1e4); err != nil {
			t.Fatal(err)
		}
	}
	l := &load.Result{
		Config: load.Config{Clients: 1, Inflight: 1, Values: load.Values{Sizes: load.FixedSize(16)}}, Started: time.Unix(1e9, 0),
		Window: time.Second, Ops: 100, OpsPerSecond: 100, Response: h, Service: h, Lag: load.NewHistogram(), Reads: load.NewHistogram(),
		OwnLag: load.NewHistogram(), Timeline: &load.Timeline{Width: 1e6}, Ledger: &load.Ledger{},
		Intervals: []load.Interval{{Length: 1e9, Ops: 100, P50: h.ValueAtQuantile(50), P99: h.ValueAtQuantile(99), Max: h.Max()}},
		Stretches: []load.Stretch{{Length: 1e9, Response: h}},
	}
	r := result.New(l, load.Limits{})
	r.Config.Nodes, r.Config.Cluster, r.Config.Mode, r.Config.Fsync = 3, "process", "multi", "always"
	r.Validity = result.Validity{Verdict: result.Valid}
	if !histograms {
		r.Histograms = nil
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := writeRecord(r, name); err != nil {
		t.Fatal(err)
	}
	return name
}

// Each format must come out whole at the place that was asked for, and a format that cannot be made must say why.
func TestReportFormats(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	one, two := recordFile(t, filepath.Join(dir, "one.json"), true), recordFile(t, filepath.Join(dir, "b", "one.json"), true)
	old := recordFile(t, filepath.Join(dir, "old.json"), false)
	for format, want := range map[string]string{
		"text": "THROUGHPUT", "json": `"schema_version": 1`, "markdown": "## paxbench", "go": "Benchmark", "html": "</html>",
		"hgrm": "1/(1-Percentile)", "hlog": "Tag=response,1000000000.000000,", "junit": `<testcase classname="one" name="safety"`,
	} {
		code, out, errs := call(nil, "report", "--format", format, one)
		if code != exitOK || !strings.Contains(out, want) || errs != "" {
			t.Errorf("%s: exit %d, %s\n%.400s", format, code, errs, out)
		}
		file := filepath.Join(dir, "out."+format)
		code, nothing, errs := call(nil, "report", "--format", format, "-o", file, one)
		data, err := os.ReadFile(file)
		if code != exitOK || nothing != "" || err != nil || !bytes.Equal(data, []byte(out)) {
			t.Errorf("%s -o: exit %d, %v, %s, stdout %q", format, code, err, errs, nothing)
		}
	}
	code, out, errs := call(nil, "report", "--format", "html", one, two, old)
	if code != exitOK || !strings.Contains(out, "3 results") || !strings.Contains(out, filepath.ToSlash(filepath.Join(dir, "b", "one"))) {
		t.Errorf("three files: exit %d, %s: equal names are not told apart", code, errs)
	}
	for _, c := range []struct {
		code int
		want string
		args []string
	}{
		{exitUsage, "--format hgrm takes one result; there are 2", []string{"--format", "hgrm", one, two}},
		{exitUsage, "there is no directory", []string{"-o", filepath.Join(dir, "none", "x"), one}},
		{exitUsage, "response, service, lag, reads", []string{"--series", "p99", one}},
		{exitRuntime, "record it anew", []string{"--format", "hgrm", old}},
		{exitRuntime, "no distribution of lag", []string{"--format", "hgrm", "--series", "lag", one}},
		{exitRuntime, "not a recorded run", []string{filepath.Join(dir, "out.html")}},
	} {
		code, out, errs := call(nil, append([]string{"report"}, c.args...)...)
		if code != c.code || out != "" || !strings.Contains(errs, c.want) {
			t.Errorf("%v: exit %d, want %d and %q in:\n%s", c.args, code, c.code, c.want, errs)
		}
	}
}

// The document must be of the records that there are now: a plot of a record that was removed must go.
func TestBenchmarksCommand(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	results, document := filepath.Join(dir, "results"), filepath.Join(dir, "BENCHMARKS.md")
	record := recordFile(t, filepath.Join(results, "nodes-3.json"), true)
	make := func() string {
		code, out, errs := call(nil, "benchmarks", results, "-o", document)
		data, err := os.ReadFile(document)
		if code != exitOK || out != "" || err != nil {
			t.Fatalf("exit %d, %v, %s", code, err, errs)
		}
		return string(data)
	}
	if text := make(); !strings.Contains(text, "](results/plots/nodes-throughput.svg)") || !strings.Contains(text, "(results/nodes-3.json)") {
		t.Errorf("got %s", text)
	}
	if _, err := os.Stat(filepath.Join(results, "plots", "nodes-throughput.svg")); err != nil {
		t.Error(err)
	}
	if err := os.Remove(record); err != nil {
		t.Fatal(err)
	}
	if text := make(); !strings.Contains(text, "Nothing is recorded yet") {
		t.Errorf("got %s", text)
	}
	if left, _ := filepath.Glob(filepath.Join(results, "plots", "*")); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if code, _, errs := call(nil, "benchmarks", filepath.Join(dir, "none")); code != exitUsage || !strings.Contains(errs, "not a directory") {
		t.Errorf("exit %d, %s", code, errs)
	}
}
