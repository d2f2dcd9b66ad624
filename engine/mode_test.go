package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/paxbench/paxbench/engine/paxos"
	"github.com/paxbench/paxbench/engine/wal"
	"github.com/paxbench/paxbench/wire"
)

// What can go wrong without a leader: a batch that lost its slot is answered with another's result, executed twice, or never;
// the replicas order the slots differently; a read on one node misses what another has acknowledged.
func TestEveryNodeProposes(t *testing.T) {
	c := newCluster(t, 3, false, func(cfg *Config) { cfg.Mode = paxos.ModeBasic })
	const each = 60
	var wg sync.WaitGroup
	for id, n := range c.nodes {
		for k := range 4 {
			wg.Go(func() {
				for i := range each / 4 {
					cmd := fmt.Sprint(id, ".", k, ".", i)
					if got := proposeAt(t, n, cmd); got != cmd+":1" {
						t.Errorf("%s: %q", cmd, got)
						return
					}
					for _, other := range c.nodes { // also where it was not proposed
						if p := queryAt(t, other, cmd); p != "1" {
							t.Errorf("%s is there %q times", cmd, p)
						}
					}
				}
			})
		}
	}
	wg.Wait()
	if st := c.equal(1); st.Commands != 3*each || st.Mode != "basic" {
		t.Errorf("%d commands executed in mode %s, want %d", st.Commands, st.Mode, 3*each)
	}
	var sum Instances
	for _, n := range c.nodes {
		in := n.Group(1).Metrics().Instances
		sum.Won, sum.Displaced, sum.Duels = sum.Won+in.Won, sum.Displaced+in.Displaced, sum.Duels+in.Duels
	}
	t.Logf("%+v", sum)
	if sum.Won == 0 || sum.Displaced+sum.Duels == 0 {
		t.Error("nobody ever met anybody")
	}
}

// proposeAt proposes a command through a node until it is taken there; it must then be done.
func proposeAt(t *testing.T, n *Node, cmd string) (result string) {
	t.Helper()
	eventually(t, "proposing "+cmd, func() bool {
		p, err := n.Group(1).Propose(context.Background(), []byte(cmd))
		var not *NotLeaderError
		if err != nil && !errors.As(err, &not) {
			t.Errorf("%s: %v", cmd, err)
		}
		result = string(p)
		return err == nil || !errors.As(err, &not)
	})
	return result
}

func queryAt(t *testing.T, n *Node, key string) (answer string) {
	t.Helper()
	eventually(t, "asking for "+key, func() bool {
		p, err := n.Group(1).Query(context.Background(), []byte(key))
		answer = string(p)
		return err == nil
	})
	return answer
}

// What can go wrong: anonymous commands that are equal, byte for byte, are proposed by two nodes for the same slot; it is chosen
// once, and both clients are told that theirs was executed. With sessions, a command is sent to two nodes at once, and is
// executed twice.
func TestEqualBatches(t *testing.T) {
	for _, mode := range []paxos.Mode{paxos.ModeBasic, paxos.ModeFast} {
		t.Run(mode.String(), func(t *testing.T) { equalBatches(t, mode) })
	}
}

