package client_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/paxbench/paxbench/engine"
	"github.com/paxbench/paxbench/engine/client"
	"github.com/paxbench/paxbench/engine/kv"
	"github.com/paxbench/paxbench/wire"
)

// watch sends one command or query after the other, and holds the epoch of each answer against those that anybody had before it
// was sent.
type watch struct {
	mu     sync.Mutex
	latest wire.Ballot
	seen   map[wire.Ballot]int
	modes  map[string]int
	faults []string
}

// epochs is in how many epochs answers came.
func (w *watch) epochs() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.seen)
}

func (w *watch) ask(what string, send func(client.Done) error) {
	w.mu.Lock()
	before := w.latest
	w.mu.Unlock()
	done := make(chan struct{})
	err := send(client.DoneFunc(func(r *client.Result) {
		w.mu.Lock()
		defer w.mu.Unlock()
		defer close(done)
		switch {
		case r.Err != nil: // it promises nothing
		case r.Epoch == 0:
			w.faults = append(w.faults, what+" is answered in no epoch")
		case r.Epoch < before:
			w.faults = append(w.faults, fmt.Sprintf("%s is answered in epoch %v, an answer of epoch %v had come before", what, r.Epoch, before))
		default:
			w.latest = max(w.latest, r.Epoch)
			w.seen[r.Epoch]++
			w.modes[what]++
		}
	}))
	if err != nil {
		time.Sleep(time.Millisecond)
		return
	}
	<-done
}

// What can go wrong: a reply names the epoch of the node that happens to answer and not of the leadership that holds, so that a client
// sees it fall, or takes two leaderships for one. Three clients write and read, by quorum and by lease, while leaders stop and come
// back: no answer is of an earlier epoch than one that was there before the question; each leadership has its own.
func TestEpochs(t *testing.T) {
	c := newClusterWith(t, 3, false, func(cfg *engine.Config) { cfg.Lease = 100 * time.Millisecond })
	w := &watch{seen: map[wire.Ballot]int{}, modes: map[string]int{}}
	var all sync.WaitGroup
	stop := make(chan struct{})
	for i := range 3 {
		cl := c.dial()
		all.Go(func() {
			key := []byte(fmt.Sprint("k", i))
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				switch n % 3 {
				case 0:
					w.ask("a write", func(d client.Done) error { return cl.Go(kv.AppendPut(nil, key, key), d) })
				case 1:
					w.ask("a read", func(d client.Done) error { return cl.GoQuery(kv.AppendQueryGet(nil, key), wire.QueryLinearizable, d) })
				case 2:
					w.ask("a read by lease", func(d client.Done) error { return cl.GoQuery(kv.AppendQueryGet(nil, key), wire.QueryLease, d) })
				}
			}
		})
	}
	const changes = 3
	stopped := uint64(0)
	leases := func() uint64 {
		n := stopped
		for _, node := range c.nodes {
			n += node.Group(1).Metrics().LeaseReads
		}
		return n
	}
	for n := range changes + 1 {
		for end := time.Now().Add(20 * time.Second); w.epochs() <= n || leases() == 0; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("after %d changes of the leader: answers in %d epochs, %d by lease", n, w.epochs(), leases())
			}
		}
		time.Sleep(150 * time.Millisecond)
		if n == changes {
			break
		}
		id := c.leader()
		stopped += c.nodes[id].Group(1).Metrics().LeaseReads
		c.stop(id)
		c.leader()
		c.restart(id)
	}
	close(stop)
	all.Wait()
	for _, f := range w.faults {
		t.Error(f)
	}
	if len(w.modes) < 3 {
		t.Errorf("answers %v", w.modes)
	}
	t.Logf("epochs %v, answers %v, %d by lease", w.seen, w.modes, leases())
}
