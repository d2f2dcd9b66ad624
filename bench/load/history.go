package load

import (
	"github.com/paxbench/paxbench/engine/history"
	"github.com/paxbench/paxbench/engine/kv"
)

// scribe records the calls of one worker in the run's history. A nil scribe records nothing.
type scribe struct {
	run    *run
	buffer *history.Buffer
	sample sample
	call   history.Call
}

func newScribe(r *run) *scribe {
	if r.config.History == nil {
		return nil
	}
	return &scribe{run: r, buffer: r.config.History.NewBuffer(), sample: r.sample}
}

// sample is the set of keys whose operations are recorded in full, a bit a key.
type sample []uint64

func (s sample) has(key uint32) bool { return s[key>>6]>>(key&63)&1 == 1 }

// sampleClients bounds the clients whose first keys make the sample.
const sampleClients = 16

// newSample takes the keys that the first clients draw first.
func newSample(c *Config) sample {
	if c.History == nil || c.SM != KV {
		return nil
	}
	s := make(sample, (c.Keys+63)/64)
	if c.HistoryKeys >= c.Keys {
		for i := range s {
			s[i] = ^uint64(0)
		}
		return s
	}
	var first []commands
	for i := range min(c.Clients, sampleClients) {
		first = append(first, newCommands(c, i))
	}
	// A skewed distribution may not give so many different keys in any sensible time.
	for n, tries := 0, 0; n < c.HistoryKeys && tries < 64*c.HistoryKeys; tries++ {
		g := &first[tries%len(first)]
		if g.next(); !s.has(g.key) {
			s[g.key>>6] |= 1 << (g.key & 63)
			n++
		}
	}
	return s
}

// wants says whether the current command is to be recorded in full.
func (s *scribe) wants(g *commands) bool {
	return s != nil && s.sample != nil && s.sample.has(g.key) && s.run.config.History.Sampling()
}

// op is the current command as an operation of a history, at a position of its submission.
func (g *commands) op(at int) history.Op {
	o := history.Op{At: uint32(at), Kind: kv.OpGet, Key: uint64(g.key)}
	if !g.read {
		o.Kind, o.Arg = kv.OpPut, history.ValueOf(writtenValue(g.bytes))
	}
	return o
}

// record enters a completed flight. What certainly was not done is left out, and so are queries that tell nothing of a
// sampled key.
func (s *scribe) record(f *flight) {
	if s == nil || f.outcome == Failed || f.query && (f.outcome != Done || !f.told) {
		return
	}
	c := &s.call
	s.begin(f)
	c.Return = f.done - s.run.origin
	c.Session, c.First = f.session, f.first
	if c.Unknown = f.outcome != Done || len(f.ops) > 0 && !f.told; !c.Unknown {
		c.Slot, c.Index = f.place>>16, uint32(f.place&0xffff)
	}
	if f.query {
		c.Kind = history.Query
		if s.run.config.ReadMode == ReadStale {
			c.Kind = history.Stale
		}
	}
	s.buffer.Add(c)
}

// abandoned enters a flight whose outcome nobody waited for: it may have been done.
func (s *scribe) abandoned(f *flight, now int64) {
	if s == nil || f.query {
		return
	}
	s.begin(f)
	s.call.Unknown, s.call.Return = true, now-s.run.origin
	s.buffer.Add(&s.call)
}

func (s *scribe) begin(f *flight) {
	s.call = history.Call{
		Client: uint32(f.driver.number), Invoke: f.sent - s.run.origin, Count: uint32(f.count),
		Stamp: uint64(f.stamp), Reads: uint32(f.reads), Ops: f.ops,
	}
}

func (s *scribe) flush() {
	if s != nil {
		s.buffer.Flush()
	}
}
