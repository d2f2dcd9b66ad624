package client

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/paxbench/paxbench/wire"
)

// What can go wrong: the limit does not fall when replies are late, falls to nothing, falls for each reply of a round, or
// does not come back.
func TestAdmission(t *testing.T) {
	c := Config{Timeout: 800 * time.Millisecond}.withDefaults() // a reply should take 100 ms at most
	a := newAdmission(&c)
	ms := func(n int) int64 { return int64(n) * int64(time.Millisecond) }
	if a.limited() || !a.open(127) || a.open(128) {
		t.Fatalf("at the start: %+v", a)
	}
	a.replied(0, ms(50), 128)
	if a.limited() {
		t.Errorf("a quick reply lowers the limit: %+v", a)
	}
	a.replied(0, ms(125), 128) // a quarter too late
	if want := 128 * 0.8; a.limit != want {
		t.Errorf("limit %v, want %v", a.limit, want)
	}
	limit := a.limit
	a.replied(ms(100), ms(900), 102) // of the same round: sent before the limit fell
	a.refused(ms(110), ms(900))
	if a.limit != limit {
		t.Errorf("one round lowers the limit twice, to %v", a.limit)
	}
	a.refused(ms(900), ms(901))
	if a.limit != limit/2 {
		t.Errorf("limit %v, want %v", a.limit, limit/2)
	}
	for i := range 100 {
		a.replied(ms(1000+2000*i), ms(3000+2000*i), 1)
	}
	if a.limit != 1 || a.open(1) || !a.open(0) {
		t.Errorf("limit %v, want one block", a.limit)
	}
	if !a.hopeless(ms(1000), 1, 0) || !a.hopeless(ms(1000), 0, 1) || a.hopeless(ms(1000), 0, 0) || a.hopeless(ms(3000), 1, 1) {
		t.Errorf("replies take %v: who has 1 s left is late, and is sent only if nothing is under way and nobody has more; who has 3 s is not", time.Duration(a.reply))
	}
	a.replied(ms(300000), ms(300010), 0)
	if a.limit != 2 {
		t.Errorf("limit %v, want 2", a.limit)
	}
	a.replied(ms(300000), ms(300090), 1) // in time, but not by much: a block more for a round of replies
	if a.limit != 2.5 {
		t.Errorf("limit %v, want 2.5", a.limit)
	}
	for range 1000 {
		a.replied(ms(300000), ms(300010), int(a.limit)-1)
	}
	if a.limited() {
		t.Errorf("it does not come back: limit %v", a.limit)
	}
	a.refused(ms(400000), ms(400000))
	limit = a.limit
	a.replied(ms(400000), ms(400010), 3)
	if a.limit != limit {
		t.Errorf("the limit rises to %v though nothing is held back by it", a.limit)
	}
}

// What can go wrong: a node is not told how long anybody waits, or told too much: then it works for nobody. What is sent again
// must say less, with the same block.
func TestPatienceIsSent(t *testing.T) {
	f := newFakeCluster(t, 1)
	c := dial(t, testConfig(f))
	again := true
	f.setScript(func(*fakeNode, wire.Kind, wire.Block) action {
		if again {
			again = false
			return busy
		}
		return serve
	})
	mustDo(t, c, "a")
	f.mu.Lock()
	defer f.mu.Unlock()
	sent := f.patience[len(f.patience)-2:]
	if most := uint64(7500 * time.Millisecond); sent[0] > most || sent[0] < most/2 || sent[1] >= sent[0] || sent[1] == 0 {
		t.Errorf("patience %v of a timeout of 10 s; three quarters of what is left are due", sent)
	}
	if f.executed["a"] != 1 {
		t.Errorf("executed %d times", f.executed["a"])
	}
}

