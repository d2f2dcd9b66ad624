package main

import (
	"fmt"
	"os"

	"github.com/paxbench/paxbench/bench/result"
	"github.com/spf13/cobra"
)

func newReport(a *app) *cobra.Command {
	format, noColor := "text", false
	cmd := &cobra.Command{
		Use:   "report FILE...",
		Short: "Recorded results as text, JSON, Markdown or Go benchmark lines",
		Long:  "report renders what 'paxbench run --output FILE' has recorded.",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("report needs a file that 'paxbench run --output FILE' has written")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, files []string) error {
			a.begin()
			for i, file := range files {
				r, err := readRecord(file)
				if err != nil {
					return err
				}
				if i > 0 && format == "text" {
					fmt.Fprintln(a.out)
				}
				if err := a.render(r, format, noColor); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().Var(&choice{value: &format, choices: formats}, "format", "text, json, markdown, or go (for benchstat)")
	cmd.Flags().BoolVar(&noColor, "no-color", false, "no colours")
	return cmd
}

func readRecord(file string) (*result.Result, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, usagef("%v", err)
	}
	defer f.Close()
	r, err := result.Decode(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return r, nil
}
