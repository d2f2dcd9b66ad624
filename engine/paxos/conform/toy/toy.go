// Package toy is single-decree Paxos as one writes it in an afternoon, and every mistake that one makes in it. Without a mistake it is
// correct, and not meant for use: it is what package conform is tested with, and an example of an adapter for it.
//
// It shares nothing with the engine, on purpose: a suite that is tested only against what it was written beside proves little.
package toy

import (
	"slices"

	"github.com/paxbench/paxbench/engine/paxos/conform"
)

// ballot is a round: counter, then node.
type ballot struct{ counter, node int }

func (b ballot) less(c ballot) bool {
	return b.counter < c.counter || b.counter == c.counter && b.node < c.node
}

type vote struct {
	at    ballot
	value string
}

// state is what an acceptor, and a proposer for its counter, must not forget.
type state struct {
	counter  int
	promised ballot
	vote     vote
}

type message struct {
	kind     conform.Kind
	from, to int
	at       ballot // the round
	vote     vote   // promise: the last vote; accept, accepted: its value
	higher   ballot // reject
}

type node struct {
	t       *Toy
	id      int
	up      bool
	now     state
	disk    state     // what survives
	waiting []message // for the disk

	// Proposer.
	phase    int // 0 idle, 1 preparing, 2 accepting
	at       ballot
	want     string
	proposed string
	promises map[int]int // by node, how often
	found    []vote

	// Learner.
	votes   map[ballot]map[int]int
	learned string
}

// Toy is a cluster. It implements conform.Cluster.
type Toy struct {
	nodes   []*node
	net     []message
	mistake Mistake
}

// New makes n nodes that all make the same mistake.
func New(n int, m Mistake) *Toy {
	t := &Toy{mistake: m}
	for id := 1; id <= n; id++ {
		nd := &node{t: t, id: id}
		nd.start()
		t.nodes = append(t.nodes, nd)
	}
	return t
}

func (t *Toy) is(m Mistake) bool { return t.mistake == m }

func (n *node) start() {
	*n = node{t: n.t, id: n.id, up: true, now: n.disk, disk: n.disk, promises: map[int]int{}, votes: map[ballot]map[int]int{}}
}

func (t *Toy) quorum() int {
	if t.is(HalfIsEnough) {
		return len(t.nodes) / 2
	}
	return len(t.nodes)/2 + 1
}

// total counts who answered.
func (t *Toy) total(answers map[int]int) (sum int) {
	for _, times := range answers {
		if !t.is(AnswersCountedTwice) {
			times = 1
		}
		sum += times
	}
	return sum
}

// send sends m when what was written is durable; sendNow at once. To itself a node speaks without the net.
func (n *node) send(m message) {
	m.from = n.id
	n.waiting = append(n.waiting, m)
	early := n.t.is(ToldBeforeSync) && (m.kind == conform.Accepted || m.kind == conform.Promise) || n.t.is(PrepareBeforeSync) && m.kind == conform.Prepare
	if early && m.to != n.id {
		n.waiting = n.waiting[:len(n.waiting)-1]
		n.t.net = append(n.t.net, m)
	}
}

func (n *node) sendNow(m message) {
	m.from = n.id
	if m.to == n.id {
		n.step(m)
		return
	}
	n.t.net = append(n.t.net, m)
}

func (n *node) prepare() {
	for _, other := range n.t.nodes {
		if n.promises[other.id] == 0 || n.t.is(PromisesKept) {
			n.send(message{kind: conform.Prepare, to: other.id, at: n.at})
		}
	}
}

func (n *node) round() {
	n.now.counter = max(n.now.counter, n.now.promised.counter) + 1
	n.at = ballot{n.now.counter, n.id}
	n.phase = 1
	if !n.t.is(PromisesKept) {
		n.promises = map[int]int{}
	}
	n.found = nil
	n.prepare()
}

// step takes a message.
func (n *node) step(m message) {
	switch m.kind {
	case conform.Prepare:
		n.onPrepare(m)
	case conform.Promise:
		n.onPromise(m)
	case conform.Reject:
		n.onReject(m)
	case conform.Accept:
		n.onAccept(m)
	case conform.Accepted:
		n.onAccepted(m)
	}
}

// refuses says whether b is lower than what was promised.
func (n *node) refuses(b ballot) bool {
	if n.t.is(TieWithoutNode) {
		return b.counter < n.now.promised.counter
	}
	return b.less(n.now.promised)
}

