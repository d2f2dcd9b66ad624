package sim

import (
	"time"

	"github.com/paxbench/paxbench/engine"
	"github.com/paxbench/paxbench/wire"
)

// replica is a group's member on a node, as long as a process runs there.
type replica struct {
	p       *proc
	o       *oracle // of its group
	d       *engine.GroupDriver
	due     [stages]bool // a step is scheduled
	applied wire.Slot    // as last seen
	retries bool         // the timer of transfers runs

	leaseReads uint64 // as last seen
}

func (p *proc) newReplicas() (reps []*replica) {
	for _, o := range p.w.oracles {
		reps = append(reps, &replica{p: p, o: o})
	}
	return reps
}

// poke schedules what the replica's goroutines have to do.
func (r *replica) poke() {
	k, d := &r.p.w.k, r.d
	if !r.due[stageTurn] && d.TurnDue() {
		r.p.arm(r, stageTurn, k.Turn)
	}
	if !r.due[stageApply] && d.ApplyDue() {
		r.p.arm(r, stageApply, k.Apply)
	}
	if !r.due[stageReceive] && d.ReceiveDue() {
		r.p.arm(r, stageReceive, k.Sync)
	}
	if !r.due[stageJob] && d.JobDue() {
		r.p.arm(r, stageJob, 20*k.Sync)
	}
	if !r.due[stageTransfer] && d.TransferDue() {
		r.p.arm(r, stageTransfer, k.Turn)
	}
	if !r.due[stageDeadline] {
		if at, ok := d.Deadline(); ok {
			wait := float64(at-r.p.skew)/r.p.rate - float64(r.p.w.now)
			r.due[stageDeadline] = true
			r.p.w.step(time.Duration(max(wait, 0))+1, action{p: r.p, r: r, s: stageDeadline, life: r.p.life})
		}
	}
}

// bounded demands that every queue, buffer and table is within its bound (S17).
func (r *replica) bounded() {
	usage := r.d.Usage()
	for i := range usage {
		if u := &usage[i]; u.Used > u.Max || u.Used < 0 {
			r.p.w.fail("S17", r.p.id, r.applied, "group %d: %s: %d, at most %d", r.o.g, u.Name, u.Used, u.Max)
		}
	}
}

// step does one step of one goroutine.
func (r *replica) step(s stage) {
	switch s {
	case stageTurn, stageDeadline:
		r.turn(false)
	case stageApply:
		r.d.Apply()
		r.look()
	case stageReceive:
		r.d.Receive()
		r.look()
	case stageJob:
		r.d.Job()
	case stageTransfer:
		r.d.Transfer(false)
		r.retryTransfers()
	}
}

// turn is one of the loop.
func (r *replica) turn(tick bool) {
	r.d.Turn(tick)
	r.promised()
	if r.p.d.Err() == nil && r.d.Overlooked() {
		r.p.w.fail("L10", r.p.id, 0, "group %d: something could be proposed, and waits for the next tick", r.o.g)
	}
}

// retryTransfers keeps the timer of transfers going.
func (r *replica) retryTransfers() {
	p, life := r.p, r.p.life
	if r.retries || r.d.Transfers() == 0 {
		return
	}
	r.retries = true
	p.w.after(time.Duration(engine.TransferRetry), func() {
		r.retries = false
		if p.life == life && p.d != nil && p.d.Err() == nil {
			p.w.note(p.id, r.o.g, "transfer retry", 0, 0, 0)
			r.d.Transfer(true)
			r.retryTransfers()
			p.poke()
		}
	})
}

// look compares the applied state with what the others had at the same slot.
func (r *replica) look() {
	if g := r.d.Digest(); g.Applied != r.applied {
		r.o.applied(r.p, r.applied, g)
		r.applied = g.Applied
	}
}

// promised holds the core's promise against the disk's: it never falls below (S5).
func (r *replica) promised() {
	if st, k := r.d.Status(), r.o.known(r.p.disk); st.Promised < k.promise {
		r.p.w.fail("S5", r.p.id, 0, "its promise is %v, its disk holds %v", st.Promised, k.promise)
	}
}