// What can go wrong: a block that the leader refuses as late is tried again, which makes the overload worse, or its outcome is
// told wrong: certainly not done, unless an earlier attempt may have been.
func TestExpiredIsFinal(t *testing.T) {
	f := newFakeCluster(t, 1)
	cfg := testConfig(f)
	cfg.BlockCommands = 1
	c := dial(t, cfg)
	var script []action
	f.setScript(func(*fakeNode, wire.Kind, wire.Block) action {
		if len(script) == 0 {
			return serve
		}
		next := script[0]
		script = script[1:]
		return next
	})
	for _, test := range []struct {
		script  []action
		maybe   bool
		resends uint64
	}{
		{[]action{expired}, false, 0},
		{[]action{busy, expired}, false, 1},
		{[]action{cutAfter, expired}, true, 1},
	} {
		f.mu.Lock()
		script = test.script
		f.mu.Unlock()
		before := c.Stats()
		done := make(chan error, 1)
		if err := c.Go([]byte("late"), DoneFunc(func(r *Result) { done <- r.Err })); err != nil {
			t.Fatal(err)
		}
		err := <-done
		if MayBeDone(err) != test.maybe || !test.maybe && !errors.Is(err, ErrTimeout) {
			t.Errorf("%v: %v", test.script, err)
		}
		if s := c.Stats(); s.Resends-before.Resends != test.resends || s.Expired != before.Expired+1 {
			t.Errorf("%v: %d resends, %d expired", test.script, s.Resends-before.Resends, s.Expired-before.Expired)
		}
	}
	mustDo(t, c, "after")
}

// slowLog is a leader that executes a block every so often, first come, first served, and refuses what has expired: an engine
// at its limit.
type slowLog struct {
	deep   bool          // it has proposed everything already, and refuses nothing
	delay  time.Duration // from executing to the reply
	mu     sync.Mutex
	queue  []slowBlock
	served int
}

type slowBlock struct {
	h       *fakeHandler
	frame   *wire.Buffer // one reference
	expires time.Time
}

func (s *slowLog) put(h *fakeHandler, frame *wire.Buffer, patience uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = append(s.queue, slowBlock{h, frame.Retain(), time.Now().Add(time.Duration(patience))})
}

func (s *slowLog) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.served
}

func (s *slowLog) waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.queue)
}

func (s *slowLog) run(every time.Duration, stop chan struct{}) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			for s.serve() {
			}
		case <-stop:
			return
		}
	}
}

// serve takes the next block; true: it was late, and the next one may be served instead.
func (s *slowLog) serve() (late bool) {
	s.mu.Lock()
	if len(s.queue) == 0 {
		s.mu.Unlock()
		return false
	}
	b := s.queue[0]
	s.queue = s.queue[1:]
	late = !s.deep && time.Now().After(b.expires)
	if !late {
		s.served++
	}
	s.mu.Unlock()
	defer b.frame.Release()
	request, _, blk, err := wire.DecodePropose(b.frame.Bytes())
	if err != nil {
		panic(err)
	}
	r := wire.Reply{Request: request, Status: wire.StatusExpired}
	if !late {
		c := b.h.n.c
		c.mu.Lock()
		r = c.execute(request, blk)
		c.mu.Unlock()
	}
	time.AfterFunc(s.delay, func() { b.h.send(&r) })
	return late
}

// What can go wrong: what was given up here is forgotten while the leader still has it, and the next block is sent on top; or it is
// remembered for ever, and nothing is sent any more.
func TestGivenUpIsStillUnderWay(t *testing.T) {
	f := newFakeCluster(t, 1)
	cfg := testConfig(f)
	cfg.Timeout, cfg.BlockCommands, cfg.AttemptTimeout = 500*time.Millisecond, 1, 30*time.Second
	c := dial(t, cfg)
	log := &slowLog{deep: true}
	f.mu.Lock()
	f.slow = log
	f.mu.Unlock()
	t.Cleanup(func() { // before the cluster's own, which wants every buffer back
		for log.waiting() > 0 {
			log.serve()
		}
	})
	submit := func() chan error {
		done := make(chan error, 1)
		b := c.NewBlock()
		b.Add([]byte("x"))
		if err := c.Submit(b, BlockDoneFunc(func(r *BlockResult) { done <- r.Err })); err != nil {
			t.Fatal(err)
		}
		return done
	}
	for round := range 2 {
		if err := <-submit(); !MayBeDone(err) {
			t.Fatalf("without an answer: %v", err)
		}
		sent := c.Stats().Blocks
		next := submit()
		if n := c.Stats().Blocks; n != sent {
			t.Errorf("round %d: a block is sent beside one that the leader still has", round)
		}
		if round == 0 {
			for answered := false; !answered; {
				log.serve() // the first, too late, and whatever is sent from then on
				select {
				case err := <-next:
					if answered = true; err != nil {
						t.Errorf("the next block: %v", err)
					}
				case <-time.After(time.Millisecond):
				}
			}
			continue
		}
		<-next
		eventually(t, "an answer that never comes is waited for no longer", func() bool { <-submit(); return c.Stats().Blocks > sent })
	}
}

