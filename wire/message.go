package wire

import (
	"fmt"
)

// MessageSize is the size in bytes of the fixed part that follows the header in every frame between replicas.
// Accept and Learn frames continue with a batch, Promise frames with votes, SnapChunk frames with file bytes.
const MessageSize = 32

// AcceptHeadroom is what precedes the batch in an Accept or Learn frame.
const AcceptHeadroom = HeaderSize + MessageSize

// Message is a decoded frame between replicas. Which fields mean something depends on the kind:
//
//	Prepare       Ballot, Slot = first slot asked for (the only one: Scope), Chosen, Scope
//	Promise       Ballot, Slot as asked, Chosen, Trimmed, Part of Parts, First .. Last = slots covered, Votes
//	Reject        Ballot = the one refused, Slot, Chosen, Promised = the higher one
//	Accept        Ballot, Slot, Chosen, Scope, Value
//	Accepted      Ballot, Slot .. Slot+Count-1, Chosen
//	Heartbeat     Ballot, Slot = highest that the receiver told a vote for, as far as the sender knows, Chosen, Round; of a
//	              proposer of independent instances: Slot = highest in use; Span = lease asked for, Stamp = when, by the sender's clock; Chain =
//	              sum of the values up to Chosen (ChainCRC), 0: not told
//	HeartbeatAck  Ballot, Slot = last slot voted in; to a leader: for which there is no room (0: not told), Chosen, Round; Span = lease
//	              granted, Stamp = as asked
//	Fetch         Slot .. Until = slots asked for, Chosen
//	Learn         Ballot = of the sender's vote, Slot, Chosen, Value
//	Probe         Ballot = the one it would prepare, Chosen
//	ProbeAck      Ballot as asked, Chosen, Granted
//	SnapChunk     Slot = the snapshot's, Offset, Total, Data
//	SnapAck       Slot, Offset = received so far, Total
//	Chosen        Ballot, Slot .. Slot+Count-1 were chosen at it, Chosen
//	HealRequest   Slot = first slot asked for, Chosen, Incarnations: the sender's own is the one it would live on in
//	HealReply     Ballot = highest promised, else as Promise
//	Members       Slot, Chosen, Members = the configuration chosen in that slot
//	Any           Ballot = the fast one, Slot = first slot that is open to any node's values, Chosen
//	FastAccepted  as Accepted, at a fast ballot: the vote in Slot+i was for the batch with tag Tag+i
//	FastChosen    as Chosen, at a fast ballot: the batch with tag Tag+i was chosen in Slot+i
//	Resign        Ballot = at which the sender led and leads no more, Chosen
//	Back          Round = number of the sender's start, Chosen
//	Seen          Round as asked, Ballot = highest that the receiver promised the sender, Slot = highest that it told it a vote for; 0: none
//	Held          Slot = every node that keeps state holds, durably, what is chosen up to here, Chosen
//	Lease         Step, Ballot, Slot = number of the resource, Life = of the asker, Owner, Span, Promised (engine/paxos/lease)
//
// Promise, Accepted, FastAccepted, HealRequest, HealReply, Back and Seen may carry the incarnations that the sender knows of. Chosen is always the sender's chosen prefix. Value, Votes and Data are views into Frame.
type Message struct {
	Kind   Kind
	Group  GroupID
	From   NodeID
	Ballot Ballot
	Slot   Slot
	Chosen Slot

	Scope    Scope  // Prepare, Accept
	Promised Ballot // Reject
	Count    uint32 // Accepted, Chosen, FastAccepted, FastChosen
	Tag      uint64 // FastAccepted, FastChosen: of the first slot's batch (Batch.Tag); each slot's is one more
	Round    uint64 // Heartbeat, HeartbeatAck, Back, Seen
	Stamp    uint64 // Heartbeat, HeartbeatAck: nanoseconds from any origin
	Span     uint64 // Heartbeat, HeartbeatAck, Lease: nanoseconds; 0: no lease
	Chain    uint32 // Heartbeat

	Step  LeaseStep // Lease
	Owner NodeID    // Lease
	Life  uint64    // Lease: which of the asker's lives asks

	Until       Slot   // Fetch
	Trimmed     Slot   // Promise, HealReply: slots up to here are only in a snapshot
	Part, Parts uint16 // Promise, HealReply: part Part (from 0) of Parts
	First, Last Slot   // Promise, HealReply: this part holds every vote the sender has in these slots
	Granted     bool   // ProbeAck
	Offset      uint64 // SnapChunk, SnapAck: bytes
	Total       uint64 // SnapChunk, SnapAck: size of the snapshot file in bytes

	Value   Batch  // Accept, Learn
	Votes   []byte // Promise, HealReply: see VoteIter
	Data    []byte // SnapChunk
	Members []byte // Members: see ParseMembership

	Incarnations []byte // see IterIncarnations

	Frame *Buffer // what Decode was given; not retained by it
}

