package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/paxbench/paxbench/engine/paxos"
	"github.com/paxbench/paxbench/wire"
)

// Members of a group, and their changes. Which slots which members decide is the core's (engine/paxos, "Changing the members");
// here are the addresses, the snapshots' part, and those who wait for a change.

// ErrMembers: the membership was not changed by this request, and will not be; the error is a *MembersError that says why.
var ErrMembers = errors.New("engine: membership not changed")

// MembersError says why a change of the membership was refused, or came to nothing. errors.Is(err, ErrMembers) holds.
type MembersError struct{ Reason string }

func (e *MembersError) Error() string { return ErrMembers.Error() + ": " + e.Reason }

// Is makes errors.Is(err, ErrMembers) true.
func (e *MembersError) Is(target error) bool { return target == ErrMembers }

// Membership is a configuration: the members whose votes count in slots from From on, until the next configuration begins.
type Membership struct {
	Slot    wire.Slot              `json:"slot"` // in which it was chosen; 0: the cluster was founded with it
	From    wire.Slot              `json:"from"`
	Members map[wire.NodeID]string `json:"members"` // with their addresses; empty: this node has joined and does not know yet
}

// publishedMembers is what is known of a group's configurations, for everybody.
type publishedMembers struct {
	configs []wire.Membership
}

// Members returns what this replica has learned of the group's configurations: that of the next slot, and one that follows
// it, if a change was chosen and is not in force yet. Another replica may know of a newer one.
func (g *Group) Members() (list []Membership) {
	for _, c := range g.members.Load().configs {
		m := Membership{Slot: c.Slot, From: c.From, Members: make(map[wire.NodeID]string, len(c.Members))}
		for _, n := range c.Members {
			m.Members[n.Node] = n.Addr
		}
		list = append(list, m)
	}
	return list
}

// ChangeMembers adds a node to the group, or removes one, and returns when that is in force and a quorum of the members has
// everything that was decided before. Only the leader can.
//
// A node is added in three steps: it is given an id above all that were ever used and a data directory, and started with
// Config.Join; then the change is asked for, with the address where the members reach it; the leader feeds it, and lets it
// vote when it has caught up. A node is removed by its id, the leader included; it should be stopped after that. To replace a node,
// add the new one and remove the old one, in the order that leaves more nodes working.
//
// With several groups each has members of its own, and each has to be changed.
//
// Errors: *MembersError (not possible, or given up: certainly not done), *NotLeaderError, ErrBusy (another change is under way, or
// this leader is new), ErrClosed: certainly not done. ErrUnknown, wrapping ctx's error if that was the cause: it may be done,
// which Members tells.
func (g *Group) ChangeMembers(ctx context.Context, ch paxos.Change) error {
	done := make(chan error, 1)
	if err := g.changeMembers(ch, func(err error) { done <- err }); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrUnknown, ctx.Err())
	}
}

// changeMembers asks for a change; done is called once, unless an error is returned.
func (g *Group) changeMembers(ch paxos.Change, done func(error)) error {
	if g.node.tcp != nil && ch.Add.Node != 0 {
		if _, _, err := net.SplitHostPort(ch.Add.Addr); err != nil {
			return &MembersError{fmt.Sprintf("address %q of node %d: %v", ch.Add.Addr, ch.Add.Node, err)}
		}
	}
	if len(ch.Add.Addr) > wire.AddrBytesMax {
		return &MembersError{fmt.Sprintf("address of %d bytes, limit %d", len(ch.Add.Addr), wire.AddrBytesMax)}
	}
	if !g.mailbox.PutUrgent(event{kind: eventChange, change: &changeRequest{ch, done}}) {
		return ErrClosed
	}
	return nil
}

// changeRequest is somebody who waits for a change of the membership.
type changeRequest struct {
	change paxos.Change
	done   func(error)
}

