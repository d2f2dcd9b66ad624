package toy

import (
	"cmp"
	"slices"

	"github.com/paxbench/paxbench/engine/paxos/conform"
)

// Fast is single-decree Fast Paxos (Lamport, 2006) in the same spirit as Toy. Node 1 has opened the first fast round when it begins. A
// coordinator, whoever began the highest round, settles an open round by a classic one above it: late, when time passes, and always by
// asking for promises, which is not the fastest way.
type Fast struct {
	nodes   []*fastNode
	net     []fastMessage
	mistake FastMistake
}

// FastMistake is one that somebody has made in fast rounds.
type FastMistake int

// The mistakes.
const (
	FastNone          FastMistake = iota
	FastMajority                  // a value is kept if a majority of the nodes reports it, not by the fast rule, which a minority may satisfy
	FastFirst                     // the value reported first is picked
	FastOwnValue                  // the votes that promises report are not looked at
	FastQuorumSmall               // a majority of votes chooses at a fast ballot
	FastVotesTwice                // a node votes for every value that comes in a fast round
	FastNoPhase1                  // a new coordinator opens its round at once
	FastToldEarly                 // a vote is told before the disk has it
	FastNeverSettled              // a collision is waited out
	FastThroughLeader             // values go through a coordinator, as in any other Paxos
	fastMistakes
)

var fastNames = [fastMistakes]string{
	"none", "value picked by majority", "value reported first", "own value always", "a majority is a fast quorum", "two votes in a round",
	"any before phase 1", "told before sync", "collision never settled", "values through the coordinator",
}

func (m FastMistake) String() string { return fastNames[m] }

// FastMistakes are all of them.
func FastMistakes() (all []FastMistake) {
	for m := FastNone + 1; m < fastMistakes; m++ {
		all = append(all, m)
	}
	return all
}

// fastRound is a ballot: of the same owner the classic round lies right above the fast one.
type fastRound struct {
	counter, node int
	classic       bool
}

func (r fastRound) number() uint64 {
	n := uint64(r.counter)<<32 | uint64(r.node)<<1
	if r.classic {
		n++
	}
	return n
}

func (r fastRound) settled() fastRound { return fastRound{r.counter, r.node, true} }

type fastVote struct {
	at    fastRound
	value string
}

type fastState struct {
	promised fastRound
	vote     fastVote
}

type fastMessage struct {
	kind     conform.Kind // Other is Any
	from, to int
	at       fastRound
	vote     fastVote // of a promise, the last one
	value    string
}

type fastNode struct {
	t       *Fast
	id      int
	up      bool
	now     fastState
	disk    fastState
	waiting []fastMessage
	want    string    // to be offered in the next open round
	open    fastRound // highest fast round that it may offer values in

	// Coordinator.
	leads    fastRound // its fast round
	at       fastRound // of the promises collected; zero: none are
	promises map[int]fastVote
	order    []int // who has promised, in that order
	asks     fastMessage

	votes   map[fastRound]map[string]map[int]bool
	learned string
}

var _ conform.Cluster = (*Fast)(nil)

// NewFast makes n nodes that all make the same mistake.
func NewFast(n int, m FastMistake) *Fast {
	t := &Fast{mistake: m}
	first := fastRound{counter: 1, node: 1}
	for id := 1; id <= n; id++ {
		nd := &fastNode{t: t, id: id, disk: fastState{promised: first}}
		t.nodes = append(t.nodes, nd)
		nd.start()
		nd.open = first
	}
	t.nodes[0].leads = first
	return t
}

func (t *Fast) is(m FastMistake) bool { return t.mistake == m }

func (t *Fast) majority() int { return len(t.nodes)/2 + 1 }

// quorum is how many votes choose in a round.
func (t *Fast) quorum(r fastRound) int {
	if r.classic || t.is(FastQuorumSmall) {
		return t.majority()
	}
	return (3*len(t.nodes) + 3) / 4
}

func (n *fastNode) start() {
	*n = fastNode{
		t: n.t, id: n.id, up: true, now: n.disk, disk: n.disk,
		promises: map[int]fastVote{}, votes: map[fastRound]map[string]map[int]bool{},
	}
}

