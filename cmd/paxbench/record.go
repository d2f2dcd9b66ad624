package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/paxbench/paxbench/bench/compare"
	"github.com/paxbench/paxbench/bench/failover"
	"github.com/paxbench/paxbench/bench/metastable"
	"github.com/paxbench/paxbench/bench/report"
	"github.com/paxbench/paxbench/bench/result"
	"github.com/paxbench/paxbench/bench/scenario"
	"github.com/paxbench/paxbench/bench/search"
	"github.com/paxbench/paxbench/bench/sweep"
)

// record is what a file holds: a run, or the report of a scenario, in which there may be a run.
type record struct {
	name     string
	run      *result.Result
	scenario renderer // nil: of a run
}

// readAny reads a record of any kind.
func readAny(file string) (*record, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, usagef("%v", err)
	}
	var head struct{ Kind string }
	if err := json.Unmarshal(text, &head); err != nil {
		return nil, fmt.Errorf("%s: not a recorded run, nor a report: %w", file, err)
	}
	out := &record{}
	switch head.Kind {
	case "":
		if out.run, err = result.Decode(bytes.NewReader(text)); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		return out, nil
	case compare.Kind:
		out.scenario = &compare.Report{}
	case failover.Kind:
		out.scenario = &failover.Report{}
	case metastable.Kind:
		out.scenario = &metastable.Report{}
	case search.Kind:
		out.scenario = &search.Report{}
	case scenario.Kind:
		out.scenario = &scenario.Report{}
	case sweep.Kind:
		out.scenario = &sweep.Report{}
	default:
		return nil, fmt.Errorf("%s: a record of the kind %q is none that this program knows", file, head.Kind)
	}
	if err := json.Unmarshal(text, out.scenario); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	switch r := out.scenario.(type) {
	case *failover.Report:
		out.run = r.Run
	case *metastable.Report:
		out.run = r.Run
	default:
		return out, nil
	}
	if out.run == nil {
		return nil, fmt.Errorf("%s: the run is missing in it", file)
	}
	if err := out.run.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return out, nil
}

// shown is the scenario for the HTML report.
func (r *record) shown() report.Scenario {
	s := report.Scenario{Name: r.name, Page: r.scenario.Page(), Run: r.run}
	if found, ok := r.scenario.(*search.Report); ok {
		for _, p := range found.Curve {
			m := p.Middle()
			s.Curve = append(s.Curve, report.CurvePoint{
				OpsPerSec: m.OpsPerSec, P50: float64(m.Response.P50), P99: float64(m.Response.P99), ServiceP99: float64(m.Service.P99),
			})
		}
	}
	return s
}

// writeScenarios writes reports of scenarios.
func (a *app) writeScenarios(w io.Writer, c *reportConfig, records []*record) error {
	if c.format == "html" {
		scenarios := make([]report.Scenario, len(records))
		for i, r := range records {
			scenarios[i] = r.shown()
		}
		return report.ScenariosHTML(w, scenarios)
	}
	for i, r := range records {
		if i > 0 && c.format != "json" {
			fmt.Fprintln(w)
		}
		if err := writePage(w, r.scenario, c.format); err != nil {
			return err
		}
	}
	return nil
}

// writePage writes a report in one of the scenarioFormats.
func writePage(w io.Writer, r renderer, format string) error {
	switch format {
	case "json":
		return r.JSON(w)
	case "markdown":
		return r.Page().Markdown(w)
	}
	return r.Page().Text(w)
}
