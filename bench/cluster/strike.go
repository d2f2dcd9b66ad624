package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/paxbench/paxbench/bench/disk"
	"github.com/paxbench/paxbench/bench/proxy"
	"github.com/paxbench/paxbench/wire"
)

// What each kind of fault does.

// incident is a fault under way.
type incident struct {
	*Injected
	i    *Injector
	ctx  context.Context
	over <-chan struct{} // the load is: heal now
	rng  *rand.Rand

	counts []disk.Counts // when it struck, by node
}

func (n *incident) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	n.Notes = append(n.Notes, text)
	n.i.log("%s: %s", n.Fault, text)
}

func (n *incident) each(fn func(*Member) error) error { return n.i.forEach(n.Nodes, fn) }

// due is when the heal is.
func (n *incident) due() time.Time { return n.Struck.Add(n.For) }

func (n *incident) kill() error   { return n.each((*Member).Kill) }
func (n *incident) stop() error   { return n.each((*Member).Stop) }
func (n *incident) pause() error  { return n.each((*Member).Pause) }
func (n *incident) resume() error { return n.each((*Member).Resume) }
func (n *incident) start() error {
	return n.each(func(m *Member) error { return m.Start(n.ctx) })
}

// roll restarts the nodes one after the other, the leader last.
func (n *incident) roll() error {
	order := slices.DeleteFunc(slices.Clone(n.Nodes), func(node wire.NodeID) bool { return node == n.LeaderBefore })
	if slices.Contains(n.Nodes, n.LeaderBefore) {
		order = append(order, n.LeaderBefore)
	}
	for k, node := range order {
		if !sleepUntil(n.ctx, n.Struck.Add(n.For*time.Duration(k)/time.Duration(len(order))), n.over) {
			return nil // the nodes are up: nothing is left to heal
		}
		m := n.i.Cluster.Member(node)
		if err := m.Stop(); err != nil {
			return err
		}
		if err := m.Start(n.ctx); err != nil {
			return err
		}
		if err := n.i.Cluster.Nodes().CaughtUp(n.ctx, node); err != nil {
			return err
		}
	}
	sleepUntil(n.ctx, n.due(), n.over)
	return nil
}

// hit says whether an end of a link is a node of the target.
func (n *incident) hit(end int) bool { return slices.Contains(n.Nodes, wire.NodeID(end)) }

// directions calls fn for each path from (out) or to (in) a node of the target: those that lead to other nodes, and to
// the clients. between: those between two nodes of the target too.
func (n *incident) directions(dir string, nodes, clients, between bool, fn func(p *proxy.Path)) {
	mesh := n.i.Cluster.mesh
	for a := range mesh.Nodes() + 1 {
		for b := range mesh.Nodes() + 1 {
			if a == b || !n.hit(a) || n.hit(b) && !between {
				continue
			}
			if b == proxy.Clients && !clients || b != proxy.Clients && !nodes {
				continue
			}
			if dir != dirIn {
				fn(mesh.Path(a, b))
			}
			if dir != dirOut {
				fn(mesh.Path(b, a))
			}
		}
	}
}

func (n *incident) cut(dir string, nodes, clients bool) error {
	n.directions(dir, nodes, clients, false, func(p *proxy.Path) { p.Set(proxy.Conditions{Cut: n.Params.How}) })
	return nil
}

func (n *incident) partition() error { return n.cut(dirBoth, true, n.Params.Clients) }
func (n *incident) asym() error      { return n.cut(n.Params.Dir, true, n.Params.Clients) }
func (n *incident) isolate() error   { return n.cut(n.Params.Dir, false, true) }

func (n *incident) mend() error {
	n.i.Cluster.mesh.Heal()
	return nil
}

func (n *incident) slowLink() error {
	p := &n.Params
	n.directions(dirBoth, true, p.Clients, true, func(path *proxy.Path) {
		path.Set(proxy.Conditions{Latency: p.Latency, Jitter: p.Jitter, Bandwidth: p.Bandwidth})
	})
	return nil
}

// loseLinks resets links of the target, one at a time, after random times with the mean that was asked for, per link.
func (n *incident) loseLinks() error {
	mesh := n.i.Cluster.mesh
	var links [][2]int
	for from := range mesh.Nodes() + 1 {
		for to := 1; to <= mesh.Nodes(); to++ {
			ours := n.hit(from) || n.hit(to)
			if from != to && ours && (from != proxy.Clients || n.Params.Clients) {
				links = append(links, [2]int{from, to})
			}
		}
	}
	lost, conns := 0, 0
	for next := n.Struck; n.Params.Reset > 0; lost++ {
		next = next.Add(time.Duration(n.rng.ExpFloat64() * float64(n.Params.Reset) / float64(len(links))))
		if next.After(n.due()) || !sleepUntil(n.ctx, next, n.over) {
			break
		}
		l := links[n.rng.IntN(len(links))]
		conns += mesh.Reset(l[0], l[1])
	}
	if n.Params.Reset > 0 {
		n.note("links were lost %d times, %d connections reset", lost, conns)
	}
	sleepUntil(n.ctx, n.due(), n.over)
	return nil
}

// conditions are what the fault does to a disk.
func (n *incident) conditions() disk.Conditions {
	switch n.Kind {
	case SlowFsync:
		return disk.Conditions{SyncLatency: n.Params.Latency}
	case StallFsync:
		return disk.Conditions{Stall: true}
	case FailFsync:
		return disk.Conditions{FailSync: true}
	case DiskFull:
		return disk.Conditions{Full: n.Params.Full}
	}
	panic("BUG: cluster: " + string(n.Kind) + " is no fault of a disk")
}

func (n *incident) breakDisk() error {
	n.counts = make([]disk.Counts, len(n.i.Cluster.members)+1)
	return n.each(func(m *Member) (err error) {
		n.counts[m.node], err = m.BreakDisk(n.ctx, n.conditions())
		return err
	})
}

// exitLimit is how long a node may take to end after its fsync failed.
const exitLimit = 10 * time.Second

// mendDisk starts nodes again that ended because of their disk. One that lives on although a sync failed is at fault.
func (n *incident) mendDisk() error {
	counts, words := make([]disk.Counts, len(n.counts)), make([]string, len(n.counts))
	err := n.each(func(m *Member) (err error) {
		counts[m.node], words[m.node], err = m.MendDisk(n.ctx, exitLimit)
		return err
	})
	if err != nil {
		return err
	}
	for _, node := range n.Nodes {
		n.noteCounts(node, counts[node].Minus(n.counts[node]))
		if words[node] != "" {
			n.note("node %d ended: %s", node, words[node])
		} else if counts[node].Failed > 0 {
			return fmt.Errorf("node %d lives on although its fsync failed", node)
		}
	}
	return n.start()
}

func (n *incident) noteCounts(node wire.NodeID, c disk.Counts) {
	for _, w := range []struct {
		n     uint64
		words string
	}{{c.Slowed, "slowed fsyncs"}, {c.Stalled, "fsyncs that hung"}, {c.Refused, "writes that found no room"}} {
		if w.n > 0 {
			n.note("node %d: %d %s", node, w.n, w.words)
		}
	}
}
