package explore

import (
	"fmt"
	"slices"
	"strings"

	"github.com/paxbench/paxbench/wire"
)

// violated ends the search: bad is what is wrong after step m (nil: no step) from state at. The way there becomes a story in the
// form of engine/paxos/testdata, for people. That package's test does not play it as it stands: it has no command campaign and cannot
// select a message by its ballot.
func (s *search) violated(at uint32, m *move, bad *Violation) {
	if m != nil { // it lies in s.next, which between uses
		last := *m
		m = &last
	}
	s.rep.Violation, s.rep.Why = bad, "a property does not hold"
	var keys []key
	for n := at; ; n = s.set.parent(n) {
		keys = append(keys, s.set.key(n))
		if n == 0 {
			break
		}
	}
	slices.Reverse(keys)
	moves := s.between(keys)
	if m != nil {
		moves = append(moves, *m)
	}
	s.rep.Steps = len(moves)
	s.rep.Trace = s.s.story(moves)
}

// between finds the steps that lead from each state to the next.
func (s *search) between(keys []key) (moves []move) {
	for i := 1; i < len(keys); i++ {
		s.moves(keys[i-1])
		at := slices.IndexFunc(s.next, func(m move) bool { return m.to == keys[i] })
		if at < 0 {
			panic("BUG: explore: no step leads to the next state of a path")
		}
		moves = append(moves, s.next[at])
	}
	return moves
}

// story plays moves again, from the beginning, and writes down what happens.
func (s *space) story(moves []move) (lines []string) {
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	mode := ""
	if s.c.Fast {
		mode = " mode=fast"
	}
	say("cluster nodes=%d%s window=8", s.c.Nodes, mode)
	say("----")
	say("ok")
	nodes := make([]*node, s.c.Nodes)
	for i := range nodes {
		all := *s.c
		all.Beats = BeatAlways
		nodes[i] = bareNode(&all, s.v, i)
		nodes[i].fx = say
		defer nodes[i].close()
	}
	s.play(s.v.prelude, nodes, say)
	if len(s.v.prelude) > 0 {
		say("")
		say("# So far the beginning of the scope. What may still be on the net is lost.")
		say("drop")
		say("----")
		say("nothing matches")
	}
	for _, n := range nodes {
		n.begin(s.c)
	}
	s.play(moves, nodes, say)
	return lines
}

// play gives nodes their steps and says what happens.
func (s *space) play(moves []move, nodes []*node, tell func(string, ...any)) {
	lines := 0
	say := func(format string, args ...any) { lines++; tell(format, args...) }
	for _, n := range nodes {
		n.fx = say
	}
	left := map[uint16]int{} // deliveries to come of each message: the last one takes it off the net
	for _, m := range moves {
		if m.edge.in.op == opDeliver {
			left[m.edge.in.arg]++
		}
	}
	for _, m := range moves {
		in := m.edge.in
		say("")
		last := false
		if in.op == opDeliver {
			left[in.arg]--
			last = left[in.arg] == 0
		}
		for _, line := range s.commands(m, last, nodes[m.node]) {
			say("%s", line)
		}
		before := lines
		if in.op == opDeliver {
			msg := &s.v.messages[in.arg]
			say("%d->%d %s", msg.from+1, msg.to+1, msg.m.Text(payload))
		}
		nodes[m.node].take(in)
		if lines == before {
			say("ok")
		}
	}
}

// commands is a step as commands of a story.
func (s *space) commands(m move, last bool, n *node) []string {
	in, id := m.edge.in, m.node+1
	more := ""
	if in.open {
		more = " # nothing is put out before the next"
	}
	switch in.op {
	case opDeliver:
		verb := "repeat"
		if last {
			verb = "deliver"
		}
		msg := &s.v.messages[in.arg]
		return []string{fmt.Sprintf("%s from=%d to=%d kind=%v%s ballot=%v count=1%s", verb, msg.from+1, msg.to+1, msg.m.Kind, slotOf(&msg.m), msg.m.Ballot, more), "----"}
	case opSync:
		return []string{fmt.Sprintf("sync node=%d records=%d", id, in.arg), "----"}
	case opCrash:
		return []string{fmt.Sprintf("crash node=%d keep=%d", id, in.arg), "----", "ok", "", fmt.Sprintf("restart node=%d", id), "----"}
	case opCampaign:
		return []string{fmt.Sprintf("campaign node=%d", id), "----"}
	case opPropose:
		return []string{fmt.Sprintf("propose node=%d values=(%s)", id, s.c.valueName(n.i, n.values)), "----"}
	case opBeat:
		return []string{fmt.Sprintf("tick node=%d", id), "----"}
	case opLate:
		return []string{fmt.Sprintf("tick node=%d count=%d", id, holeTicks+1), "----"}
	case opFetch:
		return []string{fmt.Sprintf("tick node=%d count=3", id), "----"}
	case opRead:
		return []string{fmt.Sprintf("read node=%d", id), "----"}
	}
	return []string{fmt.Sprintf("# node %d: its leader is silent, or its output is taken", id), "----"}
}

func slotOf(m *wire.Message) string {
	switch m.Kind {
	case wire.KindAccept, wire.KindAccepted, wire.KindLearn, wire.KindFastAccepted, wire.KindFastChosen, wire.KindChosen:
		return fmt.Sprintf(" slot=%d", m.Slot)
	}
	return ""
}

// describe prints a frame in a line.
func describe(f *wire.Buffer) string {
	var m wire.Message
	if err := wire.DecodeMessage(f, &m); err != nil {
		return err.Error()
	}
	return m.Text(payload)
}

// String says how it ended in a few lines.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "scope %s: %v\n", r.Scope.Name, &r.Scope)
	verdict := "exhausted: yes"
	if !r.Exhausted {
		verdict = "exhausted: no, " + r.Why
	}
	fmt.Fprintf(&b, "%d states, %d transitions, depth %d, %s\n", r.States, r.Transitions, r.Depth, verdict)
	fmt.Fprintf(&b, "%v, %.0f states/s, %d MiB for states (exact keys: no collisions)\n", r.Elapsed.Round(1e7), r.Rate(), r.Bytes>>20)
	fmt.Fprintf(&b, "%d states of single nodes, %d steps of them worked out with the real core\n", r.NodeStates, r.NodeSteps)
	fmt.Fprintf(&b, "%d ends without a next step, %d of them tried for progress\n", r.Ends, r.EndsTried)
	names := make([]string, 0, len(r.Counts))
	for name := range r.Counts {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(&b, "  %-40s %d\n", name, r.Counts[name])
	}
	return b.String()
}
