package paxos

import (
	"fmt"

	"github.com/paxbench/paxbench/wire"
	"github.com/paxbench/paxbench/wire/plant"
)

// Who decides which slot. See "Changing the members" in the package comment; change.go is the leader's part in a change.

// Memberships is what a prefix of the chosen slots says of who decides the slots behind it: the configuration of the next
// slot, and those that will follow, in the order in which they were chosen. It is never empty, and belongs into every
// snapshot of that prefix. Values are not changed once made.
type Memberships []wire.Membership

// Founding is what is known without any slot: the cluster's nodes, or, on a node that joins, nothing.
func (c Config) Founding() Memberships {
	m := wire.Membership{From: 1}
	if !c.Join {
		for i, n := range c.Nodes {
			m.Members = append(m.Members, wire.Member{Node: n})
			if c.Addrs != nil {
				m.Members[i].Addr = c.Addrs[i]
			}
			m.Last = n
		}
	}
	return Memberships{m}
}

// After is what is known when value, which is chosen in slot s, is known as well; alpha is Config.Alpha. A change that was not made from
// the newest configuration, or before that one was in force, changes nothing: so two changes that two leaders
// proposed without knowing of each other cannot both be made, and a configuration differs from the one before by what one
// leader checked.
func (h Memberships) After(s wire.Slot, value wire.Batch, alpha int) Memberships {
	if value.IsMembers() {
		m, last := value.Membership(), &h[len(h)-1]
		if m.Base == last.Slot && s >= last.From && m.Last >= last.Last {
			m.Slot, m.From = s, s+wire.Slot(alpha)
			h = append(h[:len(h):len(h)], m)
		}
	}
	for len(h) > 1 && h[1].From <= s+1 {
		h = h[1:]
	}
	return h
}

// members is a configuration as the replica counts with it.
type members struct {
	wire.Membership
	nodes           nodeSet
	prepare, accept int // sizes of quorums: any prepare of the nodes share one with any accept of them
	fast            int // of a fast quorum: any two share a node with any prepare of the nodes
}

// prepared says whether a set of nodes holds a quorum of promises.
func (m *members) prepared(set nodeSet) bool { return (set & m.nodes).size() >= m.prepare }

// chooses says whether a set of nodes holds a quorum of votes.
func (m *members) chooses(set nodeSet) bool { return (set & m.nodes).size() >= m.accept }

// configure makes a configuration to count with. Its nodes become contacts.
func (r *Replica) configure(m wire.Membership) members {
	c := members{Membership: m, prepare: wire.NodesMax + 1, accept: wire.NodesMax + 1, fast: wire.NodesMax + 1} // of nobody: never enough
	if n := len(m.Members); n > 0 {
		q := r.c.Quorums.of(n)
		if plant.Is(plant.QuorumsApart) {
			q.Prepare = max(1, n-q.Accept)
		}
		if plant.Is(plant.FastQuorumSmall) {
			q.Fast = min(q.Fast, majority(n))
		}
		c.prepare, c.accept, c.fast = q.Prepare, q.Accept, q.Fast
	}
	for _, n := range m.Members {
		c.nodes = c.nodes.with(r.contact(n))
	}
	return c
}

// found sets up the contacts and what is known of configurations: what a snapshot said, or the founding one.
func (r *Replica) found(h Memberships) {
	r.nodes = append([]wire.NodeID(nil), r.c.Nodes...)
	r.addrs = make([]string, len(r.nodes))
	copy(r.addrs, r.c.Addrs)
	r.peers, r.incarnations = make([]peer, len(r.nodes)), make([]uint64, len(r.nodes))
	r.self = r.index(r.c.Self)
	if h == nil || plant.Is(plant.MembersNotInSnapshot) {
		h = r.c.Founding()
	}
	r.setMemberships(h)
}

// setMemberships replaces what is known of configurations.
func (r *Replica) setMemberships(h Memberships) {
	r.configs = r.configs[:0]
	for _, m := range h {
		r.configs = append(r.configs, r.configure(m))
	}
	r.unite()
}