func equalBatches(t *testing.T, mode paxos.Mode) {
	c := newCluster(t, 3, false, func(cfg *Config) { cfg.Mode = mode })
	var mu sync.Mutex
	done, unknown := 0, 0
	var wg sync.WaitGroup
	for _, n := range c.nodes {
		wg.Go(func() {
			for range 100 {
				_, err := n.Group(1).Propose(context.Background(), []byte("same"))
				var not *NotLeaderError
				mu.Lock()
				switch {
				case err == nil:
					done++
				case errors.Is(err, ErrUnknown):
					unknown++
				case !errors.As(err, &not): // a slow disk
					t.Error(err)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	st := c.equal(1)
	if int(st.Commands) < done || int(st.Commands) > done+unknown {
		t.Errorf("%d were told done, %d unknown; %d were executed", done, unknown, st.Commands)
	}
	var session wire.SessionID
	eventually(t, "a session", func() bool {
		o := proposeBlock(t, c.nodes[1].Group(1), 0, 4711, 0)
		session = o.Session
		return o.Status == wire.StatusOK
	})
	for seq := wire.Seq(1); seq <= 50; seq++ {
		var outcomes [3]outcome
		for i := range outcomes {
			wg.Go(func() {
				eventually(t, "an answer", func() bool {
					outcomes[i] = proposeBlock(t, c.nodes[wire.NodeID(i+1)].Group(1), session, seq, seq, "x")
					return outcomes[i].Status != wire.StatusUnknown && outcomes[i].Status != wire.StatusNotLeader
				})
			})
		}
		wg.Wait()
		want := fmt.Sprintf("x:%d", seq)
		for i, o := range outcomes {
			// A late repeat of what the others' next blocks acknowledge cannot be: all three were answered before.
			if o.Status != wire.StatusOK || o.texts[0] != want || o.Slot != outcomes[0].Slot {
				t.Fatalf("seq %d at node %d: %v, at node 1: %v", seq, i+1, o, outcomes[0])
			}
		}
	}
}

// What can go wrong: a node that died leaves slots open for ever, and nothing behind them is executed; or it comes back without
// the promises that it gave for single slots.
func TestProposerDies(t *testing.T) {
	for _, mode := range []paxos.Mode{paxos.ModeBasic, paxos.ModeFast} {
		t.Run(mode.String(), func(t *testing.T) { proposerDies(t, mode) })
	}
}

func proposerDies(t *testing.T, mode paxos.Mode) {
	c := newCluster(t, 3, false, func(cfg *Config) { cfg.Mode = mode })
	for round := range 3 {
		id := wire.NodeID(round%3 + 1)
		g := c.nodes[id].Group(1)
		for i := range 20 {
			if err := g.ProposeBlock(encodeBlock(0, 0, 0, fmt.Sprint("doomed ", round, ".", i)), CompletionFunc(func(*Result) {})); err != nil {
				t.Fatal(err)
			}
		}
		c.stop(id)
		for other, n := range c.nodes {
			if mode == paxos.ModeBasic {
				cmd := fmt.Sprint("alive ", round, ".", other)
				if got := proposeAt(t, n, cmd); got != cmd+":1" {
					t.Errorf("%s: %q", cmd, got)
				}
				continue
			}
			tries := 0 // the coordinator may be who died: what was under way is of unknown outcome
			eventually(t, "a proposal that is done", func() bool {
				tries++
				cmd := fmt.Sprint("alive ", round, ".", other, ".", tries)
				got, err := n.Group(1).Propose(context.Background(), []byte(cmd))
				if err == nil && string(got) != cmd+":1" {
					t.Errorf("%s: %q", cmd, got)
				}
				return err == nil
			})
		}
		c.start(id)
		c.equal(1)
	}
}

// What can go wrong in fast rounds: a value that collided is lost, or executed in two slots; the replicas order the slots differently; a
// read on one node misses what another has acknowledged, which the coordinator may not know yet; the counters say
// something else than happened.
func TestFastRounds(t *testing.T) {
	c := newCluster(t, 3, false, func(cfg *Config) { cfg.Mode = paxos.ModeFast })
	const each = 60
	var mu sync.Mutex
	done, unknown := 0, 0
	var wg sync.WaitGroup
	for id, n := range c.nodes {
		for k := range 4 {
			wg.Go(func() {
				for i := 0; i < each/4; {
					cmd := fmt.Sprint(id, ".", k, ".", i)
					result, err := n.Group(1).Propose(context.Background(), []byte(cmd))
					var not *NotLeaderError
					switch {
					case errors.As(err, &not):
						time.Sleep(time.Millisecond) // a slow disk; certainly not done
						continue
					case errors.Is(err, ErrUnknown):
						mu.Lock()
						unknown++
						mu.Unlock()
					case err != nil:
						t.Errorf("%s: %v", cmd, err)
						return
					default:
						mu.Lock()
						done++
						mu.Unlock()
						if string(result) != cmd+":1" {
							t.Errorf("%s: %q", cmd, result)
						}
						for _, other := range c.nodes { // also where it was not proposed
							if p := queryAt(t, other, cmd); p != "1" {
								t.Errorf("%s is there %q times", cmd, p)
							}
						}
					}
					i++
				}
			})
		}
	}
	wg.Wait()
	st := c.equal(1)
	if int(st.Commands) < done || int(st.Commands) > done+unknown || done == 0 || st.Mode != "fast" {
		t.Errorf("%d commands executed in mode %s, %d were told done, %d unknown", st.Commands, st.Mode, done, unknown)
	}
	var sum Instances
	for _, n := range c.nodes {
		sum = sum.Plus(*n.Group(1).Metrics().Instances)
	}
	t.Logf("%d done, %d unknown, %+v", done, unknown, sum)
	if sum.Fast == 0 || sum.Collisions == 0 || sum.Recovered == 0 || sum.Displaced == 0 || sum.Won < sum.Fast {
		t.Error("of 12 clients on three nodes none ever met another, or none ever met nobody")
	}
}

// What can go wrong: a cluster is started in another mode than it was made in, and its votes are taken for what they are not.
func TestModeIsKept(t *testing.T) {
	mode := paxos.ModeBasic
	c := newCluster(t, 1, false, func(cfg *Config) { cfg.Mode = mode })
	c.stop(1)
	mode = paxos.ModeMulti
	_, err := c.open(1, false, nil)
	var identity *wal.IdentityError
	if !errors.As(err, &identity) || !strings.Contains(err.Error(), `protocol "basic", not by "multi"`) {
		t.Errorf("started in another mode: %v", err)
	}
	mode = paxos.ModeBasic
	c.start(1)
}
