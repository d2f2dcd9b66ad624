package client

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/paxbench/paxbench/wire"
)

// What can go wrong: an administrative call hangs or loses the node's words, or a replica's state cannot be read
// because the node does not lead.
func TestNode(t *testing.T) {
	f := newFakeCluster(t, 2)
	ctx := context.Background()
	text, err := Admin(ctx, f.nodes[1].addr, testCluster, "status")
	if err != nil || string(text) != "did status" {
		t.Fatalf("%q, %v", text, err)
	}
	if _, err := Admin(ctx, f.nodes[1].addr, testCluster, "nonsense"); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "did nonsense") {
		t.Fatalf("refused: %v", err)
	}
	n, err := DialNode(ctx, f.nodes[1].addr, testCluster, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if w, err := n.Welcome(ctx); err != nil || w.Node != 2 || w.Leader != 1 || len(w.Members) != 2 {
		t.Fatalf("%+v, %v", w, err)
	}
	if p, _, err := n.Query(ctx, []byte("q"), wire.QueryStale); err != nil || string(p) != "answer to q" {
		t.Fatalf("%q, %v", p, err)
	}
	if _, _, err := n.Query(ctx, []byte("q"), wire.QueryLinearizable); !errors.Is(err, ErrNotLeader) {
		t.Fatalf("linearizable at a follower: %v", err)
	}
	f.nodes[1].freeze(true)
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if _, err := n.Admin(short, "status"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("silent node: %v", err)
	}
	f.nodes[1].stop()
	if _, err := n.Admin(ctx, "status"); err == nil {
		t.Fatal("a dead node answers")
	}
	if _, err := Admin(ctx, f.nodes[1].addr, testCluster, "status"); err == nil {
		t.Fatal("a dead node answers")
	}
}
