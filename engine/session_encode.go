package engine

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/paxbench/paxbench/engine/paxos"

	"github.com/paxbench/paxbench/wire"
)

// The session table in a snapshot, little endian. Sessions stand in order of last use, oldest first, because the
// order decides who is evicted. The configurations stand in front of it and begin with the same version: version 1, without
// them, began with the table, so that its first word is 1 and is refused as what it is.
//
//	version u32 | sessions u32 | commands u64
//	session:  id u64 | acked u64 | blocks u32
//	  block:  first u64 | slot u64 | index u32 | count u32 | state u32 | length u32 | results
const (
	sessionsVersion   = 2
	sessionsHeadSize  = 16
	sessionHeadSize   = 20
	sessionBlockSize  = 32
	sessionBufferSize = 64 << 10
)

var (
	errSessions        = errors.New("engine: malformed session table in a snapshot")
	errSnapshotVersion = errors.New("engine: snapshot of another version")
)

// sessionView is a frozen copy of a session table. It shares the kept replies by reference count, so making it costs
// a few words per block and no bytes of replies.
type sessionView struct {
	commands uint64
	sessions []sessionViewHead
	blocks   []sessionBlock
}

type sessionViewHead struct {
	id     wire.SessionID
	acked  wire.Seq
	blocks int
}

// view freezes the table. release must be called on the result.
func (t *sessionTable) view() *sessionView {
	v := &sessionView{commands: t.commands, sessions: make([]sessionViewHead, 0, len(t.byID))}
	n := 0
	for s := t.oldest; s != nil; s = s.newer {
		n += s.count
	}
	v.blocks = make([]sessionBlock, 0, n)
	for s := t.oldest; s != nil; s = s.newer {
		v.sessions = append(v.sessions, sessionViewHead{s.id, s.acked, s.count})
		for i := range s.count {
			b := s.at(i)
			if b.state == blockPending {
				panic(fmt.Sprintf("BUG: engine: snapshot with block %d of session %d pending", b.first, s.id))
			}
			if b.results != nil {
				b.results.Retain()
			}
			v.blocks = append(v.blocks, *b)
		}
	}
	return v
}

func (v *sessionView) release() {
	for _, b := range v.blocks {
		b.results.Release()
	}
	v.blocks = nil
}

// writeTo encodes the view.
func (v *sessionView) writeTo(dst io.Writer) error {
	// A small table needs a small buffer; long replies are written past it.
	size := sessionsHeadSize + sessionHeadSize*len(v.sessions) + 2*sessionBlockSize*len(v.blocks)
	w := bufio.NewWriterSize(dst, min(size, sessionBufferSize))
	var h [sessionBlockSize]byte
	le := binary.LittleEndian
	le.PutUint32(h[0:], sessionsVersion)
	le.PutUint32(h[4:], uint32(len(v.sessions)))
	le.PutUint64(h[8:], v.commands)
	w.Write(h[:sessionsHeadSize]) // bufio keeps the first error for Flush
	blocks := v.blocks
	for _, s := range v.sessions {
		le.PutUint64(h[0:], uint64(s.id))
		le.PutUint64(h[8:], uint64(s.acked))
		le.PutUint32(h[16:], uint32(s.blocks))
		w.Write(h[:sessionHeadSize])
		for _, b := range blocks[:s.blocks] {
			var results []byte
			if b.results != nil {
				results = b.results.Bytes()
			}
			le.PutUint64(h[0:], uint64(b.first))
			le.PutUint64(h[8:], uint64(b.slot))
			le.PutUint32(h[16:], b.index)
			le.PutUint32(h[20:], b.count)
			le.PutUint32(h[24:], uint32(b.state))
			le.PutUint32(h[28:], uint32(len(results)))
			w.Write(h[:sessionBlockSize])
			w.Write(results)
		}
		blocks = blocks[s.blocks:]
	}
	return w.Flush()
}

