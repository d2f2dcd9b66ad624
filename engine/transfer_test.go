package engine

import (
	"io"
	"log/slog"
	"os"
	"testing"

	"github.com/paxbench/paxbench/engine/snapshot"
	"github.com/paxbench/paxbench/engine/transport"
	"github.com/paxbench/paxbench/wire"
)

// chunks is a transport that counts the pieces of snapshots.
type chunks struct{ sent int }

func (c *chunks) Send(_ wire.NodeID, f *wire.Buffer) bool {
	c.sent++
	f.Release()
	return true
}
func (c *chunks) Serve(func(wire.NodeID, *wire.Buffer)) error { return nil }
func (c *chunks) Close() error                                { return nil }
func (c *chunks) Stats() transport.Stats                      { return transport.Stats{} }

// A peer that was away for so long that its snapshot was given up must not wait for another one when it is back, as if
// it were busy restoring: a quorum may depend on it.
func TestTransferAfterOneGivenUp(t *testing.T) {
	now, net := int64(1), &chunks{}
	d := &Driver{c: DriverConfig{Now: func() int64 { return now }}}
	d.groups = []*GroupDriver{{d: d}}
	n := &Node{
		c:   Config{Node: 1, Cluster: 77, Dir: t.TempDir()}.withDefaults(),
		log: slog.New(slog.DiscardHandler), net: net, stopping: make(chan struct{}), limits: Limits{}.withDefaults(), driver: d,
	}
	if err := os.MkdirAll(n.c.snapDir(), 0o755); err != nil {
		t.Fatal(err)
	}
	meta := snapshot.Meta{Cluster: 77, Group: 1, Slot: 88}
	_, size, err := snapshot.Write(n.c.SnapshotFS, n.c.snapDir(), meta, func(w io.Writer) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	g := newGroup(n, 1, &null{})
	ask := func(want int, what string) {
		t.Helper()
		g.transfers.start(2, 80)
		if got := g.driver.Transfers(); got != want {
			t.Fatalf("%s: %d transfers, want %d", what, got, want)
		}
	}

	ask(1, "first")
	g.driver.Transfer(false)
	if net.sent == 0 {
		t.Fatal("nothing was sent")
	}
	ask(1, "again while it is under way")
	now += int64(transferGiveUp) + 1
	g.driver.Transfer(true)
	ask(0, "just given up")
	now += TransferRetry
	ask(1, "a moment later")

	g.driver.Transfer(false)
	g.transfers.ack(2, snapAck{slot: 88, offset: uint64(size), total: uint64(size)})
	g.driver.Transfer(false)
	now += TransferRetry
	ask(0, "while the peer restores")
	now += int64(transferGrace)
	ask(1, "after it had time to")
	g.driver.Transfer(false)
	now += int64(transferGiveUp) + 1
	g.driver.Transfer(true) // ends it, which closes its file
	ask(0, "at the end")
}
