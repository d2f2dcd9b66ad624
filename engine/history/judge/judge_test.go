package judge

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/paxbench/paxbench/engine"
	"github.com/paxbench/paxbench/engine/history"
	"github.com/paxbench/paxbench/engine/kv"
	"github.com/paxbench/paxbench/wire"
)

// script is a made history: clients whose blocks take effect, in slot order, on the real state machine, at a moment between
// sending and reply. fault may change the execution or what a client is told.
type script struct {
	rng     *rand.Rand
	kv      *kv.KV
	slot    wire.Slot
	calls   []history.Call
	fault   func(c *history.Call, cmds [][]byte) [][]byte // what is executed in place of cmds
	unknown int                                           // one block in so many has no known outcome; of those half are executed
	reads   bool
}

const scriptKeys = 3

func newScript(seed uint64) *script {
	return &script{rng: rand.New(rand.NewPCG(seed, 1)), kv: kv.New()}
}

// run makes n calls of 8 clients.
func (s *script) run(n int) []history.Call {
	type client struct {
		free int64 // when its last call ended
		seq  uint64
	}
	clients := make([]client, 8)
	for i := range clients {
		clients[i].seq = 1
	}
	now := int64(0)
	for len(s.calls) < n {
		// Executed one after the other, at now; sent before, answered later.
		now += 1 + s.rng.Int64N(100)
		id := s.rng.IntN(len(clients))
		cl := &clients[id]
		if cl.free >= now {
			continue
		}
		sent := max(cl.free+1, now-s.rng.Int64N(400))
		c := history.Call{Client: uint32(id), Invoke: sent, Return: now + s.rng.Int64N(400), Session: uint64(id+1) << 16, First: cl.seq}
		if s.reads && s.rng.IntN(4) == 0 {
			s.query(&c)
		} else {
			c.Count = uint32(1 + s.rng.IntN(3))
			cl.seq += uint64(c.Count)
			s.block(&c)
		}
		cl.free = c.Return
		s.calls = append(s.calls, c)
	}
	return s.calls
}

func (s *script) query(c *history.Call) {
	c.Kind, c.Session, c.First, c.Slot = history.Query, 0, 0, uint64(s.slot)
	op := history.Op{Kind: kv.OpGet, Key: uint64(s.rng.IntN(scriptKeys))}
	answer, err := s.kv.Query(nil, kv.AppendQueryGet(nil, keyName(op.Key)))
	if err != nil || !op.TakeAnswer(answer) {
		panic(err)
	}
	c.Ops = []history.Op{op}
}

func keyName(key uint64) []byte { return fmt.Appendf(nil, "key-%d", key) }

// block executes a block of random commands in the next slot.
func (s *script) block(c *history.Call) {
	var cmds [][]byte
	for i := range c.Count {
		op := history.Op{At: i, Key: uint64(s.rng.IntN(scriptKeys))}
		cmds = append(cmds, s.command(&op))
		c.Ops = append(c.Ops, op)
	}
	if s.fault != nil {
		cmds = s.fault(c, cmds)
	}
	c.Unknown = s.unknown > 0 && s.rng.IntN(s.unknown) == 0
	if c.Unknown && s.rng.IntN(2) == 0 {
		return
	}
	s.slot++
	results := s.apply(cmds)
	c.Slot = uint64(s.slot)
	if c.Unknown {
		c.Slot = 0
		return
	}
	for i := range c.Ops {
		if i < len(results) && !c.Ops[i].Take(results[i]) {
			panic("a result does not decode")
		}
	}
}

func (s *script) command(op *history.Op) []byte {
	key := keyName(op.Key)
	value := fmt.Appendf(nil, "%d", s.rng.Uint32())
	if s.rng.IntN(2) == 0 {
		value = binary.LittleEndian.AppendUint64(nil, s.rng.Uint64N(100))
	}
	switch s.rng.IntN(8) {
	case 0:
		op.Kind = kv.OpDelete
		return kv.AppendDelete(nil, key)
	case 1:
		op.Kind, op.Arg = kv.OpCAS, history.ValueOf(value)
		return kv.AppendCAS(nil, key, nil, value)
	case 2:
		a, _ := s.kv.Query(nil, kv.AppendQueryGet(nil, key))
		g, _ := kv.DecodeGetAnswer(a)
		old := append([]byte{}, g.Value...)
		op.Kind, op.Arg, op.Old = kv.OpCAS, history.ValueOf(value), history.ValueOf(old)
		return kv.AppendCAS(nil, key, old, value)
	case 3, 4:
		op.Kind = kv.OpGet
		return kv.AppendGet(nil, key)
	case 5:
		op.Kind, op.Delta = kv.OpIncr, int64(s.rng.IntN(100))-50
		return kv.AppendIncr(nil, key, op.Delta)
	}
	op.Kind, op.Arg = kv.OpPut, history.ValueOf(value)
	return kv.AppendPut(nil, key, value)
}

