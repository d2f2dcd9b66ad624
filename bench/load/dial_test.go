package load

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/paxbench/paxbench/engine"
	"github.com/paxbench/paxbench/engine/client"
	"github.com/paxbench/paxbench/engine/kv"
	"github.com/paxbench/paxbench/engine/wal"
	"github.com/paxbench/paxbench/wire"
)

// realNode opens a cluster of one on a free port.
func realNode(t *testing.T, sm SM) (addr string, node *engine.Node) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = listener.Addr().String()
	policy, err := wal.ParsePolicy("never")
	if err != nil {
		t.Fatal(err)
	}
	node, err = engine.Open(engine.Config{
		Node: 1, Cluster: 7, Members: map[wire.NodeID]string{1: addr}, Dir: filepath.Join(t.TempDir(), "1"), Bootstrap: true,
		Listener: listener, Fsync: policy, Logger: slog.New(slog.DiscardHandler), SegmentBytes: 4 << 20,
		NewStateMachine: func(wire.GroupID) engine.StateMachine {
			if sm == Null {
				return kv.NewNull()
			}
			return kv.New()
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = node.Close() }) // closed already where the test is about that
	return addr, node
}

// The whole way: generator, client library, node, state machine, and back to the ledger. A sequence number, slot or
// status that the adapter passes on wrongly shows as an audit that does not come out even.
func TestAgainstEngine(t *testing.T) {
	for _, c := range []Config{
		{SM: Null, Inflight: 2000, Ops: 50_000},
		{SM: Null, Inflight: 200, Ops: 5_000, API: APICall},
		{SM: KV, Inflight: 500, Ops: 20_000, Keys: 100, Reads: 0.2},
		{SM: KV, Inflight: 100, Ops: 3_000, Keys: 100, Reads: 0.2, ReadMode: ReadLog, API: APICall},
		{SM: KV, Inflight: 20, Ops: 300, Keys: 10, Reads: 0.2, ReadMode: ReadLease},
		{SM: KV, Inflight: 20, Ops: 300, Keys: 10, Reads: 0.2, ReadMode: ReadStale, Rate: 2000, Arrival: Poisson},
	} {
		c.Clients, c.Seed, c.Dist = 3, 5, Zipf(0.8)
		addr, _ := realNode(t, c.SM)
		ctx := t.Context()
		targets, err := Dial(ctx, client.Config{Cluster: 7, Addrs: []string{addr}}, c)
		if err != nil {
			t.Fatal(err)
		}
		r, err := Run(ctx, c, targets)
		if err != nil {
			t.Fatal(err)
		}
		if got := uint64(r.Response.TotalCount()); got != c.Ops || r.Failed+r.Unknown+r.Unsent+r.Refused != 0 {
			t.Errorf("%+v: %d acknowledged, %d failed, %d unknown, %d refused, %v", c, got, r.Failed, r.Unknown, r.Refused, r.Errors)
		}
		n, err := client.DialNode(ctx, addr, 7, 1)
		if err != nil {
			t.Fatal(err)
		}
		f, err := r.Ledger.Audit(func(req []byte) ([]byte, error) {
			answer, _, err := n.Query(ctx, req, wire.QueryStale)
			return answer, err
		})
		if err != nil || !f.OK() || !f.Complete || f.Foreign != 0 || c.Reads == 0 && f.Acked != c.Ops {
			t.Errorf("%+v: audit %+v, %v", c, f, err)
		}
		_ = n.Close() // a connection whose use is over
		if err := Close(targets); err != nil {
			t.Error(err)
		}
	}
}

// A node that dies under load: what was under way is unknown, never failed, unless it was never sent; the run ends.
func TestNodeDies(t *testing.T) {
	addr, node := realNode(t, Null)
	c := Config{SM: Null, Clients: 2, Inflight: 1000, Duration: 700 * time.Millisecond, Drain: 500 * time.Millisecond}
	targets, err := Dial(t.Context(), client.Config{Cluster: 7, Addrs: []string{addr}}, c)
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(200*time.Millisecond, func() { _ = node.Close() }) // the death is the point
	r, err := Run(t.Context(), c, targets)
	if err != nil {
		t.Fatal(err)
	}
	if r.Ledger.Acked == 0 || r.Ledger.Unknown+r.Ledger.Failed != 2000 {
		t.Errorf("%d acknowledged, %d unknown, %d failed of 2000 under way", r.Ledger.Acked, r.Ledger.Unknown, r.Ledger.Failed)
	}
	if err := Close(targets); err != nil {
		t.Error(err)
	}
}

// An error names the client and the cause, and what was opened is closed.
func TestDialFails(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := Dial(ctx, client.Config{Cluster: 7, Addrs: []string{"127.0.0.1:1"}}, Config{Clients: 2})
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(fmt.Sprint(err), "client 1 of 2") {
		t.Error(err)
	}
	if _, err := Dial(ctx, client.Config{}, Config{Clients: -1}); err == nil {
		t.Error("settings are not validated")
	}
}

// benchmarkEngine is the generator against one real node that does not wait for its disk.
func BenchmarkEngineNull(b *testing.B) {
	for _, api := range []API{APIBlock, APICall} {
		b.Run(api.String(), func(b *testing.B) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			addr := listener.Addr().String()
			policy, _ := wal.ParsePolicy("never")
			node, err := engine.Open(engine.Config{
				Node: 1, Cluster: 7, Members: map[wire.NodeID]string{1: addr}, Dir: filepath.Join(b.TempDir(), "1"), Bootstrap: true,
				Listener: listener, Fsync: policy, Logger: slog.New(slog.DiscardHandler),
				NewStateMachine: func(wire.GroupID) engine.StateMachine { return kv.NewNull() },
			})
			if err != nil {
				b.Fatal(err)
			}
			defer node.Close()
			c := Config{SM: Null, Clients: 2, Inflight: 16384, API: api, Ops: uint64(b.N)}
			targets, err := Dial(b.Context(), client.Config{Cluster: 7, Addrs: []string{addr}}, c)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.ResetTimer()
			if _, err := Run(b.Context(), c, targets); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
			b.StopTimer()
			_ = Close(targets) // nothing depends on it any more
		})
	}
}
