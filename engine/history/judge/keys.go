package judge

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/paxbench/paxbench/engine/history"
)

// windowOps is how many operations are judged at a time, and more if they are of one version. Porcupine keeps a set of
// operations per step, so memory and time grow with the square of a window.
const windowOps = 2000

// ByKey judges each key by porcupine, without slots, for at most limit in all.
func (h *History) ByKey(limit time.Duration) *Report {
	r := &Report{}
	end := time.Now().Add(limit)
	for _, key := range h.sortedKeys() {
		ops := h.timeless(key)
		if len(ops.known) == 0 {
			continue
		}
		if time.Until(end) <= 0 {
			r.Untried++
			continue
		}
		h.realTime(r, &ops)
		decided := true
		for _, w := range ops.windows() {
			decided = h.window(r, &ops, w, time.Until(end)) && decided
		}
		if decided {
			r.Keys++
		} else {
			r.Undecided++
		}
	}
	return r
}

// keyOps are the operations on a key that can be judged without slots.
type keyOps struct {
	known []*event // with their results, by the version before them
	maybe []*event // that may have written
	fresh bool
}

// timeless picks a key's operations. Stale queries are none: their place in time is not given.
func (h *History) timeless(key uint64) keyOps {
	ops := keyOps{fresh: h.fresh}
	events := h.keys[key]
	for i := range events {
		e := &events[i]
		c := &h.calls[e.call]
		switch {
		case c.kind == history.Stale:
		case h.lost(c):
			if e.Writes() {
				ops.maybe = append(ops.maybe, e)
			}
		case c.invoke < h.cut:
			ops.known = append(ops.known, e)
		}
	}
	slices.SortStableFunc(ops.known, func(a, b *event) int { return cmp.Compare(a.Version, b.Version) })
	return ops
}

// realTime checks that no operation had ended when another was sent whose version is lower.
func (h *History) realTime(r *Report, ops *keyOps) {
	var latest, candidate *event // sent last, of all lower versions; and of the present one as well
	for i, e := range ops.known {
		if i > 0 && e.Version != ops.known[i-1].Version {
			latest = candidate
		}
		if latest != nil && h.calls[e.call].ret < h.calls[latest.call].invoke {
			r.find("versions: {%s} had ended when {%s} was sent, which saw an older version", h.name(e), h.name(latest))
		}
		if candidate == nil || h.calls[e.call].invoke > h.calls[candidate.call].invoke {
			candidate = e
		}
	}
}

// windows cuts the operations into runs of versions.
func (o *keyOps) windows() (out [][]*event) {
	from := 0
	for i, e := range o.known {
		if i-from >= windowOps && e.Version != o.known[i-1].Version {
			out = append(out, o.known[from:i])
			from = i
		}
	}
	return append(out, o.known[from:])
}

// input is an operation as the model sees it.
type input struct {
	e       *event
	unknown bool
}

// window gives a run of versions to porcupine. decided is false if the time ran out.
func (h *History) window(r *Report, ops *keyOps, known []*event, left time.Duration) (decided bool) {
	if left <= 0 {
		return false
	}
	first := known[0].Version
	start := state{version: first, known: false}
	switch {
	case known[0] == ops.known[0] && ops.fresh:
		start = state{known: true}
	case !readsFirst(known):
		start.version = first - 1
	}
	var list []porcupine.Operation
	until := int64(0)
	for _, e := range known {
		c := &h.calls[e.call]
		until = max(until, c.ret)
		list = append(list, porcupine.Operation{ClientId: int(c.client), Input: input{e: e}, Call: c.invoke, Return: c.ret})
	}
	if gaps(known, start.version) {
		for _, e := range ops.maybe {
			if c := &h.calls[e.call]; c.invoke <= until {
				list = append(list, porcupine.Operation{ClientId: int(c.client), Input: input{e, true}, Call: c.invoke, Return: math.MaxInt64})
			}
		}
	}
	r.Ops += len(known)
	model := newModel(start, known)
	verdict, info := porcupine.CheckOperationsVerbose(model, list, left)
	switch verdict {
	case porcupine.Ok:
		return true
	case porcupine.Unknown:
		return false
	}
	h.explain(r, model, known, start, info)
	return true
}