// What can go wrong: an overload leaves behind so much that the cluster works for nobody for good, or the client sends what is
// late again and again. Twice what the leader can do, for three timeouts; then 0.8 of it. Afterwards everything must be
// answered, and in the overload what was executed must be what somebody waited for: also when the leader has a window so large
// that it proposes whatever comes, and everything waits behind that, too late from the first reply on. And also when there are so many
// clients that one block of each takes longer than a client's next block comes after.
func TestRecoversFromOverload(t *testing.T) {
	for _, deep := range []bool{false, true} {
		for _, clients := range []int{1, 8} {
			t.Run(fmt.Sprintf("deep=%v/clients=%d", deep, clients), func(t *testing.T) { recoverFromOverload(t, deep, clients) })
		}
	}
}

func recoverFromOverload(t *testing.T, deep bool, clients int) {
	const every = 4 * time.Millisecond
	f := newFakeCluster(t, 1)
	cfg := testConfig(f)
	cfg.Timeout, cfg.BlockCommands, cfg.AttemptTimeout = 500*time.Millisecond, 1, 30*time.Second
	all := make([]*Client, clients)
	for i := range all {
		all[i] = dial(t, cfg)
	}
	log := &slowLog{deep: deep, delay: time.Duration(clients-1) * every}
	f.mu.Lock()
	f.slow = log
	f.mu.Unlock()
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	go func() {
		if deep { // it stalls once, so that everything in the window is late before the first reply
			time.Sleep(cfg.Timeout * 6 / 5)
		}
		log.run(every, stop)
	}()

	var done, unknown, refused atomic.Int64
	var wait sync.WaitGroup
	offer := func(gap, length time.Duration) {
		begin := time.Now()
		next := 0
		for due := begin; due.Before(begin.Add(length)); due = due.Add(gap) {
			time.Sleep(time.Until(due))
			c := all[next%clients]
			next++
			b := c.NewBlock()
			b.Add([]byte("x"))
			wait.Add(1)
			if err := c.Submit(b, BlockDoneFunc(func(r *BlockResult) {
				defer wait.Done()
				switch {
				case r.Err == nil:
					done.Add(1)
				case MayBeDone(r.Err):
					unknown.Add(1)
				default:
					refused.Add(1)
				}
			})); err != nil {
				b.Release()
				refused.Add(1)
				wait.Done()
			}
		}
	}
	offer(every/2, 3*cfg.Timeout)
	wait.Wait()
	during, given := done.Load(), refused.Load()
	if served := log.count(); !deep && (during < int64(served)*3/4 || given == 0 || unknown.Load() > int64(served)/5) {
		t.Errorf("in the overload: %d executed, %d answered, %d refused, %d unknown", served, during, given, unknown.Load())
	}
	resent := uint64(0)
	for _, c := range all {
		resent += c.Stats().Resends
	}
	if resent > uint64(log.count()/10+5*(clients-1)) { // each asks again, a few times, after the block that is first
		t.Errorf("%d resends of %d", resent, during)
	}
	offer(every*5/4, cfg.Timeout) // what is left works itself off
	wait.Wait()
	done.Store(0)
	unknown.Store(0)
	refused.Store(0)
	offer(every*5/4, 2*cfg.Timeout)
	wait.Wait()
	// A cluster that has not recovered answers nothing at all here; a machine that is busy now and then, almost everything.
	if bad := unknown.Load() + refused.Load(); bad > done.Load() {
		t.Errorf("after the overload: %d done, %d not", done.Load(), bad)
	}
}
