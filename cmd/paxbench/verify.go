package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/paxbench/paxbench/bench"
	"github.com/paxbench/paxbench/bench/result"
	"github.com/paxbench/paxbench/engine/history"
	"github.com/spf13/cobra"
)

// verifyConfig are the flags of verify.
type verifyConfig struct {
	limit  time.Duration
	format string
}

func newVerify(a *app) *cobra.Command {
	c := &verifyConfig{limit: time.Minute, format: "text"}
	cmd := &cobra.Command{
		Use:   "verify FILE...",
		Short: "Re-check recorded histories for linearizability",
		Long: `verify reads what 'paxbench run --history FILE' has recorded and judges it again, in two ways.

  by slot    every acknowledged call's place in the log must agree with real time, none may be there twice, and the
             operations on the recorded keys, executed again in the order of the log, must give the recorded results
  by key     porcupine looks for any order of a key's operations that agrees with real time and with the results; it is
             told no slots

A violation is told with the operations that it shows in: who sent them, when they were sent and acknowledged (from the end
of the warm-up), and where they are in the log.

Exit codes: 0 linearizable, 1 a damaged file (the message names the offset), 2 usage, 5 violated, 6 not decided in time.`,
		Example: `  paxbench run --history run.history --history-keys 1000
  paxbench verify run.history`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("verify needs a file that 'paxbench run --history FILE' has written")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, files []string) error { return a.verifyHistories(c, files) },
	}
	fs := cmd.Flags()
	fs.DurationVar(&c.limit, "limit", c.limit, "how long porcupine may take for a file")
	fs.Var(&choice{value: &c.format, choices: []string{"text", "json"}}, "format", "text, or json (one object a file)")
	return cmd
}

// verifyHistories judges all files; the gravest verdict is the exit code.
func (a *app) verifyHistories(c *verifyConfig, files []string) error {
	for _, file := range files {
		if _, err := os.Stat(file); err != nil {
			return usagef("%v", err)
		}
	}
	a.begin()
	worst := exitOK
	var errs []error
	for _, file := range files {
		j, err := judgeFile(file, c.limit)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		switch v := j.Verdict(); {
		case v == result.Violated:
			worst = exitViolated
		case v == result.Unknown && worst == exitOK:
			worst = exitInvalid
		}
		if err := a.printVerdict(file, j, c.format); err != nil {
			return err
		}
	}
	err := errors.Join(errs...)
	if worst == exitOK {
		return err
	}
	return &codeError{worst, err}
}

func judgeFile(file string, limit time.Duration) (*bench.Judged, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	j, err := bench.JudgeHistory(f, limit)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return j, nil
}

func (a *app) printVerdict(file string, j *bench.Judged, format string) error {
	if format == "json" {
		return json.NewEncoder(a.out).Encode(map[string]any{
			"file": file, "verdict": j.Verdict(), "head": j.Head, "tail": j.Tail, "by_slot": j.Slots, "by_key": j.Keys, "took_ns": j.Took,
		})
	}
	s, k := j.Slots, j.Keys
	fmt.Fprintf(a.out, "%s: %s\n", file, j.Verdict())
	fmt.Fprintf(a.out, "  recorded  %s, seed %d, %s: %d calls; in full the operations on %d of %d keys\n",
		j.Head.Started.Format(time.DateTime), j.Head.Seed, j.Head.SM, j.Tail.Calls, j.Head.Sampled, j.Head.Keys)
	fmt.Fprintf(a.out, "  by slot   %d calls in order, %d operations on %d keys executed again: %d violations\n", s.Calls, s.Ops, s.Keys, s.Violations)
	fmt.Fprintf(a.out, "  by key    %d operations, %d keys decided by porcupine, %d not in time: %d violations\n", k.Ops, k.Keys, k.Undecided+k.Untried, k.Violations)
	if s.Stale > 0 {
		fmt.Fprintf(a.out, "  stale     %d stale reads, each checked against the slot that it names; %d did not see all that was acknowledged before\n", s.Stale, s.Behind)
	}
	if j.Tail.Cut != history.Never {
		fmt.Fprintf(a.out, "  note      operations sent after %v are not judged: there were more than the recording holds\n", time.Duration(j.Tail.Cut))
	}
	if n := j.Tail.Dropped + uint64(j.Skipped); n > 0 {
		fmt.Fprintf(a.out, "  note      %d calls are not in it\n", n)
	}
	for _, finding := range j.Findings() {
		fmt.Fprintf(a.out, "  VIOLATION %s\n", finding)
	}
	if shown, all := len(j.Findings()), s.Violations+k.Violations; shown < all {
		fmt.Fprintf(a.out, "  and %d more\n", all-shown)
	}
	_, err := fmt.Fprintf(a.out, "  took      %v\n", j.Took.Round(time.Millisecond))
	return err
}
