package load

import (
	"fmt"
	"slices"
)

// Ledger is the generator's record of what it was told: which writes were acknowledged, which may have been done. An
// audit compares it with what the replicas hold (AuditSessions, AuditKeys).
//
// It is exact and does not grow with the number of acknowledged writes: for the null state machine it keeps, per
// session, runs of consecutive sequence numbers - one, and one more for each gap that a block which was not acknowledged
// left; for KV, 24 bytes per key. Only writes of unknown outcome are listed one by one, up to UnknownMax of them.
//
// A Ledger is not safe for concurrent use.
type Ledger struct {
	SM     SM
	Values Values

	// Writes.
	Acked   uint64 // acknowledged
	Failed  uint64 // certainly not done
	Unknown uint64 // may be done

	// Untold counts unknown commands whose session the target did not tell. With any of them, the null audit can
	// tell losses but not duplicates.
	Untold uint64

	sessions map[uint64]*sessionAccount // Null
	keys     []keyAccount               // KV
	open     map[uint32][]Stamp         // KV: writes of unknown outcome by key
	openSum  int                        // listed in open and in all sessions' unknown
	overflow uint64                     // unknown writes that were not listed
	base     map[uint32]uint64          // KV: versions before the run
	faults   []string                   // the target broke its promises
}

// UnknownMax bounds the writes (KV) or blocks (null) of unknown outcome that are listed; beyond it they are only
// counted, and the audit says that it is incomplete. It is more than what Clients x Inflight puts under way at a
// fault.
const UnknownMax = 1 << 20

// seqRange is a run of sequence numbers.
type seqRange struct{ first, count uint64 }

func (r seqRange) end() uint64 { return r.first + r.count }

// sum is the sum of the sequence numbers, modulo 2^64.
func (r seqRange) sum() uint64 {
	a, b := r.count, r.count-1
	if a%2 == 0 {
		a /= 2
	} else {
		b /= 2
	}
	return r.count*r.first + a*b
}

// sessionAccount is what is known of one session's commands.
type sessionAccount struct {
	count uint64     // acknowledged
	sum   uint64     // of the acknowledged sequence numbers, modulo 2^64
	acked []seqRange // the same, ascending, disjoint, not adjacent: mostly one, plus what overtook a retry
	open  []seqRange // unknown outcome, one entry a block
}

// keyAccount is what is known of one key's writes. Invariant: place is the highest (slot, index) of an acknowledged
// block that wrote the key, and stamp the last write of the key in that block.
type keyAccount struct {
	place uint64
	stamp Stamp
	acked uint32
}

// NewLedger makes an empty ledger for a load of keys keys, or for the null state machine.
func NewLedger(sm SM, values Values, keys int) *Ledger {
	l := &Ledger{SM: sm, Values: values}
	if sm == KV {
		l.keys = make([]keyAccount, keys)
		l.open = make(map[uint32][]Stamp)
	} else {
		l.sessions = make(map[uint64]*sessionAccount)
	}
	return l
}

// Baseline sets the version that a key had before the run, for a cluster that was not empty.
func (l *Ledger) Baseline(key uint32, version uint64) {
	if l.base == nil {
		l.base = make(map[uint32]uint64)
	}
	l.base[key] = version
}

// record enters the outcome of a flight of commands of the log.
func (l *Ledger) record(f *flight) {
	writes := uint64(f.writes())
	switch f.outcome {
	case Done:
		l.Acked += writes
		if l.SM == Null {
			l.ackSession(f.session, seqRange{f.first, writes})
		} else {
			l.ackKeys(f.place, f.stamp, f.keys)
		}
	case Failed:
		l.Failed += writes
	case Unknown:
		l.Unknown += writes
		if l.SM == KV {
			l.openKeys(f.stamp, f.keys)
		} else if f.session == 0 {
			l.Untold += writes
		} else {
			l.openSession(f.session, seqRange{f.first, writes})
		}
	}
}

func (l *Ledger) session(id uint64) *sessionAccount {
	s := l.sessions[id]
	if s == nil {
		s = &sessionAccount{}
		l.sessions[id] = s
	}
	return s
}

