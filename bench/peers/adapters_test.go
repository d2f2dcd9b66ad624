package main

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/paxbench/paxbench/bench/peers/node"
	"github.com/paxbench/paxbench/bench/peers/peer"
)

// The test binary is the node's program too: clusters in tests are of real processes.
func TestMain(m *testing.M) {
	if text := os.Getenv(node.Variable); text != "" {
		os.Exit(node.Main(text, findEngine))
	}
	code := m.Run()
	removeRaft37()
	os.Exit(code)
}

func testCluster(t *testing.T, e peer.Engine, single, fsync bool) (context.Context, *cluster) {
	t.Helper()
	if e.Program != nil { // built before the clock starts
		if _, err := e.Program(); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Second)
	t.Cleanup(cancel)
	k, err := startCluster(ctx, clusterConfig{Engine: e, Replicas: 3, Single: single, Dir: t.TempDir(), Fsync: fsync, GOGC: 400})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.stop)
	return ctx, k
}

// drive runs a short load and fails unless at least want commands completed.
func drive(t *testing.T, ctx context.Context, k *cluster, outstanding, count, size int, want uint64) {
	t.Helper()
	total := uint64(0)
	for deadline := time.Now().Add(20 * time.Second); total < want; {
		r, used, err := k.load(ctx, peer.Load{Outstanding: outstanding, Count: count, Size: size, Length: 50 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		total += r.Commands
		if r.Commands > 0 && used.CPUNanos <= 0 {
			t.Errorf("%d commands took no processor time", r.Commands)
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d commands", total, want)
		}
	}
}

// An adapter could lose a proposal, complete one twice or with another's outcome, or answer before a replica has it: then
// a load gets stuck, or the replicas do not end with exactly what was acknowledged, in one order.
func TestAdapters(t *testing.T) {
	for _, e := range engines() {
		t.Run(e.Name, func(t *testing.T) {
			t.Parallel()
			ctx, k := testCluster(t, e, false, true)
			drive(t, ctx, k, 64, 1, 16, 1000)
			drive(t, ctx, k, 4, 32, 16, 1000)
			drive(t, ctx, k, 2, 2, 1024, 1)
			drive(t, ctx, k, 2000, 1, 128, 1)
			drive(t, ctx, k, 1, 1, 16, 1)
			if e.Bare {
				return // it applies nothing: that all was acknowledged is all there is to see
			}
			if err := k.verify(ctx); err != nil {
				t.Error(err)
			}
		})
	}
}

// All replicas in one process, and no fsync, are other paths through the same adapters.
func TestOneProcessWithoutFsync(t *testing.T) {
	for _, e := range engines() {
		if !e.NoFsync {
			continue
		}
		t.Run(e.Name, func(t *testing.T) {
			t.Parallel()
			ctx, k := testCluster(t, e, true, false)
			drive(t, ctx, k, 64, 1, 16, 1000)
			if err := k.verify(ctx); err != nil {
				t.Error(err)
			}
		})
	}
}

// Three replicas go on with two of them: what an adapter does wrong when its leader is lost shows as no new leader, or as
// survivors that disagree.
func TestKillLeader(t *testing.T) {
	for _, e := range engines() {
		if e.Bare || e.Name == "dragonboat-16" {
			continue // the first has no elections; the second's shards are gathered on node 1, which is the one that is killed
		}
		t.Run(e.Name, func(t *testing.T) {
			t.Parallel()
			ctx, k := testCluster(t, e, false, true)
			drive(t, ctx, k, 16, 1, 16, 100)
			if err := k.verify(ctx); err != nil {
				t.Fatal(err)
			}
			leader, err := k.leader(ctx)
			if err != nil {
				t.Fatal(err)
			}
			k.kill(leader)
			drive(t, ctx, k, 16, 1, 16, 100)
			if err := k.verify(ctx); err != nil {
				t.Error(err)
			}
		})
	}
}

// A run that is cancelled must end, although processes go on to answer what nobody awaits any more.
func TestCancelledRunEnds(t *testing.T) {
	e, err := findEngine("paxbench")
	if err != nil {
		t.Fatal(err)
	}
	ctx, k := testCluster(t, e, false, true)
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	for range 3 { // each leaves answers behind
		if _, _, err := k.load(short, peer.Load{Outstanding: 4, Count: 1, Size: 16, Length: 300 * time.Millisecond}); err == nil {
			t.Fatal("a load of 300 ms ended within 100 ms")
		}
		_ = k.each(short, "state", func(*process, node.Reply) {})
	}
	ended := make(chan struct{})
	go func() { k.stop(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		t.Fatal("the cluster does not stop")
	}
}
