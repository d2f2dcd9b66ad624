package sim

import (
	"testing"
	"time"

	"github.com/paxbench/paxbench/engine"
	"github.com/paxbench/paxbench/engine/paxos"
	"github.com/paxbench/paxbench/wire"
)

// What can go wrong: a suspect node asks again and again a node whose disk stalls, and every answer, all votes that it knows, waits for
// that disk. A disk may stall for ever, and memory does not last that long.
func TestHealRequestsBesideStalledDisk(t *testing.T) {
	w := newWorld(Options{Seed: 1, Nodes: 3, Knobs: func(k *Knobs) {
		k.Mode, k.Learn, k.Quorums, k.Groups, k.Clients, k.Fsync = paxos.ModeMulti, paxos.LearnOne, paxos.Quorums{}, 1, 1, always
		k.Limits.SyncBacklog, k.Drop, k.Corrupt, k.Late, k.Think = 1<<10, 0, 0, 0, time.Millisecond
	}})
	defer w.close()
	w.start()
	w.nemesis.over = true
	w.runUntil(w.now+int64(2*time.Second), nil)
	var p *proc
	for _, p = range w.procs {
		if p.d != nil && !p.leads() {
			break
		}
	}
	p.stalledUntil = 1 << 62
	w.runUntil(w.now+int64(200*time.Millisecond), nil) // votes wait for it by now
	r := p.reps[0]
	from := wire.NodeID(int(p.id)%3 + 1)
	waiting := func(asked int) int64 {
		for i := range asked {
			m := wire.Message{Kind: wire.KindHealRequest, Group: 1, From: from, Slot: r.d.Status().Trimmed + 1,
				Incarnations: wire.AppendIncarnation(nil, wire.Incarnation{Node: from, Number: 1<<32 | uint64(i+1)})}
			p.handler(from, m.Encode(clusterID))
			r.d.Turn(false)
		}
		return used(t, r.d.Usage(), "waiting for the disk, bytes")
	}
	few := waiting(20)
	if many := waiting(2000); few == 0 || many > few+1<<10 {
		t.Errorf("%d bytes wait for the disk after 20 requests, %d after 2000 more", few, many)
	}
}

func used(t *testing.T, usage []engine.Usage, name string) int64 {
	for i := range usage {
		if usage[i].Name == name {
			return usage[i].Used
		}
	}
	t.Fatalf("nothing is called %q", name)
	return 0
}
