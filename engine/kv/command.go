package kv

import (
	"encoding/binary"
	"errors"
	"fmt"
)

var le = binary.LittleEndian

// KeyBytesMax bounds a key. A command's size bounds the value.
const KeyBytesMax = 4096

// Op is what a command does.
type Op uint8

// Operations. Their numbers stand in logs.
const (
	OpGet Op = 1 + iota
	OpPut
	OpDelete
	OpCAS
	OpIncr
	OpMulti
)

// Status is the outcome of a command of KV: the first byte of its result.
type Status uint8

const (
	StatusOK        Status = iota
	StatusNotFound         // get, delete: there is no value
	StatusMismatch         // cas: the present value is another
	StatusBadValue         // incr: the value is not of 8 bytes
	StatusMalformed        // not a command
	StatusTooLarge         // the results of this block exceed what a reply can carry: this value is left out; multi: not executed
	StatusGuard            // multi: a guard did not hold, so the second list was executed
	statusEnd
)

var statusNames = [statusEnd]string{"ok", "not found", "mismatch", "bad value", "malformed", "too large", "guard did not hold"}

func (s Status) String() string {
	if s < statusEnd {
		return statusNames[s]
	}
	return fmt.Sprintf("Status(%d)", uint8(s))
}

// ErrMalformed: bytes are not what a decoder of this package expects.
var ErrMalformed = errors.New("kv: malformed")

// Command is a decoded command. Key, Old and Value are views.
type Command struct {
	Op     Op
	Key    []byte
	Value  []byte // put; cas: the new value
	Old    []byte // cas
	Expect bool   // cas: Old is expected; false: no value is expected
	Delta  int64  // incr
	Multi  []byte // multi: what follows the op; it has no Key
}

// AppendGet appends the command that reads key through the log.
func AppendGet(dst, key []byte) []byte { return appendKey(dst, OpGet, key) }

// AppendPut appends the command that sets key to value.
func AppendPut(dst, key, value []byte) []byte {
	return append(appendKey(dst, OpPut, key), value...)
}

// AppendDelete appends the command that removes key's value.
func AppendDelete(dst, key []byte) []byte { return appendKey(dst, OpDelete, key) }

// AppendCAS appends the command that sets key to value if it has the value old; old nil: if it has none.
func AppendCAS(dst, key, old, value []byte) []byte {
	dst = appendKey(dst, OpCAS, key)
	if old == nil {
		dst = append(dst, 0)
	} else {
		dst = append(dst, 1)
	}
	dst = binary.AppendUvarint(dst, uint64(len(old)))
	dst = append(dst, old...)
	return append(dst, value...)
}

// AppendIncr appends the command that adds delta to the integer at key.
func AppendIncr(dst, key []byte, delta int64) []byte {
	return le.AppendUint64(appendKey(dst, OpIncr, key), uint64(delta))
}

func appendKey(dst []byte, op Op, key []byte) []byte {
	dst = append(dst, byte(op))
	dst = binary.AppendUvarint(dst, uint64(len(key)))
	return append(dst, key...)
}

// DecodeCommand decodes a command; ok is false if it is malformed. It does not allocate.
func DecodeCommand(p []byte) (c Command, ok bool) {
	if len(p) < 2 {
		return c, false
	}
	c.Op = Op(p[0])
	if c.Op == OpMulti {
		c.Multi = p[1:]
		return c, checkMulti(c.Multi)
	}
	var rest []byte
	c.Key, rest, ok = cutBytes(p[1:])
	if !ok || len(c.Key) > KeyBytesMax {
		return c, false
	}
	switch c.Op {
	case OpGet, OpDelete:
		return c, len(rest) == 0
	case OpPut:
		c.Value = rest
		return c, true
	case OpCAS:
		if len(rest) == 0 || rest[0] > 1 {
			return c, false
		}
		c.Expect = rest[0] == 1
		c.Old, c.Value, ok = cutBytes(rest[1:])
		return c, ok && (c.Expect || len(c.Old) == 0)
	case OpIncr:
		if len(rest) != 8 {
			return c, false
		}
		c.Delta = int64(le.Uint64(rest))
		return c, true
	}
	return c, false
}

// cutBytes splits a uvarint length and as many bytes off p.
func cutBytes(p []byte) (b, rest []byte, ok bool) {
	n, w := cutUvarint(p)
	if w <= 0 || n > uint64(len(p)-w) {
		return nil, nil, false
	}
	end := w + int(n)
	return p[w:end:end], p[end:], true
}

// cutUvarint is binary.Uvarint with the one-byte case in line.
func cutUvarint(p []byte) (uint64, int) {
	if len(p) > 0 && p[0] < 0x80 {
		return uint64(p[0]), 1
	}
	return binary.Uvarint(p)
}

// Result is a decoded result of KV. Value is a view.
type Result struct {
	Status  Status
	Version uint64 // of the key after the command
	Value   []byte // get: the value; cas mismatch: the present one; incr: the new one, 8 bytes
}

// appendResult appends the result's head; the value follows.
func appendResult(dst []byte, s Status, version uint64) []byte {
	dst = append(dst, byte(s))
	return binary.AppendUvarint(dst, version)
}

// DecodeResult decodes the result of a command. It does not allocate.
func DecodeResult(p []byte) (Result, error) {
	if len(p) < 2 || p[0] >= byte(statusEnd) {
		return Result{}, fmt.Errorf("%w: result of %d bytes", ErrMalformed, len(p))
	}
	v, w := cutUvarint(p[1:])
	if w <= 0 {
		return Result{}, fmt.Errorf("%w: result's version", ErrMalformed)
	}
	return Result{Status: Status(p[0]), Version: v, Value: p[1+w:]}, nil
}

// Int is the value of an incr result, or of a key that incr wrote; ok is false if it is not of 8 bytes.
func (r Result) Int() (v int64, ok bool) {
	if len(r.Value) != 8 {
		return 0, false
	}
	return int64(le.Uint64(r.Value)), true
}
