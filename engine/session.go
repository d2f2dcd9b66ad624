package engine

import (
	"fmt"

	"github.com/paxbench/paxbench/wire"
	"github.com/paxbench/paxbench/wire/plant"
)

// sessionTable is the part of the replicated state that makes a command of a session take effect once: a block is
// found again by its session and its first sequence number, and a repeat gets the first one's reply. It depends on
// nothing but the log, so it is equal on every replica, and it is part of every snapshot: without it a retry that
// reaches a new leader after a snapshot would be executed again (FAULTS.md F28).
//
// Why a window of blocks and not one last sequence number: a client pipelines blocks, and a block that was turned
// away (Busy) or lost arrives after its successors.
//
// The applier owns it.
type sessionTable struct {
	byID       map[wire.SessionID]*session
	oldest     *session // least recently used, by slot order
	newest     *session
	replyBytes int64  // of all sessions' kept replies
	commands   uint64 // executed since the group's first slot

	// Invariant: the limits are equal on all replicas.
	sessionsMax   int
	blocksMax     int
	replyMax      int64 // per session, bytes
	replyTotalMax int64 // all sessions, bytes
}

// sessionReplyTotalMax bounds the reply bytes kept for all sessions of a group; beyond it the least recently used
// sessions are evicted. Part of the replicated state's meaning: it must be equal on every node.
const sessionReplyTotalMax = 256 << 20

// session is one client's entry.
type session struct {
	id         wire.SessionID
	acked      wire.Seq // the client has the replies of all below
	replyBytes int64
	older      *session
	newer      *session

	// blocks is a ring, ascending by first sequence number, of the blocks executed at or above acked.
	// Invariant: len(blocks) is a power of two; count <= sessionTable.blocksMax; ranges do not overlap.
	blocks []sessionBlock
	head   int
	count  int
}

// sessionBlock is an executed block, kept until the client acknowledges the reply.
type sessionBlock struct {
	first   wire.Seq
	slot    wire.Slot
	index   uint32
	count   uint32
	state   blockState
	results *wire.Buffer // nil when empty, pending or forgotten; one reference
}

type blockState uint8

const (
	blockPending   blockState = iota // in the run being built: not executed yet
	blockEmpty                       // executed, all results empty
	blockKept                        // executed, results kept
	blockForgotten                   // executed, results were too large to keep
)

func newSessionTable() *sessionTable {
	return &sessionTable{
		byID: make(map[wire.SessionID]*session), sessionsMax: wire.SessionsMax, blocksMax: wire.SessionBlocksMax,
		replyMax: wire.SessionReplyBytesMax, replyTotalMax: sessionReplyTotalMax,
	}
}

// open adds a session, evicting the least recently used one if the table is full.
func (t *sessionTable) open(id wire.SessionID) {
	if t.byID[id] != nil {
		panic(fmt.Sprintf("BUG: engine: session %d opened twice", id))
	}
	for len(t.byID) >= t.sessionsMax && !plant.Is(plant.SessionsUnbounded) {
		t.remove(t.oldest)
	}
	s := &session{id: id, blocks: make([]sessionBlock, 4)}
	t.byID[id] = s
	t.pushNewest(s)
}

// close ends a session; false: there is none.
func (t *sessionTable) close(id wire.SessionID) bool {
	s := t.byID[id]
	if s == nil {
		return false
	}
	t.remove(s)
	return true
}

func (t *sessionTable) remove(s *session) {
	for s.count > 0 {
		t.dropFirst(s)
	}
	t.unlink(s)
	delete(t.byID, s.id)
}

// release gives back every buffer of the table, which is dead afterwards.
func (t *sessionTable) release() {
	for t.oldest != nil {
		t.remove(t.oldest)
	}
}

// verdict says what to do with a block of a session.
type verdict uint8

const (
	verdictFresh   verdict = iota // execute it; its place is reserved (pending)
	verdictRepeat                 // answer with the kept block
	verdictPending                // a repeat of a block in the run being built: execute the run, then ask again
	verdictRefused                // not executed, and never will be; see the status
)

// admit judges a block with commands and, when it is fresh, reserves its place. The kept block is valid until the
// next call.
func (t *sessionTable) admit(b wire.Block, slot wire.Slot, index int) (v verdict, kept *sessionBlock, refused wire.Status) {
	s := t.byID[b.Session()]
	if s == nil {
		return verdictRefused, nil, wire.StatusSessionGone
	}
	first, end, acked := b.First(), b.First()+wire.Seq(b.Count()), b.Acked()
	if acked > first {
		return verdictRefused, nil, wire.StatusInvalid // it claims a reply to itself
	}
	t.touch(s)
	t.acknowledge(s, acked)
	if first < s.acked {
		return verdictRefused, nil, wire.StatusInvalid // a late repeat of something the client has the reply of
	}
	if plant.Is(plant.RepeatExecuted) {
		for s.count > 0 {
			t.dropFirst(s)
		}
	}
	i := s.search(first)
	if i < s.count {
		if at := s.at(i); at.first == first {
			switch {
			case int(at.count) != b.Count():
				return verdictRefused, nil, wire.StatusInvalid
			case at.state == blockPending:
				return verdictPending, nil, 0
			}
			return verdictRepeat, at, 0
		}
		if end > s.at(i).first {
			return verdictRefused, nil, wire.StatusInvalid // cut differently than before
		}
	}
	if i > 0 && s.at(i-1).end() > first {
		return verdictRefused, nil, wire.StatusInvalid
	}
	if s.count >= t.blocksMax {
		return verdictRefused, nil, wire.StatusInvalid // outside the window
	}
	*s.insert(i) = sessionBlock{first: first, slot: slot, index: uint32(index), count: uint32(b.Count()), state: blockPending}
	return verdictFresh, nil, 0
}