// readsFirst says whether the lowest version of a run is seen by reads alone: it was written by nobody in the run.
func readsFirst(known []*event) bool {
	for _, e := range known {
		if e.Version != known[0].Version {
			break
		}
		if wrote(&e.Op) {
			return false
		}
	}
	return true
}

// gaps says whether a version from from on was written by none of the known operations.
func gaps(known []*event, from uint64) bool {
	written, prior := uint64(0), from
	for _, e := range known {
		if wrote(&e.Op) && e.Version != prior {
			written++
			prior = e.Version
		}
	}
	return known[len(known)-1].Version-from > written
}

// model is a key within a run of its versions, for porcupine.
type model struct {
	last    uint64
	written map[uint64]bool // versions written by known operations
	seen    map[uint64]int  // known operations that saw a version and wrote nothing
}

// moment is the model's state: the key's, and how many of those that see its version have been placed. All of them lie
// before the next write. Without this rule the search would place the write first, and notice only when the time of a
// reader that was left behind is over; until then it tries every combination of such mistakes.
type moment struct {
	state
	placed int
}

func newModel(start state, known []*event) porcupine.Model {
	m := &model{last: known[len(known)-1].Version, written: map[uint64]bool{}, seen: map[uint64]int{}}
	for _, e := range known {
		if wrote(&e.Op) {
			m.written[e.Version] = true
		} else {
			m.seen[e.Version]++
		}
	}
	return porcupine.Model{
		Init:  func() any { return moment{state: start} },
		Step:  func(s, in, _ any) (bool, any) { return m.step(s.(moment), in.(input)) },
		Equal: func(a, b any) bool { return a.(moment) == b.(moment) },
		Hash: func(s any) uint64 {
			v := s.(moment)
			return (v.version*0x9e3779b97f4a7c15^v.value.Bits)*0x9e3779b97f4a7c15 + uint64(v.placed)
		},
	}
}

func (m *model) step(now moment, op input) (bool, moment) {
	if op.unknown {
		return m.maybeStep(now, op.e)
	}
	next, _, ok := step(now.state, &op.e.Op)
	if !wrote(&op.e.Op) {
		return ok, moment{next, now.placed + 1}
	}
	return ok && now.placed == m.seen[now.version], moment{state: next}
}

// maybeStep is a step of an operation of unknown outcome. It has its effect where a version is missing and nowhere else;
// when all that is known has been seen, it may as well have had none.
func (m *model) maybeStep(s moment, e *event) (bool, moment) {
	switch {
	case s.version >= m.last:
		return true, s
	case m.written[s.version+1] || s.placed != m.seen[s.version]:
		return false, s
	case s.known:
		next, _ := execute(s.state, &e.Op)
		return next.version != s.version, moment{state: next}
	}
	next := state{version: s.version + 1}
	if e.Arg != history.None {
		next.known, next.present, next.value = true, true, e.Arg
	}
	return true, moment{state: next}
}

// explain reports that a run of versions has no linearization: how far the longest attempt came, and what did not fit
// behind it.
func (h *History) explain(r *Report, model porcupine.Model, known []*event, start state, info porcupine.LinearizationInfo) {
	var longest []porcupine.Operation
	for _, part := range info.PartialLinearizationsOperations() {
		for _, p := range part {
			if len(p) > len(longest) {
				longest = p
			}
		}
	}
	in := map[*event]bool{}
	s := any(moment{state: start})
	for _, op := range longest {
		in[op.Input.(input).e] = true
		_, s = model.Step(s, op.Input, nil)
	}
	var rest []*event
	for _, e := range known {
		if !in[e] {
			rest = append(rest, e)
		}
	}
	slices.SortFunc(rest, func(a, b *event) int { return cmp.Compare(h.calls[a.call].ret, h.calls[b.call].ret) })
	var names []string
	for _, e := range rest[:min(3, len(rest))] {
		names = append(names, "{"+h.name(e)+"}")
	}
	behind := "the beginning"
	if n := len(longest); n > 0 {
		behind = fmt.Sprintf("%d operations, the last {%s},", n, h.name(longest[n-1].Input.(input).e))
	}
	r.find("porcupine: no order of the operations on %s agrees with real time and results: after %s which leave %v, there is no place for %s",
		h.keyName(known[0].Key), behind, s.(moment).state, strings.Join(names, ", "))
}
