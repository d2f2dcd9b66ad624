package wire

import "fmt"

// Record is an entry of a node's log. A record is a frame: Accept and Learn frames stand in the log byte for byte as
// they crossed the network, so that the acceptor's vote is written without being encoded again; RecPromise, RecTrim,
// RecMembers and RecVote are made by the node itself.
type Record struct {
	Kind   Kind
	Group  GroupID
	Ballot Ballot // Accept, Learn, RecVote: of the vote; RecPromise: promised
	Slot   Slot   // Accept, Learn, RecVote: the slot; RecPromise: the only slot it is for, or 0; RecTrim: slots up to here are only in a snapshot
	Chosen Slot   // Accept, Learn: the sender's chosen prefix; RecPromise: this replica's own, when it promised
	Scope  Scope  // Accept: as in the message
	Frame  *Buffer

	Incarnations []byte // RecPromise: those that this replica knows of; a view into Frame; see IterIncarnations
}

// DecodeRecord decodes the frame in f, whose header and CRC have been checked, into r. No reference is taken.
func DecodeRecord(f *Buffer, r *Record) error {
	h, err := ParseHeader(f.Bytes())
	if err != nil {
		return err
	}
	if !h.Kind.IsRecord() {
		return fmt.Errorf("%w: %v is not a log record", ErrKind, h.Kind)
	}
	if f.Len() != h.Size() {
		return fmt.Errorf("%w: %v record of %d bytes in %d", ErrFormat, h.Kind, h.Size(), f.Len())
	}
	*r = Record{Kind: h.Kind, Group: h.Group, Frame: f}
	body := f.Bytes()[HeaderSize:]
	if h.Kind == KindRecMembers {
		return checkMembers(h, body)
	}
	if body, r.Incarnations, err = cutIncarnations(body, h.Incarnations); err != nil {
		return err
	}
	r.Ballot, r.Slot, r.Chosen = Ballot(le.Uint64(body)), Slot(le.Uint64(body[8:])), Slot(le.Uint64(body[16:]))
	if h.From == 0 || h.Group == 0 || !r.Ballot.sound() || r.Slot > SlotMax || r.Chosen > SlotMax || !r.decodeWord(le.Uint64(body[24:])) {
		return r.malformed(h.From)
	}
	switch h.Kind {
	case KindAccept, KindLearn, KindRecVote:
		if r.Ballot == 0 || r.Slot == 0 || h.Kind == KindRecVote && r.Chosen != 0 {
			return r.malformed(h.From)
		}
		_, err = ParseBatch(body[MessageSize:])
	case KindRecPromise:
		if r.Slot != 0 && r.Ballot == 0 {
			err = r.malformed(h.From)
		}
	case KindRecTrim:
		if r.Ballot != 0 || r.Chosen != 0 {
			err = r.malformed(h.From)
		}
	}
	return err
}

// decodeWord takes the fixed part's last word: an Accept's scope, zero otherwise.
func (r *Record) decodeWord(word uint64) bool {
	if r.Kind == KindAccept && word < uint64(scopeEnd) {
		r.Scope = Scope(word)
		return true
	}
	return word == 0
}

func (r *Record) malformed(from NodeID) error {
	return fmt.Errorf("%w: %v record from node %d of group %d at ballot %v, slot %d, chosen %d", ErrFormat, r.Kind, from, r.Group, r.Ballot, r.Slot, r.Chosen)
}

// PromiseRecord returns the record of a promise: no ballot below b will be voted for in group g. chosen is what the replica
// had learned by then: of every slot up to it, the last record that stands before this one holds the chosen value. 0 says
// nothing. incarnations are those that the replica knows of (AppendIncarnation); nil as long as nobody was ever healed.
func PromiseRecord(c ClusterID, g GroupID, from NodeID, b Ballot, chosen Slot, incarnations []byte) Record {
	return localRecord(c, Message{Kind: KindRecPromise, Group: g, From: from, Ballot: b, Chosen: chosen, Incarnations: incarnations})
}

// VoteRecord returns the record of a vote that another replica cast and that this one adopted when it was healed: it is
// reported like an own vote, but was never told to anybody as one.
func VoteRecord(c ClusterID, g GroupID, from NodeID, v Vote) Record {
	return localRecord(c, Message{Kind: KindRecVote, Group: g, From: from, Ballot: v.Ballot, Slot: v.Slot, Value: v.Value})
}

// SlotPromiseRecord returns the record of a promise for one slot: no ballot below b will be voted for in slot s. chosen
// and incarnations are as for PromiseRecord.
func SlotPromiseRecord(c ClusterID, g GroupID, from NodeID, b Ballot, s, chosen Slot, incarnations []byte) Record {
	return localRecord(c, Message{Kind: KindRecPromise, Group: g, From: from, Ballot: b, Slot: s, Chosen: chosen, Incarnations: incarnations})
}

// TrimRecord returns the record which says that slots up to and including s of group g are only in a snapshot.
func TrimRecord(c ClusterID, g GroupID, from NodeID, s Slot) Record {
	return localRecord(c, Message{Kind: KindRecTrim, Group: g, From: from, Slot: s})
}

func localRecord(c ClusterID, m Message) Record {
	r := Record{Kind: m.Kind, Group: m.Group, Ballot: m.Ballot, Slot: m.Slot, Chosen: m.Chosen, Frame: m.Encode(c)}
	if n := len(m.Incarnations); n > 0 {
		r.Incarnations = r.Frame.Bytes()[r.Frame.Len()-n:] // a view: what the caller passed is his
	}
	return r
}

// MembersRecord returns the record of the cluster's nodes: 1 to NodesMax of them, in ascending order without repeats.
func MembersRecord(c ClusterID, from NodeID, members []NodeID) Record {
	f := Get(HeaderSize + 4*len(members))
	p := f.Extend(HeaderSize + 4*len(members))
	putHeader(p, KindRecMembers, c, 0, from)
	for i, m := range members {
		le.PutUint32(p[HeaderSize+4*i:], uint32(m))
	}
	seal(p)
	if err := checkMembers(Header{From: from}, p[HeaderSize:]); err != nil {
		panic(fmt.Sprintf("BUG: wire: record of the members %v by node %d", members, from))
	}
	return Record{Kind: KindRecMembers, Frame: f}
}

// ParseMembers decodes the nodes in a RecMembers frame that passed CheckFrame. The frame bounds what it allocates:
// NodesMax ids.
func ParseMembers(frame []byte) ([]NodeID, error) {
	h, err := ParseHeader(frame)
	if err != nil {
		return nil, err
	}
	if h.Kind != KindRecMembers || len(frame) != h.Size() {
		return nil, fmt.Errorf("%w: %v frame of %d bytes is no record of members", ErrFormat, h.Kind, len(frame))
	}
	body := frame[HeaderSize:]
	if err := checkMembers(h, body); err != nil {
		return nil, err
	}
	nodes := make([]NodeID, len(body)/4)
	for i := range nodes {
		nodes[i] = NodeID(le.Uint32(body[4*i:]))
	}
	return nodes, nil
}

// checkMembers verifies the body of a RecMembers frame without allocating.
func checkMembers(h Header, body []byte) error {
	if h.From == 0 || h.Group != 0 || len(body)%4 != 0 {
		return fmt.Errorf("%w: members of group %d in %d bytes from node %d", ErrFormat, h.Group, len(body), h.From)
	}
	for last := uint32(0); len(body) > 0; body = body[4:] {
		next := le.Uint32(body)
		if next <= last {
			return fmt.Errorf("%w: members not in ascending order: %d after %d", ErrFormat, next, last)
		}
		last = next
	}
	return nil
}
