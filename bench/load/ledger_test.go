package load

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/paxbench/paxbench/engine/kv"
	"github.com/paxbench/paxbench/wire"
	"pgregory.net/rapid"
)

// shaky makes a cluster that refuses, forgets and half-forgets one block in ten each.
func shaky(seed uint64) func(*fakeCluster) {
	return func(c *fakeCluster) {
		rng := rand.New(rand.NewPCG(seed, 0))
		c.verdict = func(int) (Outcome, bool) {
			switch rng.IntN(30) {
			case 0, 1, 2:
				return Failed, false
			case 3:
				return Unknown, false
			case 4, 5:
				return Unknown, true
			}
			return Done, true
		}
	}
}

// The audit of an honest cluster finds nothing, however many operations failed or are unknown; with one command lost
// or doubled it must say so. A ledger that is off by one would cry wolf, or keep silent, for ever after.
func TestAuditSessions(t *testing.T) {
	c := Config{Clients: 3, Inflight: 40, Ops: 20_000, Seed: 1}
	for seed := range uint64(5) {
		r, cluster := virtual(t, Null, time.Millisecond, c, shaky(seed))
		f := r.Ledger.AuditSessions(cluster.sessionRows())
		if !f.OK() || !f.Complete || f.Acked == 0 || f.Unknown == 0 {
			t.Fatalf("seed %d: %+v", seed, f)
		}
		for id, honest := range cluster.sessions {
			account := r.Ledger.sessions[id]
			check := func(what string, row *kv.SessionRow, lost, duplicated bool) {
				t.Helper()
				state := maps.Clone(cluster.sessions)
				state[id] = row
				if row == nil {
					delete(state, id)
				}
				f := r.Ledger.AuditSessions((&fakeCluster{sessions: state}).sessionRows())
				if f.OK() || lost != (f.Lost > 0) || duplicated != (f.Duplicated > 0) || len(f.Details) == 0 {
					t.Errorf("seed %d: %s: %+v", seed, what, f)
				}
			}
			check("session gone", nil, true, false)
			check("command lost", &kv.SessionRow{Session: wire.SessionID(id), Count: account.count - 1}, true, false)
			check("command doubled", &kv.SessionRow{
				Session: wire.SessionID(id), Count: account.count + openCount(account) + 1, Sum: honest.Sum,
			}, false, true)
			check("one lost, another doubled", &kv.SessionRow{
				Session: wire.SessionID(id), Count: account.count, Sum: account.sum + 5,
			}, true, true)
			if len(account.open) > 0 && len(account.open) <= explainBlocksMax {
				check("a command that was never sent", &kv.SessionRow{
					Session: wire.SessionID(id), Count: honest.Count, Sum: honest.Sum + 1<<40,
				}, honest.Count == account.count, honest.Count == account.count)
			}
		}
	}
}

func openCount(s *sessionAccount) (n uint64) {
	for _, r := range s.open {
		n += r.count
	}
	return n
}

