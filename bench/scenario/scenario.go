// Package scenario shows what Paxos is known for on real processes: split brain, holes, and duelling proposers (livelock), in each way
// of Multi-Paxos: independent instances (basic) and prepare only once (multi). Each scenario is one run or a few of package bench, with
// the faults and the load that bring the thing about, and a verdict: whether it was seen, and safety held.
package scenario

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/paxbench/paxbench/bench"
	"github.com/paxbench/paxbench/bench/cluster"
	"github.com/paxbench/paxbench/bench/load"
	"github.com/paxbench/paxbench/bench/result"
	"github.com/paxbench/paxbench/engine/client"
)

// Names of scenarios.
const (
	SplitBrain = "split-brain"
	Holes      = "holes"
	Duel       = "duel"
)

// Names are all scenarios.
var Names = []string{SplitBrain, Holes, Duel}

// Words say what a scenario is.
var Words = map[string]string{
	SplitBrain: "a minority with the leader is cut off from the others while clients reach both sides: only the majority's side gets anything chosen, and after the heal all agree",
	Holes:      "proposers die with slots open, some of them lost on the way: the others finish those slots, with the vote that they find or a no-op",
	Duel:       "several proposers at once: without back-off they overtake each other, random pauses help, a distinguished proposer ends it; where one prepares for all slots, only candidates can duel",
}

// Plan says what to run.
type Plan struct {
	Name   string
	Modes  []string // protocol modes, in this order
	Rounds int      // of losses; SplitBrain: of cuts
}

// Bounds of a plan, and times of a round.
const (
	roundsMax = 50
	lead      = 1500 * time.Millisecond // before the first round
	cutTime   = 3 * time.Second
	downTime  = 600 * time.Millisecond
	gapTime   = 2500 * time.Millisecond
	grace     = 700 * time.Millisecond // from a cut until what was under way has arrived and was counted
	margin    = 400 * time.Millisecond // before the heal: a node's counters are read some time after they were asked for
	lossTime  = 2 * time.Millisecond   // how long the network loses what the proposer sends before it dies
	lossAhead = 50 * time.Millisecond  // before it dies
)

// RoundsDefault is how many rounds each scenario makes.
func RoundsDefault(name string) int {
	if name == SplitBrain {
		return 1
	}
	return 4
}

// Check reports what is wrong with a plan, in the words of the flags.
func (p *Plan) Check(nodes int) error {
	switch {
	case !slices.Contains(Names, p.Name):
		return fmt.Errorf("there is no scenario %q; there are %s", p.Name, strings.Join(Names, ", "))
	case p.Rounds < 1 || p.Rounds > roundsMax:
		return fmt.Errorf("--rounds %d: there can be 1 to %d", p.Rounds, roundsMax)
	case nodes < 3:
		return fmt.Errorf("--nodes %d: it takes 3 at least, or no majority is left when one is away", nodes)
	}
	for _, m := range p.Modes {
		if m != "multi" && m != "basic" {
			return fmt.Errorf("--mode %s: the scenario is about multi and basic", m)
		}
	}
	return nil
}

// variant is one run of a scenario.
type variant struct {
	label string
	set   func(*bench.Config)
}

// variants are the runs. given says whether the user has chosen a setting himself, by the name of its flag.
func (p *Plan) variants(given func(flag string) bool) (all []variant) {
	def := func(flag string, set func()) {
		if !given(flag) {
			set()
		}
	}
	for _, mode := range p.Modes {
		base := func(c *bench.Config) {
			c.Engine.Mode = mode
			def("warmup", func() { c.Load.Warmup = 500 * time.Millisecond })
			def("keys", func() { c.Load.Keys = 1000 })
			def("clients", func() { c.Load.Clients = 2 * c.Nodes })
		}
		switch p.Name {
		case SplitBrain:
			all = append(all, variant{mode, func(c *bench.Config) {
				base(c)
				def("inflight", func() { c.Load.Inflight = 16 })
				c.Faults, c.Load.Duration = p.schedule(cutTime, func(at time.Duration) []string {
					return []string{fmt.Sprintf("partition:minority@%s+%s", at, cutTime)}
				})
			}})
		case Holes:
			all = append(all, p.holes(mode, base, def)...)
		case Duel:
			all = append(all, p.duel(mode, base, def)...)
		}
	}
	return all
}

