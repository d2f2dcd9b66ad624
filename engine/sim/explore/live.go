package explore

import (
	"bytes"

	"github.com/paxbench/paxbench/engine/paxos"
	"github.com/paxbench/paxbench/wire"
)

// end looks at a state in which no step is left within the scope's bounds, because all elections, values and crashes are used up
// and every message has done what it can. The bounds are the scope's, not the cluster's: without them the real replicas, given
// time, whole disks and a network that loses nothing, must elect a leader, choose one more value, and learn it everywhere. If
// they do not, the protocol had come to a dead end.
func (s *search) end(k key) *Violation {
	s.rep.Ends++
	if s.o.Ends < 0 || s.o.Ends > 0 && s.rep.EndsTried >= uint64(s.o.Ends) {
		return nil
	}
	s.rep.EndsTried++
	l := &lively{s: s.s}
	for i := range s.o.Scope.Nodes {
		n := s.s.materialize(i, k.node(i))
		defer n.close()
		l.nodes = append(l.nodes, &liveNode{r: n.r, records: uint64(len(n.disk) - n.base), learned: n.chosen})
		for _, id := range n.sent {
			m := &s.s.v.messages[id]
			l.net = append(l.net, packet{m.to, m.frame})
		}
	}
	if !l.goesOn() {
		return &Violation{Property: "END", Detail: "no new value is chosen and learned everywhere, though nothing is lost any more"}
	}
	return nil
}

// lively is a cluster without faults and without bounds.
type lively struct {
	s     *space
	nodes []*liveNode
	net   []packet
}

// last is the value that is proposed in the end.
const last = "last"

type liveNode struct {
	r       *paxos.Replica
	records uint64
	learned wire.Slot
	has     bool // learned the new value
}

type packet struct {
	to    int
	frame []byte
}

// goesOn plays rounds of ticks, deliveries and syncs until a value that the first leader to come proposes is learned everywhere.
func (l *lively) goesOn() bool {
	for range 10 * lateTicks {
		for len(l.net) > 0 {
			p := l.net[0]
			l.net = l.net[1:]
			l.deliver(p)
		}
		done := true
		for i, n := range l.nodes {
			n.r.Durable(wire.LSN(n.records))
			l.collect(i)
			if n.r.Status().Role == paxos.Leader && n.r.Status().InFlight == 0 && !n.has {
				f := proposal(last)
				if _, outcome := n.r.Propose(f); outcome != paxos.Taken {
					f.Release()
				}
				l.collect(i)
			}
			n.r.Tick()
			l.collect(i)
			done = done && n.has
		}
		if done {
			return true
		}
	}
	return false
}

func (l *lively) deliver(p packet) {
	f := wire.GetCopy(p.frame)
	defer f.Release()
	var m wire.Message
	if err := wire.DecodeMessage(f, &m); err != nil {
		panic("BUG: explore: " + err.Error())
	}
	l.nodes[p.to].r.Step(&m)
	l.collect(p.to)
}

// collect takes a node's output. Its disk finishes within the round, so what waits for it is as good as sent.
func (l *lively) collect(i int) {
	n := l.nodes[i]
	out := n.r.Output()
	for _, rec := range out.Records {
		rec.Frame.Release()
	}
	n.records = uint64(out.LastLSN)
	for _, m := range out.Messages {
		l.net = append(l.net, packet{int(m.To) - 1, bytes.Clone(m.Frame.Bytes())})
		m.Frame.Release()
	}
	for _, ch := range out.Chosen {
		n.learned = ch.Slot
		n.has = n.has || payload(ch.Value) == last
		ch.Frame.Release()
	}
	n.r.Applied(n.learned)
}