// send sends m when what was written is durable.
func (n *fastNode) send(m fastMessage) {
	m.from = n.id
	if n.t.is(FastToldEarly) && m.kind == conform.Accepted && m.to != n.id {
		n.t.net = append(n.t.net, m)
		return
	}
	n.waiting = append(n.waiting, m)
}

// sendAll sends m to everybody at once; to itself a node speaks without the net.
func (n *fastNode) sendAll(m fastMessage) {
	m.from = n.id
	for _, other := range n.t.nodes {
		if m.to = other.id; m.to == n.id {
			n.step(m)
		} else {
			n.t.net = append(n.t.net, m)
		}
	}
}

// offer sends the own value to the acceptors, if a round is open.
func (n *fastNode) offer() {
	if n.want == "" || n.open.counter == 0 || n.open.number() < n.now.promised.number() {
		return
	}
	m := fastMessage{kind: conform.Accept, at: n.open, value: n.want}
	n.want = ""
	if n.t.is(FastThroughLeader) && n.open.node != n.id {
		m.from, m.to, m.kind = n.id, n.open.node, conform.Other
		n.t.net = append(n.t.net, m)
		return
	}
	n.sendAll(m)
}

func (n *fastNode) step(m fastMessage) {
	if m.at.number() < n.now.promised.number() {
		return
	}
	switch m.kind {
	case conform.Prepare:
		n.now.promised = m.at
		n.send(fastMessage{kind: conform.Promise, to: m.from, at: m.at, vote: n.now.vote})
	case conform.Promise:
		n.onPromise(m)
	case conform.Accept:
		n.onAccept(m)
	case conform.Accepted:
		n.count(m)
	case conform.Other:
		if m.value != "" { // FastThroughLeader
			n.sendAll(fastMessage{kind: conform.Accept, at: m.at, value: m.value})
			return
		}
		n.now.promised, n.open = m.at, m.at
		n.offer()
	}
}

func (n *fastNode) onAccept(m fastMessage) {
	n.now.promised = m.at
	voted := n.now.vote.at == m.at
	if voted && n.now.vote.value != m.value && !n.t.is(FastVotesTwice) {
		return // its vote in this round is cast
	}
	n.now.vote = fastVote{m.at, m.value}
	for _, other := range n.t.nodes {
		n.send(fastMessage{kind: conform.Accepted, to: other.id, at: m.at, value: m.value})
	}
}

func (n *fastNode) count(m fastMessage) {
	if n.votes[m.at] == nil {
		n.votes[m.at] = map[string]map[int]bool{}
	}
	if n.votes[m.at][m.value] == nil {
		n.votes[m.at][m.value] = map[int]bool{}
	}
	n.votes[m.at][m.value][m.from] = true
	if len(n.votes[m.at][m.value]) >= n.t.quorum(m.at) && n.learned == "" {
		n.learned = m.value
	}
}

// lead begins a fast round: phase 1, then any value, or the one that may have been chosen.
func (n *fastNode) lead() {
	counter := n.now.promised.counter + 1
	n.leads = fastRound{counter: counter, node: n.id}
	n.ask(n.leads)
	if n.t.is(FastNoPhase1) {
		n.now.promised = n.leads
		n.sendAll(fastMessage{kind: conform.Other, at: n.leads})
	}
}

// ask begins phase 1 of a round.
func (n *fastNode) ask(at fastRound) {
	n.at, n.promises, n.order = at, map[int]fastVote{}, nil
	n.sendAll(fastMessage{kind: conform.Prepare, at: at})
}

func (n *fastNode) onPromise(m fastMessage) {
	if _, has := n.promises[m.from]; m.at != n.at || has {
		return
	}
	n.promises[m.from] = m.vote
	n.order = append(n.order, m.from)
	if len(n.order) != n.t.majority() {
		return
	}
	v, ok := n.pick()
	switch {
	case ok: // at the classic round, so that no other value is voted for above it
		n.asks = fastMessage{kind: conform.Accept, at: n.at.settled(), value: v}
		n.sendAll(n.asks)
	case !n.at.classic:
		n.sendAll(fastMessage{kind: conform.Other, at: n.at})
	}
}