// holes: a proposer of instances dies with slots open, of which the others have heard. A leader's window in flight has votes with
// others when it dies under load; for slots that nobody has heard of, what it sends is lost for a moment before: what it sends after
// that arrives. (A closed loop would fall silent meanwhile, and nothing would come after.)
func (p *Plan) holes(mode string, base func(*bench.Config), def func(string, func())) []variant {
	kills := func(c *bench.Config, before string) {
		c.Faults, c.Load.Duration = p.schedule(downTime, func(at time.Duration) (faults []string) {
			if before != "" {
				faults = append(faults, fmt.Sprintf(before, at))
			}
			return append(faults, fmt.Sprintf("kill:leader@%s+%s", at+lossAhead, downTime))
		})
	}
	if mode == "basic" {
		return []variant{{mode, func(c *bench.Config) {
			base(c)
			def("inflight", func() { c.Load.Inflight = 64 })
			// In a slot that several are after another than the dead one ends it: so one node proposes, and hears no promises in the end.
			def("one-node", func() { c.Load.OneNode = true })
			kills(c, fmt.Sprintf("asym:leader:how=hold,dir=in@%%s+%s", lossAhead))
		}}}
	}
	return []variant{
		{mode + ", under load", func(c *bench.Config) {
			base(c)
			def("batch-bytes", func() { c.Engine.BatchBytes = 4 << 10 })
			def("inflight", func() { c.Load.Inflight = 256 })
			kills(c, "")
		}},
		{mode + ", after losses", func(c *bench.Config) {
			base(c)
			def("clients", func() { c.Load.Clients = 8 })
			def("inflight", func() { c.Load.Inflight = 256 })
			def("window", func() { c.Engine.Window = 256 })
			def("rate", func() { c.Load.Rate = 8000 })
			def("api", func() { c.Load.API = load.APICall }) // single commands: small batches, many slots
			kills(c, fmt.Sprintf("asym:leader:how=swallow,dir=out@%%s+%s", lossTime))
		}},
	}
}

// duel: in mode basic one run for each back-off; with a leader, its loss again and again.
func (p *Plan) duel(mode string, base func(*bench.Config), def func(string, func())) (all []variant) {
	if mode == "multi" {
		return []variant{{mode, func(c *bench.Config) {
			base(c)
			def("inflight", func() { c.Load.Inflight = 16 })
			c.Faults, c.Load.Duration = p.schedule(downTime, func(at time.Duration) []string {
				return []string{fmt.Sprintf("kill:leader@%s+%s", at, downTime)}
			})
		}}}
	}
	for _, backoff := range cluster.Backoffs {
		all = append(all, variant{mode + ", " + backoff, func(c *bench.Config) {
			base(c)
			c.Engine.Backoff = backoff
			// Two nodes, one proposal at a time of each: with more, and without back-off, nothing at all is chosen any more.
			def("clients", func() { c.Load.Clients = 2 })
			def("inflight", func() { c.Load.Inflight = 1 })
			def("duration", func() { c.Load.Duration = 4 * time.Second })
		}})
	}
	// The worst first: none, random, distinguished.
	order := []string{"none", "random", "distinguished"}
	slices.SortStableFunc(all, func(a, b variant) int {
		at := func(v variant) int { return slices.Index(order, v.label[len(mode)+2:]) }
		return at(a) - at(b)
	})
	return all
}

// schedule repeats faults, each round lasting as long as the last of them and a pause.
func (p *Plan) schedule(lasts time.Duration, round func(at time.Duration) []string) (faults []cluster.Fault, length time.Duration) {
	at := lead
	for range p.Rounds {
		for _, text := range round(at) {
			f, err := cluster.ParseFault(text)
			if err != nil {
				panic("BUG: scenario: " + err.Error())
			}
			faults = append(faults, f)
		}
		at += lossAhead + lasts + gapTime
	}
	return faults, at
}

// Runner is bench.Run.
type Runner func(context.Context, bench.Config) (*result.Result, error)

// Run carries out the plan with the settings of c. given says which of them the user has chosen himself, by the names of their flags; the
// others are the scenario's. log, if not nil, is told what happens.
func Run(ctx context.Context, run Runner, c bench.Config, p Plan, given func(flag string) bool, log func(string, ...any)) (*Report, error) {
	if err := p.Check(c.Nodes); err != nil {
		return nil, err
	}
	out := &Report{SchemaVersion: SchemaVersion, Kind: Kind, Scenario: p.Name, Rounds: p.Rounds}
	for _, v := range p.variants(given) {
		one := c
		v.set(&one)
		if log != nil {
			log("%s: %s", p.Name, v.label)
		}
		r, err := run(ctx, one)
		if err != nil && p.Name == Duel && one.Engine.Backoff == "none" && errors.Is(err, client.ErrTimeout) {
			out.Rows = append(out.Rows, Row{
				Label: v.label, Mode: one.Engine.Mode, Backoff: one.Engine.Backoff, Safety: result.Unchecked, Endless: err.Error(), MinoritySlots: -1, MajoritySlots: -1,
			})
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s, %s: %w", p.Name, v.label, err)
		}
		out.Seed = r.Seed
		out.Rows = append(out.Rows, row(v.label, one.Engine.Mode, one.Engine.Backoff, r))
		if r.Partial {
			out.Partial = true
			break
		}
	}
	out.judge()
	return out, nil
}
