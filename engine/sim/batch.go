package sim

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/paxbench/paxbench/wire"
)

// Batch is many schedules.
type Batch struct {
	First    uint64 // seed of the first; the others follow
	Seeds    uint64 // how many
	Nodes    int    // as in Options
	Workers  int    // schedules played at a time; 0: one
	Again    uint64 // every Again-th schedule is played twice and must give the same trace (S16); 0: 100
	Most     int    // end after so many violations; 0: one
	Stop     <-chan struct{}
	Progress func(done uint64, s *Summary) // called after each schedule, by one goroutine at a time; nil: not
}

// Summary is what became of a batch.
type Summary struct {
	Schedules uint64
	Events    uint64
	SimTime   time.Duration
	Elapsed   time.Duration
	Counts    Counts
	Violation *Violation   // of the lowest seed among those found
	Found     []*Violation // all, by seed
	Missing   []string     // counters among Vital that are zero: a batch of this size should have had some
}

// Rate is schedules per second of real time.
func (s *Summary) Rate() float64 { return float64(s.Schedules) / max(s.Elapsed.Seconds(), 1e-9) }

// Run plays the schedules until all are done, enough are violated, or Stop is closed.
func (b Batch) Run() *Summary {
	if b.Again == 0 {
		b.Again = 100
	}
	s := &Summary{Counts: Counts{}}
	begin := time.Now()
	held := wire.Outstanding()
	var mu sync.Mutex
	next := b.First
	take := func() (seed uint64, ok bool) {
		mu.Lock()
		defer mu.Unlock()
		select {
		case <-b.Stop:
			return 0, false
		default:
		}
		if len(s.Found) >= max(b.Most, 1) || next-b.First >= b.Seeds {
			return 0, false
		}
		next++
		return next - 1, true
	}
	add := func(r *Result) {
		mu.Lock()
		defer mu.Unlock()
		s.Schedules++
		s.Events += uint64(r.Events)
		s.SimTime += r.SimTime
		s.Counts.Add(r.Counts)
		if v := r.Violation; v != nil {
			at, _ := slices.BinarySearchFunc(s.Found, v.Seed, func(o *Violation, seed uint64) int { return cmp.Compare(o.Seed, seed) })
			s.Found = slices.Insert(s.Found, at, v)
			s.Violation = s.Found[0]
		}
		s.Elapsed = time.Since(begin)
		if b.Progress != nil {
			b.Progress(s.Schedules, s)
		}
	}
	var workers sync.WaitGroup
	for range max(b.Workers, 1) {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for {
				seed, ok := take()
				if !ok {
					return
				}
				add(b.play(seed))
			}
		}()
	}
	workers.Wait()
	s.Elapsed = time.Since(begin)
	if left := wire.Outstanding() - held; left != 0 && s.Violation == nil {
		s.Violation = &Violation{Property: "S17", Detail: fmt.Sprintf("%d buffers were never released", left), Seed: b.First}
	}
	for _, name := range Vital {
		if s.Counts[name] == 0 {
			s.Missing = append(s.Missing, name)
		}
	}
	return s
}

// play plays one schedule, and now and then once more (S16).
func (b *Batch) play(seed uint64) *Result {
	o := Options{Seed: seed, Nodes: b.Nodes}
	r := Run(o)
	if r.Violation == nil && seed%b.Again == 0 {
		if again := Run(o); again.Hash != r.Hash || again.Events != r.Events {
			r.Violation = &Violation{Property: "S16", Seed: seed, Event: r.Events,
				Detail: fmt.Sprintf("the same seed gave two traces: %d events with hash %x, then %d with %x", r.Events, r.Hash, again.Events, again.Hash)}
		}
	}
	return r
}
