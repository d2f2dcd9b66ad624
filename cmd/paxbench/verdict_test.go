package main

import (
	"errors"
	"testing"

	"github.com/paxbench/paxbench/bench/result"
)

// The exit code is what a CI job sees: of several troubles the gravest must win, and safety is the gravest.
func TestVerdictCode(t *testing.T) {
	for _, c := range []struct {
		safety, linearizable, validity string
		met, interrupted               bool
		want                           int
	}{
		{result.OK, result.Unchecked, result.Valid, true, false, exitOK},
		{result.Unchecked, result.Unchecked, result.Valid, true, false, exitOK},
		{result.Violated, result.Unchecked, result.Invalid, false, true, exitViolated},
		{result.OK, result.Violated, result.Valid, true, false, exitViolated},
		{result.OK, result.Unchecked, result.Invalid, false, true, exitInterrupted},
		{result.OK, result.Unchecked, result.Invalid, false, false, exitInvalid},
		{result.OK, result.Unchecked, result.Valid, false, false, exitSLO},
	} {
		r := &result.Result{Safety: result.Safety{Verdict: c.safety, Linearizable: c.linearizable}, Validity: result.Validity{Verdict: c.validity}}
		if got := exitCode(verdictCode(r, c.met, c.interrupted), true); got != c.want {
			t.Errorf("%+v: exit %d", c, got)
		}
	}
	if got := exitCode(errors.New("x"), true); got != exitRuntime {
		t.Errorf("a plain error of a command that ran: exit %d", got)
	}
	if got := exitCode(errors.New("x"), false); got != exitUsage {
		t.Errorf("a plain error of the command line: exit %d", got)
	}
}

// A suggestion far from what was typed is noise; a missing one for a plain slip is unkind.
func TestDidYouMean(t *testing.T) {
	known := []string{"nodes", "inflight", "batch-bytes", "batch-delay"}
	for typed, want := range map[string]string{
		"node": `; did you mean "nodes"?`, "ndoes": `; did you mean "nodes"?`, "batch-byte": `; did you mean "batch-bytes"?`,
		"in-flight": `; did you mean "inflight"?`, "batch": `; did you mean "batch-bytes" or "batch-delay"?`, "xyzzyplughfoo": "",
	} {
		if got := didYouMean(typed, known); got != want {
			t.Errorf("%s: %q, want %q", typed, got, want)
		}
	}
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "acb", 1}, {"kitten", "sitting", 3}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("distance of %q and %q: %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