func (l *Ledger) ackSession(id uint64, r seqRange) {
	s := l.session(id)
	s.count += r.count
	s.sum += r.sum()
	if !s.insert(r) {
		l.fault("session %d: sequence numbers %d to %d were acknowledged twice", id, r.first, r.end()-1)
	}
}

// insert adds a run to the acknowledged ones. false: part of it was there already.
func (s *sessionAccount) insert(r seqRange) bool {
	n := len(s.acked)
	if n > 0 && s.acked[n-1].end() == r.first { // the common case: in order
		s.acked[n-1].count += r.count
		return true
	}
	i, _ := slices.BinarySearchFunc(s.acked, r.first, func(a seqRange, first uint64) int {
		if a.first < first {
			return -1
		}
		return 1
	})
	if i > 0 && s.acked[i-1].end() > r.first || i < n && s.acked[i].first < r.end() {
		return false
	}
	left := i > 0 && s.acked[i-1].end() == r.first
	right := i < n && s.acked[i].first == r.end()
	switch {
	case left && right:
		s.acked[i-1].count += r.count + s.acked[i].count
		s.acked = slices.Delete(s.acked, i, i+1)
	case left:
		s.acked[i-1].count += r.count
	case right:
		s.acked[i].first = r.first
		s.acked[i].count += r.count
	default:
		s.acked = slices.Insert(s.acked, i, r)
	}
	return true
}

func (l *Ledger) openSession(id uint64, r seqRange) {
	if l.openSum >= UnknownMax {
		l.overflow += r.count
		return
	}
	l.openSum++
	s := l.session(id)
	s.open = append(s.open, r)
}

func (l *Ledger) ackKeys(place uint64, stamp Stamp, keys []uint32) {
	for i, k := range keys {
		e := &l.keys[k]
		e.acked++
		if place >= e.place { // = : a later write of the same block
			e.place, e.stamp = place, stamp+Stamp(i)
		}
	}
}

func (l *Ledger) openKeys(stamp Stamp, keys []uint32) {
	for i, k := range keys {
		if l.openSum >= UnknownMax {
			l.overflow++
			continue
		}
		l.openSum++
		l.open[k] = append(l.open[k], stamp+Stamp(i))
	}
}

// fault notes a broken promise of the target; the first few are kept.
func (l *Ledger) fault(format string, args ...any) {
	if len(l.faults) < findingsMax {
		l.faults = append(l.faults, fmt.Sprintf(format, args...))
	}
}

// Merge adds what other recorded, of other clients of the same run and settings. Ledgers of different key counts or
// values cannot be merged.
func (l *Ledger) Merge(other *Ledger) error {
	if l.SM != other.SM || len(l.keys) != len(other.keys) || l.Values.Seed != other.Values.Seed {
		return fmt.Errorf("load: ledgers of different loads: %v, %d keys, seed %d and %v, %d keys, seed %d",
			l.SM, len(l.keys), l.Values.Seed, other.SM, len(other.keys), other.Values.Seed)
	}
	l.Acked += other.Acked
	l.Failed += other.Failed
	l.Unknown += other.Unknown
	l.Untold += other.Untold
	l.overflow += other.overflow
	l.openSum += other.openSum
	for _, text := range other.faults {
		l.fault("%s", text)
	}
	for id, o := range other.sessions {
		s := l.session(id)
		s.count += o.count
		s.sum += o.sum
		s.open = append(s.open, o.open...)
		for _, r := range o.acked {
			if !s.insert(r) {
				l.fault("session %d: sequence numbers %d to %d were acknowledged twice", id, r.first, r.end()-1)
			}
		}
	}
	for k := range other.keys {
		e, o := &l.keys[k], &other.keys[k]
		e.acked += o.acked
		if o.acked > 0 && o.place >= e.place {
			e.place, e.stamp = o.place, o.stamp
		}
	}
	for k, stamps := range other.open {
		l.open[k] = append(l.open[k], stamps...)
	}
	return nil
}
