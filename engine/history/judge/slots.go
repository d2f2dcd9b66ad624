package judge

import (
	"cmp"
	"slices"
	"sort"

	"github.com/paxbench/paxbench/engine/history"
	"github.com/paxbench/paxbench/engine/kv"
)

// BySlot judges by the slots of the replies.
func (h *History) BySlot() *Report {
	r := &Report{}
	h.order(r)
	h.once(r)
	for _, key := range h.sortedKeys() {
		h.execute(r, key)
	}
	return r
}

func (h *History) sortedKeys() []uint64 {
	keys := make([]uint64, 0, len(h.keys))
	for k := range h.keys {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// order holds the order of places against real time: a sweep over the times of sending, with the highest place of
// everything whose outcome had arrived by then.
func (h *History) order(r *Report) {
	var sent []int32
	for i := range h.calls {
		if !h.calls[i].unknown {
			sent = append(sent, int32(i))
		}
	}
	arrived := slices.Clone(sent)
	slices.SortFunc(sent, func(a, b int32) int { return cmp.Compare(h.calls[a].invoke, h.calls[b].invoke) })
	slices.SortFunc(arrived, func(a, b int32) int { return cmp.Compare(h.calls[a].ret, h.calls[b].ret) })
	var highest place
	var holder *call
	for _, i := range sent {
		c := &h.calls[i]
		for len(arrived) > 0 && h.calls[arrived[0]].ret < c.invoke {
			a := &h.calls[arrived[0]]
			if p := a.place(); p.compare(highest) > 0 {
				highest, holder = p, a
			}
			arrived = arrived[1:]
		}
		r.Calls++
		behind := c.place().compare(highest) < 0
		switch {
		case c.kind == history.Stale:
			r.Stale++
			if behind {
				r.Behind++
			}
		case behind:
			r.find("order: {%s} was sent after {%s} had ended, but lies before it in the log", c.name(), holder.name())
		}
	}
}

// once looks for places and sequence numbers that were acknowledged twice.
func (h *History) once(r *Report) {
	var blocks []*call
	for i := range h.calls {
		if c := &h.calls[i]; c.kind == history.Commands && !c.unknown {
			blocks = append(blocks, c)
		}
	}
	slices.SortFunc(blocks, func(a, b *call) int { return a.place().compare(b.place()) })
	for i, c := range blocks[min(1, len(blocks)):] {
		// The library cuts single commands into blocks by itself: commands of one block share its place.
		if last := blocks[i]; c.place() == last.place() && (c.session == 0 || c.session != last.session) {
			r.find("once: {%s} and {%s} have one place in the log", last.name(), c.name())
		}
	}
	slices.SortFunc(blocks, func(a, b *call) int { return cmp.Or(cmp.Compare(a.session, b.session), cmp.Compare(a.first, b.first)) })
	for i, c := range blocks[min(1, len(blocks)):] {
		if last := blocks[i]; c.session != 0 && last.session == c.session && c.first < last.first+uint64(last.count) {
			r.find("once: {%s} and {%s} share sequence numbers", last.name(), c.name())
		}
	}
}

// chain is the execution of one key's operations in the order of the log.
type chain struct {
	h       *History
	r       *Report
	state   state
	begun   bool
	last    *event  // that wrote last; nil: nobody, or not known
	open    []int64 // when operations that may have written were sent, ascending
	maybe   []*event
	missing uint64 // versions that those explain so far
}

// execute executes the operations on a key.
func (h *History) execute(r *Report, key uint64) {
	events := h.keys[key]
	c := chain{h: h, r: r, state: state{known: true}, begun: h.fresh}
	var known []*event
	for i := range events {
		e := &events[i]
		of := &h.calls[e.call]
		switch {
		case h.lost(of):
			if e.Writes() {
				c.maybe = append(c.maybe, e)
				c.open = append(c.open, of.invoke)
			}
		case of.invoke < h.cut:
			known = append(known, e)
		}
	}
	slices.Sort(c.open)
	slices.SortStableFunc(known, func(a, b *event) int {
		x, y := &h.calls[a.call], &h.calls[b.call]
		return cmp.Or(x.place().compare(y.place()), cmp.Compare(x.first, y.first), cmp.Compare(a.At, b.At))
	})
	for _, e := range known {
		r.Ops++
		c.step(e)
	}
	if len(known) > 0 {
		r.Keys++
	}
}

// step executes the next operation. After a finding it goes on from what the client was told.
func (c *chain) step(e *event) {
	if !c.begun {
		c.begun, c.state = true, state{version: before(&e.Op)}
	}
	had := before(&e.Op)
	gap := had - c.state.version
	if gap == 0 || gap > 1<<63 { // in place, or gone back
		next, want, ok := step(c.state, &e.Op)
		if !ok {
			c.find(e, want)
			next = learn(c.state, &e.Op)
		} else if e.Wrote != 0 && c.last != nil && e.Wrote != c.h.calls[c.last.call].slot {
			c.r.find("results: {%s} was told that slot %d wrote last, but {%s} did", c.h.name(e), e.Wrote, c.h.name(c.last))
		}
		c.advance(e, next)
		return
	}
	// Versions are missing: operations of unknown outcome may have made them.
	ret := c.h.calls[e.call].ret
	could := uint64(sort.Search(len(c.open), func(i int) bool { return c.open[i] >= ret }))
	if c.missing += gap; c.missing > could {
		c.missing = could
		_, want, _ := step(c.state, &e.Op)
		c.find(e, want)
	} else if pre := (state{version: had}); !possible(&e.Op) || !c.explained(e) {
		_, want, _ := step(pre, &e.Op)
		c.find(e, want)
	}
	c.advance(e, learn(c.state, &e.Op))
	if !wrote(&e.Op) {
		c.last = nil // who wrote last is not known
	}
}

func (c *chain) advance(e *event, next state) {
	c.state = next
	if wrote(&e.Op) {
		c.last = e
	}
}

// explained says whether a value that was seen behind missing versions is one that an operation of unknown outcome leaves.
func (c *chain) explained(e *event) bool {
	if e.Kind != kv.OpGet {
		return true
	}
	got := result(&e.Op)
	return slices.ContainsFunc(c.maybe, func(m *event) bool { return could(&m.Op, got) })
}

func (c *chain) find(e *event, want told) {
	after := "the beginning"
	if c.last != nil {
		after = "{" + c.h.name(c.last) + "}"
	}
	if c.state.known {
		c.r.find("results: {%s} after %s, which left %v: it should be (%v)", c.h.name(e), after, c.state, want)
		return
	}
	c.r.find("results: {%s} after %s, which left version %d: that cannot be", c.h.name(e), after, c.state.version)
}