// executed stores the results of a block that admit called fresh. empty: all results are empty.
func (t *sessionTable) executed(id wire.SessionID, first wire.Seq, results []byte, empty bool) {
	s := t.byID[id]
	if s == nil {
		return // closed by a block between the two calls; its client has no use for the reply
	}
	i := s.search(first)
	if i == s.count || s.at(i).first != first {
		return // acknowledged before it was executed: the client lies, at its own cost
	}
	at := s.at(i)
	if at.state != blockPending {
		panic(fmt.Sprintf("BUG: engine: block %d of session %d executed twice", first, id))
	}
	switch {
	case empty:
		at.state = blockEmpty
		return
	case int64(len(results)) > t.replyMax:
		at.state = blockForgotten
		return
	}
	at.state, at.results = blockKept, wire.GetCopy(results)
	s.replyBytes += int64(len(results))
	t.replyBytes += int64(len(results))
	for j := 0; s.replyBytes > t.replyMax; j++ {
		t.forget(s, s.at(j))
	}
	for t.replyBytes > t.replyTotalMax && t.oldest != t.newest {
		t.remove(t.oldest)
	}
}

// forget drops a kept reply but remembers that the block was executed.
func (t *sessionTable) forget(s *session, b *sessionBlock) {
	if b.state != blockKept {
		return
	}
	n := int64(b.results.Len())
	s.replyBytes -= n
	t.replyBytes -= n
	b.results.Release()
	b.results, b.state = nil, blockForgotten
}

// acknowledge forgets the blocks that lie below acked.
func (t *sessionTable) acknowledge(s *session, acked wire.Seq) {
	if acked <= s.acked {
		return
	}
	s.acked = acked
	for s.count > 0 && s.at(0).end() <= acked {
		t.dropFirst(s)
	}
}

func (t *sessionTable) dropFirst(s *session) {
	b := s.at(0)
	t.forget(s, b)
	*b = sessionBlock{}
	s.head = (s.head + 1) & (len(s.blocks) - 1)
	s.count--
}

// fill copies the kept block into a reply.
func (b *sessionBlock) fill(r *wire.Reply) {
	r.Slot, r.Index, r.Count, r.First = b.slot, b.index, b.count, b.first
	switch b.state {
	case blockEmpty:
		r.Status, r.Empty = wire.StatusOK, true
	case blockKept:
		r.Status, r.Results = wire.StatusOK, b.results.Bytes()
	case blockForgotten:
		r.Status = wire.StatusUnknown
	default:
		panic(fmt.Sprintf("BUG: engine: reply of a block in state %d", b.state))
	}
}

func (b *sessionBlock) end() wire.Seq { return b.first + wire.Seq(b.count) }

func (s *session) at(i int) *sessionBlock { return &s.blocks[(s.head+i)&(len(s.blocks)-1)] }

// search is the position of the block with this first sequence number, or where it would be inserted. Blocks mostly
// come in order, so the end is looked at first.
func (s *session) search(first wire.Seq) int {
	if s.count == 0 || s.at(s.count-1).first < first {
		return s.count
	}
	lo, hi := 0, s.count-1
	for lo < hi {
		mid := (lo + hi) / 2
		if s.at(mid).first < first {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// insert makes room at position i and returns it.
func (s *session) insert(i int) *sessionBlock {
	if s.count == len(s.blocks) {
		next := make([]sessionBlock, 2*len(s.blocks))
		for j := range s.count {
			next[j] = *s.at(j)
		}
		s.blocks, s.head = next, 0
	}
	for j := s.count; j > i; j-- {
		*s.at(j) = *s.at(j - 1)
	}
	s.count++
	return s.at(i)
}

func (t *sessionTable) touch(s *session) {
	if t.newest != s {
		t.unlink(s)
		t.pushNewest(s)
	}
}

func (t *sessionTable) pushNewest(s *session) {
	s.older, s.newer = t.newest, nil
	if t.newest != nil {
		t.newest.newer = s
	} else {
		t.oldest = s
	}
	t.newest = s
}

func (t *sessionTable) unlink(s *session) {
	if s.older != nil {
		s.older.newer = s.newer
	} else {
		t.oldest = s.newer
	}
	if s.newer != nil {
		s.newer.older = s.older
	} else {
		t.newest = s.older
	}
	s.older, s.newer = nil, nil
}
