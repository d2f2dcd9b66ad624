package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/paxbench/paxbench/engine/sim/explore"
)

// explore visits every state of a scope. ^C ends it and says how far it came.
func (a *app) explore(c *simConfig) error {
	if c.explore == "list" {
		for _, s := range explore.Scopes() {
			long := ""
			if s.Long {
				long = " (minutes and more)"
			}
			fmt.Fprintf(a.out, "%-12s %s%s\n%12s %v\n", s.Name, s.About, long, "", &s)
		}
		return nil
	}
	scope, err := explore.Find(c.explore)
	if err != nil {
		return usagef("sim: %v", err)
	}
	_, stop, release := a.signals()
	defer release()
	o := explore.Options{Scope: scope, BytesMax: int64(c.exploreMiB) << 20, Ends: c.exploreEnds, Stop: stop}
	if c.exploreOnly != "" {
		o.Only = strings.Split(c.exploreOnly, ",")
		for _, p := range o.Only {
			if !slices.Contains(explore.Properties(), p) {
				return usagef("sim: --explore-only %s: there are %s", p, strings.Join(explore.Properties(), ", "))
			}
		}
	}
	o.Progress = func(r *explore.Report) {
		fmt.Fprintf(a.err, "%d states, depth %d, %.0f states/s, %d MiB, %d states of single nodes, 0 violations\n", r.States, r.Depth, r.Rate(), r.Bytes>>20, r.NodeStates)
	}
	r := explore.Run(o)
	fmt.Fprint(a.out, r)
	if r.Violation != nil {
		for _, line := range r.Trace {
			fmt.Fprintln(a.out, line)
		}
		fmt.Fprintf(a.out, "VIOLATED %v\nafter %d steps, the fewest there are\n", r.Violation, r.Steps)
		return &codeError{exitViolated, nil}
	}
	fmt.Fprintln(a.out, "0 violations")
	if !r.Exhausted {
		return &codeError{exitInterrupted, nil}
	}
	return nil
}
