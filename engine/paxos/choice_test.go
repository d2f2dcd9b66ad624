package paxos

import (
	"math/bits"
	"testing"

	"github.com/paxbench/paxbench/wire"
)

// What can go wrong: of a promise quorum's votes at a fast ballot the rule picks a value although another one has been chosen, or may be yet;
// or it is bound where it need not be. Every way in which up to five nodes can have voted for up to three values, or not at all,
// every set of nodes that reports, every size of quorums: enumerated.
func TestChooseFast(t *testing.T) {
	const values = 3
	bound, free := 0, 0
	for n := 1; n <= 5; n++ {
		for prepare := 1; prepare <= n; prepare++ {
			for quorum := fastQuorum(n, prepare); quorum <= n; quorum++ {
				for code := range pow(values+1, n) {
					votes := make([]int, n) // by node: 0 none, else the value
					total := [values + 1]int{}
					for i, c := 0, code; i < n; i, c = i+1, c/(values+1) {
						votes[i] = c % (values + 1)
						total[votes[i]]++
					}
					for set := range 1 << n {
						if bits.OnesCount(uint(set)) < prepare {
							continue
						}
						picked, must := pickOf(t, votes, nodeSet(set), rule{bits.OnesCount(uint(set)), n, quorum})
						if picked == 0 {
							continue // nobody has voted
						}
						for v := 1; v <= values; v++ {
							if total[v] >= quorum && (picked != v || !must) {
								t.Fatalf("%d nodes, fast quorum %d, votes %v, %b report: value %d is chosen, %d is picked (must: %v)", n, quorum, votes, set, v, picked, must)
							}
						}
						// Whether it is bound depends on what is reported, and on what the others may have done at most.
						reported, silent := 0, n-bits.OnesCount(uint(set))
						for i := range votes {
							if set>>i&1 == 1 && votes[i] == picked {
								reported++
							}
						}
						if must != (reported+silent >= quorum) {
							t.Fatalf("%d nodes, fast quorum %d, votes %v, %b report: picks %d, must: %v", n, quorum, votes, set, picked, must)
						}
						if must {
							bound++
						} else {
							free++
						}
					}
				}
			}
		}
	}
	t.Logf("%d times bound, %d times free", bound, free)
	if bound == 0 || free == 0 {
		t.Error("one of the two never came up")
	}
}

// pickOf runs the choice as a coordinator does; 0: nobody who reports has voted.
func pickOf(t *testing.T, votes []int, set nodeSet, r rule) (value int, must bool) {
	var c choice
	fast := wire.NewBallot(4, 2)
	for i, v := range votes {
		if set.has(i) && v != 0 {
			c.add(wire.Vote{Slot: 1, Ballot: fast, Value: choiceValues[v-1]})
		}
	}
	if c.Ballot == 0 {
		return 0, false
	}
	// Votes at lower ballots, and those of a lower classic one, decide nothing beside them.
	c.add(wire.Vote{Slot: 1, Ballot: wire.NewBallot(3, 1), Value: choiceValues[0]})
	v, must := c.pick(r)
	for i := range choiceValues {
		if string(choiceValues[i].Bytes()) == string(v.Value.Bytes()) && v.Ballot == fast {
			return i + 1, must
		}
	}
	t.Fatal("a value that nobody voted for is picked")
	return 0, false
}

var choiceValues = func() (vs [3]wire.Batch) {
	for i := range vs {
		f := testAccept(string(rune('a' + i)))
		b, err := wire.ParseBatch(append([]byte(nil), batchOf(f)...))
		if err != nil {
			panic(err)
		}
		f.Release()
		vs[i] = b
	}
	return vs
}()

func pow(b, n int) int {
	p := 1
	for range n {
		p *= b
	}
	return p
}

// What can go wrong: fast quorums are let in of which two have no node in common with a promise quorum, or the default is larger than it has
// to be; with majorities it is three quarters, rounded up.
func TestFastQuorums(t *testing.T) {
	for n := 1; n <= 9; n++ {
		if got, want := (Quorums{}).Of(n).Fast, (3*n+3)/4; got != want {
			t.Errorf("%d nodes: a fast quorum of %d, want %d", n, got, want)
		}
		for prepare := 1; prepare <= n; prepare++ {
			for fast := 1; fast <= n; fast++ {
				q := Quorums{prepare, n - prepare + 1, fast}
				if back, err := ParseQuorums(q.String()); err != nil || back != q {
					t.Errorf("%v reads back as %v, %v", q, back, err)
				}
				// Two fast sets may miss n-fast nodes each: a promise quorum that fits into those meets the two nowhere together.
				apart := min(n, 2*(n-fast)) >= prepare
				if err := q.CheckIn(ModeFast, n); (err != nil) != apart {
					t.Errorf("%v of %d nodes: %v", q, n, err)
				}
				if err := q.CheckIn(ModeMulti, n); err == nil {
					t.Errorf("%v of %d nodes in mode multi is let in", q, n)
				}
			}
		}
	}
}

// What can go wrong: two nodes own a ballot of the same pair, or one between the two of a pair, and a vote at a fast ballot is no promise for the
// classic one above it.
func TestBallotPairs(t *testing.T) {
	var last wire.Ballot
	for above := uint32(0); above < 2000; above++ {
		for _, n := range []wire.NodeID{1, 2, 63, 64, 1000} {
			r := &Replica{c: Config{Self: n}, fast: &fast{}}
			b := r.ownBallot(above)
			if b.Counter() <= above || !isFast(b) || isFast(classicOf(b)) || fastOf(classicOf(b)) != b || !pairOwner(b) || !pairOwner(classicOf(b)) {
				t.Fatalf("node %d above counter %d: %v, %v", n, above, b, classicOf(b))
			}
			for _, m := range []wire.NodeID{1, 2, 63, 64, 1000} {
				if other := wire.NewBallot(b.Counter(), m); m != n && (pairOwner(other) || pairOwner(classicOf(other))) {
					t.Fatalf("%v and %v are of one pair", b, other)
				}
			}
			last = max(last, b)
		}
	}
	r := &Replica{c: Config{Self: 3}, fast: &fast{}}
	if b := r.ownBallot(1<<32 - 1); b != 0 || last == 0 {
		t.Errorf("there is a ballot above the last: %v", b)
	}
}
