package main

import (
	"context"

	"github.com/paxbench/paxbench/bench"
	"github.com/spf13/cobra"
)

// newGenerate is one generator process of several: `paxbench run --generators N` starts it for itself.
func newGenerate(a *app) *cobra.Command {
	return &cobra.Command{Use: bench.GenerateCommand, Hidden: true, Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		a.begin()
		return bench.Generate(context.Background(), a.in, a.out)
	}}
}
