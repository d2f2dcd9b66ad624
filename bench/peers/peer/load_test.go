package peer

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"
)

// echo completes operations on goroutines of its own, at once, and fails those after the limit.
type echo struct {
	queue    chan *Op
	proposed atomic.Int64
	most     atomic.Int64
	underWay atomic.Int64
	failFrom int64
}

func newEcho(t *testing.T) *echo {
	e := &echo{queue: make(chan *Op, 1<<16)}
	for range 2 {
		go func() {
			for o := range e.queue {
				e.underWay.Add(-1)
				var err error
				if e.failFrom > 0 && e.proposed.Load() >= e.failFrom {
					err = errors.New("refused")
				}
				o.Complete(Now(), err)
			}
		}()
	}
	t.Cleanup(func() { close(e.queue) })
	return e
}

func (e *echo) Propose(o *Op) {
	e.proposed.Add(1)
	e.most.Store(max(e.most.Load(), e.underWay.Add(1)))
	e.queue <- o
}

func (e *echo) Leads() bool           { return true }
func (e *echo) State() (State, error) { return State{}, nil }
func (e *echo) Close() error          { return nil }

// The load could lose a completion between its inbox and its sleep (it would get stuck), count one twice, or have more
// under way than it says.
func TestRunCompletesEverything(t *testing.T) {
	for _, l := range []Load{
		{Outstanding: 1, Count: 1, Size: 16}, {Outstanding: 100, Count: 1, Size: 8}, {Outstanding: 8, Count: 32, Size: 16},
	} {
		e := newEcho(t)
		l.Length = 50 * time.Millisecond
		r, err := Run(e, l, 1)
		if err != nil {
			t.Fatal(err)
		}
		if want := uint64(e.proposed.Load()) * uint64(l.Count); r.Commands != want || r.Failed != 0 || r.PerSecond <= 0 {
			t.Errorf("%+v: proposed %d commands, result %+v", l, want, r)
		}
		if most := e.most.Load(); most > int64(l.Outstanding) {
			t.Errorf("%+v: %d under way", l, most)
		}
		if r.Latency.P50 <= 0 || r.Latency.P50 > r.Latency.P99 || r.Latency.P99 > r.Latency.Max {
			t.Errorf("%+v: %+v", l, r.Latency)
		}
	}
}

// A failure must end the load, be counted apart, and have no latency.
func TestRunStopsAtFailure(t *testing.T) {
	e := newEcho(t)
	e.failFrom = 500
	r, err := Run(e, Load{Outstanding: 10, Count: 1, Size: 16, Length: time.Minute}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if r.Failed == 0 || r.Failed > 10 || r.Error != "refused" || r.Commands+r.Failed != uint64(e.proposed.Load()) {
		t.Errorf("%+v of %d", r, e.proposed.Load())
	}
}

// The generator shares the cores with what it measures: it must cost next to nothing, and allocate nothing, per operation.
func BenchmarkGenerator(b *testing.B) {
	b.ReportAllocs()
	s := &limited{left: b.N}
	if _, err := Run(s, Load{Outstanding: 256, Count: 1, Size: 16, Length: time.Hour}, 1); err != nil {
		b.Fatal(err)
	}
}

// limited completes operations within Propose, and ends the load by failing.
type limited struct {
	echo
	left int
}

func (s *limited) Propose(o *Op) {
	var err error
	if s.left--; s.left < 0 {
		err = errors.New("done")
	}
	o.Complete(Now(), err)
}

// Replicas that applied the same in another order, or another number, must not look equal; a foreign entry is an error.
func TestMachine(t *testing.T) {
	entry := func(stamp byte) []byte {
		return AppendEntry(nil, &Op{Payload: append([]byte{stamp}, make([]byte, 31)...), Count: 2})
	}
	var a, b Machine
	for _, s := range []byte{1, 2} {
		if err := a.Apply(entry(s)); err != nil {
			t.Fatal(err)
		}
		if err := b.Apply(entry(3 - s)); err != nil {
			t.Fatal(err)
		}
	}
	if a.Commands() != 4 || b.Commands() != 4 || a.Digest() == b.Digest() {
		t.Errorf("%+v, %+v", a.State(), b.State())
	}
	if err := a.Apply([]byte{1, 2}); err == nil {
		t.Error("two bytes are an entry")
	}
}

// slow completes operations in order, each a while after the one before: a server of a known rate.
type slow struct {
	echo
	each time.Duration
}

func (e *slow) Propose(o *Op) { e.queue <- o }

// What can go wrong: an open loop measures from when it got round to sending, and hides that the server was behind
// (coordinated omission); or it sends more or less than it was told.
func TestOpenLoop(t *testing.T) {
	e := newEcho(t)
	r, err := Run(e, Load{Outstanding: 100, Count: 1, Size: 16, Rate: 2000, Length: 300 * time.Millisecond}, 1)
	if err != nil || r.Commands != 600 {
		t.Fatalf("%+v, %v; want 600 commands", r, err)
	}
	s := &slow{echo: echo{queue: make(chan *Op, 1<<16)}, each: 2 * time.Millisecond}
	go func() {
		for o := range s.queue {
			time.Sleep(s.each) // at most 500 a second
			o.Complete(Now(), nil)
		}
	}()
	t.Cleanup(func() { close(s.queue) })
	// 200 operations due within 100 ms, one under way at a time: the last is done 400 ms after the start at the
	// earliest, so it is 300 ms late. From its sending it took 2 ms.
	r, err = Run(s, Load{Outstanding: 1, Count: 1, Size: 16, Rate: 2000, Length: 100 * time.Millisecond}, 1)
	if err != nil || r.Commands != 200 {
		t.Fatalf("%+v, %v", r, err)
	}
	if r.Latency.Max < int64(40*time.Millisecond) {
		t.Errorf("latency of what was completed within the run: %+v; the queue does not show", r.Latency)
	}
}

// first notes how late the first operation was.
type first struct {
	echo
	late int64 // nanoseconds; below 0: none yet
}

func (f *first) Propose(o *Op) {
	now := Now()
	if f.late < 0 {
		f.late = now - o.sent
	}
	o.Complete(now, nil)
}

// An open loop that has its clock running while it makes its operations begins with a backlog, and calls that the server's latency.
func TestOpenLoopStartsWithoutBacklog(t *testing.T) {
	least := int64(time.Hour)
	for range 5 { // the machine may be busy
		f := &first{late: -1}
		if _, err := Run(f, Load{Outstanding: 1 << 18, Count: 1, Size: 16, Rate: 1e5, Length: 10 * time.Millisecond}, 1); err != nil {
			t.Fatal(err)
		}
		least = min(least, f.late)
	}
	if least > int64(time.Millisecond) {
		t.Errorf("the first operation was proposed %v after it was due", time.Duration(least))
	}
}