func (s *script) apply(cmds [][]byte) (results [][]byte) {
	if len(cmds) == 0 {
		return nil
	}
	var body []byte
	for _, cmd := range cmds {
		body = wire.AppendCommand(body, cmd)
	}
	p := append(wire.AppendBlockHeader(nil, 1<<16, 1, 1, len(cmds), len(body)), body...)
	var out engine.Replies
	run := wire.Run(p, 1, len(cmds))
	out.Reset(run)
	s.kv.Apply(s.slot, run, &out)
	all, _ := out.Block(0)
	for len(all) > 0 {
		n, w := binary.Uvarint(all)
		results = append(results, all[w:w+int(n)])
		all = all[w+int(n):]
	}
	return results
}

func judgeBoth(calls []history.Call, fresh bool) (slots, keys *Report) {
	h := New(fresh)
	for i := range calls {
		h.Add(&calls[i])
	}
	return h.BySlot(), h.ByKey(20 * time.Second)
}

// What can go wrong: the judges call a history of the real state machine a violation, because they mean something else by a
// command than it does, or because an outcome is unknown.
func TestGoodHistories(t *testing.T) {
	for seed := range uint64(40) {
		s := newScript(seed)
		s.reads = seed%2 == 0
		if seed%4 >= 2 {
			s.unknown = 12
		}
		calls := s.run(300)
		slots, keys := judgeBoth(calls, true)
		if slots.Violations != 0 || keys.Violations != 0 || keys.Undecided != 0 {
			t.Fatalf("seed %d: %d and %d violations, %d undecided: %q %q", seed, slots.Violations, keys.Violations, keys.Undecided, slots.Findings, keys.Findings)
		}
		if slots.Calls == 0 || slots.Ops < 200 || keys.Keys != scriptKeys || s.unknown == 0 && keys.Ops != slots.Ops {
			t.Fatalf("seed %d: judged %+v and %+v", seed, slots, keys)
		}
	}
}

// What can go wrong: what was there before the history began, or what is missing behind its cut, is taken for a violation.
func TestPartsOfHistories(t *testing.T) {
	for seed := range uint64(20) {
		s := newScript(seed)
		s.reads = true
		calls := s.run(400)
		middle := calls[100].Return
		var later []history.Call
		for _, c := range calls {
			if c.Invoke > middle {
				later = append(later, c)
			}
		}
		// Blocks of before that were still under way take effect in the later part: their outcome is unknown to it.
		for _, c := range calls {
			if c.Invoke <= middle && c.Return > middle {
				c.Unknown = true
				later = append(later, c)
			}
		}
		if slots, keys := judgeBoth(later, false); slots.Violations+keys.Violations != 0 {
			t.Fatalf("seed %d, later part: %q %q", seed, slots.Findings, keys.Findings)
		}
		h := New(true)
		h.Cut(middle)
		for i, c := range calls {
			if c.Invoke >= middle && i%2 == 0 {
				c.Ops = nil
			}
			h.Add(&c)
		}
		if slots, keys := h.BySlot(), h.ByKey(20*time.Second); slots.Violations+keys.Violations != 0 {
			t.Fatalf("seed %d, cut at %d: %q %q", seed, middle, slots.Findings, keys.Findings)
		}
	}
}

