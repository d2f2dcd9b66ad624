package load

import (
	"encoding/binary"
	"errors"
	"iter"
	"sync"
	"time"

	"github.com/paxbench/paxbench/engine/kv"
	"github.com/paxbench/paxbench/wire"
)

// fakeCluster is what fake targets talk to: it executes commands on a model of the state machines, answers after
// latency, and can be made to stall, fail, lose replies, or lie.
type fakeCluster struct {
	sm      SM
	latency time.Duration

	mu       sync.Mutex
	slot     wire.Slot
	sessions map[uint64]*kv.SessionRow
	rows     map[string]*kv.Row
	last     wire.SessionID
	stalled  [][2]time.Duration // since start: nothing is answered in these times
	start    time.Time
	most     int // most blocks under way at once
	under    int
	blocks   []int                              // commands of each block, in order of arrival
	verdict  func(n int) (o Outcome, done bool) // of the n-th block; done: it is executed
}

func newFakeCluster(sm SM, latency time.Duration) *fakeCluster {
	return &fakeCluster{
		sm: sm, latency: latency, start: time.Now(),
		sessions: make(map[uint64]*kv.SessionRow), rows: make(map[string]*kv.Row),
	}
}

func (c *fakeCluster) targets(n int) []Target {
	out := make([]Target, n)
	for i := range out {
		c.last++
		out[i] = &fakeTarget{cluster: c, session: c.last << 16, owed: make(map[Completion]bool)}
	}
	return out
}

// delay is how long a request that arrives now is under way.
func (c *fakeCluster) delay() time.Duration {
	now := time.Since(c.start)
	for _, s := range c.stalled {
		if now >= s[0] && now < s[1] {
			return s[1] - now + c.latency
		}
	}
	return c.latency
}

type fakeTarget struct {
	cluster *fakeCluster
	session wire.SessionID
	seq     wire.Seq

	mu   sync.Mutex
	owed map[Completion]bool
}

type fakeBlock struct{ commands [][]byte }

func (b *fakeBlock) Add(cmd []byte) bool {
	b.commands = append(b.commands, append([]byte(nil), cmd...))
	return true
}

var errFake = errors.New("fake: refused")

func (t *fakeTarget) NewBlock() Block { return &fakeBlock{} }

func (t *fakeTarget) Call(cmd []byte, done Completion) error {
	return t.Submit(&fakeBlock{commands: [][]byte{append([]byte(nil), cmd...)}}, done)
}

func (t *fakeTarget) Submit(b Block, done Completion) error {
	commands := b.(*fakeBlock).commands
	c := t.cluster
	c.mu.Lock()
	n := len(c.blocks)
	c.blocks = append(c.blocks, len(commands))
	c.under++
	c.most = max(c.most, c.under)
	first := t.seq + 1
	t.seq += wire.Seq(len(commands))
	outcome, executed := Done, true
	if c.verdict != nil {
		outcome, executed = c.verdict(n)
	}
	reply := Reply{Outcome: outcome, Session: t.session, First: first}
	if executed {
		c.slot++
		reply.Slot = c.slot
		c.execute(t.session, first, commands)
	}
	delay := c.delay()
	c.mu.Unlock()
	if outcome != Done {
		reply.Err = errFake
	}
	t.later(delay, done, &reply)
	return nil
}

func (t *fakeTarget) Query(_ []byte, _ ReadMode, done Completion) error {
	c := t.cluster
	c.mu.Lock()
	c.under++
	delay := c.delay()
	c.mu.Unlock()
	t.later(delay, done, &Reply{})
	return nil
}

// later completes done after a while, unless Close comes first.
func (t *fakeTarget) later(delay time.Duration, done Completion, r *Reply) {
	t.mu.Lock()
	t.owed[done] = true
	t.mu.Unlock()
	time.AfterFunc(delay, func() { t.complete(done, r) })
}

func (t *fakeTarget) complete(done Completion, r *Reply) {
	t.mu.Lock()
	owed := t.owed[done]
	delete(t.owed, done)
	t.mu.Unlock()
	if !owed {
		return
	}
	t.cluster.mu.Lock()
	t.cluster.under--
	t.cluster.mu.Unlock()
	done.Complete(r)
}

func (t *fakeTarget) Close() error {
	t.mu.Lock()
	var owed []Completion
	for done := range t.owed {
		owed = append(owed, done)
	}
	t.mu.Unlock()
	for _, done := range owed {
		t.complete(done, &Reply{Outcome: Unknown, Err: errors.New("fake: closed")})
	}
	return nil
}

func (c *fakeCluster) execute(session wire.SessionID, first wire.Seq, commands [][]byte) {
	if c.sm == Null {
		s := c.sessions[uint64(session)]
		if s == nil {
			s = &kv.SessionRow{Session: session}
			c.sessions[uint64(session)] = s
		}
		s.Count += uint64(len(commands))
		s.Sum += kv.SeqSum(first, uint64(len(commands)))
		return
	}
	for _, cmd := range commands {
		p, ok := kv.DecodeCommand(cmd)
		if !ok {
			panic("the generator made a command that does not decode")
		}
		if p.Op != kv.OpPut {
			continue
		}
		row := c.rows[string(p.Key)]
		if row == nil {
			row = &kv.Row{Key: p.Key, Present: true}
			c.rows[string(p.Key)] = row
		}
		row.Version++
		row.Slot = c.slot
		row.Value = p.Value
		row.Hash = kv.ValueHash(p.Value)
	}
}

func (c *fakeCluster) sessionRows() iter.Seq[kv.SessionRow] {
	return func(yield func(kv.SessionRow) bool) {
		for _, s := range c.sessions {
			if !yield(*s) {
				return
			}
		}
	}
}

func (c *fakeCluster) keyRows(values bool) iter.Seq[kv.Row] {
	return func(yield func(kv.Row) bool) {
		for _, r := range c.rows {
			row := *r
			if !values {
				row.Value = nil
			}
			if !yield(row) {
				return
			}
		}
	}
}

// scan answers a scan query of one page, as a replica would.
func (c *fakeCluster) scan() []byte {
	p := binary.AppendUvarint(nil, 0)
	if c.sm == Null {
		p = binary.AppendUvarint(p, uint64(len(c.sessions)))
		for _, s := range c.sessions {
			p = binary.LittleEndian.AppendUint64(p, uint64(s.Session))
			p = binary.AppendUvarint(p, s.Count)
			p = binary.LittleEndian.AppendUint64(p, s.Sum)
			p = binary.AppendUvarint(p, uint64(s.Slot))
		}
		return p
	}
	p = binary.AppendUvarint(p, uint64(len(c.rows)))
	for _, r := range c.rows {
		p = binary.AppendUvarint(p, uint64(len(r.Key)))
		p = append(append(p, r.Key...), 1)
		p = binary.AppendUvarint(p, r.Version)
		p = binary.AppendUvarint(p, uint64(r.Slot))
		p = binary.LittleEndian.AppendUint64(p, r.Hash)
	}
	return p
}