// readSessions decodes a table. It reads exactly the bytes that writeTo wrote. What it allocates is bounded by what it
// has read plus a constant.
func readSessions(src io.Reader) (*sessionTable, error) {
	t := newSessionTable()
	if err := t.read(src); err != nil {
		t.release()
		return nil, err
	}
	return t, nil
}

func (t *sessionTable) read(src io.Reader) error {
	var h [sessionBlockSize]byte
	le := binary.LittleEndian
	if _, err := io.ReadFull(src, h[:sessionsHeadSize]); err != nil {
		return fmt.Errorf("%w: %w", errSessions, err)
	}
	if v := le.Uint32(h[0:]); v != sessionsVersion {
		return fmt.Errorf("%w: version %d, this build reads %d", errSessions, v, sessionsVersion)
	}
	n := int(le.Uint32(h[4:]))
	if n > t.sessionsMax {
		return fmt.Errorf("%w: %d sessions, limit %d", errSessions, n, t.sessionsMax)
	}
	t.commands = le.Uint64(h[8:])
	for range n {
		if _, err := io.ReadFull(src, h[:sessionHeadSize]); err != nil {
			return fmt.Errorf("%w: %w", errSessions, err)
		}
		id, blocks := wire.SessionID(le.Uint64(h[0:])), int(le.Uint32(h[16:]))
		if id == 0 || t.byID[id] != nil || blocks > t.blocksMax {
			return fmt.Errorf("%w: session %d with %d blocks", errSessions, id, blocks)
		}
		t.open(id)
		s := t.newest
		s.acked = wire.Seq(le.Uint64(h[8:]))
		for range blocks {
			if err := t.readBlock(src, s, h[:]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *sessionTable) readBlock(src io.Reader, s *session, h []byte) error {
	if _, err := io.ReadFull(src, h[:sessionBlockSize]); err != nil {
		return fmt.Errorf("%w: %w", errSessions, err)
	}
	le := binary.LittleEndian
	b := sessionBlock{
		first: wire.Seq(le.Uint64(h[0:])), slot: wire.Slot(le.Uint64(h[8:])),
		index: le.Uint32(h[16:]), count: le.Uint32(h[20:]), state: blockState(h[24]),
	}
	length := int64(le.Uint32(h[28:]))
	if s.count > 0 && b.first < s.at(s.count-1).end() || b.count == 0 || b.state == blockPending || b.state > blockForgotten ||
		(b.state == blockKept) != (length > 0) || length > t.replyMax {
		return fmt.Errorf("%w: block %d of session %d", errSessions, b.first, s.id)
	}
	if b.state == blockKept {
		b.results = wire.Get(int(length))
		if _, err := io.ReadFull(src, b.results.Extend(int(length))); err != nil {
			b.results.Release()
			return fmt.Errorf("%w: %w", errSessions, err)
		}
		s.replyBytes += length
		t.replyBytes += length
	}
	*s.insert(s.count) = b
	return nil
}

// readMembers decodes the configurations in front of the session table.
func readMembers(src io.Reader) (paxos.Memberships, error) {
	var h [8]byte
	if _, err := io.ReadFull(src, h[:]); err != nil {
		return nil, fmt.Errorf("%w: %w", errMembersSection, err)
	}
	if v := binary.LittleEndian.Uint32(h[:]); v != sessionsVersion {
		return nil, fmt.Errorf("%w: its layout is %d, this build reads %d: run the build that made it", errSnapshotVersion, v, sessionsVersion)
	}
	n := binary.LittleEndian.Uint32(h[4:])
	if n > membersBytesMax {
		return nil, fmt.Errorf("%w: %d bytes", errMembersSection, n)
	}
	p := make([]byte, n)
	if _, err := io.ReadFull(src, p); err != nil {
		return nil, fmt.Errorf("%w: %w", errMembersSection, err)
	}
	return parseMembers(p)
}
