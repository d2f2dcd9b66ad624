package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/paxbench/paxbench/bench/report"
	"github.com/paxbench/paxbench/bench/result"
	"github.com/spf13/cobra"
)

// reportFormats are those of a run and those that are files for other programs.
var reportFormats = append(slices.Clone(formats), "html", "hgrm", "hlog", "junit")

// reportConfig are the flags of report.
type reportConfig struct {
	format  string
	file    string
	series  string
	noColor bool
}

func newReport(a *app) *cobra.Command {
	c := &reportConfig{format: "text", series: result.Series[0]}
	cmd := &cobra.Command{
		Use:   "report FILE...",
		Short: "Recorded results as text, JSON, Markdown, Go benchmark lines, HTML with plots, HdrHistogram files or JUnit",
		Long: `report renders what 'paxbench run --output FILE' has recorded, and what compare, failover, metastability, search and sweep
have ('--output', or '--format json'): those as text, JSON, Markdown and HTML, and the other forms of the run that failover and
metastability have recorded.

  text, markdown, go   for people, for a CI step summary, for benchstat
  html                 one file for a browser that needs no network: latency curves, throughput and latency over time with
                       the faults marked, stages, costs, settings; several results are overlaid
  hgrm                 the percentiles of one result, for the HdrHistogram plotter; in milliseconds
  hlog                 the histograms of one result, for HdrHistogram's log tools
  junit                safety, validity and objectives of each result as test cases`,
		Example: `  paxbench report run.json
  paxbench report --format go w8-*.json > w8.txt && benchstat -col window w8.txt w32.txt
  paxbench report --format html -o report.html before.json after.json
  paxbench report --format hgrm --series service -o run.hgrm run.json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("report needs a file that 'paxbench run --output FILE' has written")
			}
			if len(args) > 1 && (c.format == "hgrm" || c.format == "hlog") {
				return usagef("--format %s takes one result; there are %d. Write a file for each", c.format, len(args))
			}
			return nil
		},
		RunE: func(_ *cobra.Command, files []string) error { return a.runReport(c, files) },
	}
	fs := cmd.Flags()
	fs.Var(&choice{value: &c.format, choices: reportFormats}, "format", "what to make of it")
	fs.StringVarP(&c.file, "output", "o", "", "write to this file instead of standard output")
	fs.Var(&choice{value: &c.series, choices: result.Series}, "series", "which distribution, for hgrm")
	fs.BoolVar(&c.noColor, "no-color", false, "no colours")
	return cmd
}

func (a *app) runReport(c *reportConfig, files []string) error {
	if err := (&outputConfig{file: c.file}).check(); err != nil {
		return err
	}
	a.begin()
	records := make([]*record, len(files))
	for i, file := range files {
		var err error
		if records[i], err = readAny(file); err != nil {
			return err
		}
		records[i].name = recordName(files, i)
	}
	if c.file == "" {
		return a.writeRecords(a.out, c, records)
	}
	var b bytes.Buffer
	if err := a.writeRecords(&b, c, records); err != nil {
		return err
	}
	return writeWhole(c.file, b.Bytes())
}

// writeRecords writes runs, or reports of scenarios. The forms that other programs read are those of runs: of a
// scenario, they are made of the run in its record.
func (a *app) writeRecords(w io.Writer, c *reportConfig, records []*record) error {
	var runs []report.Run
	scenarios := 0
	asPage := c.format == "html" || slices.Contains(scenarioFormats, c.format)
	for _, r := range records {
		if r.scenario != nil && asPage {
			scenarios++
			continue
		}
		if r.run == nil {
			return usagef("%s: there is no single run in it; --format %s takes one. There are %s and html", r.name, c.format, strings.Join(scenarioFormats, ", "))
		}
		runs = append(runs, report.Run{Name: r.name, Result: r.run})
	}
	switch {
	case scenarios == 0:
		return a.writeReport(w, c, runs)
	case len(runs) > 0:
		return usagef("report: some of the files are runs and some are reports of other commands; give them in turn")
	}
	return a.writeScenarios(w, c, records)
}

// sweepMark is what sweep puts behind its settings, so that no two files of a directory have one name.
var sweepMark = regexp.MustCompile(`_[0-9a-f]{8}$`)

// recordName is what a file's run is called: the file's name, without the mark of a sweep, or with its directory where that is
// needed to tell it from another.
func recordName(files []string, i int) string {
	short := func(file string) string { return strings.TrimSuffix(filepath.Base(file), filepath.Ext(file)) }
	plain := func(file string) string { return sweepMark.ReplaceAllString(short(file), "") }
	name := short(files[i])
	if alone := !slices.ContainsFunc(slices.Delete(slices.Clone(files), i, i+1), func(f string) bool { return plain(f) == plain(files[i]) }); alone {
		return plain(files[i])
	}
	for k, other := range files {
		if k != i && short(other) == name {
			return strings.TrimSuffix(filepath.ToSlash(files[i]), filepath.Ext(files[i]))
		}
	}
	return name
}

func (a *app) writeReport(w io.Writer, c *reportConfig, runs []report.Run) error {
	switch c.format {
	case "html":
		return report.HTML(w, runs)
	case "markdown":
		return report.Markdown(w, runs)
	case "junit":
		return report.JUnit(w, runs)
	case "hgrm":
		return plainly(report.Hgrm(w, runs[0].Result, c.series))
	case "hlog":
		return plainly(report.Hlog(w, runs[0].Result))
	}
	for i, run := range runs {
		if i > 0 && c.format == "text" {
			fmt.Fprintln(w)
		}
		if err := render(w, run.Result, c.format, c.noColor); err != nil {
			return err
		}
	}
	return nil
}

// plainly says what to do about a record without histograms.
func plainly(err error) error {
	var none *report.NoHistogramError
	if errors.As(err, &none) {
		return fmt.Errorf("%w; record it anew with 'paxbench run --output FILE', or look at --format text", err)
	}
	return err
}