// The same for keys: versions, slots and values.
func TestAuditKeys(t *testing.T) {
	c := Config{Clients: 3, Inflight: 40, Ops: 20_000, Seed: 1, Keys: 100, Dist: Zipf(0.9)}
	for seed := range uint64(5) {
		r, cluster := virtual(t, KV, time.Millisecond, c, shaky(seed))
		for _, values := range []bool{true, false} {
			if f := r.Ledger.AuditKeys(cluster.keyRows(values)); !f.OK() || !f.Complete || f.Acked == 0 || f.Unknown == 0 {
				t.Fatalf("seed %d: %+v", seed, f)
			}
		}
		for name, honest := range cluster.rows {
			key, _ := ParseKey([]byte(name))
			account, open := &r.Ledger.keys[key], uint64(len(r.Ledger.open[key]))
			check := func(what string, change func(*kv.Row)) {
				t.Helper()
				row := *honest
				change(&row)
				state := maps.Clone(cluster.rows)
				state[name] = &row
				if f := r.Ledger.AuditKeys((&fakeCluster{rows: state}).keyRows(true)); f.OK() || len(f.Details) == 0 {
					t.Errorf("seed %d, key %d: %s: %+v", seed, key, what, f)
				}
			}
			check("write lost", func(r *kv.Row) { r.Version = uint64(account.acked) - 1 })
			check("write doubled", func(r *kv.Row) { r.Version = uint64(account.acked) + open + 1 })
			check("value of another write", func(r *kv.Row) { r.Value = slices.Clone(r.Value); r.Value[3]++ })
			check("deleted", func(r *kv.Row) { r.Present, r.Value = false, nil })
			if account.place>>16 > 1 {
				check("older write", func(r *kv.Row) { r.Slot = wire.Slot(account.place>>16) - 1 })
			}
		}
		delete(cluster.rows, string(AppendKey(nil, 0)))
		if f := r.Ledger.AuditKeys(cluster.keyRows(true)); f.Lost == 0 {
			t.Errorf("seed %d: a missing key is not found: %+v", seed, f)
		}
		cluster.rows["other"] = &kv.Row{Key: []byte("other"), Version: 1}
		if f := r.Ledger.AuditKeys(cluster.keyRows(true)); f.Foreign != 1 {
			t.Errorf("seed %d: %d foreign keys", seed, f.Foreign)
		}
	}
}

// A cluster that was not empty is audited against what it held before.
func TestBaseline(t *testing.T) {
	r, cluster := virtual(t, KV, time.Millisecond, Config{Clients: 1, Inflight: 1, Ops: 10, Keys: 2}, func(c *fakeCluster) {
		for i := range uint32(2) {
			name := string(AppendKey(nil, i))
			c.rows[name] = &kv.Row{Key: []byte(name), Present: true, Version: 7, Slot: 0, Value: []byte("old")}
		}
	})
	if f := r.Ledger.AuditKeys(cluster.keyRows(true)); f.Duplicated == 0 {
		t.Error("earlier writes are not seen at all")
	}
	r.Ledger.Baseline(0, 7)
	r.Ledger.Baseline(1, 7)
	if f := r.Ledger.AuditKeys(cluster.keyRows(true)); !f.OK() {
		t.Errorf("%+v", f)
	}
}

// Audit pages through a replica's answers.
func TestAuditByQuery(t *testing.T) {
	for _, sm := range []SM{Null, KV} {
		r, cluster := virtual(t, sm, time.Millisecond, Config{Clients: 2, Inflight: 8, Ops: 500, Keys: 20}, nil)
		f, err := r.Ledger.Audit(func([]byte) ([]byte, error) { return cluster.scan(), nil })
		if err != nil || !f.OK() || f.Acked != 500 {
			t.Errorf("%v: %+v, %v", sm, f, err)
		}
		whole := cluster.scan()
		for _, bad := range [][]byte{nil, whole[:len(whole)-1], append(whole, 1)} {
			if _, err := r.Ledger.Audit(func([]byte) ([]byte, error) { return bad, nil }); err == nil {
				t.Errorf("%v: an answer of %d bytes instead of %d passes", sm, len(bad), len(whole))
			}
		}
	}
}

// insert keeps the runs ascending, disjoint and joined, in whatever order they come, and refuses a repeat: against a
// set of numbers.
func TestInsertRanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s sessionAccount
		have := make(map[uint64]bool)
		for range rapid.IntRange(1, 40).Draw(t, "n") {
			r := seqRange{rapid.Uint64Range(1, 60).Draw(t, "first"), rapid.Uint64Range(1, 6).Draw(t, "count")}
			fresh := true
			for q := r.first; q < r.end(); q++ {
				fresh = fresh && !have[q]
			}
			if got := s.insert(r); got != fresh {
				t.Fatalf("insert %v = %t, want %t", r, got, fresh)
			}
			for q := r.first; fresh && q < r.end(); q++ {
				have[q] = true
			}
		}
		n := 0
		for i, r := range s.acked {
			if i > 0 && r.first <= s.acked[i-1].end() {
				t.Fatalf("not disjoint, or not joined: %v", s.acked)
			}
			for q := r.first; q < r.end(); q++ {
				if !have[q] {
					t.Fatalf("%d was never inserted", q)
				}
				n++
			}
		}
		if n != len(have) {
			t.Fatalf("%d numbers, want %d", n, len(have))
		}
	})
}

