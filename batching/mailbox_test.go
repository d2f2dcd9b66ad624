package batching

import (
	"runtime"
	"sync"
	"testing"
	"time"
)

// Items must come out in the order in which one producer put them in, once each, whatever the swaps.
func TestMailboxIsFIFO(t *testing.T) {
	m := NewMailbox[int](1000, 1000)
	var got, spare []int
	for i := range 500 {
		if i%3 == 0 {
			m.PutUrgent(i)
		} else {
			m.Put(i, 1)
		}
		if i%7 == 0 {
			spare = m.Swap(spare)
			got = append(got, spare...)
		}
	}
	got = append(got, m.Swap(spare)...)
	for i, v := range got {
		if v != i {
			t.Fatalf("item %d came as number %d", v, i)
		}
	}
	if len(got) != 500 {
		t.Errorf("%d items", len(got))
	}
	if out := m.Swap(nil); len(out) != 0 {
		t.Errorf("an empty mailbox gives %v", out)
	}
}

// A full mailbox must refuse, by items and by bytes, and take again after a swap: an unbounded one would turn a slow
// consumer into exhausted memory. An item larger than the bound must not be refused for ever.
func TestMailboxBounds(t *testing.T) {
	m := NewMailbox[string](3, 100)
	put := func(v string, bytes int, want bool) {
		t.Helper()
		if got := m.Put(v, bytes); got != want {
			t.Errorf("Put(%q, %d) = %v", v, bytes, got)
		}
	}
	put("a", 60, true)
	put("b", 41, false)
	put("c", 40, true)
	put("d", 0, true)
	put("e", 0, false)
	if !m.PutUrgent("f") {
		t.Error("urgent item refused")
	}
	if items, bytes := m.Len(); items != 4 || bytes != 100 {
		t.Errorf("Len: %d items, %d bytes", items, bytes)
	}
	if got := m.Swap(nil); len(got) != 4 || got[3] != "f" {
		t.Errorf("Swap: %q", got)
	}
	put("large", 1000, true)
	put("g", 1, false)
	m.Swap(nil)
	put("g", 1, true)

	left := m.Close()
	if len(left) != 1 || left[0] != "g" || !m.Closed() {
		t.Errorf("Close: %q", left)
	}
	put("h", 1, false)
	if m.PutUrgent("i") || m.Close() != nil {
		t.Error("a closed mailbox takes or gives items")
	}
	select {
	case <-m.Wait():
	default:
		t.Error("Close did not wake the consumer")
	}
	if got := m.Swap(nil); len(got) != 0 {
		t.Errorf("a closed mailbox gives %q", got)
	}
}

// Many producers against a consumer that sleeps whenever it can: were one wake-up lost, the last items would stay and
// the test would hang. Each producer's own items must stay in order.
func TestMailboxLosesNoWakeUp(t *testing.T) {
	const producers, each = 8, 20_000
	type item struct{ producer, number int }
	m := NewMailbox[item](64, 1<<20)
	var wait sync.WaitGroup
	for p := range producers {
		wait.Go(func() {
			for i := range each {
				for !m.Put(item{p, i}, 10) {
					runtime.Gosched()
				}
			}
		})
	}
	var next [producers]int
	var batch []item
	for received := 0; received < producers*each; {
		select {
		case <-m.Wait():
		case <-time.After(10 * time.Second):
			items, _ := m.Len()
			t.Fatalf("asleep with %d items waiting", items)
		}
		batch = m.Swap(batch)
		for _, it := range batch {
			if it.number != next[it.producer] {
				t.Fatalf("producer %d: item %d in place of %d", it.producer, it.number, next[it.producer])
			}
			next[it.producer]++
			received++
		}
	}
	wait.Wait()
}

// Put and Close race at shutdown: each item must either be refused or come out of Swap or Close, never vanish with
// its reference.
func TestMailboxCloseLosesNothing(t *testing.T) {
	for range 200 {
		m := NewMailbox[int](1<<20, 1<<20)
		var taken [4]int
		var wait sync.WaitGroup
		start := make(chan struct{})
		for p := range taken {
			wait.Go(func() {
				<-start
				for range 100 {
					if m.Put(1, 1) {
						taken[p]++
					}
				}
			})
		}
		close(start)
		out := len(m.Swap(nil))
		runtime.Gosched()
		out += len(m.Close())
		wait.Wait()
		if in := taken[0] + taken[1] + taken[2] + taken[3]; in != out {
			t.Fatalf("%d items in, %d out", in, out)
		}
	}
}

// What a swapped-out slice pointed to must not be kept alive by the mailbox.
func TestMailboxForgetsItems(t *testing.T) {
	m := NewMailbox[*int](10, 10)
	for range 3 {
		m.Put(new(int), 1)
	}
	first := m.Swap(nil)
	m.Swap(first)
	for i, p := range first {
		if p != nil {
			t.Errorf("item %d is still held", i)
		}
	}
}

// In steady state a mailbox must not allocate: it is on the path of every frame.
func TestMailboxDoesNotAllocate(t *testing.T) {
	m := NewMailbox[*int](1000, 1000)
	v := new(int)
	var batch []*int
	if allocs := testing.AllocsPerRun(1000, func() {
		for range 100 {
			m.Put(v, 1)
		}
		<-m.Wait()
		batch = m.Swap(batch)
	}); allocs != 0 {
		t.Errorf("%v allocations for 100 items", allocs)
	}
}

func BenchmarkMailbox(b *testing.B) {
	m := NewMailbox[*int](1<<16, 1<<30)
	done := make(chan struct{})
	go func() {
		defer close(done)
		var batch []*int
		for n := 0; n < b.N; n += len(batch) {
			<-m.Wait()
			batch = m.Swap(batch)
		}
	}()
	v := new(int)
	b.ReportAllocs()
	for range b.N {
		for !m.Put(v, 1) {
			runtime.Gosched()
		}
	}
	<-done
}
