package kv

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/paxbench/paxbench/engine"
	"github.com/paxbench/paxbench/wire"
)

// A snapshot is
//
//	magic 8 bytes | hash u64 | slot u64 | commands u64 | rows u64
//	row of KV    uvarint key length | key | present u8 | uvarint version, slot | uvarint length | value
//	row of Null  session u64 | count u64 | sum u64 | slot u64
//
// in row order, with nothing behind the last row.
const (
	kvMagic   = "PAXKV001"
	nullMagic = "PAXNUL01"

	snapHeadSize    = 40
	sessionRowBytes = 32
)

// snapHead is the decoded head.
type snapHead struct {
	hash     chain
	slot     wire.Slot
	commands uint64
	rows     uint64
}

func (h snapHead) append(dst []byte, magic string) []byte {
	dst = append(dst, magic...)
	dst = le.AppendUint64(dst, uint64(h.hash))
	dst = le.AppendUint64(dst, uint64(h.slot))
	dst = le.AppendUint64(dst, h.commands)
	return le.AppendUint64(dst, h.rows)
}

func readHead(r io.Reader, magic string) (snapHead, error) {
	var p [snapHeadSize]byte
	if _, err := io.ReadFull(r, p[:]); err != nil {
		return snapHead{}, fmt.Errorf("kv: snapshot's head: %w", err)
	}
	if string(p[:8]) != magic {
		return snapHead{}, fmt.Errorf("%w: snapshot of another state machine (%q, want %q)", ErrMalformed, p[:8], magic)
	}
	return snapHead{chain(le.Uint64(p[8:])), wire.Slot(le.Uint64(p[16:])), le.Uint64(p[24:]), le.Uint64(p[32:])}, nil
}

// Snapshot implements engine.StateMachine. Its cost is a pointer for each 4096 keys.
func (m *KV) Snapshot() (engine.Snapshot, error) {
	head := snapHead{m.hash, m.slot, m.commands, uint64(m.rows.rows)}
	return &frozen[row]{view: m.rows.freeze(), head: head, magic: kvMagic, append: appendSnapRow}, nil
}

// Snapshot implements engine.StateMachine.
func (m *Null) Snapshot() (engine.Snapshot, error) {
	head := snapHead{m.hash, m.slot, m.commands, uint64(m.rows.rows)}
	return &frozen[SessionRow]{view: m.rows.freeze(), head: head, magic: nullMagic, append: appendSnapSession}, nil
}

// frozen is a view of a state machine with rows of type T.
type frozen[T any] struct {
	view   view[T]
	head   snapHead
	magic  string
	append func(dst []byte, r *T) []byte
}

// flushBytes is how much of a snapshot is collected before it is written.
const flushBytes = 64 << 10

// WriteTo implements engine.Snapshot.
func (f *frozen[T]) WriteTo(w io.Writer) (n int64, err error) {
	const rowBytes = 64 // about
	buf := f.head.append(make([]byte, 0, min(snapHeadSize+rowBytes*f.view.rows, flushBytes+4096)), f.magic)
	for i := 0; i <= f.view.rows; i++ {
		if i < f.view.rows {
			buf = f.append(buf, f.view.at(i))
			if len(buf) < flushBytes {
				continue
			}
		}
		k, err := w.Write(buf)
		n += int64(k)
		if err != nil {
			return n, err
		}
		buf = buf[:0]
	}
	return n, nil
}

// Release implements engine.Snapshot.
func (f *frozen[T]) Release() { f.view.release() }

func appendSnapRow(dst []byte, r *row) []byte {
	dst = binary.AppendUvarint(dst, uint64(r.keyLen))
	dst = append(dst, r.key()...)
	present := byte(0)
	if r.present {
		present = 1
	}
	dst = append(dst, present)
	dst = binary.AppendUvarint(dst, r.version)
	dst = binary.AppendUvarint(dst, uint64(r.slot))
	dst = binary.AppendUvarint(dst, uint64(len(r.value())))
	return append(dst, r.value()...)
}

func appendSnapSession(dst []byte, r *SessionRow) []byte {
	dst = le.AppendUint64(dst, uint64(r.Session))
	dst = le.AppendUint64(dst, r.Count)
	dst = le.AppendUint64(dst, r.Sum)
	return le.AppendUint64(dst, uint64(r.Slot))
}

