package load

import (
	"math/rand/v2"
	"time"

	"github.com/paxbench/paxbench/wire"
)

// driver is one client: it drives one target. Its worker's goroutine owns it; only the flights are seen by others.
type driver struct {
	worker *worker
	number int
	target Target
	cmds   commands

	flights     []*flight // all there are
	free        []*flight // to carry commands of the log
	freeQueries []*flight

	// Invariant: 0 <= outstanding <= Inflight; 0 <= queries <= queriesMax; 0 <= blocks <= blockLimit, with APICall
	// Inflight.
	outstanding int // operations under way
	blocks      int // blocks or single commands under way
	queries     int

	rival   *driver    // see Conflict; nil: there is none
	rng     *rand.Rand // of its draws
	rivals  bool       // it is one
	credit  int        // closed loop: operations to be issued
	left    uint64     // closed loop: measured operations still to be issued; only if Config.Ops is set
	pause   time.Duration
	resume  int64 // closed loop: not before, because something failed
	due     schedule
	until   int64 // open loop: nothing due at or after this is issued
	freed   int64 // open loop: when the target last made room after there was none; 0: there is room
	blocked bool
	ended   bool // issues nothing any more
	unsent  uint64
	expired uint64 // given up after Config.Patience, and measured
}

// pauseMax bounds how long a client of a closed loop waits before it issues again after a failure.
const pauseMax = 100 * time.Millisecond

func newDriver(w *worker, number int, t Target) *driver {
	d := &driver{worker: w, number: number, target: t, cmds: newCommands(w.run.config, number)}
	if w.run.open {
		d.due = newSchedule(w.run.config, number)
	} else {
		d.credit = w.run.config.Inflight
		d.left = share(w.run.config.Ops, w.run.config.Clients, number)
	}
	return d
}

// issue sends what is to be sent at now and says when it wants to be asked again; never: when something completes.
func (d *driver) issue(now int64) (again int64) {
	switch {
	case d.ended:
		return never
	case d.worker.run.open:
		return d.issueOpen(now)
	}
	return d.issueClosed(now)
}

// issueClosed replaces what was completed.
func (d *driver) issueClosed(now int64) int64 {
	r := d.worker.run
	for d.credit > 0 {
		if now >= r.stop.Load() || r.limited && now >= r.measure.Load() && d.left == 0 {
			d.ended = true
			return never
		}
		if now < d.resume {
			return d.resume
		}
		want := min(d.credit, r.blockSize)
		if r.limited && now >= r.measure.Load() {
			want = int(min(uint64(want), d.left))
		}
		n := d.send(want, now)
		if n == 0 {
			return never
		}
		d.credit -= n
		d.challenge(n, now)
		if r.limited && now >= r.measure.Load() {
			d.left -= uint64(n)
		}
		now = r.now()
	}
	if d.rivals { // nothing may complete here any more that would have it look at the time
		if d.ended = now >= r.stop.Load(); !d.ended {
			return r.stop.Load()
		}
	}
	return never
}

// issueOpen sends everything that is due. What finds no room waits: the time it was due stays what it was.
func (d *driver) issueOpen(now int64) int64 {
	r := d.worker.run
	for {
		stop := r.stop.Load()
		if d.due.at >= stop {
			d.ended = true
			return never
		}
		if r.giveUp.Load() {
			d.unsent, _ = d.due.skip(stop, 0)
			d.ended = true
			return never
		}
		if patience := int64(r.config.Patience); patience > 0 && d.due.at < now-patience {
			_, expired := d.due.skip(min(now-patience, stop), r.measure.Load())
			d.expired += expired
			continue
		}
		if d.due.at > now {
			return d.due.at
		}
		d.until = stop // a turn that comes late, after the end, must not issue what would have been due by then
		if d.send(min(r.config.Inflight-d.outstanding, r.blockSize), now) == 0 {
			d.blocked = true
			return never
		}
		now = r.now()
	}
}

// send issues up to want operations, in an open loop those due at now, and returns how many it issued: fewer if there
// is no room for more.
func (d *driver) send(want int, now int64) int {
	r := d.worker.run
	if r.config.API == APICall {
		return d.sendCalls(want, now)
	}
	if d.blocks >= r.blockLimit {
		return 0
	}
	var blk Block
	var f *flight
	sent := 0
	for sent < want && (!r.open || d.due.at <= now && d.due.at < d.until) {
		d.cmds.next()
		if !d.cmds.inLog {
			if !d.sendQuery(now) {
				break
			}
			sent++
			continue
		}
		if blk == nil {
			blk, f = d.target.NewBlock(), d.take(&d.free)
		}
		if !blk.Add(d.cmds.bytes) {
			d.cmds.hold()
			if f.count == 0 {
				panic("BUG: load: an empty block has no room for a command")
			}
			break
		}
		d.load(f)
		sent++
	}
	if blk == nil {
		return sent
	}
	d.blocks++
	f.round = now
	d.launch(f, r.now()) // again: making thousands of commands takes a while
	if err := d.target.Submit(blk, f); err != nil {
		d.refuse(f, err)
	}
	return sent
}