// What can go wrong: a judge that calls everything fine. Each kind of broken promise must be found by both, and told with
// the operation that it shows in.
func TestViolations(t *testing.T) {
	lose := func(kind kv.Op) func(*script) {
		return func(s *script) {
			done := false
			s.fault = func(c *history.Call, cmds [][]byte) [][]byte {
				if done || s.slot < 50 || len(cmds) != 1 || c.Ops[0].Kind != kind {
					return cmds
				}
				done = true
				// The client is told what it would have been told; the state machine knows nothing of it.
				a, _ := s.kv.Query(nil, kv.AppendQueryGet(nil, keyName(c.Ops[0].Key)))
				g, _ := kv.DecodeGetAnswer(a)
				c.Ops[0].Status, c.Ops[0].Version = kv.StatusOK, g.Version+1
				return nil
			}
		}
	}
	for _, c := range []struct {
		name  string
		plant func(s *script)
		alter func(calls []history.Call)
		slots bool // only the judge by slot can see it
	}{
		{name: "lost write", plant: lose(kv.OpPut)},
		{name: "incr executed twice", plant: func(s *script) {
			done := false
			s.fault = func(c *history.Call, cmds [][]byte) [][]byte {
				for i := range c.Ops {
					a, _ := s.kv.Query(nil, kv.AppendQueryGet(nil, keyName(c.Ops[i].Key)))
					g, _ := kv.DecodeGetAnswer(a)
					effect := len(cmds) == 1 && (g.Status == kv.StatusNotFound || len(g.Value) == 8)
					if !done && s.slot > 50 && c.Ops[i].Kind == kv.OpIncr && effect {
						done = true
						return append(cmds, cmds[i])
					}
				}
				return cmds
			}
		}},
		{name: "stale read", plant: func(s *script) { s.reads = true }, alter: func(calls []history.Call) {
			// The read is told what a read of the same key was told long before.
			first := map[uint64]history.Op{}
			for i := range calls {
				c := &calls[i]
				if c.Kind != history.Query {
					continue
				}
				old, seen := first[c.Ops[0].Key]
				if !seen {
					first[c.Ops[0].Key] = c.Ops[0]
				} else if i > 250 && old.Version < c.Ops[0].Version {
					c.Ops[0] = old
					return
				}
			}
		}},
		{name: "wrong value", alter: func(calls []history.Call) {
			alterFirst(calls, func(o *history.Op) bool { return o.Kind == kv.OpGet && o.Status == kv.StatusOK }, func(o *history.Op) { o.Value.Bits ^= 1 })
		}},
		{name: "wrong status", alter: func(calls []history.Call) {
			alterFirst(calls, func(o *history.Op) bool { return o.Kind == kv.OpGet && o.Status == kv.StatusOK }, func(o *history.Op) { o.Status, o.Value = kv.StatusNotFound, history.None })
		}},
		{name: "wrong sum", alter: func(calls []history.Call) {
			alterFirst(calls, func(o *history.Op) bool { return o.Kind == kv.OpIncr && o.Status == kv.StatusOK }, func(o *history.Op) { o.Value.Bits++ })
		}},
		{name: "cas that must not succeed", alter: func(calls []history.Call) {
			alterFirst(calls, func(o *history.Op) bool {
				return o.Kind == kv.OpCAS && o.Status == kv.StatusOK && o.Old != history.None
			}, func(o *history.Op) { o.Old.Bits ^= 1 })
		}},
		{name: "reordered in time", alter: func(calls []history.Call) {
			// A write ended before the call that the log has just before it on the same key was sent.
			for i := 200; i < len(calls); i++ {
				for j := i + 1; j < len(calls); j++ {
					a, b := &calls[i], &calls[j]
					if len(a.Ops) == 1 && len(b.Ops) == 1 && a.Ops[0].Key == b.Ops[0].Key && wrote(&a.Ops[0]) && wrote(&b.Ops[0]) {
						b.Invoke, b.Return = 1, 2
						return
					}
				}
			}
		}},
		{name: "slots against real time", slots: true, alter: func(calls []history.Call) {
			for i := range calls {
				calls[i].Ops = nil
			}
			a, b := &calls[100], &calls[200]
			a.Slot, b.Slot = b.Slot, a.Slot
		}},
		{name: "one place twice", slots: true, alter: func(calls []history.Call) {
			a, b := &calls[100], &calls[101]
			a.Ops, b.Ops, b.Slot, b.Session = nil, nil, a.Slot, a.Session+1
		}},
		{name: "sequence numbers twice", slots: true, alter: func(calls []history.Call) {
			a, b := &calls[100], &calls[101]
			b.Session, b.First = a.Session, a.First
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for seed := range uint64(8) {
				s := newScript(seed)
				if c.plant != nil {
					c.plant(s)
				}
				if seed%2 == 1 && !c.slots && c.alter != nil {
					s.unknown = 40
				}
				calls := s.run(400)
				if c.alter != nil {
					c.alter(calls)
				}
				slots, keys := judgeBoth(calls, true)
				if slots.Violations == 0 || !c.slots && keys.Violations == 0 {
					t.Fatalf("seed %d: %d found by slot, %d by key", seed, slots.Violations, keys.Violations)
				}
				if text := slots.Findings[0]; !strings.Contains(text, "sent 0.") || !strings.Contains(text, "slot") {
					t.Errorf("nobody understands %q", text)
				}
				if seed == 0 {
					t.Log(slots.Findings[0])
					if !c.slots {
						t.Log(keys.Findings[0])
					}
				}
			}
		})
	}
}

// alterFirst changes the first fitting operation of the later half.
func alterFirst(calls []history.Call, fits func(*history.Op) bool, change func(*history.Op)) {
	for i := len(calls) / 2; i < len(calls); i++ {
		for j := range calls[i].Ops {
			if !calls[i].Unknown && fits(&calls[i].Ops[j]) {
				change(&calls[i].Ops[j])
				return
			}
		}
	}
	panic("nothing to change")
}

