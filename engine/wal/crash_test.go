package wal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/paxbench/paxbench/engine/wal/vfs"
	"github.com/paxbench/paxbench/wire"
)

// story is a random but repeatable use of a log, and what the user may rely on at each moment.
type story struct {
	l      *Log
	rng    *rand.Rand
	policy Policy

	written  []vote // in order, whole Appends that were begun included
	promised map[wire.GroupID]wire.Ballot
	returned int // votes of Appends that returned
	synced   int // votes written before the last sync that was acknowledged
	syncedP  map[wire.GroupID]wire.Ballot
	trims    map[wire.GroupID]wire.Slot // marks asked for
	slot     map[wire.GroupID]wire.Slot
}

func newStory(l *Log, policy Policy, seed uint64) *story {
	return &story{
		l: l, rng: rand.New(rand.NewPCG(seed, 1)), policy: policy,
		promised: map[wire.GroupID]wire.Ballot{}, syncedP: map[wire.GroupID]wire.Ballot{},
		trims: map[wire.GroupID]wire.Slot{}, slot: map[wire.GroupID]wire.Slot{},
	}
}

// play runs steps until one fails, and returns its error.
func (s *story) play(steps int) error {
	for range steps {
		var err error
		switch roll := s.rng.IntN(20); {
		case roll < 9:
			err = s.append()
		case roll < 10:
			err = s.promise()
		case roll < 14:
			err = s.trim()
		default:
			err = s.sync(roll < 15)
		}
		if err != nil {
			return err
		}
	}
	return s.sync(true)
}

func (s *story) append() error {
	var recs []wire.Record
	for range 1 + s.rng.IntN(4) {
		g := wire.GroupID(1 + s.rng.IntN(2))
		s.slot[g]++
		size := s.rng.IntN(1500)
		if s.rng.IntN(40) == 0 {
			size = 2 * segmentBytesMin // needs a segment of its own
		}
		recs = append(recs, acceptRecord(g, s.slot[g], wire.NewBallot(1, 2), size))
	}
	defer releaseAll(recs)
	for i := range recs {
		s.written = append(s.written, voteOf(&recs[i]))
	}
	_, err := s.l.Append(recs)
	if err == nil {
		s.returned = len(s.written)
	}
	return err
}

func (s *story) promise() error {
	g := wire.GroupID(1 + s.rng.IntN(2))
	b := wire.NewBallot(uint32(2+len(s.written)), 3)
	rec := wire.PromiseRecord(testCluster, g, 1, b, 0)
	defer rec.Frame.Release()
	s.promised[g] = b
	_, err := s.l.Append([]wire.Record{rec})
	return err
}

func (s *story) sync(flush bool) error {
	var err error
	if flush {
		err = s.l.Flush()
	} else {
		_, err = s.l.Sync()
	}
	if err == nil && (flush || s.policy.Mode == Always) {
		s.synced = len(s.written)
		for g, b := range s.promised {
			s.syncedP[g] = b
		}
	}
	return err
}

func (s *story) trim() error {
	g := wire.GroupID(1 + s.rng.IntN(2))
	if s.slot[g] < 4 {
		return nil
	}
	// What the caller has in a durable snapshot was durable in the log before.
	if err := s.sync(true); err != nil {
		return err
	}
	s.trims[g] = max(s.trims[g], s.slot[g]-wire.Slot(s.rng.IntN(4)))
	return s.l.Trim(g, s.trims[g]+1)
}

// check compares what a replay gave with what may be relied upon. least is the number of votes that must be there.
func (s *story) check(r *recovered, least int) error {
	first := len(s.written)
	for i, v := range s.written {
		if len(r.votes) > 0 && v == r.votes[0] {
			first = i
			break
		}
	}
	for _, v := range s.written[:min(first, least)] {
		if v.slot > s.trims[v.group] {
			return fmt.Errorf("vote %+v was durable and is gone (first replayed is number %d)", v, first)
		}
	}
	if first == len(s.written) && len(r.votes) > 0 {
		return fmt.Errorf("vote %+v was never written", r.votes[0])
	}
	for i, v := range r.votes {
		if first+i >= len(s.written) || s.written[first+i] != v {
			return fmt.Errorf("vote %d replayed is %+v, not what was written then", i, v)
		}
	}
	if end := first + len(r.votes); len(r.votes) > 0 && end < least {
		return fmt.Errorf("%d votes were durable, replay ends after %d", least, end)
	}
	for g, b := range s.syncedP {
		if r.promised[g] < b {
			return fmt.Errorf("group %d promised %v durably, replay says %v", g, b, r.promised[g])
		}
	}
	if r.members == 0 {
		return errors.New("replay gave no membership")
	}
	return nil
}

// TestCrashAtEveryOperation: whatever operation a crash interrupts, and whatever of the un-synced changes the disk had
// taken by then, the log opens, and replay gives everything that a Sync had returned for, in order, and nothing that
// was not written. A log that reused a segment too early, sealed one too soon or cut too much would lose a vote or refuse
// to open here. Recovery is itself interrupted at each of its operations, and the log is used and crashed again after it.
func TestCrashAtEveryOperation(t *testing.T) {
	for _, policy := range []Policy{{}, {Mode: Never}} {
		for seed := uint64(1); seed <= 2; seed++ {
			t.Run(fmt.Sprintf("%v/seed=%d", policy, seed), func(t *testing.T) {
				t.Parallel()
				enumerate(t, policy, seed)
			})
		}
	}
}

