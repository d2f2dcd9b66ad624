package judge

import (
	"fmt"

	"github.com/paxbench/paxbench/engine/history"
	"github.com/paxbench/paxbench/engine/kv"
)

// state is what is known of a key. The version is always known, the value not always.
type state struct {
	version uint64
	known   bool // the rest means something
	present bool
	value   history.Value
}

func (s state) String() string {
	switch {
	case !s.known:
		return fmt.Sprintf("version %d", s.version)
	case !s.present:
		return fmt.Sprintf("version %d, no value", s.version)
	}
	return fmt.Sprintf("version %d, value %v", s.version, s.value)
}

// told is a result in the form in which results are compared.
type told struct {
	status  kv.Status
	version uint64
	value   history.Value
}

func result(o *history.Op) told { return told{o.Status, o.Version, nonempty(o.Value)} }

// nonempty makes an empty value and no value the same: results do not tell them apart.
func nonempty(v history.Value) history.Value {
	if v.Size <= 1 {
		return history.None
	}
	return v
}

func (t told) String() string {
	s := fmt.Sprintf("%v, version %d", t.status, t.version)
	if t.value != history.None {
		s += fmt.Sprintf(", value %v", t.value)
	}
	return s
}

// execute is the meaning of an operation on a state whose value is known: the next state, and the result.
func execute(s state, o *history.Op) (state, told) {
	write := func(present bool, v history.Value) state { return state{s.version + 1, true, present, v} }
	switch o.Kind {
	case kv.OpPut:
		next := write(true, o.Arg)
		return next, told{kv.StatusOK, next.version, history.None}
	case kv.OpGet:
		if !s.present {
			return s, told{kv.StatusNotFound, s.version, history.None}
		}
		return s, told{kv.StatusOK, s.version, nonempty(s.value)}
	case kv.OpDelete:
		if !s.present {
			return s, told{kv.StatusNotFound, s.version, history.None}
		}
		next := write(false, history.None)
		return next, told{kv.StatusOK, next.version, history.None}
	case kv.OpCAS:
		expect := o.Old != history.None
		if s.present == expect && (!expect || s.value == o.Old) {
			next := write(true, o.Arg)
			return next, told{kv.StatusOK, next.version, history.None}
		}
		return s, told{kv.StatusMismatch, s.version, nonempty(s.value)}
	}
	if s.present && s.value.Size != 9 {
		return s, told{kv.StatusBadValue, s.version, history.None}
	}
	next := write(true, history.Int(s.value.Bits+uint64(o.Delta)))
	return next, told{kv.StatusOK, next.version, next.value}
}

// wrote says whether an operation changed its key, by its result.
func wrote(o *history.Op) bool { return o.Writes() && o.Status == kv.StatusOK }

// before is the version that the key had before an operation, by its result.
func before(o *history.Op) uint64 {
	if wrote(o) {
		return o.Version - 1 // a write with version 0 wraps around and fits nowhere
	}
	return o.Version
}

// step holds an operation's result against the state before it. ok is false if it contradicts it; want is then what it
// should have been, as far as that is known.
func step(s state, o *history.Op) (next state, want told, ok bool) {
	got := result(o)
	if !s.known {
		return learn(s, o), told{version: s.version}, before(o) == s.version && possible(o)
	}
	next, want = execute(s, o)
	if got.status == kv.StatusTooLarge && want.value != history.None && want.version == s.version {
		got = want // the reply had no room for the value
	}
	return next, want, got == want
}

// possible says whether some state leads to an operation's result.
func possible(o *history.Op) bool {
	switch o.Status {
	case kv.StatusOK:
		return true
	case kv.StatusNotFound:
		return o.Kind == kv.OpGet || o.Kind == kv.OpDelete
	case kv.StatusMismatch:
		return o.Kind == kv.OpCAS
	case kv.StatusBadValue:
		return o.Kind == kv.OpIncr
	case kv.StatusTooLarge:
		return o.Kind == kv.OpGet || o.Kind == kv.OpCAS
	}
	return false
}

// learn is the state after an operation with this result, as far as the result tells.
func learn(s state, o *history.Op) state {
	next := state{version: o.Version, known: true, present: true}
	switch {
	case o.Status == kv.StatusNotFound, o.Kind == kv.OpDelete && o.Status == kv.StatusOK:
		next.present = false
	case o.Status == kv.StatusOK && (o.Kind == kv.OpPut || o.Kind == kv.OpCAS):
		next.value = o.Arg
	case o.Status == kv.StatusOK:
		next.value = o.Value // get, incr
	case o.Status == kv.StatusMismatch && o.Value.Size > 1:
		next.value = o.Value
	default: // an empty value in a mismatch may be no value
		return state{version: o.Version}
	}
	return next
}

// could says whether a state with this result of a get may come of the write o.
func could(o *history.Op, got told) bool {
	switch o.Kind {
	case kv.OpDelete:
		return got.status == kv.StatusNotFound
	case kv.OpIncr:
		return got.status == kv.StatusOK && got.value.Size == 9
	}
	return got.status == kv.StatusTooLarge || got.status == kv.StatusOK && got.value == nonempty(o.Arg)
}
