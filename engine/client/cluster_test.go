package client_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/paxbench/paxbench/engine"
	"github.com/paxbench/paxbench/engine/client"
	"github.com/paxbench/paxbench/engine/kv"
	"github.com/paxbench/paxbench/wire"
)

// cluster is real nodes in this process, over real connections and files.
type cluster struct {
	t       *testing.T
	dir     string
	members map[wire.NodeID]string
	nodes   map[wire.NodeID]*engine.Node
	null    bool
	config  func(*engine.Config) // nil: changes nothing
}

const clusterID = 0xC0FFEE

func newCluster(t *testing.T, n int, null bool) *cluster { return newClusterWith(t, n, null, nil) }

func newClusterWith(t *testing.T, n int, null bool, config func(*engine.Config)) *cluster {
	c := &cluster{
		t: t, dir: t.TempDir(), members: map[wire.NodeID]string{}, nodes: map[wire.NodeID]*engine.Node{}, null: null, config: config,
	}
	listeners := map[wire.NodeID]net.Listener{}
	for id := wire.NodeID(1); int(id) <= n; id++ {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listeners[id], c.members[id] = l, l.Addr().String()
	}
	for id, l := range listeners {
		c.start(id, l, true)
	}
	t.Cleanup(func() {
		for id := range c.nodes {
			c.stop(id)
		}
	})
	return c
}

