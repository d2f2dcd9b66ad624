package engine

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"

	"github.com/paxbench/paxbench/engine/paxos"
	"github.com/paxbench/paxbench/engine/transport"
	"github.com/paxbench/paxbench/wire"
)

// journal stands in for the log and the network, and writes down what happens in which order.
type journal struct {
	mu      sync.Mutex
	lines   []string
	hold    chan struct{} // Sync waits for it
	failing error         // of the next Sync
}

func (j *journal) note(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, fmt.Sprintf(format, args...))
}

func (j *journal) take() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	lines := j.lines
	j.lines = nil
	return lines
}

func (j *journal) Append(recs []wire.Record) (wire.LSN, error) {
	for _, r := range recs {
		j.note("append %d/%d", r.Group, r.Slot)
	}
	return 0, nil
}

func (j *journal) Sync() (wire.LSN, error) {
	<-j.hold
	j.note("sync")
	j.mu.Lock()
	defer j.mu.Unlock()
	return 0, j.failing
}

func (j *journal) Trim(g wire.GroupID, below wire.Slot) error {
	j.note("trim %d/%d", g, below)
	return nil
}

func (j *journal) MarkSuspect(string) error { j.note("mark suspect"); return nil }
func (j *journal) ClearSuspect() error      { j.note("clear suspect"); return nil }

func (j *journal) Send(to wire.NodeID, f *wire.Buffer) bool {
	j.note("send %s", f.Bytes())
	f.Release()
	return true
}

func (j *journal) Serve(func(wire.NodeID, *wire.Buffer)) error { return nil }
func (j *journal) Close() error                                { return nil }
func (j *journal) Stats() transport.Stats                      { return transport.Stats{} }

func newTestSyncer(j *journal) (*syncer, []*Group) {
	n := &Node{
		c:   Config{Node: 1, Cluster: 77}.withDefaults(),
		log: slog.New(slog.DiscardHandler), net: j, stopping: make(chan struct{}), limits: Limits{}.withDefaults(),
	}
	for id := range 2 {
		n.groups = append(n.groups, newGroup(n, wire.GroupID(id+1), &null{}))
	}
	n.syncer = newSyncer(n, j)
	go n.syncer.run()
	return n.syncer, n.groups
}

// testWork is one turn's work of a group: a record of that slot, and a message gated by it.
func testWork(g *Group, slot wire.Slot, last wire.LSN, text string) *work {
	w := getWork(g)
	if slot > 0 {
		w.records = append(w.records, wire.Record{Group: g.id, Slot: slot, Frame: wire.GetCopy([]byte("record"))})
		w.last, w.bytes = last, 6
		g.syncBacklog.Add(6)
	}
	if text != "" {
		w.gated = append(w.gated, paxos.Outgoing{To: 2, Frame: wire.GetCopy([]byte(text)), Gate: max(last, 1)})
	}
	return w
}

// A vote that leaves before its record is on the disk is a vote that a crash takes back. While one fdatasync runs, the
// work of all groups must pile up, then go with one write and one sync, and only then may messages leave and the loops
// hear of it.
func TestSyncerGroupCommit(t *testing.T) {
	held := wire.Outstanding()
	j := &journal{hold: make(chan struct{})}
	s, g := newTestSyncer(j)
	s.put(testWork(g[0], 1, 1, "a"))
	eventually(t, "the first append", func() bool {
		j.mu.Lock()
		defer j.mu.Unlock()
		return len(j.lines) == 1
	})
	s.put(testWork(g[1], 7, 1, "b"))
	s.put(testWork(g[0], 2, 2, "c"))
	s.put(testWork(g[0], 0, 0, "d")) // no record of its own, but earlier ones to wait for
	trim := getWork(g[1])
	trim.trim = 5
	s.put(trim)
	if lines := j.take(); !slices.Equal(lines, []string{"append 1/1"}) || g[0].durable.Load() != 0 {
		t.Fatalf("before the sync: %q, durable %d", lines, g[0].durable.Load())
	}
	j.hold <- struct{}{}
	j.hold <- struct{}{}
	eventually(t, "the second round", func() bool { return g[0].durable.Load() == 2 && g[1].durable.Load() == 1 })
	s.close()
	want := []string{"sync", "send a", "append 2/7", "append 1/2", "sync", "send b", "send c", "send d", "trim 2/6"}
	if lines := j.take(); !slices.Equal(lines, want) {
		t.Errorf("got  %q\nwant %q", lines, want)
	}
	if g[0].syncBacklog.Load() != 0 || g[1].syncBacklog.Load() != 0 {
		t.Error("backlog not given back")
	}
	if n := wire.Outstanding() - held; n != 0 {
		t.Errorf("%d buffers not released", n)
	}
}

// A failed sync is final: nothing that waited for it may leave, nothing is tried again, and the node stops.
func TestSyncerFailure(t *testing.T) {
	held := wire.Outstanding()
	broken := errors.New("broken disk")
	j := &journal{hold: make(chan struct{}), failing: broken}
	s, g := newTestSyncer(j)
	s.put(testWork(g[0], 1, 1, "a"))
	j.hold <- struct{}{}
	<-s.node.stopping
	if err := s.node.Err(); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	j.mu.Lock()
	j.failing = nil
	j.mu.Unlock()
	s.put(testWork(g[0], 2, 2, "b"))
	s.close()
	s.put(testWork(g[0], 3, 3, "c"))
	if lines := j.take(); !slices.Equal(lines, []string{"append 1/1", "sync"}) || g[0].durable.Load() != 0 {
		t.Errorf("%q, durable %d", lines, g[0].durable.Load())
	}
	if n := wire.Outstanding() - held; n != 0 {
		t.Errorf("%d buffers not released", n)
	}
}
