package sim

import (
	"time"

	"github.com/paxbench/paxbench/engine/transport"
	"github.com/paxbench/paxbench/wire"
)

// network carries frames between nodes, and messages between nodes and clients. What a link may do to a frame: lose it,
// repeat it, keep it for any time (so frames overtake each other), damage it, and give it again much later.
type network struct {
	w    *world
	calm bool            // no faults but what cut says
	cut  [][]bool        // [from-1][to-1]: the direction is down
	slow []time.Duration // by receiver: added to each frame's way (a clogged link)
	old  []parcel        // some frames of the past, one reference each, to be replayed
	idle []*parcel       // that have arrived, to be used again
	last int64           // when the last frame or message that is under way arrives
}

// parcel is a frame under way; one reference.
type parcel struct {
	from, to wire.NodeID
	frame    *wire.Buffer
}

func (n *network) init(w *world) {
	n.w = w
	n.slow = make([]time.Duration, w.k.Most)
	for range w.k.Most {
		n.cut = append(n.cut, make([]bool, w.k.Most))
	}
}

func (n *network) heal() {
	for _, row := range n.cut {
		clear(row)
	}
	clear(n.slow)
}

// delay draws how long a frame or message takes.
func (n *network) delay() time.Duration {
	k := &n.w.k
	if !n.calm && n.w.percent(k.Late) {
		return n.w.between(k.Delay, k.LateBy)
	}
	return n.w.between(20*time.Microsecond, k.Delay)
}

// carry has a client's message arrive.
func (n *network) carry(arrive func()) {
	way := n.delay()
	n.last = max(n.last, n.w.now+int64(way))
	n.w.after(way, arrive)
}

// send takes over one reference.
func (n *network) send(from, to wire.NodeID, f *wire.Buffer) bool {
	k := &n.w.k
	if to == 0 || int(to) > len(n.w.procs) || n.cut[from-1][to-1] || !n.calm && n.w.percent(k.Drop) {
		n.w.counts["frames lost"]++
		f.Release()
		return true // the sender does not know
	}
	if !n.calm && (rare(f) || n.w.chance(40)) && len(n.old) < 64 {
		n.old = append(n.old, parcel{from, to, f.Retain()})
	}
	if !n.calm && n.w.percent(k.Repeat) {
		n.w.counts["frames repeated"]++
		n.fly(parcel{from, to, f.Retain()})
	}
	if !n.calm && n.w.percent(k.Corrupt) {
		f = n.damage(f)
	}
	n.fly(parcel{from, to, f})
	return true
}

// rare says whether a frame is of an election: those are few, and coming late they hurt most.
func rare(f *wire.Buffer) bool {
	k := wire.Kind(f.Bytes()[5])
	return k == wire.KindPrepare || k == wire.KindPromise
}

// damage returns a damaged copy of f.
func (n *network) damage(f *wire.Buffer) *wire.Buffer {
	c := wire.GetCopy(f.Bytes())
	f.Release()
	p := c.Bytes()
	switch n.w.rng.IntN(3) {
	case 0:
		p[n.w.rng.IntN(len(p))] ^= 1 << n.w.rng.IntN(8)
	case 1:
		c.SetBytes(p[:n.w.rng.IntN(len(p))])
	default: // the end of another frame spliced on
		if len(n.old) > 0 {
			other := n.old[n.w.rng.IntN(len(n.old))].frame.Bytes()
			copy(p[len(p)/2:], other[len(other)/2:])
		}
		p[len(p)-1] ^= 1
	}
	return c
}

func (n *network) fly(p parcel) {
	way := n.delay() + n.slow[p.to-1]
	n.last = max(n.last, n.w.now+int64(way))
	at := new(parcel)
	if k := len(n.idle); k > 0 {
		at, n.idle = n.idle[k-1], n.idle[:k-1]
	}
	*at = p
	n.w.schedule(way, event{parcel: at})
}

// arrive does what the transport's reader does: the CRC is checked before anybody looks at the frame.
func (n *network) arrive(at *parcel) {
	p := *at
	*at = parcel{}
	n.idle = append(n.idle, at)
	to := n.w.procs[p.to-1]
	if to.d == nil || n.cut[p.from-1][p.to-1] {
		p.frame.Release()
		return
	}
	h, err := wire.CheckFrame(p.frame.Bytes())
	if err != nil || h.Size() != p.frame.Len() || h.Cluster != clusterID || h.From != p.from {
		n.w.note(p.to, 0, "damaged frame", uint64(p.from), uint64(p.frame.Len()), 0)
		n.w.counts["frames damaged"]++
		p.frame.Release()
		return
	}
	n.w.note(p.to, h.Group, arrivalNames[h.Kind], uint64(p.from), word(p.frame.Bytes(), 0), word(p.frame.Bytes(), 8))
	to.handler(p.from, p.frame)
	to.poke()
}

// arrivalNames saves building a string for each frame.
var arrivalNames = func() (names [256]string) {
	for k := range names {
		names[k] = "< " + wire.Kind(k).String()
	}
	return names
}()

// replay sends a frame of the past once more.
func (n *network) replay() {
	if len(n.old) == 0 {
		return
	}
	p := n.old[n.w.rng.IntN(len(n.old))]
	n.w.counts["frames replayed late"]++
	n.fly(parcel{p.from, p.to, p.frame.Retain()})
}

func (n *network) close() {
	for _, e := range n.w.queue.events {
		if e.parcel != nil {
			e.parcel.frame.Release()
		}
	}
	for _, p := range n.old {
		p.frame.Release()
	}
	n.old = nil
}

// port is one process's transport.
type port struct {
	p    *proc
	dead bool // the process is gone: what its remains still say is heard by nobody
}

// Send implements transport.Transport.
func (t *port) Send(to wire.NodeID, f *wire.Buffer) bool {
	if t.dead {
		f.Release()
		return false
	}
	var m wire.Message
	if err := wire.DecodeMessage(f, &m); err != nil {
		t.p.w.fail("S18", t.p.id, 0, "sends a malformed frame: %v", err)
	}
	t.p.w.oracles[m.Group-1].sent(t.p, &m)
	if m.Kind == wire.KindLearn && t.p.w.sound(t.p.w.procs[to-1]) {
		t.p.w.taught++
	}
	return t.p.w.net.send(t.p.id, to, f)
}

// Serve implements transport.Transport.
func (t *port) Serve(h func(from wire.NodeID, f *wire.Buffer)) error {
	t.p.handler = h
	return nil
}

// Close implements transport.Transport.
func (t *port) Close() error { return nil }

// Stats implements transport.Transport.
func (t *port) Stats() transport.Stats { return transport.Stats{} }
