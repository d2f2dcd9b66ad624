package load

import (
	"fmt"
	"iter"
	"slices"

	"github.com/paxbench/paxbench/engine/kv"
)

// Findings is the verdict on one replica's state against a ledger.
//
// What it may conclude. Lost: an acknowledged write is not in the state; certain. Duplicated: the state shows more
// executions than writes were ever sent that could have been done; certain, when Complete. Wrong: the right number
// of executions but not those that were acknowledged, or a last value that none of the possible last writes wrote;
// certain.
//
// What it cannot see. One write lost and another one doubled on the same key (or two such pairs with equal sums in
// one session) look like the right number; for a key the last value is checked as well, so only overwritten writes
// can hide that way. A write of unknown outcome that was executed once is legitimate and not reported. Order is not
// judged here: that is what a history is for; and the audit of the logs, which looks for every acknowledged write at
// its place, sees what later writes have hidden.
type Findings struct {
	Acked   uint64 // acknowledged writes that were looked for
	Unknown uint64 // writes that may or may not be there

	Lost       uint64
	Duplicated uint64
	Wrong      uint64 // keys or sessions
	Foreign    uint64 // sessions or keys in the state that this load did not write

	// Complete is false if duplicates could not be excluded, because unknown outcomes were too many to list or the
	// target did not tell their sequence numbers.
	Complete bool

	// Details describes the first findings, in words.
	Details []string
}

const findingsMax = 20

// OK is true if nothing contradicts the acknowledgements.
func (f *Findings) OK() bool { return f.Lost == 0 && f.Duplicated == 0 && f.Wrong == 0 }

func (f *Findings) note(format string, args ...any) {
	if len(f.Details) < findingsMax {
		f.Details = append(f.Details, fmt.Sprintf(format, args...))
	}
}

// Merge adds another replica's findings: counts add up, Acked and Unknown are the ledger's and stay.
func (f *Findings) Merge(o *Findings) {
	f.Lost += o.Lost
	f.Duplicated += o.Duplicated
	f.Wrong += o.Wrong
	f.Foreign = max(f.Foreign, o.Foreign)
	f.Complete = f.Complete && o.Complete
	for _, d := range o.Details {
		f.note("%s", d)
	}
}

func (l *Ledger) findings() *Findings {
	f := &Findings{Acked: l.Acked, Unknown: l.Unknown, Complete: l.overflow == 0 && l.Untold == 0}
	for _, text := range l.faults {
		f.Wrong++
		f.note("%s", text)
	}
	return f
}

// AuditSessions compares a replica's null state machine, all of its sessions, with the ledger.
func (l *Ledger) AuditSessions(states iter.Seq[kv.SessionRow]) *Findings {
	if l.SM != Null {
		panic("BUG: load: AuditSessions of a " + l.SM.String() + " ledger")
	}
	f := l.findings()
	seen := make(map[uint64]bool, len(l.sessions))
	for st := range states {
		id := uint64(st.Session)
		s := l.sessions[id]
		if s == nil {
			f.Foreign++
			continue
		}
		if seen[id] {
			f.Wrong++
			f.note("session %d is in the state twice", st.Session)
		}
		seen[id] = true
		s.audit(f, st, l.overflow == 0 && l.Untold == 0)
	}
	for id, s := range l.sessions {
		if !seen[id] && s.count > 0 {
			f.Lost += s.count
			f.note("session %d is missing with its %d acknowledged commands", id, s.count)
		}
	}
	slices.Sort(f.Details)
	return f
}

