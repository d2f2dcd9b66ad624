package load

import (
	"time"
)

// worker is a goroutine that drives some of the clients.
type worker struct {
	run     *run
	drivers []*driver
	inbox   inbox
	alarm   alarm
	rec     *recorder
	scribe  *scribe // nil: no history is kept

	outstanding int // operations of all clients
	woken       int64
	gaveUp      bool
}

// quantum is the least time between two wake-ups by the alarm. At high rates it makes an operation late by as much,
// which is recorded as lag; a shorter one would cost more processor time than the servers can spare.
const quantum = 50 * time.Microsecond

func newWorker(r *run, number, workers int, targets []Target) *worker {
	w := &worker{run: r, rec: newRecorder(r), scribe: newScribe(r)}
	w.inbox.wake = make(chan struct{}, 1)
	for k, i := range r.config.seats(number, workers, len(targets)) {
		w.drivers = append(w.drivers, newDriver(w, r.config.Part.First+i, targets[i]))
		if r.config.Conflict.On && k%2 == 1 {
			w.drivers[k-1].pair(w.drivers[k])
		}
	}
	return w
}

// loop runs until all of the clients have issued everything and know its outcome, or until abort.
func (w *worker) loop() {
	if w.run.config.timers {
		w.alarm = newTimer(w.inbox.poke)
	} else {
		w.alarm = newAlarm(w.inbox.poke)
	}
	defer w.alarm.close()
	for {
		next, over := w.turn()
		if over {
			return
		}
		if w.inbox.head.Load() != nil {
			continue
		}
		if next != never {
			w.alarm.set(time.Duration(max(next, w.woken+int64(quantum)) - w.run.now()))
		}
		select {
		case <-w.inbox.wake:
		case <-w.run.aborted:
			return
		}
	}
}

// turn settles what has completed and issues what is to be issued. next is when there is something to do again
// without a completion; over: never.
func (w *worker) turn() (next int64, over bool) {
	w.collect()
	now := w.run.now()
	w.woken = now
	next = never
	var backlog uint64
	stop := w.run.stop.Load()
	ended := true
	for _, d := range w.drivers {
		next = min(next, d.issue(now))
		ended = ended && d.ended
		if w.run.open {
			backlog += d.backlog(now, stop)
		}
	}
	if !w.run.open {
		backlog = uint64(w.outstanding)
	}
	w.rec.outstanding.Store(int64(w.outstanding))
	w.rec.backlog.Store(int64(backlog))
	w.rec.ended.Store(ended)
	if w.run.giveUp.Load() {
		w.closeTargets()
	}
	return next, ended && w.outstanding == 0
}

// collect settles all completed flights. The interval's record and the ledger are taken once for all of them.
func (w *worker) collect() {
	f := w.inbox.take()
	if f == nil {
		return
	}
	w.rec.begin()
	w.run.ledgerMu.Lock()
	for f != nil {
		next := f.next
		f.next = nil
		w.rec.record(f)
		w.scribe.record(f)
		if !f.query {
			w.run.ledger.record(f)
		}
		f.driver.settle(f)
		f = next
	}
	w.run.ledgerMu.Unlock()
	w.rec.end()
}

// closeTargets gives up waiting: targets with something outstanding are closed, so that it is completed.
func (w *worker) closeTargets() {
	if w.gaveUp {
		return
	}
	w.gaveUp = true
	for _, d := range w.drivers {
		d.ended = true
		if d.outstanding > 0 {
			go d.target.Close()
		}
	}
}

// abandon counts what is still under way as of unknown outcome. The worker has ended; the caller has its place.
func (w *worker) abandon() {
	for _, d := range w.drivers {
		for _, f := range d.flights {
			if f.state.CompareAndSwap(underWay, abandoned) {
				w.rec.unknown += w.rec.measured(f)
				w.scribe.abandoned(f, w.run.now())
				if !f.query {
					// The sequence numbers are the target's secret until it completes; the keys are known.
					lost := flight{outcome: Unknown, count: f.count, reads: f.reads, stamp: f.stamp, keys: f.keys}
					w.run.ledger.record(&lost)
				}
			}
			for f.state.Load() == completing { // Complete is short: it will be in the inbox
				w.collect()
			}
		}
		if w.run.open && !d.ended {
			d.unsent, _ = d.due.skip(w.run.stop.Load(), 0)
		}
	}
}
