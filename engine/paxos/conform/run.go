package conform

import (
	"fmt"
	"slices"
	"strings"
)

// Error is how an implementation fails a case.
type Error struct {
	Case string
	Line int    // of the case's file
	Step string // that failed, or after which a check did
	What string
}

func (e *Error) Error() string {
	return fmt.Sprintf("conform: %s:%d: %s: %s", e.Case, e.Line, e.Step, e.What)
}

// bounds of one settle: how often time passes, and how many messages are delivered in between. An implementation that talks
// without end is stopped.
const (
	settleRounds = 40
	settleMost   = 20000
)

// Run plays a case against a new cluster, which it closes. The error is an *Error. What the implementation panics with is a
// failure too: it has found a broken invariant itself.
func Run(c *Case, open func(nodes int) Cluster) (err error) {
	r := &runner{c: c, cluster: open(c.Nodes), down: map[int]bool{}, proposed: map[string]bool{Noop: true}, chosen: map[int]string{},
		learned: map[int]map[int]string{}, rounds: map[slotRound]string{}, votes: map[ask]string{}, asked: map[ask]bool{}}
	var at *step
	defer func() {
		if x := recover(); x != nil {
			err = r.fail(at, fmt.Sprint("panic: ", x))
			return
		}
		r.cluster.Close()
	}()
	for i := range c.steps {
		at = &c.steps[i]
		what := r.play(at)
		if what == "" {
			what = r.look()
		}
		if what != "" {
			return r.fail(at, what)
		}
	}
	return nil
}

type slotRound struct {
	slot  int
	round uint64
}

type ask struct {
	slotRound
	node int
}

type runner struct {
	c       *Case
	cluster Cluster
	down    map[int]bool

	proposed map[string]bool
	chosen   map[int]string         // by slot: what anybody has learned first
	learned  map[int]map[int]string // by node, at the last look
	rounds   map[slotRound]string   // the value that a round proposed in a slot
	votes    map[ask]string         // for what a node has voted in a fast round
	asked    map[ask]bool           // who has been asked to vote
}

func (r *runner) fail(s *step, what string) error {
	return &Error{r.c.Name, s.line, strings.Join(s.words, " "), what}
}

// play does a step and says what is wrong with it.
func (r *runner) play(s *step) string {
	w := s.words
	switch w[0] {
	case "propose":
		r.proposed[w[2]] = true
		r.cluster.Propose(r.nodes(w[1])[0], w[2])
	case "again":
		r.cluster.Again(r.nodes(w[1])[0])
	case "sync":
		for _, n := range r.nodes(w[1]) {
			r.cluster.Sync(n)
		}
	case "crash":
		n := r.nodes(w[1])[0]
		r.down[n] = true
		delete(r.learned, n)
		r.cluster.Crash(n)
	case "restart":
		n := r.nodes(w[1])[0]
		delete(r.down, n)
		r.cluster.Restart(n)
	case "wait":
		r.cluster.Time()
	case "settle":
		return r.settle()
	case "expect":
		return r.expect(w[1:])
	default:
		return r.move(w)
	}
	return ""
}