// Contacts is how many nodes this replica may hear from, itself included.
func (r *Replica) Contacts() int { return len(r.nodes) }

// Memberships is what the chosen prefix says of who decides the slots behind it.
func (r *Replica) Memberships() Memberships {
	h := make(Memberships, len(r.configs))
	for i := range h {
		h[i] = r.configs[i].Membership
	}
	return h
}

// newest is the configuration that was chosen last.
func (r *Replica) newest() *members { return &r.configs[len(r.configs)-1] }

// configOf is the configuration that decides slot s, which is above the chosen prefix, by Config.Alpha at most.
func (r *Replica) configOf(s wire.Slot) *members {
	i := len(r.configs) - 1
	for i > 0 && r.configs[i].From > s && !plant.Is(plant.TodaysQuorum) {
		i--
	}
	return &r.configs[i]
}

// grant counts what node i grants at ballot b, and says whether it is enough in every configuration.
func (r *Replica) grant(b wire.Ballot, i int) bool {
	if b != r.grants.ballot {
		return false
	}
	twice := r.grants.add(b, i) - r.grants.nodes.size() // a planted fault
	return r.granting(r.configs, twice) && r.granting(r.proposed, twice)
}

func (r *Replica) granting(configs []members, twice int) bool {
	for i := range configs {
		if c := &configs[i]; (r.grants.nodes&c.nodes).size()+twice < c.prepare {
			return false
		}
	}
	return true
}

// canPromise says whether a set of nodes holds a quorum of promises in every configuration.
func (r *Replica) canPromise(set nodeSet) bool {
	for c := range r.configs {
		if !r.configs[c].prepared(set) {
			return false
		}
	}
	return true
}

// canChoose says whether a set of nodes holds a quorum of votes in every configuration.
func (r *Replica) canChoose(set nodeSet) bool {
	for i := range r.configs {
		if !r.configs[i].chooses(set) {
			return false
		}
	}
	for i := range r.proposed {
		if !r.proposed[i].chooses(set) {
			return false
		}
	}
	return true
}

// unite works out whom this replica has to do with.
func (r *Replica) unite() {
	r.members = 0
	for i := range r.configs {
		r.members |= r.configs[i].nodes
	}
	for i := range r.proposed {
		r.members |= r.proposed[i].nodes
	}
}

// changed says that the membership is, or may be, another one than that of the founding.
func (r *Replica) changed() bool { return r.c.Join || r.met || r.newest().Slot > 0 }

// mayLead says whether this replica may become the leader: it belongs to the newest configuration, and knows that of the
// next slot.
func (r *Replica) mayLead() bool {
	return !r.removed && !r.aux.self && r.newest().nodes.has(r.self) && len(r.configs[0].Members) > 0
}

// contact returns the index of a node, which is given one if it has none: a number that sets of nodes know it by.
func (r *Replica) contact(n wire.Member) int {
	i := r.index(n.Node)
	switch {
	case i >= 0 && (n.Addr == "" || r.addrs[i] == n.Addr):
		return i
	case i < 0:
		i = r.place()
		r.nodes[i] = n.Node
		r.incarnations[i] = r.remembered[n.Node]
		r.met = true
	}
	r.addrs[i] = n.Addr
	r.event(Event{Kind: EventContact, Peer: n.Node, Addr: n.Addr})
	return i
}