// DecodeMessage decodes the frame in f, whose header and CRC have been checked (CheckFrame), into m. m holds views
// into f; nothing is allocated and no reference taken. An error means a malformed body or fields that no sender can
// mean: nothing to act upon, and m is not to be used.
func DecodeMessage(f *Buffer, m *Message) error {
	h, err := ParseHeader(f.Bytes())
	if err != nil {
		return err
	}
	if !h.Kind.IsPeer() {
		return fmt.Errorf("%w: %v is not a message between replicas", ErrKind, h.Kind)
	}
	if f.Len() != h.Size() {
		return fmt.Errorf("%w: %v frame of %d bytes in %d", ErrFormat, h.Kind, h.Size(), f.Len())
	}
	body := f.Bytes()[HeaderSize:] // MessageSize at least: ParseHeader held the length against the kind
	*m = Message{
		Kind: h.Kind, Group: h.Group, From: h.From, Frame: f,
		Ballot: Ballot(le.Uint64(body)),
		Slot:   Slot(le.Uint64(body[8:])),
		Chosen: Slot(le.Uint64(body[16:])),
	}
	if err := m.decodeWord(le.Uint64(body[24:])); err != nil {
		return err
	}
	if body, m.Incarnations, err = cutIncarnations(body, h.Incarnations); err != nil {
		return err
	}
	if err := m.decodeTail(body[MessageSize:]); err != nil {
		return err
	}
	return m.check()
}

// decodeWord decodes the fixed part's last word. A kind that has no use for it has zero there.
func (m *Message) decodeWord(word uint64) error {
	switch m.Kind {
	case KindPromise, KindHealReply:
		m.Trimmed = Slot(word)
		return nil
	case KindReject, KindLease:
		m.Promised = Ballot(word)
		return nil
	case KindPrepare, KindAccept:
		m.Scope = Scope(word)
		if word <= uint64(m.scopeMax()) {
			return nil
		}
	case KindAccepted, KindChosen, KindFastAccepted, KindFastChosen:
		m.Count = uint32(min(word, 1<<32-1)) // what is cut off is far above the limit that check holds it against
		return nil
	case KindHeartbeat, KindHeartbeatAck, KindBack, KindSeen:
		m.Round = word
		return nil
	case KindFetch:
		m.Until = Slot(word)
		return nil
	case KindSnapChunk, KindSnapAck:
		m.Offset = word
		return nil
	case KindProbeAck:
		m.Granted = word == 1
		if word <= 1 {
			return nil
		}
	default:
		if word == 0 {
			return nil
		}
	}
	return fmt.Errorf("%w: %v with %d in its last word", ErrFormat, m.Kind, word)
}

// decodeTail decodes what follows the fixed part. That it is as long as the kind needs, or empty, ParseHeader has seen.
func (m *Message) decodeTail(tail []byte) (err error) {
	switch m.Kind {
	case KindAccept, KindLearn:
		m.Value, err = ParseBatch(tail)
	case KindPromise, KindHealReply:
		m.Part, m.Parts = le.Uint16(tail), le.Uint16(tail[2:])
		m.First, m.Last = Slot(le.Uint64(tail[4:])), Slot(le.Uint64(tail[12:]))
		m.Votes = tail[promiseTail:]
		err = checkVotes(m.Votes, m.First, m.Last)
	case KindSnapChunk:
		m.Total, m.Data = le.Uint64(tail), tail[snapTail:]
	case KindSnapAck:
		m.Total = le.Uint64(tail)
	case KindMembers:
		var n int
		m.Members = tail
		if n, err = checkMembership(tail); err == nil && n != len(tail) {
			err = fmt.Errorf("%w: membership of %d bytes in %d", ErrFormat, n, len(tail))
		}
	case KindFastAccepted, KindFastChosen:
		m.Tag = le.Uint64(tail)
	case KindHeartbeat, KindHeartbeatAck:
		m.Stamp, m.Span, m.Chain = le.Uint64(tail), le.Uint64(tail[8:]), le.Uint32(tail[16:])
	case KindLease:
		m.Step, m.Owner = LeaseStep(min(le.Uint32(tail), uint32(leaseStepEnd))), NodeID(le.Uint32(tail[4:]))
		m.Life, m.Span = le.Uint64(tail[8:]), le.Uint64(tail[16:])
	}
	return err
}

