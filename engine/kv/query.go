package kv

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/paxbench/paxbench/wire"
)

// Query operations.
const (
	queryGet = 1 + iota
	queryScan
	queryDigest
)

// ErrQuery: the request is not a query of this state machine.
var ErrQuery = errors.New("kv: not a query")

// scanBytesMax ends a page of a scan; one more row fits on top.
const scanBytesMax = wire.QueryBytesMax - wire.CommandBytesMax - KeyBytesMax - 64

// ScanRowsMax bounds the rows of one page of a scan.
const ScanRowsMax = 1 << 16

// AppendQueryGet appends the query for the value of key (KV).
func AppendQueryGet(dst, key []byte) []byte { return append(append(dst, queryGet), key...) }

// AppendQueryScan appends the query for a page of up to limit rows (at most ScanRowsMax; 0: that many) from row from
// on, 0 being the first. A page may be shorter than limit: go on at ScanPage.NextRow. KV: values says whether values are
// wanted or only their hashes. Null: the rows are sessions.
func AppendQueryScan(dst []byte, from uint64, limit int, values bool) []byte {
	dst = append(dst, queryScan)
	dst = binary.AppendUvarint(dst, from)
	dst = binary.AppendUvarint(dst, uint64(max(limit, 0)))
	if values {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// AppendQueryDigest appends the query for the digest of the state (KV and Null).
func AppendQueryDigest(dst []byte) []byte { return append(dst, queryDigest) }

// GetAnswer is the answer to a get query. Value is a view.
type GetAnswer struct {
	Status  Status    // StatusOK or StatusNotFound
	Version uint64    // 0: never written
	Slot    wire.Slot // of the last write
	Value   []byte
}

// DecodeGetAnswer decodes the answer to a get query.
func DecodeGetAnswer(p []byte) (GetAnswer, error) {
	if len(p) == 0 || p[0] >= byte(statusEnd) {
		return GetAnswer{}, fmt.Errorf("%w: answer of %d bytes", ErrMalformed, len(p))
	}
	d := decoder{p: p[1:]}
	a := GetAnswer{Status: Status(p[0]), Version: d.uvarint(), Slot: wire.Slot(d.uvarint())}
	a.Value = d.p
	return a, d.err
}

// Digest sums up a state.
type Digest struct {
	Hash     uint64    // StateHash: equal on replicas that applied the same
	Slot     wire.Slot // last one with a fresh command
	Rows     uint64    // KV: keys, deleted ones included; Null: sessions
	Commands uint64    // applied since slot 1
}

func appendDigest(dst []byte, d Digest) []byte {
	dst = le.AppendUint64(dst, d.Hash)
	dst = binary.AppendUvarint(dst, uint64(d.Slot))
	dst = binary.AppendUvarint(dst, d.Rows)
	return binary.AppendUvarint(dst, d.Commands)
}

// DecodeDigest decodes the answer to a digest query.
func DecodeDigest(p []byte) (Digest, error) {
	d := decoder{p: p}
	g := Digest{Hash: d.uint64(), Slot: wire.Slot(d.uvarint()), Rows: d.uvarint(), Commands: d.uvarint()}
	return g, d.end()
}

// ScanPage is a page of a scan, walked by Next:
//
//	uvarint next row, 0: this was the last | uvarint rows in all | rows
//	row of KV    uvarint key length | key | flags u8 (1 present, 2 value follows) | uvarint version, slot |
//	             value hash u64, or uvarint length | value
//	row of Null  session u64 | uvarint count | sum u64 | uvarint slot
type ScanPage struct {
	NextRow uint64 // where the next page begins; 0: there is none
	Rows    uint64 // in all, now
	d       decoder
}

// DecodeScanPage decodes the head of a page. The page is a view of p.
func DecodeScanPage(p []byte) (ScanPage, error) {
	s := ScanPage{d: decoder{p: p}}
	s.NextRow, s.Rows = s.d.uvarint(), s.d.uvarint()
	return s, s.d.err
}

// Row is a key in a scan. Key and Value are views.
type Row struct {
	Key     []byte
	Present bool // false: deleted
	Version uint64
	Slot    wire.Slot // of the last write
	Hash    uint64    // ValueHash of the value
	Value   []byte    // nil if only the hash was asked for, or deleted
}

const (
	rowPresent = 1
	rowValue   = 2
)

// ValueHash is the hash of a value in a scan.
func ValueHash(value []byte) uint64 {
	var c chain
	c.add(0, value)
	return uint64(c)
}

// Next decodes the next row of a page of KV; ok is false at the end and on an error, which Err returns.
func (s *ScanPage) Next() (r Row, ok bool) {
	if len(s.d.p) == 0 || s.d.err != nil {
		return r, false
	}
	r.Key = s.d.bytes()
	flags := s.d.byte()
	r.Present = flags&rowPresent != 0
	r.Version, r.Slot = s.d.uvarint(), wire.Slot(s.d.uvarint())
	if flags&rowValue != 0 {
		r.Value = s.d.bytes()
		r.Hash = ValueHash(r.Value)
	} else {
		r.Hash = s.d.uint64()
	}
	return r, s.d.err == nil
}

// SessionRow is a session in a scan of Null.
type SessionRow struct {
	Session wire.SessionID // 0: anonymous blocks
	Count   uint64         // commands
	Sum     uint64         // of their sequence numbers, modulo 2^64
	Slot    wire.Slot      // of the last one
}

// NextSession decodes the next row of a page of Null; ok is false at the end and on an error, which Err returns.
func (s *ScanPage) NextSession() (r SessionRow, ok bool) {
	if len(s.d.p) == 0 || s.d.err != nil {
		return r, false
	}
	r = SessionRow{wire.SessionID(s.d.uint64()), s.d.uvarint(), s.d.uint64(), wire.Slot(s.d.uvarint())}
	return r, s.d.err == nil
}

// Err is the error that ended Next or NextSession, nil at the regular end.
func (s *ScanPage) Err() error { return s.d.err }

// Query implements engine.StateMachine. Its error is ErrQuery.
func (m *KV) Query(dst, req []byte) ([]byte, error) {
	if len(req) == 0 {
		return dst, ErrQuery
	}
	switch req[0] {
	case queryGet:
		return m.queryGet(dst, req[1:]), nil
	case queryScan:
		from, limit, values, err := parseScan(req[1:], m.rows.rows)
		if err != nil {
			return dst, err
		}
		return m.queryScan(dst, from, limit, values), nil
	case queryDigest:
		if len(req) == 1 {
			return appendDigest(dst, Digest{uint64(m.hash), m.slot, uint64(m.rows.rows), m.commands}), nil
		}
	}
	return dst, ErrQuery
}

func (m *KV) queryGet(dst, key []byte) []byte {
	var r row
	if i, ok := m.index.find(m.rows, key, m.index.hash(key)); ok {
		r = *m.rows.at(int(i))
	}
	status := StatusNotFound
	if r.present {
		status = StatusOK
	}
	dst = append(dst, byte(status))
	dst = binary.AppendUvarint(dst, r.version)
	dst = binary.AppendUvarint(dst, uint64(r.slot))
	return append(dst, r.value()...)
}

// parseScan decodes a scan request and cuts it to the rows there are.
func parseScan(p []byte, rows int) (from, limit int, values bool, err error) {
	d := decoder{p: p}
	f, l, v := d.uvarint(), d.uvarint(), d.byte()
	if d.end() != nil || v > 1 {
		return 0, 0, false, ErrQuery
	}
	if l == 0 {
		l = ScanRowsMax
	}
	from = int(min(f, uint64(rows)))
	return from, int(min(l, ScanRowsMax, uint64(rows-from))), v == 1, nil
}

// appendScanHead appends the head of a page; next is filled in by endScan.
func appendScanHead(dst []byte, rows int) []byte {
	var next [binary.MaxVarintLen64]byte
	padUvarint(next[:], 0)
	dst = append(dst, next[:]...)
	return binary.AppendUvarint(dst, uint64(rows))
}

// endScan writes where the next page begins into the head at offset start.
func endScan(dst []byte, start, next, rows int) []byte {
	if next < rows {
		padUvarint(dst[start:start+binary.MaxVarintLen64], uint64(next))
	}
	return dst
}

// padUvarint writes x as a uvarint that takes all of p: padded with continuation bytes, so that it can be filled in
// later.
func padUvarint(p []byte, x uint64) {
	for i := range p[:len(p)-1] {
		p[i] = byte(x) | 0x80
		x >>= 7
	}
	p[len(p)-1] = byte(x)
}

func (m *KV) queryScan(dst []byte, from, limit int, values bool) []byte {
	start, i := len(dst), from
	dst = appendScanHead(dst, m.rows.rows)
	for ; i < from+limit && len(dst)-start < scanBytesMax; i++ {
		dst = appendRow(dst, m.rows.at(i), values)
	}
	return endScan(dst, start, i, m.rows.rows)
}

func appendRow(dst []byte, r *row, values bool) []byte {
	flags := byte(0)
	if r.present {
		flags = rowPresent
	}
	if values && r.present {
		flags |= rowValue
	}
	dst = binary.AppendUvarint(dst, uint64(len(r.key())))
	dst = append(dst, r.key()...)
	dst = append(dst, flags)
	dst = binary.AppendUvarint(dst, r.version)
	dst = binary.AppendUvarint(dst, uint64(r.slot))
	if flags&rowValue == 0 {
		return le.AppendUint64(dst, ValueHash(r.value()))
	}
	dst = binary.AppendUvarint(dst, uint64(len(r.value())))
	return append(dst, r.value()...)
}

// decoder takes fields off p. The first error sticks; after it fields are zero.
type decoder struct {
	p   []byte
	err error
}

func (d *decoder) fail() {
	if d.err == nil {
		d.err = fmt.Errorf("%w: cut short", ErrMalformed)
	}
	d.p = nil
}

func (d *decoder) uvarint() uint64 {
	v, w := cutUvarint(d.p)
	if w <= 0 {
		d.fail()
		return 0
	}
	d.p = d.p[w:]
	return v
}

func (d *decoder) uint64() uint64 {
	if len(d.p) < 8 {
		d.fail()
		return 0
	}
	v := le.Uint64(d.p)
	d.p = d.p[8:]
	return v
}

func (d *decoder) byte() byte {
	if len(d.p) == 0 {
		d.fail()
		return 0
	}
	b := d.p[0]
	d.p = d.p[1:]
	return b
}

func (d *decoder) bytes() []byte {
	b, rest, ok := cutBytes(d.p)
	if !ok {
		d.fail()
		return nil
	}
	d.p = rest
	return b
}

// end is the error, also when something is left over.
func (d *decoder) end() error {
	if d.err == nil && len(d.p) != 0 {
		d.err = fmt.Errorf("%w: %d bytes too many", ErrMalformed, len(d.p))
	}
	return d.err
}