// What can go wrong: a stale read is called a violation for being stale, or one that no state of the past explains is let pass.
func TestStaleReads(t *testing.T) {
	s := newScript(3)
	s.reads = true
	calls := s.run(300)
	var was history.Call
	for i := range calls {
		if c := &calls[i]; c.Kind == history.Query {
			c.Kind = history.Stale
			if i < 60 {
				was = *c
			} else if i > 200 {
				c.Slot, c.Ops = was.Slot, was.Ops // what another replica would have said
			}
		}
	}
	slots, keys := judgeBoth(calls, true)
	if slots.Violations+keys.Violations != 0 || slots.Stale == 0 || slots.Behind == 0 || slots.Behind == slots.Stale {
		t.Errorf("%+v %+v", slots, keys)
	}
	for i := len(calls) - 1; i > 0; i-- {
		if c := &calls[i]; c.Kind == history.Stale && c.Ops[0].Status == kv.StatusOK {
			c.Ops = []history.Op{c.Ops[0]}
			c.Ops[0].Value.Bits ^= 1
			break
		}
	}
	if slots, _ := judgeBoth(calls, true); slots.Violations == 0 {
		t.Error("a value that never was passes as stale")
	}
}

// What can go wrong: a history that does not fit in memory is judged as if what is missing had never been done.
func TestTooManyCalls(t *testing.T) {
	calls := newScript(11).run(400)
	h := New(true)
	h.most = 150
	refused := 0
	for i := range calls {
		if !h.Add(&calls[i]) {
			refused++
		}
	}
	if slots, keys := h.BySlot(), h.ByKey(time.Minute); refused != 250 || slots.Violations+keys.Violations != 0 || slots.Ops < 50 {
		t.Errorf("%d refused: %+v %+v", refused, slots, keys)
	}
}

// What can go wrong: hundreds of reads and writes of one key under way at once, and porcupine tries all orders of them.
func TestReadsAmongManyWrites(t *testing.T) {
	s := &script{kv: kv.New()}
	rng := rand.New(rand.NewPCG(1, 9))
	var calls []history.Call
	for i := range 6000 {
		at := int64(i) * 10
		c := history.Call{Client: uint32(i % 600), Invoke: at - rng.Int64N(3000), Return: at + rng.Int64N(3000), Session: uint64(i+1) << 16, First: 1, Count: 1}
		op := history.Op{Kind: kv.OpPut, Arg: history.Int(uint64(i))}
		cmd := kv.AppendPut(nil, keyName(0), binary.LittleEndian.AppendUint64(nil, uint64(i)))
		if rng.IntN(2) == 0 {
			op, cmd = history.Op{Kind: kv.OpGet}, kv.AppendGet(nil, keyName(0))
		}
		s.slot++
		op.Take(s.apply([][]byte{cmd})[0])
		c.Slot, c.Ops = uint64(s.slot), []history.Op{op}
		calls = append(calls, c)
	}
	slots, keys := judgeBoth(calls, true)
	if slots.Violations+keys.Violations != 0 || keys.Keys != 1 {
		t.Errorf("%+v %+v", slots, keys)
	}
}

// What can go wrong: a key that everybody writes at once, or a time limit that is no limit, and a run waits for its verdict
// for ever. Hundreds of operations under way on one key, some of unknown outcome, are decided in little time; without
// time, nothing is.
func TestManyAtOnce(t *testing.T) {
	k := kv.New()
	s := &script{kv: k}
	var calls []history.Call
	for i := range 20_000 {
		at := int64(i) * 10
		op := history.Op{Kind: kv.OpPut, Key: 0, Arg: history.Int(uint64(i))}
		c := history.Call{Client: uint32(i % 400), Invoke: at - 2000, Return: at + 2000, Session: uint64(i%400+1) << 16, First: uint64(i/400 + 1), Count: 1, Slot: uint64(i + 1)}
		s.slot++
		r := s.apply([][]byte{kv.AppendPut(nil, keyName(0), binary.LittleEndian.AppendUint64(nil, uint64(i)))})
		op.Take(r[0])
		c.Ops = []history.Op{op}
		if c.Unknown = i%1000 == 500 || i > 10_000 && i < 10_020; c.Unknown {
			c.Slot = 0
		}
		calls = append(calls, c)
	}
	h := New(true)
	for i := range calls {
		h.Add(&calls[i])
	}
	if slots, keys := h.BySlot(), h.ByKey(time.Minute); slots.Violations != 0 || keys.Violations != 0 || keys.Keys != 1 || keys.Undecided != 0 {
		t.Errorf("%+v %+v", slots, keys)
	}
	if r := h.ByKey(-1); r.Keys != 0 || r.Untried != 1 || r.Violations != 0 {
		t.Errorf("without time: %+v", r)
	}
	if r := h.ByKey(time.Microsecond); r.Undecided+r.Untried != 1 || r.Violations != 0 {
		t.Errorf("with hardly any time: %+v", r)
	}
}