// check refuses field values that no sender can mean, whatever the state of the receiver (FAULTS.md F40): past it, no
// sum of a slot and a count or of an offset and a length overflows. Whether a ballot jumps too far, belongs to its
// sender, or a slot lies too far ahead depends on the receiver's state: that is the core's to see.
func (m *Message) check() error {
	if m.From == 0 || m.Group == 0 {
		return fmt.Errorf("%w: %v from node %d for group %d", ErrFormat, m.Kind, m.From, m.Group)
	}
	if m.Slot > SlotMax || m.Chosen > SlotMax || m.Trimmed > SlotMax {
		return fmt.Errorf("%w: %v of slot %d, chosen %d, trimmed %d, beyond the limit %d", ErrFormat, m.Kind, m.Slot, m.Chosen, m.Trimmed, Slot(SlotMax))
	}
	if !m.Ballot.sound() || !m.Promised.sound() {
		return fmt.Errorf("%w: %v at ballot %v, promised %v: owned by no node", ErrFormat, m.Kind, m.Ballot, m.Promised)
	}
	ok := true
	switch m.Kind {
	case KindPrepare, KindAccept, KindLearn:
		ok = m.Ballot != 0 && m.Slot != 0 && m.Scope <= m.scopeMax()
	case KindPromise:
		ok = m.Ballot != 0 && m.Slot != 0 && m.Part < m.Parts && m.Parts <= PromisePartsMax
	case KindHealRequest:
		ok = m.Ballot == 0 && m.Slot != 0
	case KindHealReply:
		ok = m.Slot != 0 && m.Part < m.Parts && m.Parts <= PromisePartsMax
	case KindReject:
		ok = m.Ballot != 0 && m.Promised != 0
	case KindAccepted, KindChosen:
		ok = m.Ballot != 0 && m.Slot != 0 && m.Count != 0 && m.Count <= AcceptedMax && m.Slot+Slot(m.Count-1) <= SlotMax
	case KindFastAccepted, KindFastChosen:
		// Of a run no tag is 0, which is none: so the last one must not wrap round.
		ok = m.Ballot != 0 && m.Slot != 0 && m.Count != 0 && m.Count <= AcceptedMax && m.Slot+Slot(m.Count-1) <= SlotMax &&
			m.Tag != 0 && m.Tag+uint64(m.Count-1) >= m.Tag
	case KindAny:
		ok = m.Ballot != 0 && m.Slot != 0
	case KindHeartbeat, KindHeartbeatAck:
		ok = m.Ballot != 0 && m.Stamp <= StampMax && m.Span <= LeaseSpanMax
	case KindLease:
		ok = m.Ballot != 0 && m.Slot != 0 && m.Chosen == 0 && m.Step < leaseStepEnd && m.Span <= LeaseSpanMax && (m.Step == LeaseReject) == (m.Promised != 0)
	case KindProbe, KindProbeAck, KindResign:
		ok = m.Ballot != 0
	case KindFetch:
		ok = m.Slot != 0 && m.Until >= m.Slot
	case KindMembers:
		ok = m.Ballot == 0
	case KindBack:
		ok = m.Ballot == 0 && m.Slot == 0
	case KindHeld:
		ok = m.Ballot == 0 && m.Slot != 0
	case KindSnapChunk, KindSnapAck:
		// Not Offset+len(Data) > Total: with an offset near 2^64 the sum wraps round and passes.
		ok = m.Total <= SnapBytesMax && m.Offset <= m.Total && uint64(len(m.Data)) <= m.Total-m.Offset
	}
	if !ok {
		return fmt.Errorf("%w: %v at ballot %v of slot %d to %d (%d), part %d of %d, offset %d+%d of %d", ErrFormat,
			m.Kind, m.Ballot, m.Slot, m.Until, m.Count, m.Part, m.Parts, m.Offset, len(m.Data), m.Total)
	}
	return nil
}