// Restore implements engine.StateMachine. It reads src to its end and replaces the state only if all of it makes sense.
// Views of the old state stay good.
func (m *KV) Restore(src io.Reader) error {
	in := bufio.NewReaderSize(src, flushBytes)
	head, err := readHead(in, kvMagic)
	if err != nil {
		return err
	}
	next := New()
	for i := range head.rows {
		if err := next.restoreRow(in, head.slot); err != nil {
			return fmt.Errorf("kv: snapshot's row %d of %d: %w", i, head.rows, err)
		}
	}
	if err := atEnd(in); err != nil {
		return err
	}
	next.hash, next.slot, next.commands = head.hash, head.slot, head.commands
	*m = *next
	return nil
}

// restoreRow reads one row. What it allocates is bounded by the limits of a key and of a command, whatever the
// lengths in the snapshot claim.
func (m *KV) restoreRow(in *bufio.Reader, last wire.Slot) error {
	key, err := readBytes(in, KeyBytesMax)
	if err != nil {
		return err
	}
	hash := m.index.hash(key)
	if _, ok := m.index.find(m.rows, key, hash); ok || uint64(m.rows.rows) >= rowsMax {
		return fmt.Errorf("%w: key %q twice", ErrMalformed, key)
	}
	present, err := in.ReadByte()
	if err != nil {
		return noEOF(err)
	}
	version, verr := binary.ReadUvarint(in)
	slot, serr := binary.ReadUvarint(in)
	if err := errors.Join(verr, serr); err != nil {
		return noEOF(err)
	}
	value, err := readBytes(in, wire.CommandBytesMax)
	if err != nil {
		return err
	}
	if present > 1 || present == 0 && len(value) != 0 || version == 0 || wire.Slot(slot) > last {
		return fmt.Errorf("%w: key %q", ErrMalformed, key)
	}
	i, r := m.rows.grow()
	*r = row{version: version, slot: wire.Slot(slot), present: present == 1}
	r.make(key, len(value), 0)
	r.data = append(r.data, value...)
	m.index.add(m.rows, uint32(i), hash)
	return nil
}

// readBytes reads a uvarint length of at most limit and as many bytes.
func readBytes(in *bufio.Reader, limit uint64) ([]byte, error) {
	n, err := binary.ReadUvarint(in)
	if err != nil {
		return nil, noEOF(err)
	}
	if n > limit {
		return nil, fmt.Errorf("%w: %d bytes, limit %d", ErrMalformed, n, limit)
	}
	p := make([]byte, n)
	_, err = io.ReadFull(in, p)
	return p, noEOF(err)
}

// noEOF turns an end in the middle into what it is.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// atEnd reads the end of the source: with a verified snapshot file, it is only there that the last checksum speaks.
func atEnd(in *bufio.Reader) error {
	switch _, err := in.ReadByte(); {
	case err == nil:
		return fmt.Errorf("%w: bytes after the last row of the snapshot", ErrMalformed)
	case errors.Is(err, io.EOF):
		return nil
	default:
		return err
	}
}

// Restore implements engine.StateMachine, as KV's does.
func (m *Null) Restore(src io.Reader) error {
	in := bufio.NewReaderSize(src, flushBytes)
	head, err := readHead(in, nullMagic)
	if err != nil {
		return err
	}
	next := NewNull()
	for i := range head.rows {
		var p [sessionRowBytes]byte
		if _, err := io.ReadFull(in, p[:]); err != nil {
			return fmt.Errorf("kv: snapshot's row %d of %d: %w", i, head.rows, noEOF(err))
		}
		r := SessionRow{wire.SessionID(le.Uint64(p[:])), le.Uint64(p[8:]), le.Uint64(p[16:]), wire.Slot(le.Uint64(p[24:]))}
		if _, ok := next.index[r.Session]; ok || r.Count == 0 || r.Slot > head.slot || i >= math.MaxUint32 {
			return fmt.Errorf("%w: snapshot's session %d", ErrMalformed, r.Session)
		}
		j, at := next.rows.grow()
		*at = r
		next.index[r.Session] = uint32(j)
	}
	if err := atEnd(in); err != nil {
		return err
	}
	next.hash, next.slot, next.commands = head.hash, head.slot, head.commands
	*m = *next
	return nil
}
