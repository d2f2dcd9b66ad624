package paxos

import (
	"fmt"

	"github.com/paxbench/paxbench/wire"
	"github.com/paxbench/paxbench/wire/plant"
)

// State is what a replica recovers from its disk: fed record by record in log order, then given to New. It follows the
// rules of the running acceptor and learner, because the log is the list of what they did.
type State struct {
	promised wire.Ballot // for all slots
	highest  wire.Ballot // for single slots, the highest
	log      slotLog
	chosen   wire.Slot // contiguous
	told     announcement
	snapshot wire.Slot

	suspect      string
	vouched      bool
	incarnations map[wire.NodeID]uint64
	memberships  Memberships
}

// Suspect says that the disk may have lost records that were durable, and why. The replica does not vote until others have
// told it what it may have forgotten.
func (s *State) Suspect(why string) { s.suspect = why }

// Vouch says that the disk, suspect before, has lost nothing, on the word of an operator.
func (s *State) Vouch() { s.vouched = true }

// NewState starts a recovery. snapshot is the slot of the newest good snapshot, 0 for none: the state machine has
// every slot up to it, and records of those slots are ignored.
func NewState(snapshot wire.Slot) *State {
	return &State{log: newSlotLog(snapshot + 1), chosen: snapshot, snapshot: snapshot}
}

// NewAuxiliaryState starts the recovery of an auxiliary's state, which has no snapshots.
func NewAuxiliaryState() *State {
	s := NewState(0)
	s.log.floats = true
	return s
}

// newState is the state of a replica that never ran.
func (c Config) newState() *State {
	for _, a := range c.Auxiliary {
		if a == c.Self {
			return NewAuxiliaryState()
		}
	}
	return NewState(0)
}

// forget takes an auxiliary's word that its votes up to slot are not needed any more.
func (s *State) forget(slot wire.Slot) {
	if !s.log.floats || slot <= s.snapshot {
		return
	}
	s.log.dropTo(slot)
	s.snapshot, s.chosen = slot, max(s.chosen, slot)
}

// Members says what the snapshot holds of the configurations. Without it they are those of the founding.
func (s *State) Members(h Memberships) { s.memberships = h }

// Load takes the next record of this replica's group. It retains the frames it keeps. An error means a record that the
// engine cannot have written.
func (s *State) Load(r *wire.Record) error {
	switch r.Kind {
	case wire.KindRecPromise, wire.KindAccept, wire.KindLearn, wire.KindRecVote:
	case wire.KindRecTrim:
		s.forget(r.Slot)
		return nil
	case wire.KindRecMembers:
		return nil
	default:
		return fmt.Errorf("paxos: record of kind %v is not known to this version", r.Kind)
	}
	if r.Slot > s.chosen+2*wire.SlotsAheadMax && !s.log.floats {
		return fmt.Errorf("paxos: record of slot %d is far above the chosen prefix %d: slots between are missing", r.Slot, s.chosen)
	}
	switch r.Kind {
	case wire.KindRecPromise:
		s.promise(r)
		s.loadIncarnations(r.Incarnations)
		if s.log.floats {
			s.forget(r.Chosen)
		} else {
			s.learned(r.Chosen)
		}
		return nil
	case wire.KindAccept:
		s.promise(r)
	}
	if r.Slot > s.snapshot {
		e := s.log.ensure(r.Slot)
		s.log.put(e, r.Frame.Retain(), r.Ballot)
		e.chosen = e.chosen || r.Kind == wire.KindLearn
	}
	if r.Kind == wire.KindAccept && r.Scope == wire.ScopeRange {
		s.told.note(r.Ballot, r.Chosen)
	}
	s.chosen = advance(&s.log, s.chosen, s.told)
	return nil
}

// promise takes what a record of a promise or of a vote promises, for all slots or for one.
func (s *State) promise(r *wire.Record) {
	switch {
	case r.Kind == wire.KindRecPromise && r.Slot == 0, r.Kind == wire.KindAccept && r.Scope != wire.ScopeSlot:
		s.promised = max(s.promised, r.Ballot)
	default:
		s.highest = max(s.highest, r.Ballot)
		if r.Slot > s.snapshot {
			e := s.log.ensure(r.Slot)
			e.promised = max(e.promised, r.Ballot)
		}
	}
}

// learned takes a promise record's word that every slot up to upTo was learned when it was made: the votes read so far for
// those slots are for what is chosen.
func (s *State) learned(upTo wire.Slot) {
	for slot := s.chosen + 1; slot <= min(upTo, s.log.last()); slot++ {
		if e := s.log.get(slot); e.frame != nil {
			e.chosen = true
		}
	}
	s.chosen = advance(&s.log, s.chosen, s.told)
}

// announcement is what the leader of the highest ballot heard of has said about its chosen prefix.
type announcement struct {
	ballot wire.Ballot
	upTo   wire.Slot
}

// note takes the word of ballot b's leader that every slot up to s is chosen.
func (a *announcement) note(b wire.Ballot, s wire.Slot) {
	if b > a.ballot {
		*a = announcement{b, s}
	} else if b == a.ballot {
		a.upTo = max(a.upTo, s)
	}
}

// advance marks as chosen, and returns the new end of, the run of slots above prefix that are known to be chosen:
// learned as such, or voted for at the ballot whose leader announced that they are chosen.
//
// Why the ballots must match: a vote at a lower ballot may be for a value that lost. What a leader proposed in a slot that
// it knows to be chosen is the chosen value (P2c), and a vote at its ballot is for what it proposed.
func advance(l *slotLog, prefix wire.Slot, a announcement) wire.Slot {
	for {
		e := l.get(prefix + 1)
		if e == nil || e.frame == nil {
			return prefix
		}
		if !e.chosen && (e.ballot != a.ballot && !plant.Is(plant.LearnsOtherBallots) || prefix+1 > a.upTo) {
			return prefix
		}
		e.chosen = true
		prefix++
	}
}
