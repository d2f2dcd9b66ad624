package sim

import (
	"strconv"
	"strings"
	"time"

	"github.com/paxbench/paxbench/engine/history"
	"github.com/paxbench/paxbench/engine/history/judge"
	"github.com/paxbench/paxbench/engine/kv"
	"github.com/paxbench/paxbench/wire"
)

// The history of a schedule is what its clients did and were told, and nothing else: S10 once more, by judges that know
// neither the reference nor the disks. They are the ones that judge real clusters, so each schedule also tests them.

// recall keeps the history of one group.
type recall struct {
	h *judge.History

	// doctor, if set, changes what a client was told: for tests.
	doctor func(*history.Call)
}

// porcupineEvery is of how many schedules one is given to porcupine; the other judge sees all of them.
const porcupineEvery = 8

func newRecall() recall {
	h := judge.New(true)
	h.Key = func(key uint64) string { return "key-" + strconv.FormatUint(key, 10) }
	return recall{h: h}
}

func (v *recall) add(c *history.Call) {
	if v.doctor != nil {
		v.doctor(c)
	}
	v.h.Add(c)
}

// call is the operation as its client sees it, now.
func (op *operation) call() history.Call {
	return history.Call{Client: uint32(op.c.id), Invoke: op.since, Return: op.c.w.now, Session: uint64(op.session), First: uint64(op.first), Count: uint32(op.count)}
}

// commands are the operations of a block.
func (op *operation) commands() (ops []history.Op) {
	blk, _, err := wire.ParseBlock(op.block)
	if err != nil {
		panic("BUG: sim: " + err.Error())
	}
	for it := blk.Commands(); ; {
		cmd, ok := it.Next()
		if !ok {
			return ops
		}
		c, _ := kv.DecodeCommand(cmd)
		o := history.Op{At: uint32(len(ops)), Kind: c.Op, Key: keyNumber(string(c.Key)), Delta: c.Delta}
		switch c.Op {
		case kv.OpPut:
			o.Arg = history.ValueOf(c.Value)
		case kv.OpCAS:
			o.Arg = history.ValueOf(c.Value)
			if c.Expect {
				o.Old = history.ValueOf(c.Old)
			}
		}
		ops = append(ops, o)
	}
}

func keyNumber(name string) uint64 {
	n, err := strconv.ParseUint(strings.TrimPrefix(name, "key-"), 10, 64)
	if err != nil {
		panic("BUG: sim: " + err.Error())
	}
	return n
}

// recordReply records a block's first reply.
func (op *operation) recordReply(r *wire.Reply) {
	c := op.call()
	c.Slot, c.Index = uint64(r.Slot), r.Index
	if op.kind == opBlock {
		c.Ops = op.commands()
		results := r.Iter()
		for i := range c.Ops {
			if result, _ := results.Next(); !c.Ops[i].Take(result) {
				op.c.w.fail("S10", 0, r.Slot, "the result of command %d of block %d of session %d is no result: %x", i, op.first, op.session, result)
			}
		}
	}
	op.c.o.recall.add(&c)
}

// recordAnswer gives the record of a query's answer, which dies, for the time when it arrives.
func (op *operation) recordAnswer(a *wire.Answer) (arrived func()) {
	o := history.Op{Kind: kv.OpGet, Key: keyNumber(op.key)}
	if !o.TakeAnswer(a.Body) {
		op.c.w.fail("S10", 0, a.Slot, "the answer to a read is none: %x", a.Body)
	}
	slot := uint64(a.Slot)
	return func() {
		c := op.call()
		if c.Kind = history.Query; op.mode == wire.QueryStale {
			c.Kind = history.Stale
		}
		c.Slot, c.Ops = slot, []history.Op{o}
		op.c.o.recall.add(&c)
	}
}

// recordUnknown records a block without a reply: it may be done.
func (op *operation) recordUnknown() {
	if op.kind != opBlock {
		return
	}
	c := op.call()
	c.Unknown, c.Ops = true, op.commands()
	op.c.o.recall.add(&c)
}

// linearizable judges the histories of all groups (S10).
func (w *world) linearizable() {
	for _, c := range w.clients {
		for _, op := range c.ops {
			op.recordUnknown()
		}
	}
	for _, o := range w.oracles {
		reports := []*judge.Report{o.recall.h.BySlot()}
		w.counts["operations judged by slot"] += reports[0].Ops
		if w.o.Seed%porcupineEvery == 0 {
			r := o.recall.h.ByKey(10 * time.Second)
			reports = append(reports, r)
			w.counts["keys judged by porcupine"] += r.Keys
		}
		for _, r := range reports {
			if r.Violations > 0 {
				w.fail("S10", 0, 0, "group %d, the clients' history: %d violations, first: %s", o.g, r.Violations, r.Findings[0])
			}
		}
	}
}