// audit judges one session. complete: every unknown outcome is in s.open.
func (s *sessionAccount) audit(f *Findings, st kv.SessionRow, complete bool) {
	if st.Count < s.count {
		f.Lost += s.count - st.Count
		f.note("session %d: %d commands were acknowledged, %d are there", st.Session, s.count, st.Count)
		return
	}
	extra, extraSum := st.Count-s.count, st.Sum-s.sum
	if extra == 0 && extraSum != 0 {
		f.Lost++
		f.Duplicated++
		f.note("session %d: %d commands are there, as many as were acknowledged, but not the same ones", st.Session, st.Count)
		return
	}
	if !complete {
		return
	}
	var open uint64
	for _, r := range s.open {
		open += r.count
	}
	switch {
	case extra > open:
		f.Duplicated += extra - open
		f.note("session %d: %d commands were acknowledged and %d may be done, but %d are there", st.Session, s.count, open, st.Count)
	case !explains(s.open, extra, extraSum):
		f.Wrong++
		f.note("session %d: %d commands are there beyond the acknowledged ones, and no choice of the blocks that may be done gives their sequence numbers", st.Session, extra)
	}
}

// explainBlocksMax bounds the search of explains, 2^20 combinations at most.
const explainBlocksMax = 20

// explains says whether some of the blocks, each executed as a whole or not at all, make up count commands with this
// sum of sequence numbers. With too many blocks to try, everything is thought possible.
func explains(blocks []seqRange, count, sum uint64) bool {
	if count == 0 && sum == 0 {
		return true
	}
	if len(blocks) == 0 {
		return false
	}
	if len(blocks) > explainBlocksMax {
		return true
	}
	b, rest := blocks[0], blocks[1:]
	return b.count <= count && explains(rest, count-b.count, sum-b.sum()) || explains(rest, count, sum)
}

// AuditKeys compares a replica's KV state, all of its keys, with the ledger. Rows may be views; those with a value are
// compared by value, the others by hash.
func (l *Ledger) AuditKeys(rows iter.Seq[kv.Row]) *Findings {
	if l.SM != KV {
		panic("BUG: load: AuditKeys of a " + l.SM.String() + " ledger")
	}
	f := l.findings()
	seen := make([]bool, len(l.keys))
	for row := range rows {
		key, ok := ParseKey(row.Key)
		if !ok || uint64(key) >= uint64(len(l.keys)) {
			f.Foreign++
			continue
		}
		if seen[key] {
			f.Wrong++
			f.note("key %d is in the state twice", key)
			continue
		}
		seen[key] = true
		l.auditKey(f, key, &row)
	}
	for key := range l.keys {
		if !seen[key] {
			l.auditKey(f, uint32(key), &kv.Row{})
		}
	}
	return f
}

// auditKey judges one key.
func (l *Ledger) auditKey(f *Findings, key uint32, row *kv.Row) {
	e, open, base := &l.keys[key], l.open[key], l.base[key]
	acked, slot := uint64(e.acked), e.place>>16
	if row.Version < base+acked {
		f.Lost += base + acked - row.Version
		f.note("key %d: %d writes were acknowledged, %d are there", key, acked, max(row.Version, base)-base)
		return
	}
	extra := row.Version - base - acked
	if extra > uint64(len(open)) && l.overflow == 0 {
		f.Duplicated += extra - uint64(len(open))
		f.note("key %d: %d writes were acknowledged and %d may be done, but %d are there", key, acked, len(open), row.Version-base)
		return
	}
	if row.Version == base {
		return // never written in this run
	}
	switch last := uint64(row.Slot); {
	case acked > 0 && last < slot:
		f.Wrong++
		f.note("key %d: the last write is of slot %d, but one of slot %d was acknowledged", key, last, slot)
		return
	case acked > 0 && last == slot && l.holds(row, e.stamp):
		return
	case extra > 0 && (l.overflow > 0 || slices.ContainsFunc(open, func(s Stamp) bool { return l.holds(row, s) })):
		return // a write of unknown outcome came last
	}
	f.Wrong++
	f.note("key %d: the value, of slot %d, is not that of the last acknowledged write (slot %d, client %d, number %d)",
		key, row.Slot, slot, e.stamp.Client(), e.stamp.Number())
}

// holds says whether a row has the value of s.
func (l *Ledger) holds(row *kv.Row, s Stamp) bool {
	if !row.Present {
		return false
	}
	if row.Value != nil {
		return l.Values.Is(s, row.Value)
	}
	var scratch [512]byte
	return kv.ValueHash(l.Values.Append(scratch[:0], s)) == row.Hash
}