// ask gives a request for a change to the core.
func (l *loop) change(q *changeRequest) {
	outcome, err := l.core.ChangeMembers(q.change)
	switch {
	case err != nil:
		var no *paxos.ChangeError
		errors.As(err, &no)
		q.done(&MembersError{no.Reason})
	case outcome == paxos.Taken:
		l.changing = q
	case outcome == paxos.NotLeader:
		id := wire.NodeID(l.core.Status().Leader)
		q.done(&NotLeaderError{Leader: id, Addr: l.g.addr(id)})
	default:
		q.done(ErrBusy)
	}
}

// changed tells who waits for a change how it ended.
func (l *loop) changed(err error) {
	if q := l.changing; q != nil {
		l.changing = nil
		q.done(err)
	}
}

// membersEvent handles the core's events about members; false: it is of another kind.
func (l *loop) membersEvent(e *paxos.Event) bool {
	g := l.g
	switch e.Kind {
	case paxos.EventContact: // handled before messages left
	case paxos.EventChanging:
		g.log.Info("changing members", "slot", uint64(e.Slot))
	case paxos.EventMembers:
		g.log.Info("members chosen", "slot", uint64(e.Slot), "from", uint64(e.To), "members", membersText(l.core.Memberships()))
	case paxos.EventInForce:
		g.log.Info("members in force", "slot", uint64(e.Slot), "from", uint64(e.To))
	case paxos.EventChanged:
		l.changed(nil)
	case paxos.EventChangeFailed:
		g.log.Warn("members not changed", "reason", e.Reason, "slot", uint64(e.Slot))
		if e.Slot != 0 {
			l.changed(fmt.Errorf("%w: %s", ErrUnknown, e.Reason))
		} else {
			l.changed(&MembersError{e.Reason})
		}
	case paxos.EventRemoved:
		g.log.Warn("this node is no member any more: it may be stopped", "slot", uint64(e.Slot), "from", uint64(e.To))
	default:
		return false
	}
	g.publishMembers(l.core.Memberships())
	return true
}

func membersText(h paxos.Memberships) string { return h[len(h)-1].String() }

// contacts has the transport connect to nodes that the core names, before it sends anything to them.
func (l *loop) contacts(events []paxos.Event) {
	for i := range events {
		if e := &events[i]; e.Kind == paxos.EventContact {
			l.g.node.contact(e.Peer, e.Addr)
		}
	}
}

func (g *Group) publishMembers(h paxos.Memberships) { g.members.Store(&publishedMembers{h}) }

// connector is a transport that can be told of further peers.
type connector interface {
	// Connect makes node id, at addr, a peer. Nothing happens if it is one.
	Connect(id wire.NodeID, addr string)
}

// contact takes a node's address. Where the configuration has one for it, that stays.
func (n *Node) contact(id wire.NodeID, addr string) {
	if addr == "" {
		return
	}
	n.contactMu.Lock()
	if n.contactAddrs == nil {
		n.contactAddrs = make(map[wire.NodeID]string)
	}
	n.contactAddrs[id] = addr
	n.contactMu.Unlock()
	if c, ok := n.net.(connector); ok && id != n.c.Node {
		c.Connect(id, addr)
	}
}

// addr is where clients reach a node; empty: not known.
func (g *Group) addr(id wire.NodeID) string {
	if a := g.node.c.Members[id]; a != "" {
		return a
	}
	g.node.contactMu.Lock()
	defer g.node.contactMu.Unlock()
	return g.node.contactAddrs[id]
}

// addresses is where clients reach the members.
func (g *Group) addresses() map[wire.NodeID]string {
	all := make(map[wire.NodeID]string)
	for _, c := range g.members.Load().configs {
		for _, m := range c.Members {
			if a := g.addr(m.Node); a != "" {
				all[m.Node] = a
			}
		}
	}
	if len(all) == 0 {
		return g.node.c.Members
	}
	return all
}