// clockEvery is how many single calls share one reading of the clock.
const clockEvery = 32

// sendCalls is send for the interface that takes one command at a time.
func (d *driver) sendCalls(want int, now int64) int {
	r := d.worker.run
	sent := 0
	round := now
	for ; sent < want && (!r.open || d.due.at <= round && d.due.at < d.until); sent++ {
		if sent%clockEvery == clockEvery-1 {
			now = r.now()
		}
		d.cmds.next()
		if !d.cmds.inLog {
			if !d.sendQuery(now) {
				break
			}
			continue
		}
		f := d.take(&d.free)
		d.load(f)
		d.blocks++
		f.round = round
		d.launch(f, now)
		if err := d.target.Call(d.cmds.bytes, f); err != nil {
			d.refuse(f, err)
		}
	}
	return sent
}

// sendQuery issues the current command as a query. false: there is no room, and the command is held.
func (d *driver) sendQuery(now int64) bool {
	if d.queries >= queriesMax {
		d.cmds.hold()
		return false
	}
	f := d.take(&d.freeQueries)
	f.query, f.round = true, now
	d.load(f)
	d.queries++
	d.launch(f, now)
	if err := d.target.Query(d.cmds.bytes, d.worker.run.config.ReadMode, f); err != nil {
		d.refuse(f, err)
	}
	return true
}

// take gives an empty flight from one of the two lists. Queries have their own: they need no room for keys, and a
// flight that changes sides would have to grow it again.
func (d *driver) take(free *[]*flight) *flight {
	if n := len(*free); n > 0 {
		f := (*free)[n-1]
		*free = (*free)[:n-1]
		return f
	}
	f := &flight{driver: d}
	d.flights = append(d.flights, f)
	return f
}

// load adds the current command to a flight.
func (d *driver) load(f *flight) {
	if d.worker.scribe.wants(&d.cmds) {
		f.ops = append(f.ops, d.cmds.op(f.count))
	}
	switch {
	case d.cmds.read:
		f.reads++
	case f.writes() == 0:
		f.stamp = d.cmds.stamp
		fallthrough
	default:
		if d.cmds.sm == KV {
			f.keys = append(f.keys, d.cmds.key)
		}
	}
	f.count++
	if d.worker.run.open {
		f.intended = append(f.intended, d.due.at)
		d.due.advance()
	}
}

// launch accounts for a flight that is about to be submitted.
func (d *driver) launch(f *flight, now int64) {
	f.sent = now
	f.state.Store(underWay)
	d.outstanding += f.count
	d.worker.outstanding += f.count
	if d.worker.run.open {
		d.worker.rec.ownLag(f, d.freed)
	}
}

// refuse completes a flight that the target did not take.
func (d *driver) refuse(f *flight, err error) {
	f.Complete(&Reply{Outcome: Failed, Err: err})
}

// settle takes back a completed flight.
func (d *driver) settle(f *flight) {
	d.outstanding -= f.count
	d.worker.outstanding -= f.count
	if f.query {
		d.queries--
		d.freeQueries = append(d.freeQueries, f)
	} else {
		d.blocks--
		d.free = append(d.free, f)
	}
	if d.blocked {
		d.blocked, d.freed = false, f.done
	}
	if !d.worker.run.open {
		if !d.rivals {
			d.credit += f.count
		}
		d.backOff(f)
	}
	f.state.Store(idle)
	f.query, f.count, f.reads, f.err = false, 0, 0, nil
	f.keys, f.ops, f.intended = f.keys[:0], f.ops[:0], f.intended[:0]
}

// backOff keeps a closed loop from asking again at once what was just refused, millions of times a second.
func (d *driver) backOff(f *flight) {
	if f.outcome == Done {
		d.pause = 0
		return
	}
	if f.done < d.resume {
		return // of the same burst
	}
	d.pause = min(max(2*d.pause, time.Millisecond), pauseMax)
	d.resume = f.done + int64(d.pause)
}

// backlog is how many operations due at now have no outcome.
func (d *driver) backlog(now, stop int64) uint64 {
	if d.ended {
		return uint64(d.outstanding)
	}
	return uint64(d.outstanding) + d.due.pending(now, stop)
}

// Sum of what one client has under way: Inflight operations in at most blocksMax blocks and queriesMax queries. A
// session takes no more blocks than this, counting those whose reply is not acknowledged yet.
const _ = uint(wire.SessionBlocksMax - 2*blocksMax)