func enumerate(t *testing.T, policy Policy, seed uint64) {
	const steps = 60
	m, s := interrupted(t, policy, seed, steps, 0)
	ops, torn := m.Ops(), 0
	if got := s.l.Stats(); got.Recycled == 0 || ops < 100 {
		t.Fatalf("seed %d: the story does not exercise what it is for: %d operations, %+v", seed, ops, got)
	}
	for at := 1; at <= ops; at++ {
		m, s := interrupted(t, policy, seed, steps, at)
		what := fmt.Sprintf("seed %d: crash at operation %d of %d", seed, at, ops)
		for _, loss := range vfs.Losses() {
			tries := uint64(2)
			if loss == vfs.LoseAll || loss == vfs.LoseNone { // no chance in these
				tries = 1
			}
			for try := range tries {
				after := m.Clone()
				after.PowerLoss(loss, seed<<32|uint64(at)<<8|try)
				what := fmt.Sprintf("%s, %v, try %d", what, loss, try)
				if loss == vfs.KeepSectors && try == 0 {
					s.recoverTwice(t, after, what)
				}
				if s.survive(t, after, s.synced, what).Torn {
					torn++
				}
			}
		}
		m.Reboot() // the process alone: all that was written is still there, and must stay once recovery is done
		s.survive(t, m, s.returned, what+", process only")
	}
	if torn == 0 {
		t.Errorf("seed %d: no crash left a torn tail", seed)
	}
}

// interrupted plays the story on a new log until the operation with this number; 0: to its end.
func interrupted(t *testing.T, policy Policy, seed uint64, steps, at int) (*vfs.Mem, *story) {
	m := vfs.NewMem()
	c := memConfig(m)
	c.Policy = policy
	s := newStory(bootstrapped(t, c), policy, seed)
	m.CrashAt(at)
	if err := s.play(steps); (at > 0) != errors.Is(err, vfs.ErrCrashed) {
		t.Fatalf("seed %d, crash at %d: %v", seed, at, err)
	}
	return m, s
}

// recoverTwice cuts the first recovery of the log on m short at each of its operations by another power loss: the second
// one must find what the first would have found.
func (s *story) recoverTwice(t *testing.T, m *vfs.Mem, what string) {
	t.Helper()
	for op := 1; ; op++ {
		cut := m.Clone()
		cut.CrashAt(op)
		l, _, err := openReplay(s.config(cut))
		if err == nil {
			l.Close()
			return
		}
		if !errors.Is(err, vfs.ErrCrashed) {
			t.Fatalf("%s: recovery: %v", what, err)
		}
		cut.PowerLoss(vfs.Losses()[op%len(vfs.Losses())], uint64(op))
		l, r, err := openReplay(s.config(cut))
		if err == nil {
			err = s.check(r, s.synced)
			l.Close()
		}
		if err != nil {
			t.Fatalf("%s: second recovery after a crash at operation %d of the first: %v", what, op, err)
		}
	}
}

// survive recovers the log on m, which has just crashed, checks what replay gives, least votes being durable, and goes
// on using it.
func (s *story) survive(t *testing.T, m *vfs.Mem, least int, what string) Verdict {
	t.Helper()
	l, r, err := openReplay(s.config(m))
	if err == nil {
		err = s.check(r, least)
	}
	if err != nil {
		t.Fatalf("%s: recovery: %v", what, err)
	}
	verdict := l.Verdict()
	bare := m.Clone() // a power loss now, with nothing appended since: replay has promised that it gave durable records
	bare.PowerLoss(vfs.LoseAll, 0)
	_, again, err := openReplay(s.config(bare))
	if err != nil || fmt.Sprint(again) != fmt.Sprint(r) {
		t.Fatalf("%s: power loss right after recovery (%v): replay gives\n%v\nafter\n%v", what, err, again, r)
	}
	s.goOn(t, l, m, r, what)
	return verdict
}

// goOn appends to a recovered log and loses power: what the first replay gave and what was synced since must be there,
// followed by nothing that was cut before.
func (s *story) goOn(t *testing.T, l *Log, m *vfs.Mem, r *recovered, what string) {
	t.Helper()
	var extra []vote
	for i := range wire.Slot(3) {
		rec := acceptRecord(1, 1000+i, wire.NewBallot(9, 2), 100)
		extra = append(extra, voteOf(&rec))
		_, err := l.Append([]wire.Record{rec})
		rec.Frame.Release()
		if err == nil {
			err = l.Flush()
		}
		if err != nil {
			t.Fatalf("%s: append after recovery: %v", what, err)
		}
	}
	m.PowerLoss(vfs.LoseAll, 0)
	l, again, err := openReplay(s.config(m))
	if err != nil {
		t.Fatalf("%s: recovery after going on: %v", what, err)
	}
	defer l.Close()
	want := append(append([]vote(nil), r.votes...), extra...)
	if fmt.Sprint(again.votes) != fmt.Sprint(want) {
		t.Fatalf("%s: after going on replay gives\n%v\nwant\n%v", what, again.votes, want)
	}
}

func (s *story) config(m *vfs.Mem) Config {
	c := memConfig(m)
	c.Policy = s.policy
	salt := s.rng.Uint64()
	c.Salt = func() uint64 { salt += 0x9e3779b97f4a7c15; return salt }
	return c
}