// nodes are those that a word names; of all, those that are up.
func (r *runner) nodes(word string) (nodes []int) {
	if word != "all" {
		n, _ := number(word, r.c.Nodes)
		return []int{n}
	}
	for n := 1; n <= r.c.Nodes; n++ {
		if !r.down[n] {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// move delivers, repeats or drops the messages that match and are on the net now.
func (r *runner) move(w []string) string {
	times, words := 1, w[1:]
	if w[0] == "repeat" {
		times, _ = number(w[1], 100)
		words = w[2:]
	}
	p, _ := r.c.parsePattern(words)
	n := 0
	for i, left := 0, len(r.cluster.Net()); left > 0; left-- { // what is sent meanwhile is not on the net now
		m := r.cluster.Net()[i]
		if !p.matches(&m) {
			i++
			continue
		}
		n++
		switch w[0] {
		case "drop":
			r.cluster.Drop(i)
		case "repeat":
			r.note(&m)
			for range times {
				r.cluster.Repeat(i)
			}
			i++
		default:
			r.note(&m)
			r.cluster.Deliver(i)
		}
		if what := r.look(); what != "" {
			return what
		}
	}
	if n == 0 && (w[0] == "deliver" || w[0] == "repeat") {
		return "there is no such message on the net, which has " + r.show()
	}
	return ""
}

// note remembers what a node has been asked.
func (r *runner) note(m *Message) {
	if m.Kind == Accept {
		r.asked[ask{slotRound{m.Slot, m.Round}, m.To}] = true
	}
}

func (r *runner) settle() string {
	delivered := 0
	for range settleRounds {
		for len(r.cluster.Net()) > 0 {
			if delivered++; delivered > settleMost {
				return fmt.Sprintf("%d messages, and no end", settleMost)
			}
			r.note(&r.cluster.Net()[0])
			r.cluster.Deliver(0)
			for _, n := range r.nodes("all") {
				r.cluster.Sync(n)
			}
			if what := r.look(); what != "" {
				return what
			}
		}
		r.cluster.Time()
		for _, n := range r.nodes("all") {
			r.cluster.Sync(n)
		}
	}
	return r.look()
}

func (r *runner) expect(w []string) string {
	if w[0] == "learned" {
		for _, n := range r.nodes(w[1]) {
			got := values(r.cluster.Learned(n))
			if w[2] == "nothing" && len(got) > 0 {
				return fmt.Sprintf("node %d has learned %v", n, got)
			}
			if w[2] != "nothing" && !slices.Contains(got, w[2]) && (w[2] != "something" || len(got) == 0) {
				return fmt.Sprintf("node %d has learned %v", n, got)
			}
		}
		return ""
	}
	no := w[0] == "no"
	if no {
		w = w[1:]
	}
	p, _ := r.c.parsePattern(w)
	for _, m := range r.cluster.Net() {
		if p.matches(&m) {
			if no {
				return "on the net is " + text(&m)
			}
			return ""
		}
	}
	if no {
		return ""
	}
	return "on the net is " + r.show()
}

// values are the values of slots in order, without no-ops.
func values(slots map[int]string) (all []string) {
	var order []int
	for s := range slots {
		order = append(order, s)
	}
	slices.Sort(order)
	for _, s := range order {
		if slots[s] != Noop {
			all = append(all, slots[s])
		}
	}
	return all
}

// look checks what must always hold.
func (r *runner) look() string {
	net := r.cluster.Net()
	for _, kind := range []Kind{Accept, Accepted} { // a node may tell its own vote before it has asked the others
		for _, m := range net {
			if m.Kind == kind {
				if what := r.lookAt(&m); what != "" {
					return what
				}
			}
		}
	}
	for _, n := range r.nodes("all") {
		now := r.cluster.Learned(n)
		for s, v := range now {
			if !r.proposed[v] {
				return fmt.Sprintf("node %d has learned %q in slot %d, which nobody proposed", n, v, s)
			}
			if was, ok := r.chosen[s]; ok && was != v {
				return fmt.Sprintf("agreement: node %d has learned %q in slot %d, where %q was chosen", n, v, s, was)
			}
			r.chosen[s] = v
		}
		for s, v := range r.learned[n] {
			if now[s] != v {
				return fmt.Sprintf("node %d had learned %q in slot %d, and now says %q", n, v, s, now[s])
			}
		}
		r.learned[n] = now
	}
	return ""
}

func (r *runner) lookAt(m *Message) string {
	switch m.Kind {
	case Accept:
		k := slotRound{m.Slot, m.Round}
		if was, ok := r.rounds[k]; ok && was != m.Value && !m.Fast {
			return fmt.Sprintf("round %#x proposes %q in slot %d, and has proposed %q there", m.Round, m.Value, m.Slot, was)
		}
		r.rounds[k] = m.Value
		r.asked[ask{k, m.From}] = true
	case Accepted:
		for s := m.Slot; s <= max(m.Slot, m.Last); s++ {
			if !r.asked[ask{slotRound{s, m.Round}, m.From}] {
				return fmt.Sprintf("node %d tells a vote in slot %d at round %#x, for which it was not asked", m.From, s, m.Round)
			}
		}
		if m.Fast && m.Value != "" {
			k := ask{slotRound{m.Slot, m.Round}, m.From}
			if was, ok := r.votes[k]; ok && was != m.Value {
				return fmt.Sprintf("node %d tells a vote for %q in slot %d at round %#x, and has told one for %q", m.From, m.Value, m.Slot, m.Round, was)
			}
			r.votes[k] = m.Value
		}
	}
	return ""
}

func (r *runner) show() string {
	var all []string
	for _, m := range r.cluster.Net() {
		all = append(all, text(&m))
	}
	if len(all) == 0 {
		return "nothing"
	}
	return strings.Join(all, ", ")
}

func text(m *Message) string {
	s := fmt.Sprintf("%s %d->%d", m.Kind, m.From, m.To)
	if m.Kind == Accept {
		s += fmt.Sprintf(" of %s in slot %d", m.Value, m.Slot)
	}
	return s
}
