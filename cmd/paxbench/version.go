package main

import (
	"fmt"
	"runtime"

	"github.com/paxbench/paxbench/bench/env"
	"github.com/paxbench/paxbench/wire/plant"
	"github.com/spf13/cobra"
)

func newVersion(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version, the commit and the Go release",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			a.begin()
			commit, modified := env.Commit()
			if commit == "" {
				commit = "unknown commit"
			}
			if modified {
				commit += " (modified)"
			}
			if plant.Chosen() != plant.None {
				commit += fmt.Sprintf(" (planted: %s)", plant.Chosen())
			}
			_, err := fmt.Fprintf(a.out, "paxbench %s %s %s/%s\n", commit, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}