// place is a free index, which is that of a former member if there is no other.
func (r *Replica) place() int {
	if i := len(r.nodes); i < wire.NodesMax {
		r.nodes, r.addrs, r.peers = append(r.nodes, 0), append(r.addrs, ""), append(r.peers, peer{})
		r.incarnations = append(r.incarnations, 0) // filled in by the caller
		r.peers[i].promise.restart(r.prepFrom)
		return i
	}
	for i := range r.nodes {
		if i == r.self || r.members.has(i) || r.joining.has(i) {
			continue
		}
		r.flushAck()
		r.forget(i)
		r.promisedTo, r.suspect.others = r.promisedTo.without(i), r.suspect.others.without(i)
		r.peers[i], r.incarnations[i] = peer{}, 0
		r.peers[i].promise.restart(r.prepFrom)
		r.restamp()
		return i
	}
	panic(fmt.Sprintf("BUG: paxos: %d nodes are members", len(r.nodes))) // MembersMax leaves room
}

// delivered takes what slot s, which has just entered the chosen prefix, means for the configurations.
func (r *Replica) delivered(s wire.Slot, value wire.Batch) {
	if value.IsMembers() {
		h := r.Memberships()
		after := h.After(s, value, r.c.Alpha)
		r.withdraw(s)
		if m := after[len(after)-1]; m.Slot == s {
			r.configs = append(r.configs, r.configure(m))
			r.event(Event{Kind: EventMembers, Slot: s, To: m.From})
		}
		r.unite()
	}
	if len(r.configs) > 1 && r.configs[1].From <= s+1 {
		r.configs = append(r.configs[:0], r.configs[1:]...)
		r.unite()
		r.event(Event{Kind: EventInForce, Slot: r.configs[0].Slot, To: r.configs[0].From})
		r.settled, r.settleMark, r.lateAsked = false, 0, 0
		r.checkRemoved(&r.configs[0].Membership)
	}
}

// withdraw drops what was only proposed up to slot s: what was chosen there is known now.
func (r *Replica) withdraw(s wire.Slot) {
	kept := r.proposed[:0]
	for _, c := range r.proposed {
		if c.Slot > s {
			kept = append(kept, c)
		}
	}
	r.proposed = kept
}

// checkRemoved notices that this replica was a member and is none any more.
func (r *Replica) checkRemoved(m *wire.Membership) {
	if r.removed || len(m.Members) == 0 || m.Has(r.c.Self) || m.Last < r.c.Self {
		return
	}
	r.removed = true
	r.event(Event{Kind: EventRemoved, Slot: m.Slot, To: m.From})
}

// expels says that node n was removed, as far as is known here: it is to be told so, and must not disturb anybody.
func (r *Replica) expels(n wire.NodeID) bool {
	c := &r.configs[0]
	if c.Slot == 0 || n > c.Last {
		return false
	}
	i := r.index(n)
	return i < 0 || !r.members.has(i) && !r.joining.has(i)
}

// tellMembers tells a node the newest configuration: whom it will hear of, or that it is no member.
func (r *Replica) tellMembers(to wire.NodeID) {
	c := r.newest()
	r.send(to, &wire.Message{Kind: wire.KindMembers, Slot: c.Slot, Members: wire.AppendMembership(nil, &c.Membership)}, 0)
}

// introduce tells those nodes of the newest configuration who are not known to have learned it: without it a node that was away
// while all others were replaced would listen to nobody.
func (r *Replica) introduce(to nodeSet) {
	if r.newest().Slot == 0 {
		return
	}
	for i, n := range r.nodes {
		if i != r.self && to.has(i) && r.peers[i].chosen < r.newest().Slot {
			r.tellMembers(n)
		}
	}
}

// onMembers takes a configuration that somebody else has learned. It decides nothing here, before this replica has learned it
// itself, but it says who may be heard of, and that this one was removed.
func (r *Replica) onMembers(m *wire.Message) {
	c, _, err := wire.ParseMembership(m.Members)
	if err != nil {
		panic("BUG: paxos: " + err.Error())
	}
	if r.basic != nil || c.Slot <= r.newest().Slot || len(c.Members) > MembersMax {
		r.ignored++
		return
	}
	r.met = true
	for _, n := range c.Members {
		r.contact(n)
	}
	r.checkRemoved(&c)
	if r.removed && r.role != Follower {
		r.stepDown("it is no member any more")
	}
}
