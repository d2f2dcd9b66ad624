package wire

import "fmt"

// Member is a node of a group, and where its peers and its clients reach it.
type Member struct {
	Node NodeID
	Addr string // at most AddrBytesMax bytes; empty where a test needs none
}

// Membership is a configuration of a group: the nodes whose promises and votes count in the slots from From on, until the
// next configuration begins (package paxos, "Changing the members"). A change is the value of a slot, and says neither the
// slot that it stands in nor where it begins: Slot and From are 0 there.
//
//	0        8        16       24      28      30
//	| slot   | from   | base   | last  | count | count of:  node u32 | length u8 | address
type Membership struct {
	Slot    Slot     // in which it was chosen; 0: the cluster was founded with it
	From    Slot     // the first slot that it decides
	Base    Slot     // Slot of the configuration that it changes
	Last    NodeID   // no node had a higher id so far: a new one gets a higher one, so that none is ever used again
	Members []Member // in ascending order of nodes; none: not known, as on a node that has just joined
}

const (
	membershipSize = 30
	memberSize     = 5

	// MembershipBytesMax bounds an encoded Membership.
	MembershipBytesMax = membershipSize + NodesMax*(memberSize+AddrBytesMax)
)

// Has says whether node n is a member.
func (m *Membership) Has(n NodeID) bool {
	for i := range m.Members {
		if m.Members[i].Node == n {
			return true
		}
	}
	return false
}

// AppendMembership appends the encoding of m. What ParseMembership would refuse is a bug of the caller.
func AppendMembership(dst []byte, m *Membership) []byte {
	at := len(dst)
	dst = le.AppendUint64(dst, uint64(m.Slot))
	dst = le.AppendUint64(dst, uint64(m.From))
	dst = le.AppendUint64(dst, uint64(m.Base))
	dst = le.AppendUint32(dst, uint32(m.Last))
	dst = le.AppendUint16(dst, uint16(len(m.Members)))
	for _, n := range m.Members {
		dst = append(le.AppendUint32(dst, uint32(n.Node)), byte(len(n.Addr)))
		dst = append(dst, n.Addr...)
	}
	if n, err := checkMembership(dst[at:]); err != nil || n != len(dst)-at {
		panic(fmt.Sprintf("BUG: wire: membership %+v: %v", *m, err))
	}
	return dst
}

// ParseMembership decodes the membership at the start of p and returns it with the number of bytes that it takes. What it
// allocates is bounded by what is there.
func ParseMembership(p []byte) (m Membership, n int, err error) {
	if n, err = checkMembership(p); err != nil {
		return m, 0, err
	}
	m = Membership{Slot: Slot(le.Uint64(p)), From: Slot(le.Uint64(p[8:])), Base: Slot(le.Uint64(p[16:])), Last: NodeID(le.Uint32(p[24:]))}
	for at := membershipSize; at < n; {
		end := at + memberSize + int(p[at+4])
		m.Members = append(m.Members, Member{NodeID(le.Uint32(p[at:])), string(p[at+memberSize : end])})
		at = end
	}
	return m, n, nil
}

// checkMembership verifies the membership at the start of p without allocating, and returns its length.
func checkMembership(p []byte) (n int, err error) {
	if len(p) < membershipSize {
		return 0, fmt.Errorf("%w: membership cut short", ErrFormat)
	}
	slot, from, base, last := Slot(le.Uint64(p)), Slot(le.Uint64(p[8:])), Slot(le.Uint64(p[16:])), le.Uint32(p[24:])
	count := int(le.Uint16(p[28:]))
	if slot > SlotMax || from > SlotMax || base > SlotMax || count > NodesMax {
		return 0, fmt.Errorf("%w: membership of slot %d from slot %d on, made from that of slot %d, of %d nodes", ErrFormat, slot, from, base, count)
	}
	n, node := membershipSize, uint32(0)
	for range count {
		if len(p) < n+memberSize || len(p) < n+memberSize+int(p[n+4]) {
			return 0, fmt.Errorf("%w: membership of %d nodes cut short", ErrFormat, count)
		}
		next := le.Uint32(p[n:])
		if next <= node || next > last {
			return 0, fmt.Errorf("%w: members not in ascending order, or above the highest id %d: %d after %d", ErrFormat, last, next, node)
		}
		node = next
		n += memberSize + int(p[n+4])
	}
	return n, nil
}

// NewMembersAccept returns an Accept frame, not yet sealed, that carries a change of the membership: at least one member, and
// Slot and From 0.
func NewMembersAccept(m *Membership) *Buffer {
	p := AppendMembership(nil, m)
	f := NewAccept(BatchHeaderSize + len(p))
	var h [BatchHeaderSize]byte
	PutBatchHeader(h[:], BatchMembers, CompressNone, 0, 0, len(p), len(p))
	f.Append(h[:])
	f.Append(p)
	if _, err := ParseBatch(f.Bytes()[AcceptHeadroom:]); err != nil {
		panic(fmt.Sprintf("BUG: wire: change of the membership to %+v: %v", *m, err))
	}
	return f
}

// checkChange verifies the payload of a batch that changes the membership.
func (b Batch) checkChange() error {
	n, err := checkMembership(b.payload)
	if err != nil {
		return err
	}
	if n != len(b.payload) || b.blocks != 0 || b.commands != 0 || le.Uint64(b.payload) != 0 || le.Uint64(b.payload[8:]) != 0 || le.Uint16(b.payload[28:]) == 0 {
		return fmt.Errorf("%w: change of the membership of %d bytes in %d", ErrFormat, n, len(b.payload))
	}
	return nil
}

// IsMembers says whether the batch changes the membership and carries no blocks.
func (b Batch) IsMembers() bool { return b.kind == BatchMembers }

// Membership is the change that the batch carries (IsMembers).
func (b Batch) Membership() Membership {
	m, _, err := ParseMembership(b.payload)
	if err != nil || !b.IsMembers() {
		panic(fmt.Sprintf("BUG: wire: membership of a batch of kind %d: %v", b.kind, err))
	}
	return m
}
