package lease

import (
	"slices"

	"github.com/paxbench/paxbench/wire"
)

// Grant is the acceptor's side of a lease: what one node has given away. Until it ends the node promises nothing to others. It is in
// memory only; who restarts calls Wait.
type Grant struct {
	holder wire.NodeID
	ballot wire.Ballot // at which it was asked for
	until  int64
	wait   int64 // until then, nobody: what an earlier life gave away is not known
}

// Give grants to holder, who asks at ballot b, until a time. It never takes back what the same ballot was given before: an
// older request that comes late does not shorten it.
func (g *Grant) Give(holder wire.NodeID, b wire.Ballot, until int64) {
	if g.holder == holder && g.ballot == b {
		until = max(until, g.until)
	}
	g.holder, g.ballot, g.until = holder, b, until
}

// Release ends what was granted to holder at ballot b, or lower ones: it has said that it does not count on it any more. A late
// release of an earlier ballot ends nothing.
func (g *Grant) Release(holder wire.NodeID, b wire.Ballot) {
	if g.holder == holder && g.ballot <= b {
		g.until = 0
	}
}

// Wait has nobody be promised anything until a time.
func (g *Grant) Wait(until int64) { g.wait = max(g.wait, until) }

// Blocks says whether node to must not be promised anything at time now.
func (g *Grant) Blocks(now int64, to wire.NodeID) bool {
	return now < g.wait || now < g.until && to != g.holder
}

// Holder is who holds a grant at time now, and until when; 0: nobody.
func (g *Grant) Holder(now int64) (wire.NodeID, int64) {
	if now >= g.until {
		return 0, 0
	}
	return g.holder, g.until
}

// End is until when the holder may count on a grant of span that it asked for at time sent, by its own clock.
//
// The granter counts span from when the request arrives, by its clock. Both clocks are counted from moments of which the holder's is
// the earlier, so whatever the network does, the holder's end comes first if the clocks run equally fast. They do not:
// in the time in which one shows span another may show drift less, and by so much the holder ends earlier.
func End(sent, span, drift int64) int64 { return sent + span - drift }

// Drift is the least drift for which leases of span are safe if every clock gains or loses at most ppm millionths: the granter's
// may be fast and the holder's slow, so that the same span differs by (1+r)/(1-r). It is rounded up.
func Drift(span, ppm int64) int64 {
	return (span*2*ppm + 1_000_000 + ppm - 1) / (1_000_000 + ppm)
}

// Until is the time up to which at least need of the ends reach. It sorts ends; need is 1 to len(ends).
func Until(ends []int64, need int) int64 {
	slices.Sort(ends)
	return ends[len(ends)-need]
}
