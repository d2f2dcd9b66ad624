package sim

import (
	"testing"
	"time"

	"github.com/paxbench/paxbench/engine/paxos"
)

// What can go wrong: proposers of independent instances whose rounds take longer than their back-offs interrupt each other for ever,
// most easily where all nodes must vote. With back-offs in ticks and not in rounds this took 42 duels a slot, and up to a minute.
func TestContendedProposers(t *testing.T) {
	slots, duels := 0, 0
	for _, seed := range []uint64{1, 2, 6, 7, 8} {
		r := Run(Options{Seed: seed, Nodes: 5, Knobs: func(k *Knobs) {
			k.Mode, k.Backoff, k.Learn, k.Lease, k.Groups = paxos.ModeBasic, paxos.BackoffRandom, 1, 0, 1
			k.Quorums = paxos.Quorums{Prepare: 4, Accept: 5}
			k.Tick, k.Delay, k.Turn, k.Sync = 5*time.Millisecond, 20*time.Millisecond, 5*time.Millisecond, 10*time.Millisecond
			k.HeartbeatTicks, k.ElectionTicks, k.RetransmitTicks, k.HoleTicks, k.Window = 1, 52, 11, 4, 8
			k.Clients, k.Pipeline, k.Think, k.Chaos = 3, 4, 8*time.Millisecond, 500*time.Millisecond
		}})
		if r.Violation != nil {
			t.Errorf("%v", r.Violation)
		}
		slots += r.Counts["slots"]
		duels += r.Counts["duels"]
	}
	if t.Logf("%d slots, %d duels", slots, duels); slots < 50 || duels > 24*slots {
		t.Errorf("%d slots took %d duels", slots, duels)
	}
}

// What can go wrong: acceptors of fast rounds that have room for the next slot's value only refuse what is offered for later ones, and each
// slot is settled without its value before that comes again. Every value went from slot to slot, and none was chosen in a minute.
func TestFastRoundsWithoutRoom(t *testing.T) {
	for seed := uint64(1); seed <= 4; seed++ {
		r := Run(Options{Seed: seed, Nodes: 4, Knobs: func(k *Knobs) {
			k.Mode, k.Learn, k.Lease, k.Groups, k.AheadBytes = paxos.ModeFast, 2, 0, 1, 1
			k.Quorums = paxos.Quorums{Prepare: 1, Accept: 4, Fast: 4}
			k.Tick, k.Delay, k.Turn, k.Sync = 20*time.Millisecond, 5*time.Millisecond, 20*time.Microsecond, time.Millisecond
			k.HeartbeatTicks, k.ElectionTicks, k.RetransmitTicks, k.HoleTicks, k.Window = 2, 10, 9, 3, 2
			k.Clients, k.Pipeline, k.Think, k.Chaos = 4, 3, 30*time.Millisecond, 500*time.Millisecond
		}})
		if r.Violation != nil {
			t.Errorf("%v", r.Violation)
		}
	}
}
