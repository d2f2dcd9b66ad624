package judge

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/paxbench/paxbench/engine/history"
	"github.com/paxbench/paxbench/engine/kv"
)

// History is a history in memory: about 70 bytes a call and 100 bytes an operation on a sampled key.
type History struct {
	fresh bool // keys begin unwritten
	cut   int64
	most  int // calls
	calls []call
	keys  map[uint64][]event

	// Key names a key in findings. Nil: by its number.
	Key func(key uint64) string
}

// call is a history.Call without its operations.
type call struct {
	invoke, ret    int64
	slot           uint64
	session, first uint64
	stamp          uint64
	count, client  uint32
	index, reads   uint32
	kind           history.Kind
	unknown        bool
}

// event is an operation with the call that it belongs to.
type event struct {
	call int32 // in History.calls
	history.Op
}

// CallsMax bounds the calls of a history in memory.
const CallsMax = 1 << 22

// New makes an empty history. fresh: no key was written before it.
func New(fresh bool) *History {
	return &History{fresh: fresh, cut: history.Never, most: CallsMax, keys: map[uint64][]event{}}
}

// Add adds a call. false: there are CallsMax already, and operations sent since are not judged.
func (h *History) Add(c *history.Call) bool {
	if len(h.calls) >= h.most {
		if len(c.Ops) > 0 {
			h.Cut(c.Invoke)
		}
		return false
	}
	h.calls = append(h.calls, call{
		invoke: c.Invoke, ret: c.Return, slot: c.Slot, session: c.Session, first: c.First, stamp: c.Stamp, count: c.Count,
		client: c.Client, index: c.Index, reads: c.Reads, kind: c.Kind, unknown: c.Unknown,
	})
	for i := range c.Ops {
		o := &c.Ops[i]
		h.keys[o.Key] = append(h.keys[o.Key], event{int32(len(h.calls) - 1), *o})
	}
	return true
}

// Cut says that operations sent from t on may be missing.
func (h *History) Cut(t int64) { h.cut = min(h.cut, t) }

// Block is an acknowledged block of commands.
type Block struct {
	Slot           uint64
	Index          uint32
	Session, First uint64
	Count, Reads   uint32
	Stamp          uint64
}

// Blocks gives the acknowledged blocks, by place.
func (h *History) Blocks() []Block {
	var out []Block
	for i := range h.calls {
		if c := &h.calls[i]; c.kind == history.Commands && !c.unknown {
			out = append(out, Block{c.slot, c.index, c.session, c.first, c.count, c.reads, c.stamp})
		}
	}
	slices.SortFunc(out, func(a, b Block) int { return cmp.Or(cmp.Compare(a.Slot, b.Slot), cmp.Compare(a.Index, b.Index)) })
	return out
}

// Report is what a judge found.
type Report struct {
	Calls      int // whose order was judged
	Ops        int // that were executed again, or given to porcupine
	Keys       int // decided
	Undecided  int // keys on which the time ran out
	Untried    int // keys for which no time was left
	Stale      int // stale queries
	Behind     int // of these, those that did not see what was done when they were sent
	Violations int
	Findings   []string // the first ones
}

const findingsMax = 20

func (r *Report) find(format string, args ...any) {
	r.Violations++
	if len(r.Findings) < findingsMax {
		r.Findings = append(r.Findings, fmt.Sprintf(format, args...))
	}
}

// place is where in the log a call is. A query is behind everything of its slot.
type place struct {
	slot  uint64
	index uint32
}

func (a place) compare(b place) int {
	return cmp.Or(cmp.Compare(a.slot, b.slot), cmp.Compare(a.index, b.index))
}

func (c *call) place() place {
	if c.kind != history.Commands {
		return place{c.slot, math.MaxUint32}
	}
	return place{c.slot, c.index}
}

// lost says that a call's outcome is not known, or not to be used for keys because what came after it is not complete.
func (h *History) lost(c *call) bool { return c.unknown || c.ret > h.cut }

func seconds(nanos int64) string { return fmt.Sprintf("%.6fs", time.Duration(nanos).Seconds()) }

// name describes a call to people.
func (c *call) name() string {
	what := ""
	switch {
	case c.kind != history.Commands:
		what = "query"
		if c.kind == history.Stale {
			what = "stale query"
		}
	case c.session == 0:
		what = fmt.Sprintf("block of %d commands", c.count)
	case c.count == 1:
		what = fmt.Sprintf("command %d of session %#x", c.first, c.session)
	default:
		what = fmt.Sprintf("commands %d to %d of session %#x", c.first, c.first+uint64(c.count)-1, c.session)
	}
	s := fmt.Sprintf("client %d, %s, sent %s", c.client, what, seconds(c.invoke))
	switch {
	case c.unknown:
		return s + ", outcome unknown"
	case c.kind != history.Commands:
		return s + fmt.Sprintf(", answered %s from slot %d", seconds(c.ret), c.slot)
	}
	return s + fmt.Sprintf(", acknowledged %s in slot %d.%d", seconds(c.ret), c.slot, c.index)
}

func (h *History) keyName(key uint64) string {
	if h.Key != nil {
		return h.Key(key)
	}
	return fmt.Sprintf("key %d", key)
}

// name describes an operation to people.
func (h *History) name(e *event) string {
	c := &h.calls[e.call]
	s := h.keyName(e.Key) + ": "
	switch e.Kind {
	case kv.OpGet:
		s += "get"
	case kv.OpPut:
		s += fmt.Sprintf("put %v", e.Arg)
	case kv.OpDelete:
		s += "delete"
	case kv.OpCAS:
		s += fmt.Sprintf("cas %v -> %v", e.Old, e.Arg)
	case kv.OpIncr:
		s += fmt.Sprintf("incr %+d", e.Delta)
	}
	if !c.unknown {
		s += fmt.Sprintf(" = (%v)", result(&e.Op))
	}
	return s + fmt.Sprintf(" [%s, its command %d]", c.name(), e.At)
}
