package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/paxbench/paxbench/bench"
	"github.com/paxbench/paxbench/bench/compare"
	"github.com/spf13/cobra"
)

// newSlices is the side of a comparison that drives its cluster slice by slice, on the orders of `paxbench compare`: a
// line of standard input for each slice, its end for the end. Answers are compare.Answer, a line of JSON each.
func newSlices(a *app) *cobra.Command {
	c := &runConfig{Config: bench.DefaultConfig()}
	c.Name = "slices"
	cmd := &cobra.Command{Use: "slices", Short: "One side of compare", Hidden: true, Args: cobra.NoArgs}
	fs := cmd.Flags()
	settingFlags(fs, &c.Config)
	configFlags(cmd, a, &c.configFile, &c.printOnly, func() error {
		settle(fs, &c.Config)
		a.begin()
		ctx, stop, release := a.signals()
		defer release()
		ctx, cancel := bench.UntilStopped(ctx, stop)
		defer cancel()
		answers := json.NewEncoder(a.out)
		told := func(s bench.Slice) error { return answers.Encode(compare.Answer{Slice: &s}) }
		safety, err := bench.Slices(ctx, c.Config, orders(ctx, a.in), told)
		if err != nil {
			return runError(err)
		}
		return answers.Encode(compare.Answer{Safety: safety})
	})
	return cmd
}

// orders gives one value for each line, and ends with r.
func orders(ctx context.Context, r io.Reader) <-chan struct{} {
	next := make(chan struct{})
	go func() {
		defer close(next)
		for lines := bufio.NewScanner(r); lines.Scan(); {
			select {
			case next <- struct{}{}:
			case <-ctx.Done():
				return
			}
		}
	}()
	return next
}

// checkSlices says what is wrong with the length of slices.
func checkSlices(slices int, length time.Duration) error {
	if slices < 0 || slices > 0 && length < 50*time.Millisecond {
		return fmt.Errorf("--slices %d --slice %s: 0 for whole runs, else slices of at least 50ms", slices, length)
	}
	return nil
}