// Ledgers of several generators add up to the ledger of one.
func TestLedgerMerge(t *testing.T) {
	for _, sm := range []SM{Null, KV} {
		rng := rand.New(rand.NewPCG(1, uint64(sm)))
		values := Values{Seed: 1}
		all, parts := NewLedger(sm, values, 10), []*Ledger{NewLedger(sm, values, 10), NewLedger(sm, values, 10)}
		next := [2]uint64{1, 1}
		for place := range uint64(500) {
			who := rng.IntN(2)
			n := 1 + rng.Uint64N(4)
			f := flight{outcome: Outcome(rng.IntN(3)), count: int(n), session: uint64(who + 1), first: next[who], place: place << 16, stamp: NewStamp(who, next[who])}
			next[who] += n
			if sm == KV {
				for range n {
					f.keys = append(f.keys, uint32(rng.IntN(10)))
				}
			}
			all.record(&f)
			parts[who].record(&f)
		}
		merged := NewLedger(sm, values, 10)
		for _, p := range parts {
			if err := merged.Merge(p); err != nil {
				t.Fatal(err)
			}
		}
		if merged.Acked != all.Acked || merged.Unknown != all.Unknown || merged.Failed != all.Failed || !slices.Equal(merged.keys, all.keys) {
			t.Errorf("%v: merged %d/%d/%d, want %d/%d/%d", sm, merged.Acked, merged.Failed, merged.Unknown, all.Acked, all.Failed, all.Unknown)
		}
		for id, s := range all.sessions {
			if m := merged.sessions[id]; m.count != s.count || m.sum != s.sum || !slices.Equal(m.acked, s.acked) {
				t.Errorf("session %d: %+v, want %+v", id, m, s)
			}
		}
		for k, stamps := range all.open {
			a, b := slices.Sorted(slices.Values(stamps)), slices.Sorted(slices.Values(merged.open[k]))
			if !slices.Equal(a, b) {
				t.Errorf("key %d: open %v, want %v", k, b, a)
			}
		}
	}
	if err := NewLedger(KV, Values{}, 10).Merge(NewLedger(KV, Values{}, 11)); err == nil {
		t.Error("ledgers of different keys were merged")
	}
}

// A target that acknowledges the same command twice lies; the audit must not count it as two.
func TestDoubleAcknowledgement(t *testing.T) {
	l := NewLedger(Null, Values{}, 0)
	l.record(&flight{count: 4, session: 1, first: 1})
	l.record(&flight{count: 2, session: 1, first: 3})
	f := l.AuditSessions(func(yield func(kv.SessionRow) bool) {
		yield(kv.SessionRow{Session: 1, Count: 4, Sum: 10})
	})
	if f.OK() {
		t.Errorf("%+v", f)
	}
}

// Beyond UnknownMax the audit may only be silent about duplicates, and must say that it is.
func TestUnknownOverflow(t *testing.T) {
	l := NewLedger(KV, Values{}, 1)
	l.openSum = UnknownMax - 1
	l.record(&flight{outcome: Unknown, count: 2, keys: []uint32{0, 0}})
	f := l.AuditKeys(func(yield func(kv.Row) bool) {
		yield(kv.Row{Key: AppendKey(nil, 0), Present: true, Version: 2, Slot: 1, Value: l.Values.Append(nil, 1)})
	})
	if !f.OK() || f.Complete {
		t.Errorf("%+v", f)
	}
}