// pick is the value to be proposed (Fast Paxos, section 3.1, O4): of the votes in the highest round that the promises report the one for
// a value that may have been chosen; else any of them. Not ok: there are none.
func (n *fastNode) pick() (v string, ok bool) {
	highest := fastRound{}
	for _, id := range n.order {
		if p := n.promises[id]; p.value != "" && p.at.number() > highest.number() {
			highest = p.at
		}
	}
	var values []string
	count := map[string]int{}
	for _, id := range n.order {
		if p := n.promises[id]; p.value != "" && p.at == highest {
			if count[p.value]++; count[p.value] == 1 {
				values = append(values, p.value)
			}
		}
	}
	if len(values) == 0 {
		return "", false
	}
	if n.t.is(FastOwnValue) && !highest.classic {
		return n.now.vote.value, n.now.vote.value != ""
	}
	best := slices.MaxFunc(values, func(a, b string) int { return cmp.Compare(count[a], count[b]) })
	// A fast quorum less those who have not reported: so many votes for it a chosen value must have among these.
	need := n.t.quorum(highest) - (len(n.t.nodes) - len(n.order))
	if n.t.is(FastMajority) {
		need = n.t.majority()
	}
	if highest.classic || count[best] >= need && !n.t.is(FastFirst) {
		return best, true
	}
	return values[0], true
}

// Propose implements conform.Cluster.
func (t *Fast) Propose(id int, value string) {
	n := t.nodes[id-1]
	n.want = value
	n.offer()
}

// Again implements conform.Cluster: the node becomes the coordinator of a new round.
func (t *Fast) Again(id int) { t.nodes[id-1].lead() }

// Net implements conform.Cluster.
func (t *Fast) Net() (all []conform.Message) {
	for _, m := range t.net {
		all = append(all, conform.Message{
			From: m.from, To: m.to, Kind: m.kind, Slot: slot, Round: m.at.number(), Fast: !m.at.classic, Value: m.value,
		})
	}
	return all
}

// Deliver implements conform.Cluster.
func (t *Fast) Deliver(i int) {
	m := t.net[i]
	t.Drop(i)
	t.hand(m)
}

// Drop implements conform.Cluster.
func (t *Fast) Drop(i int) { t.net = slices.Delete(t.net, i, i+1) }

// Repeat implements conform.Cluster.
func (t *Fast) Repeat(i int) { t.hand(t.net[i]) }

func (t *Fast) hand(m fastMessage) {
	if n := t.nodes[m.to-1]; n.up {
		n.step(m)
	}
}

// Sync implements conform.Cluster.
func (t *Fast) Sync(id int) {
	for n := t.nodes[id-1]; n.up; {
		n.disk = n.now
		waiting := n.waiting
		n.waiting = nil
		for _, m := range waiting {
			if m.to == id {
				n.step(m)
			} else {
				t.net = append(t.net, m)
			}
		}
		if len(n.waiting) == 0 {
			return
		}
	}
}

// Crash implements conform.Cluster.
func (t *Fast) Crash(id int) {
	n := t.nodes[id-1]
	n.up, n.waiting = false, nil
}

// Restart implements conform.Cluster.
func (t *Fast) Restart(id int) { t.nodes[id-1].start() }

// Time implements conform.Cluster. A coordinator that has learned nothing settles its round, or asks again; who has learned tells the
// others, by the votes that it counted.
func (t *Fast) Time() {
	for _, n := range t.nodes {
		if !n.up {
			continue
		}
		if n.now.vote.value != "" {
			for _, other := range t.nodes {
				n.send(fastMessage{kind: conform.Accepted, to: other.id, at: n.now.vote.at, value: n.now.vote.value})
			}
		}
		if n.leads.counter == 0 || n.learned != "" || n.now.promised.counter != n.leads.counter || n.now.promised.node != n.id || t.is(FastNeverSettled) {
			continue
		}
		if len(n.order) < t.majority() && n.at.counter != 0 {
			n.sendAll(fastMessage{kind: conform.Prepare, at: n.at})
		} else if n.asks.value != "" {
			n.sendAll(n.asks)
		} else if n.now.vote.value != "" || len(n.votes[n.leads]) > 0 {
			n.ask(n.leads.settled())
		}
	}
}

// Learned implements conform.Cluster.
func (t *Fast) Learned(id int) map[int]string {
	if v := t.nodes[id-1].learned; v != "" {
		return map[int]string{slot: v}
	}
	return nil
}

// Close implements conform.Cluster.
func (t *Fast) Close() {}
