package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/paxbench/paxbench/bench/report"
	"github.com/spf13/cobra"
)

// newBenchmarks is what `make report` calls; it is of use only to those who keep a folder of records.
func newBenchmarks(a *app) *cobra.Command {
	file, readme, family := "BENCHMARKS.md", "", ""
	cmd := &cobra.Command{
		Use:    "benchmarks DIRECTORY",
		Short:  "Make BENCHMARKS.md and its plots of a folder of recorded results",
		Hidden: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("benchmarks needs the folder of the recorded results")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return a.writeBenchmarks(args[0], file, readme, family) },
	}
	cmd.Flags().StringVarP(&file, "output", "o", file, "the document; the plots go into the folder")
	cmd.Flags().StringVar(&readme, "readme", readme, "a document to put the report of the default run into, between its marks")
	cmd.Flags().StringVar(&family, "family", family, "a document to put the tables of the modes side by side into, between its marks")
	return cmd
}

// writeBenchmarks makes the document and replaces the plots: what an earlier one showed and this does not is removed.
func (a *app) writeBenchmarks(dir, file, readme, family string) error {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return usagef("%s is not a directory", dir)
	}
	a.begin()
	runs, err := report.ReadRuns(os.DirFS(dir))
	if err != nil {
		return err
	}
	peers, err := report.ReadPeers(os.DirFS(dir))
	if err != nil {
		return err
	}
	where, err := filepath.Rel(filepath.Dir(file), dir)
	if err != nil {
		return fmt.Errorf("benchmarks: %w", err)
	}
	document, plots := report.Benchmarks(runs, peers, filepath.ToSlash(where))
	folder := filepath.Join(dir, report.PlotsDir)
	old, err := filepath.Glob(filepath.Join(folder, "*.svg"))
	if err != nil {
		return fmt.Errorf("benchmarks: %w", err)
	}
	for _, name := range old {
		if _, kept := plots[filepath.Base(name)]; !kept {
			if err := os.Remove(name); err != nil {
				return fmt.Errorf("benchmarks: %w", err)
			}
		}
	}
	if len(plots) > 0 {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return fmt.Errorf("benchmarks: %w", err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(plots)) {
		if err := writeWhole(filepath.Join(folder, name), []byte(plots[name])); err != nil {
			return err
		}
	}
	if err := writeWhole(file, []byte(document)); err != nil {
		return err
	}
	if err := putInto(readme, runs, report.Readme); err != nil {
		return err
	}
	return putInto(family, runs, report.Family)
}

// putInto replaces what stands between the marks of a document; "": there is none.
func putInto(file string, runs []report.Run, put func(string, []report.Run) (string, error)) error {
	if file == "" {
		return nil
	}
	present, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("benchmarks: %w", err)
	}
	text, err := put(string(present), runs)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return writeWhole(file, []byte(text))
}
