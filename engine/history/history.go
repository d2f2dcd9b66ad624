package history

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/paxbench/paxbench/engine/kv"
)

// Kind is what a call asked for.
type Kind uint8

// Kinds.
const (
	Commands Kind = iota // a block of commands of the log
	Query                // a linearizable query
	Stale                // a query of what one replica has applied
	kinds
)

// Call is one submission. Times are nanoseconds from the end of the load's warm-up, by one monotonic clock.
type Call struct {
	Client  uint32
	Kind    Kind
	Unknown bool // it may be done, at any time after Invoke, or not

	Invoke int64 // not later than when it was sent
	Return int64 // not earlier than when the outcome arrived; of an unknown one, when it was given up

	// Where it is in the log; not of unknown ones. Of a query: every slot up to Slot was applied.
	Slot  uint64
	Index uint32 // of the block in the slot's batch

	Session uint64 // 0: not told
	First   uint64 // sequence number of the first command
	Count   uint32 // commands

	// Stamp and Reads say how a load made the commands: the writes have consecutive stamps from Stamp on.
	Stamp uint64
	Reads uint32

	Ops []Op // those on sampled keys, in order
}

// Op is one operation on a sampled key, and what it was told.
type Op struct {
	At   uint32 // position among the commands of the call
	Kind kv.Op  // a query is an OpGet
	Key  uint64

	Arg   Value // put; cas: the new value
	Old   Value // cas: the value expected; None: none is
	Delta int64 // incr

	// The result; only if the call is acknowledged.
	Status  kv.Status
	Version uint64
	Value   Value  // get: the value; cas mismatch: the present one; incr: the new one
	Wrote   uint64 // query: slot of the key's last write
}

// Value stands for the bytes of a value: equal for equal ones. The zero Value is None.
type Value struct {
	Size uint32 // bytes + 1; 0: no value
	Bits uint64 // 8 bytes: themselves, little endian; others: their hash
}

// None is the absence of a value.
var None = Value{}

// ValueOf is the Value of bytes.
func ValueOf(p []byte) Value {
	if len(p) == 8 {
		return Value{9, binary.LittleEndian.Uint64(p)}
	}
	return Value{uint32(len(p)) + 1, kv.ValueHash(p)}
}

// Int is the Value of 8 bytes.
func Int(v uint64) Value { return Value{9, v} }

func (v Value) String() string {
	switch v.Size {
	case 0:
		return "none"
	case 9:
		return fmt.Sprint(int64(v.Bits))
	}
	return fmt.Sprintf("#%016x (%d bytes)", v.Bits, v.Size-1)
}

// Take enters the result of a command of KV. ok is false if the bytes are no such result.
func (o *Op) Take(result []byte) (ok bool) {
	r, err := kv.DecodeResult(result)
	if err != nil {
		return false
	}
	o.Status, o.Version, o.Value = r.Status, r.Version, None
	tells := r.Status == kv.StatusOK && (o.Kind == kv.OpGet || o.Kind == kv.OpIncr) || r.Status == kv.StatusMismatch
	if tells {
		o.Value = ValueOf(r.Value)
	}
	return true
}

// TakeAnswer enters the answer to a get query of KV.
func (o *Op) TakeAnswer(answer []byte) (ok bool) {
	a, err := kv.DecodeGetAnswer(answer)
	if err != nil {
		return false
	}
	o.Status, o.Version, o.Value, o.Wrote = a.Status, a.Version, None, uint64(a.Slot)
	if a.Status == kv.StatusOK {
		o.Value = ValueOf(a.Value)
	}
	return true
}

// Writes says whether the operation could change its key.
func (o *Op) Writes() bool { return o.Kind != kv.OpGet }

// Head says what a history is of.
type Head struct {
	Version  int       `json:"version"`
	Started  time.Time `json:"started"` // when the recording began; calls count from a later moment
	Seed     uint64    `json:"seed"`
	SM       string    `json:"sm"`
	ReadMode string    `json:"read_mode"`
	Keys     int       `json:"keys"`    // of the load
	Sampled  int       `json:"sampled"` // keys recorded in full; Keys: all
	Fresh    bool      `json:"fresh"`   // no key was ever written before
}

// FormatVersion is the version of the file format.
const FormatVersion = 1

// Tail says how a recording ended.
type Tail struct {
	Calls uint64 `json:"calls"`
	Ops   uint64 `json:"ops"` // on sampled keys

	// Cut: of operations on sampled keys, those sent before Cut are complete, others may be missing. Never: all are there.
	Cut     int64  `json:"cut"`
	Dropped uint64 `json:"dropped"` // calls that are missing because writing could not follow
}

// Never is a Cut that did not happen.
const Never = int64(1<<63 - 1)
