package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/paxbench/paxbench/bench/compare"
	"github.com/paxbench/paxbench/bench/failover"
	"github.com/paxbench/paxbench/bench/metastable"
	"github.com/paxbench/paxbench/bench/result"
	"github.com/paxbench/paxbench/bench/search"
	"github.com/paxbench/paxbench/bench/sweep"
)

// What a command records must be what report reads: a field that only lives in memory would be missing, or a kind that
// report does not know refused; and a page that is not well-formed is shown half.
func TestReportScenarios(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	run, err := readAny(recordFile(t, filepath.Join(dir, "run.json"), true))
	if err != nil {
		t.Fatal(err)
	}
	ratio := 1.2
	latency := result.Latency{P50: 1e6, P90: 2e6, P99: 3e6, P999: 4e6, Max: 5e6, Count: 100}
	for kind, c := range map[string]struct {
		report renderer
		want   string
		run    bool
	}{
		compare.Kind: {&compare.Report{Kind: compare.Kind, Verdict: compare.Regression, Reasons: []string{"<worse>"}, Metrics: []compare.Metric{
			{Name: "p99", Stage: compare.Load, Gate: true, A: compare.Summary{Center: 1e6}, B: compare.Summary{Center: 1.2e6}, Ratio: &ratio, Verdict: compare.Worse}}}, "1.20 ms", false},
		search.Kind: {&search.Report{Kind: search.Kind, Verdict: search.Found, SLOs: []string{"p99<5ms"}, Best: 1000, Missed: 2000, Curve: []*search.Point{
			{Rate: 1000, Runs: []search.Measured{{Met: true, Valid: true, OpsPerSec: 1000, Response: latency, Service: latency}}},
			{Rate: 2000, Runs: []search.Measured{{Valid: true, OpsPerSec: 2000, Response: latency, Service: latency}}}}}, "1,000 operations/s meet", false},
		sweep.Kind: {&sweep.Report{Kind: sweep.Kind, Dir: "x", Rows: []sweep.Row{{Settings: []sweep.Setting{{Name: "window", Value: "8"}}, Ops: 1000, Response: latency}}}, "window", false},
		failover.Kind: {&failover.Report{Kind: failover.Kind, Fault: "kill:leader", Losses: 20, Asked: 20, Run: run.run, Distributions: []failover.Distribution{
			{Name: "cut", Count: 20, Min: 1e6, P50: 2e6, P90: 3e6, Max: result.Never}}}, "20 of 20 x kill:leader", true},
		metastable.Kind: {&metastable.Report{Kind: metastable.Kind, Verdict: metastable.Recovered, Recovered: 3e9, Bound: 5e6, Run: run.run, Phases: []metastable.Phase{{Name: "overload"}}}, "recovered: 3s", true},
	} {
		file := filepath.Join(dir, kind+".json")
		f, err := os.Create(file)
		if err := errors.Join(err, c.report.JSON(f), f.Close()); err != nil {
			t.Fatal(err)
		}
		first := ""
		for _, format := range []string{"text", "markdown", "html", "json"} {
			code, out, errs := call(nil, "report", file, "--format", format)
			if code != exitOK || format != "json" && !strings.Contains(out, c.want) {
				t.Errorf("%s as %s: exit %d, no %q in %s%s", kind, format, code, c.want, out, errs)
			}
			switch format {
			case "text":
				first = out
			case "html":
				d := xml.NewDecoder(strings.NewReader(strings.Replace(out, "<!doctype html>", "", 1)))
				d.Entity = xml.HTMLEntity
				for err = error(nil); err == nil; {
					_, err = d.Token()
				}
				if !errors.Is(err, io.EOF) {
					t.Errorf("%s: %v", kind, err)
				}
				if charts := strings.Contains(out, `<svg class="chart"`); charts != (c.run || kind == search.Kind) {
					t.Errorf("%s: charts %v", kind, charts)
				}
			case "json":
				if err := os.WriteFile(file, []byte(out), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
		if _, again, _ := call(nil, "report", file); again != first {
			t.Errorf("%s read back is another report:\n%s\n%s", kind, first, again)
		}
		code, out, errs := call(nil, "report", file, "--format", "go")
		if c.run && (code != exitOK || !strings.Contains(out, "Benchmark")) || !c.run && (code != exitUsage || !strings.Contains(errs, "no single run")) {
			t.Errorf("%s as go: exit %d, %s%s", kind, code, out, errs)
		}
	}
	unknown := filepath.Join(dir, "unknown.json")
	if err := os.WriteFile(unknown, []byte(`{"kind":"horoscope"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := call(nil, "report", unknown); code != exitRuntime || !strings.Contains(errs, `"horoscope"`) {
		t.Errorf("exit %d, %s", code, errs)
	}
}