func (c *cluster) start(id wire.NodeID, l net.Listener, bootstrap bool) {
	cfg := engine.Config{
		Node: id, Cluster: clusterID, Members: c.members, Dir: filepath.Join(c.dir, fmt.Sprint(id)), Bootstrap: bootstrap,
		Listener: l, SegmentBytes: 1 << 20, SnapshotBytes: 64 << 10, RetainBytes: 64 << 10,
		NewStateMachine: func(wire.GroupID) engine.StateMachine {
			if c.null {
				return kv.NewNull()
			}
			return kv.New()
		},
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	if c.config != nil {
		c.config(&cfg)
	}
	n, err := engine.Open(cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	c.nodes[id] = n
}

func (c *cluster) stop(id wire.NodeID) {
	if err := c.nodes[id].Close(); err != nil {
		c.t.Error(err)
	}
	delete(c.nodes, id)
}

func (c *cluster) restart(id wire.NodeID) {
	for {
		l, err := net.Listen("tcp", c.members[id])
		if err == nil {
			c.start(id, l, false)
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func (c *cluster) dial() *client.Client {
	var addrs []string
	for _, a := range c.members {
		addrs = append(addrs, a)
	}
	cl, err := client.Dial(context.Background(), client.Config{Cluster: clusterID, Addrs: addrs, Timeout: 30 * time.Second})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = cl.Close() })
	return cl
}

func (c *cluster) leader() wire.NodeID {
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		for id, n := range c.nodes {
			if s := n.Group(1).Status(); s.Role == "leader" {
				return id
			}
		}
	}
	c.t.Fatal("no leader")
	return 0
}

// digest asks one replica for its digest.
func (c *cluster) digest(id wire.NodeID) kv.Digest {
	c.t.Helper()
	n, err := client.DialNode(context.Background(), c.members[id], clusterID, 1)
	if err != nil {
		c.t.Fatal(err)
	}
	defer n.Close()
	p, _, err := n.Query(context.Background(), kv.AppendQueryDigest(nil), wire.QueryStale)
	if err != nil {
		c.t.Fatal(err)
	}
	d, err := kv.DecodeDigest(p)
	if err != nil {
		c.t.Fatal(err)
	}
	return d
}

// equal waits until all replicas have the same digest.
func (c *cluster) equal() kv.Digest {
	c.t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		first, same := c.digest(1), true
		for id := range c.nodes {
			same = same && c.digest(id) == first
		}
		if same {
			return first
		}
		if time.Now().After(end) {
			for id := range c.nodes {
				c.t.Errorf("node %d: %+v", id, c.digest(id))
			}
			c.t.Fatal("replicas stay different")
		}
	}
}

// What can go wrong: against real nodes, with leaders that stop and come back and snapshots in between, an increment
// is lost or executed twice, or a read misses an acknowledged one.
func TestCountersSurviveLeaderChanges(t *testing.T) {
	c := newCluster(t, 3, false)
	const workers = 6
	var stop atomic.Bool
	var acked, unknown [workers]int64
	var wg sync.WaitGroup
	for w := range workers {
		cl := c.dial()
		wg.Add(1)
		go func() {
			defer wg.Done()
			key := fmt.Appendf(nil, "counter-%d", w)
			for !stop.Load() {
				p, err := cl.Do(context.Background(), kv.AppendIncr(nil, key, 1))
				if client.MayBeDone(err) && err != nil {
					unknown[w]++
					continue
				}
				if err != nil {
					t.Errorf("worker %d: %v", w, err)
					return
				}
				acked[w]++
				r, err := kv.DecodeResult(p)
				if v, ok := r.Int(); err != nil || !ok || v < acked[w] || v > acked[w]+unknown[w] {
					t.Errorf("worker %d: counter is %d after %d acknowledged, %d unknown: %v", w, v, acked[w], unknown[w], err)
					return
				}
				if acked[w]%50 == 0 {
					if v := readCounter(t, cl, key); v < acked[w] {
						t.Errorf("worker %d: linearizable read of %d after %d were acknowledged", w, v, acked[w])
					}
				}
			}
		}()
	}
	for range 4 {
		time.Sleep(300 * time.Millisecond)
		id := c.leader()
		c.stop(id)
		time.Sleep(100 * time.Millisecond)
		c.restart(id)
	}
	time.Sleep(300 * time.Millisecond)
	stop.Store(true)
	wg.Wait()
	cl := c.dial()
	total := int64(0)
	for w := range workers {
		v := readCounter(t, cl, fmt.Appendf(nil, "counter-%d", w))
		if v < acked[w] || v > acked[w]+unknown[w] {
			t.Errorf("counter %d is %d, acknowledged %d, unknown %d", w, v, acked[w], unknown[w])
		}
		total += acked[w]
	}
	t.Logf("%d acknowledged, %v unknown, digest %+v", total, unknown, c.equal())
}

func readCounter(t *testing.T, cl *client.Client, key []byte) int64 {
	p, err := cl.Query(context.Background(), kv.AppendQueryGet(nil, key), wire.QueryLinearizable)
	if err != nil {
		t.Error(err)
		return -1
	}
	a, err := kv.DecodeGetAnswer(p)
	if err != nil || len(a.Value) != 8 {
		t.Errorf("%+v, %v", a, err)
		return -1
	}
	return int64(binary.LittleEndian.Uint64(a.Value))
}

// What can go wrong: blocks submitted asynchronously are lost or doubled while leaders change. Null's counts and sums
// of sequence numbers must be exactly the acknowledged ones.
func TestBlocksSurviveLeaderChanges(t *testing.T) {
	c := newCluster(t, 3, true)
	cl := c.dial()
	session := cl.Session()
	var mu sync.Mutex
	var count, sum uint64
	var failed []error
	slots := make(chan struct{}, 32)
	for i := range 400 {
		slots <- struct{}{}
		b := cl.NewBlock()
		for range 50 {
			b.Add([]byte("sixteen bytes...."))
		}
		err := cl.Submit(b, client.BlockDoneFunc(func(r *client.BlockResult) {
			mu.Lock()
			defer mu.Unlock()
			if r.Err != nil {
				failed = append(failed, r.Err)
			} else {
				count += uint64(r.Count)
				sum += kv.SeqSum(r.First, uint64(r.Count))
			}
			<-slots
		}))
		if err != nil {
			t.Fatal(err)
		}
		if i%130 == 100 {
			id := c.leader()
			c.stop(id)
			c.restart(id)
		}
	}
	for range cap(slots) {
		slots <- struct{}{}
	}
	if err := errors.Join(failed...); err != nil || cl.Session() != session {
		t.Fatalf("session %d after %d, %v", cl.Session(), session, err)
	}
	d := c.equal()
	if d.Commands != 400*50 || count != d.Commands {
		t.Fatalf("%d commands in the state, %d acknowledged", d.Commands, count)
	}
	p, err := cl.Query(context.Background(), kv.AppendQueryScan(nil, 0, 0, false), wire.QueryLinearizable)
	if err != nil {
		t.Fatal(err)
	}
	page, err := kv.DecodeScanPage(p)
	if err != nil {
		t.Fatal(err)
	}
	if r, ok := page.NextSession(); !ok || r.Session != session || r.Count != count || r.Sum != sum {
		t.Fatalf("session in the state: %+v, acknowledged %d with sum %d", r, count, sum)
	}
}
