package history

import (
	"encoding/binary"
	"errors"

	"github.com/paxbench/paxbench/engine/kv"
)

// The encoding of calls within a frame:
//
//	call  flags u8: kind | unknown << 2 | operations follow << 3
//	      client, count, reads uvarint | session, first, stamp, invoke varint: differences to the call before
//	      | return - invoke uvarint | not unknown: slot varint difference, index uvarint
//	      | operations: their number uvarint, op*
//	op    kind | status << 4 u8 | position, key uvarint | by kind: argument values, delta varint
//	      | not unknown: version uvarint, result value; query: slot of the last write uvarint
//	value size uvarint | size > 0: bits u64
//
// coder holds what differences are taken to.
type coder struct {
	session, first, stamp, slot uint64
	invoke                      int64
}

const (
	flagUnknown = 1 << 2
	flagOps     = 1 << 3
)

// append encodes a call.
func (d *coder) append(p []byte, c *Call) []byte {
	flags := byte(c.Kind)
	if c.Unknown {
		flags |= flagUnknown
	}
	if len(c.Ops) > 0 {
		flags |= flagOps
	}
	p = append(p, flags)
	p = binary.AppendUvarint(p, uint64(c.Client))
	p = binary.AppendUvarint(p, uint64(c.Count))
	p = binary.AppendUvarint(p, uint64(c.Reads))
	p = difference(p, &d.session, c.Session)
	p = difference(p, &d.first, c.First)
	p = difference(p, &d.stamp, c.Stamp)
	p = binary.AppendVarint(p, c.Invoke-d.invoke)
	d.invoke = c.Invoke
	p = binary.AppendUvarint(p, uint64(c.Return-c.Invoke))
	if !c.Unknown {
		p = difference(p, &d.slot, c.Slot)
		p = binary.AppendUvarint(p, uint64(c.Index))
	}
	if len(c.Ops) > 0 {
		p = binary.AppendUvarint(p, uint64(len(c.Ops)))
		for i := range c.Ops {
			p = appendOp(p, &c.Ops[i], c)
		}
	}
	return p
}

func difference(p []byte, last *uint64, v uint64) []byte {
	p = binary.AppendVarint(p, int64(v-*last))
	*last = v
	return p
}

func appendOp(p []byte, o *Op, c *Call) []byte {
	p = append(p, byte(o.Kind)|byte(o.Status)<<4)
	p = binary.AppendUvarint(p, uint64(o.At))
	p = binary.AppendUvarint(p, o.Key)
	switch o.Kind {
	case kv.OpPut:
		p = appendValue(p, o.Arg)
	case kv.OpCAS:
		p = appendValue(appendValue(p, o.Arg), o.Old)
	case kv.OpIncr:
		p = binary.AppendVarint(p, o.Delta)
	}
	if c.Unknown {
		return p
	}
	p = appendValue(binary.AppendUvarint(p, o.Version), o.Value)
	if c.Kind != Commands {
		p = binary.AppendUvarint(p, o.Wrote)
	}
	return p
}

func appendValue(p []byte, v Value) []byte {
	p = binary.AppendUvarint(p, uint64(v.Size))
	if v.Size > 0 {
		p = binary.LittleEndian.AppendUint64(p, v.Bits)
	}
	return p
}

var errCoding = errors.New("a call is not well formed")

// cursor takes fields off p. The first error sticks; after it fields are zero.
type cursor struct {
	p   []byte
	bad bool
}

func (r *cursor) fail() {
	r.bad, r.p = true, nil
}

func (r *cursor) byte() byte {
	if len(r.p) == 0 {
		r.fail()
		return 0
	}
	b := r.p[0]
	r.p = r.p[1:]
	return b
}

func (r *cursor) uvarint() uint64 {
	v, n := binary.Uvarint(r.p)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.p = r.p[n:]
	return v
}

func (r *cursor) varint() int64 {
	v, n := binary.Varint(r.p)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.p = r.p[n:]
	return v
}

func (r *cursor) value() (v Value) {
	v.Size = uint32(r.uvarint())
	if v.Size > 0 {
		if len(r.p) < 8 {
			r.fail()
			return None
		}
		v.Bits = binary.LittleEndian.Uint64(r.p)
		r.p = r.p[8:]
	}
	return v
}

func (r *cursor) plus(last *uint64) uint64 {
	*last += uint64(r.varint())
	return *last
}

// next decodes a call into c, whose memory is used again, and returns what is left of p.
func (d *coder) next(p []byte, c *Call) ([]byte, error) {
	r := cursor{p: p}
	flags := r.byte()
	*c = Call{Kind: Kind(flags & 3), Unknown: flags&flagUnknown != 0, Ops: c.Ops[:0]}
	c.Client, c.Count, c.Reads = uint32(r.uvarint()), uint32(r.uvarint()), uint32(r.uvarint())
	c.Session, c.First, c.Stamp = r.plus(&d.session), r.plus(&d.first), r.plus(&d.stamp)
	d.invoke += r.varint()
	c.Invoke = d.invoke
	c.Return = c.Invoke + int64(r.uvarint())
	if !c.Unknown {
		c.Slot, c.Index = r.plus(&d.slot), uint32(r.uvarint())
	}
	if flags&flagOps != 0 {
		for n := r.uvarint(); n > 0 && !r.bad; n-- {
			c.Ops = append(c.Ops, r.op(c))
		}
	}
	if r.bad || c.Kind >= kinds || flags >= 2*flagOps || c.Return < c.Invoke {
		return nil, errCoding
	}
	return r.p, nil
}

func (r *cursor) op(c *Call) (o Op) {
	b := r.byte()
	o.Kind, o.Status = kv.Op(b&15), kv.Status(b>>4)
	o.At, o.Key = uint32(r.uvarint()), r.uvarint()
	switch o.Kind {
	case kv.OpPut:
		o.Arg = r.value()
	case kv.OpCAS:
		o.Arg, o.Old = r.value(), r.value()
	case kv.OpIncr:
		o.Delta = r.varint()
	case kv.OpGet, kv.OpDelete:
	default:
		r.fail()
	}
	if c.Unknown {
		return o
	}
	o.Version, o.Value = r.uvarint(), r.value()
	if c.Kind != Commands {
		o.Wrote = r.uvarint()
	}
	return o
}
