package wire

import "fmt"

// Text prints a message between replicas in a line, as the stories of engine/paxos/testdata do. value prints a batch.
func (m *Message) Text(value func(Batch) string) string {
	return m.text(value) + LivesText(m.Incarnations)
}

func (m *Message) text(value func(Batch) string) string {
	switch m.Kind {
	case KindPrepare:
		if m.Scope == ScopeSlot {
			return fmt.Sprintf("Prepare %v in slot %d", m.Ballot, m.Slot)
		}
		return fmt.Sprintf("Prepare %v from slot %d", m.Ballot, m.Slot)
	case KindHealRequest:
		return fmt.Sprintf("HealRequest from slot %d", m.Slot)
	case KindPromise, KindHealReply:
		s := fmt.Sprintf("%v %v from slot %d, part %d of %d, chosen %d, votes [", m.Kind, m.Ballot, m.Slot, m.Part+1, m.Parts, m.Chosen)
		if m.First == m.Slot && m.Last == m.Slot && m.Parts == 1 {
			s = fmt.Sprintf("%v %v in slot %d, votes [", m.Kind, m.Ballot, m.Slot)
		}
		sep := ""
		for it := m.IterVotes(); ; sep = " " {
			v, ok := it.Next()
			if !ok {
				return s + "]"
			}
			s += fmt.Sprintf("%s%d:%s@%v", sep, v.Slot, value(v.Value), v.Ballot)
		}
	case KindReject:
		return fmt.Sprintf("Reject %v, promised %v", m.Ballot, m.Promised)
	case KindChosen:
		return fmt.Sprintf("Chosen %v slots %d..%d", m.Ballot, m.Slot, m.Slot+Slot(m.Count)-1)
	case KindAccept:
		return fmt.Sprintf("Accept %v slot %d: %s, chosen %d", m.Ballot, m.Slot, value(m.Value), m.Chosen)
	case KindLearn:
		return fmt.Sprintf("Learn slot %d: %s", m.Slot, value(m.Value))
	case KindAccepted:
		return fmt.Sprintf("Accepted %v slots %d..%d", m.Ballot, m.Slot, m.Slot+Slot(m.Count)-1)
	case KindFastAccepted, KindFastChosen:
		return fmt.Sprintf("%v %v slots %d..%d, %s", m.Kind, m.Ballot, m.Slot, m.Slot+Slot(m.Count)-1, tagText(m.Tag))
	case KindAny:
		return fmt.Sprintf("Any %v from slot %d", m.Ballot, m.Slot)
	case KindHeartbeat:
		return fmt.Sprintf("Heartbeat %v chosen %d round %d", m.Ballot, m.Chosen, m.Round) + m.spanText("asks for")
	case KindHeartbeatAck:
		s := fmt.Sprintf("HeartbeatAck %v round %d", m.Ballot, m.Round)
		if m.Slot != 0 {
			s += fmt.Sprintf(", slot %d", m.Slot)
		}
		return s + m.spanText("grants")
	case KindLease:
		return fmt.Sprintf("Lease %v %v, owner %d", m.Step, m.Ballot, m.Owner)
	case KindSeen:
		return fmt.Sprintf("Seen promise of %v, vote for slot %d", m.Ballot, m.Slot)
	case KindHeld:
		return fmt.Sprintf("Held up to slot %d", m.Slot)
	case KindResign:
		return fmt.Sprintf("Resign %v", m.Ballot)
	case KindFetch:
		return fmt.Sprintf("Fetch slots %d..%d", m.Slot, m.Until)
	case KindMembers:
		c, _, _ := ParseMembership(m.Members)
		return "Members " + c.String()
	case KindProbe:
		return fmt.Sprintf("Probe %v", m.Ballot)
	case KindProbeAck:
		return fmt.Sprintf("ProbeAck %v granted %v", m.Ballot, m.Granted)
	}
	return m.Kind.String()
}

// String prints the nodes, and the slot that the configuration was chosen in, if it is known.
func (m Membership) String() string {
	s := ""
	for _, n := range m.Members {
		s += fmt.Sprintf(" %d", n.Node)
	}
	if s == "" {
		s = " unknown"
	}
	if m.From == 0 {
		return fmt.Sprintf("of%s, made from slot %d", s, m.Base)
	}
	return fmt.Sprintf("of%s, chosen in slot %d, from slot %d on", s, m.Slot, m.From)
}

// spanText prints the lease that is asked for or granted.
func (m *Message) spanText(verb string) string {
	if m.Span == 0 {
		return ""
	}
	return fmt.Sprintf(", %s %d from %d", verb, m.Span, m.Stamp)
}

// LivesText prints incarnations: the counting half, the other is random.
func LivesText(p []byte) (s string) {
	for it := IterIncarnations(p); ; {
		in, ok := it.Next()
		if !ok {
			return s
		}
		s += fmt.Sprintf(", node %d in life %d", in.Node, in.Number>>32)
	}
}

// tagText prints a tag: whose it is, and the last digits of its count, which is a number from a random start.
func tagText(tag uint64) string { return fmt.Sprintf("tag %d.%d", tag>>TagNodeShift, tag%1000) }
