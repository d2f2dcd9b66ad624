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
	Beyond   bool   // as in Options
	Workers  int    // schedules played at a time; 0: one
	Again    uint64 // every Again-th schedule is played twice and must give the same trace (S16); 0: 100
	Most     int    // end after so many violations; 0: one
	Stop     <-chan struct{}
	Every    time.Duration    // between calls of Progress; 0: 5 s
	Progress func(s *Summary) // told how it goes, by one goroutine at a time; s is valid until it returns; nil: not
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
	Missing   []string     // counters among Vital that were zero in VitalSpan schedules in a row, or, if there were fewer, in all
	Next      uint64       // every schedule below this seed was played

	Slowest uint64        // while it goes on: of the schedules being played, the one begun first
	Since   time.Duration // and how long ago
}

// VitalSpan is how many schedules must have seen everything that is vital.
const VitalSpan = 10_000

// Rate is schedules per second of real time.
func (s *Summary) Rate() float64 { return float64(s.Schedules) / max(s.Elapsed.Seconds(), 1e-9) }

// batchRun is a batch being played.
type batchRun struct {
	b     Batch
	begin time.Time

	mu      sync.Mutex
	s       Summary
	span    Counts // since the last whole VitalSpan
	next    uint64
	playing map[uint64]time.Time // by seed: when it began
}

// Run plays the schedules until all are done, enough are violated, something vital is missing, or Stop is closed.
func (b Batch) Run() *Summary {
	b.Again, b.Every = cmp.Or(b.Again, 100), cmp.Or(b.Every, 5*time.Second)
	r := &batchRun{b: b, begin: time.Now(), next: b.First, span: Counts{}, playing: map[uint64]time.Time{}}
	r.s.Counts = Counts{}
	held := wire.Outstanding()
	over := make(chan struct{})
	var told, workers sync.WaitGroup
	if b.Progress != nil {
		told.Go(func() { r.tell(over) })
	}
	for range max(b.Workers, 1) {
		workers.Go(func() {
			for seed, ok := r.take(); ok; seed, ok = r.take() {
				r.add(b.play(seed))
			}
		})
	}
	workers.Wait()
	close(over)
	told.Wait()
	s := &r.s
	s.Elapsed, s.Next = time.Since(r.begin), r.next
	if left := wire.Outstanding() - held; left != 0 && s.Violation == nil {
		s.Violation = &Violation{Property: "S17", Detail: fmt.Sprintf("%d buffers were never released", left), Seed: b.First}
		s.Found = append(s.Found, s.Violation)
	}
	if s.Schedules < VitalSpan {
		s.Missing = b.missing(s.Counts)
	}
	return s
}

// take gives the next seed.
func (r *batchRun) take() (seed uint64, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.b.Stop:
		return 0, false
	default:
	}
	if len(r.s.Found) >= max(r.b.Most, 1) || len(r.s.Missing) > 0 || r.next-r.b.First >= r.b.Seeds {
		return 0, false
	}
	seed = r.next
	r.next++
	r.playing[seed] = time.Now()
	return seed, true
}

// add takes what became of a schedule.
func (r *batchRun) add(of *Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &r.s
	delete(r.playing, of.Seed)
	s.Schedules++
	s.Events += uint64(of.Events)
	s.SimTime += of.SimTime
	s.Counts.Add(of.Counts)
	r.span.Add(of.Counts)
	if s.Schedules%VitalSpan == 0 {
		s.Missing = r.b.missing(r.span)
		clear(r.span)
	}
	if v := of.Violation; v != nil {
		at, _ := slices.BinarySearchFunc(s.Found, v.Seed, func(o *Violation, seed uint64) int { return cmp.Compare(o.Seed, seed) })
		s.Found = slices.Insert(s.Found, at, v)
		s.Violation = s.Found[0]
	}
}

// tell calls Progress until the batch is over.
func (r *batchRun) tell(over <-chan struct{}) {
	tick := time.NewTicker(r.b.Every)
	defer tick.Stop()
	for {
		select {
		case <-over:
			return
		case now := <-tick.C:
			r.mu.Lock()
			s := &r.s
			s.Elapsed, s.Next, s.Since = now.Sub(r.begin), r.next, 0
			for seed, began := range r.playing {
				if since := now.Sub(began); since > s.Since {
					s.Slowest, s.Since = seed, since
				}
				s.Next = min(s.Next, seed)
			}
			r.b.Progress(s)
			r.mu.Unlock()
		}
	}
}

// missing are the vital counters that are zero. One node alone has no elections to lose, and two have no majority to spare.
func (b *Batch) missing(c Counts) (names []string) {
	if b.Nodes == 1 || b.Nodes == 2 {
		return nil
	}
	vital := Vital
	if b.Beyond {
		vital = VitalBeyond
	}
	for _, name := range vital {
		if c[name] == 0 {
			names = append(names, name)
		}
	}
	return names
}

// play plays one schedule, and now and then once more (S16).
func (b *Batch) play(seed uint64) *Result {
	o := Options{Seed: seed, Nodes: b.Nodes, Beyond: b.Beyond}
	r := Run(o)
	if r.Violation == nil && seed%b.Again == 0 {
		r.Counts["schedules played twice"]++
		if again := Run(o); again.Hash != r.Hash || again.Events != r.Events {
			r.Violation = &Violation{Property: "S16", Seed: seed, Event: r.Events,
				Detail: fmt.Sprintf("the same seed gave two traces: %d events with hash %x, then %d with %x", r.Events, r.Hash, again.Events, again.Hash)}
		}
	}
	return r
}