// restored is what the last snapshot that was restored says, for the loop.
type restored struct {
	slot    wire.Slot
	members paxos.Memberships
}

// membersAdmin does the clients' operations "members", "members add N=ADDR" and "members remove N". answer is called once.
func (g *Group) membersAdmin(args []string, answer func(wire.Status, any)) {
	if len(args) == 0 {
		answer(wire.StatusOK, map[string]any{"leader": g.leader.Load(), "configurations": g.Members()})
		return
	}
	ch, err := parseChange(args)
	if err != nil {
		answer(wire.StatusInvalid, map[string]string{"error": err.Error()})
		return
	}
	done := func(err error) {
		if err == nil {
			answer(wire.StatusOK, map[string]any{"leader": g.leader.Load(), "configurations": g.Members()})
			return
		}
		answer(changeStatus(err), map[string]string{"error": err.Error()})
	}
	if err := g.changeMembers(ch, done); err != nil {
		done(err)
	}
}

// changeStatus is the status that says what an error of a change means.
func changeStatus(err error) wire.Status {
	switch {
	case errors.Is(err, ErrNotLeader):
		return wire.StatusNotLeader
	case errors.Is(err, ErrBusy):
		return wire.StatusBusy
	case errors.Is(err, ErrClosed):
		return wire.StatusClosed
	case errors.Is(err, ErrUnknown):
		return wire.StatusUnknown
	}
	return wire.StatusInvalid
}

// parseChange reads "add N=ADDR" or "remove N".
func parseChange(args []string) (ch paxos.Change, err error) {
	id := func(s string) wire.NodeID {
		n, e := strconv.ParseUint(s, 10, 32)
		if e != nil || n == 0 {
			err = fmt.Errorf("node id %q: need a number from 1 on", s)
		}
		return wire.NodeID(n)
	}
	switch {
	case len(args) == 2 && args[0] == "remove":
		ch.Remove = id(args[1])
	case len(args) == 2 && args[0] == "add":
		node, addr, ok := strings.Cut(args[1], "=")
		if !ok {
			return ch, fmt.Errorf("node %q: need ID=HOST:PORT", args[1])
		}
		ch.Add = wire.Member{Node: id(node), Addr: addr}
	default:
		err = fmt.Errorf("members %s: need add ID=HOST:PORT or remove ID", strings.Join(args, " "))
	}
	return ch, err
}

// The configurations in a snapshot, in front of the session table, little endian:
//
//	version u32 | length u32 | count u32 | memberships (wire.AppendMembership)
//
// version is that of the session table, length counts what follows it.
const membersBytesMax = 64 * wire.MembershipBytesMax

var errMembersSection = errors.New("engine: malformed configurations in a snapshot")

func appendMembers(dst []byte, h paxos.Memberships) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, sessionsVersion)
	at := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = append(dst, byte(len(h)), byte(len(h)>>8), 0, 0)
	for i := range h {
		dst = wire.AppendMembership(dst, &h[i])
	}
	n := len(dst) - at - 4
	dst[at], dst[at+1], dst[at+2], dst[at+3] = byte(n), byte(n>>8), byte(n>>16), byte(n>>24)
	return dst
}

func parseMembers(p []byte) (h paxos.Memberships, err error) {
	if len(p) < 4 {
		return nil, errMembersSection
	}
	count := int(p[0]) | int(p[1])<<8
	for p = p[4:]; len(p) > 0; {
		m, n, err := wire.ParseMembership(p)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errMembersSection, err)
		}
		if len(h) > 0 && (m.Slot <= h[len(h)-1].Slot || m.From <= h[len(h)-1].From) {
			return nil, fmt.Errorf("%w: %v after %v", errMembersSection, m, h[len(h)-1])
		}
		h = append(h, m)
		p = p[n:]
	}
	if len(h) == 0 || len(h) != count {
		return nil, fmt.Errorf("%w: %d of %d", errMembersSection, len(h), count)
	}
	return h, nil
}