// scopeMax is the highest scope that a message of m's kind can have.
func (m *Message) scopeMax() Scope {
	switch m.Kind {
	case KindPrepare:
		return ScopeSlot
	case KindAccept:
		return ScopeAny
	}
	return ScopeRange
}

// word is the fixed part's last word.
func (m *Message) word() uint64 {
	switch m.Kind {
	case KindPromise, KindHealReply:
		return uint64(m.Trimmed)
	case KindReject, KindLease:
		return uint64(m.Promised)
	case KindPrepare, KindAccept:
		return uint64(m.Scope)
	case KindAccepted, KindChosen, KindFastAccepted, KindFastChosen:
		return uint64(m.Count)
	case KindHeartbeat, KindHeartbeatAck, KindBack, KindSeen:
		return m.Round
	case KindFetch:
		return uint64(m.Until)
	case KindProbeAck:
		if m.Granted {
			return 1
		}
	case KindSnapChunk, KindSnapAck:
		return m.Offset
	}
	return 0
}

// putMessage writes header and fixed part into the first AcceptHeadroom bytes of p, unsealed.
func putMessage(p []byte, c ClusterID, m *Message) {
	putHeader(p, m.Kind, c, m.Group, m.From)
	le.PutUint64(p[HeaderSize:], uint64(m.Ballot))
	le.PutUint64(p[HeaderSize+8:], uint64(m.Slot))
	le.PutUint64(p[HeaderSize+16:], uint64(m.Chosen))
	le.PutUint64(p[HeaderSize+24:], m.word())
}

// Encode returns m as a frame of cluster c in a new buffer with one reference. For Accept and Learn it copies Value;
// the hot path of Accept is NewAccept and SealAccept, which do not. Fields that a receiver would refuse are a bug of
// the caller, and Encode panics: the peer would only count the frame and close the connection.
func (m *Message) Encode(c ClusterID) *Buffer {
	if m.Kind.IsPeer() {
		if err := m.check(); err != nil {
			panic("BUG: " + err.Error())
		}
	}
	tail := 0
	switch m.Kind {
	case KindAccept, KindLearn, KindRecVote:
		tail = len(m.Value.Bytes())
	case KindPromise, KindHealReply:
		tail = promiseTail + len(m.Votes)
	case KindSnapChunk:
		tail = snapTail + len(m.Data)
	case KindSnapAck:
		tail = snapTail
	case KindMembers:
		tail = len(m.Members)
	case KindFastAccepted, KindFastChosen:
		tail = tagTail
	case KindHeartbeat, KindHeartbeatAck:
		tail = beatTail
	case KindLease:
		tail = leaseTail
	}
	size := AcceptHeadroom + tail + len(m.Incarnations)
	f := Get(size)
	p := f.Extend(size)
	putMessage(p, c, m)
	putIncarnations(p, m.Incarnations)
	rest := p[AcceptHeadroom:]
	switch m.Kind {
	case KindAccept, KindLearn, KindRecVote:
		copy(rest, m.Value.Bytes())
	case KindPromise, KindHealReply:
		le.PutUint16(rest, m.Part)
		le.PutUint16(rest[2:], m.Parts)
		le.PutUint64(rest[4:], uint64(m.First))
		le.PutUint64(rest[12:], uint64(m.Last))
		copy(rest[promiseTail:], m.Votes)
	case KindSnapChunk:
		le.PutUint64(rest, m.Total)
		copy(rest[snapTail:], m.Data)
	case KindSnapAck:
		le.PutUint64(rest, m.Total)
	case KindMembers:
		copy(rest, m.Members)
	case KindFastAccepted, KindFastChosen:
		le.PutUint64(rest, m.Tag)
	case KindHeartbeat, KindHeartbeatAck:
		le.PutUint64(rest, m.Stamp)
		le.PutUint64(rest[8:], m.Span)
		le.PutUint32(rest[16:], m.Chain)
	case KindLease:
		le.PutUint32(rest, uint32(m.Step))
		le.PutUint32(rest[4:], uint32(m.Owner))
		le.PutUint64(rest[8:], m.Life)
		le.PutUint64(rest[16:], m.Span)
	}
	seal(p)
	return f
}