func (n *node) onPrepare(m message) {
	if n.refuses(m.at) && !n.t.is(PromiseGoesDown) {
		n.sendNow(message{kind: conform.Reject, to: m.from, at: m.at, higher: n.now.promised})
		return
	}
	n.now.promised = m.at
	p := message{kind: conform.Promise, to: m.from, at: m.at, vote: n.now.vote}
	if n.t.is(VoteNotReported) {
		p.vote = vote{}
	}
	n.send(p)
}

func (n *node) onPromise(m message) {
	if n.phase != 1 || m.at != n.at && !n.t.is(AnyRoundsPromise) {
		return
	}
	n.promises[m.from]++
	if m.vote.value != "" {
		n.found = append(n.found, m.vote)
	}
	n.enough()
}

func (n *node) enough() {
	if n.phase != 1 || n.t.total(n.promises) < n.t.quorum() {
		return
	}
	n.phase = 2
	n.proposed = n.pick()
	n.accept()
}

// pick is the value that may be proposed.
func (n *node) pick() string {
	if len(n.found) == 0 || n.t.is(OwnValueAlways) {
		return n.want
	}
	byBallot := func(a, b vote) int {
		if a.at.less(b.at) {
			return -1
		}
		return 1
	}
	best := slices.MaxFunc(n.found, byBallot)
	switch {
	case n.t.is(LowestVote):
		best = slices.MinFunc(n.found, byBallot)
	case n.t.is(CommonestVote):
		count := map[string]int{}
		for _, v := range n.found {
			if count[v.value]++; count[v.value] > count[best.value] {
				best = v
			}
		}
	case n.t.is(FirstVote):
		best = n.found[0]
	}
	return best.value
}

func (n *node) accept() {
	value := n.proposed
	if n.t.is(ValueChangedInRound) {
		value = n.want
	}
	for _, other := range n.t.nodes {
		n.sendNow(message{kind: conform.Accept, to: other.id, at: n.at, vote: vote{n.at, value}})
	}
}

func (n *node) onReject(m message) {
	if m.at != n.at || n.phase == 0 {
		return
	}
	if n.t.is(AnyAnswerPromises) {
		n.promises[m.from]++
		n.enough()
		return
	}
	n.now.counter = max(n.now.counter, m.higher.counter)
	n.phase = 0
}

func (n *node) onAccept(m message) {
	if n.refuses(m.at) && !n.t.is(VotesBelowPromise) || n.t.is(EqualRefused) && !n.now.promised.less(m.at) {
		n.sendNow(message{kind: conform.Reject, to: m.from, at: m.at, higher: n.now.promised})
		return
	}
	n.now.vote = m.vote
	if !n.t.is(AcceptKeepsPromise) && !m.at.less(n.now.promised) {
		n.now.promised = m.at
	}
	for _, other := range n.t.nodes {
		n.send(message{kind: conform.Accepted, to: other.id, at: m.at, vote: m.vote})
	}
}

func (n *node) onAccepted(m message) {
	key := m.at
	if n.t.is(VotesOfAllRounds) {
		key = ballot{}
	}
	if n.votes[key] == nil {
		n.votes[key] = map[int]int{}
	}
	n.votes[key][m.from]++
	if n.t.total(n.votes[key]) >= n.t.quorum() || n.t.is(OneVoteChooses) {
		if n.learned == "" || n.t.is(VotesOfAllRounds) {
			n.learned = m.vote.value
		}
	}
}

// sync makes durable what was written, and lets go what waited for it.
func (n *node) sync() {
	was := n.disk
	n.disk = n.now
	switch {
	case n.t.is(PromiseForgotten):
		n.disk.promised = ballot{}
		if n.now.vote.value != "" {
			n.disk.promised = n.now.vote.at
		}
	case n.t.is(VoteForgotten):
		n.disk.vote = was.vote
	case n.t.is(BallotReused):
		n.disk.counter = 0
		if n.now.promised.node == n.id {
			n.disk.promised = was.promised
		}
	}
	waiting := n.waiting
	n.waiting = nil
	for _, m := range waiting {
		if n.t.is(RoundReadLate) && m.kind == conform.Accepted {
			m.at = n.now.promised
		}
		n.sendNow(m)
	}
}
