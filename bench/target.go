package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/paxbench/paxbench/bench/cluster"
	"github.com/paxbench/paxbench/bench/load"
	"github.com/paxbench/paxbench/engine/client"
	"github.com/paxbench/paxbench/wire"
)

// target drives one session of the engine's client library: what an application would use, and so part of what is
// measured.
type target struct {
	client *client.Client
}

// pending is a submission under way. It carries the load's completion through the client library, and is used again.
type pending struct {
	done  load.Completion
	reply load.Reply
}

var pendings = sync.Pool{New: func() any { return new(pending) }}

func newPending(done load.Completion) *pending {
	p := pendings.Get().(*pending)
	p.done = done
	return p
}

// drop takes back a pending that was not taken up.
func (p *pending) drop() {
	p.done = nil
	pendings.Put(p)
}

// BlockDone implements client.BlockDone.
func (p *pending) BlockDone(r *client.BlockResult) {
	p.complete(load.Reply{
		Outcome: outcome(r.Err), Err: r.Err, Slot: r.Slot, Index: r.Index, Session: r.Session, First: r.First, Results: r.Results,
	})
}

// Done implements client.Done.
func (p *pending) Done(r *client.Result) {
	p.complete(load.Reply{
		Outcome: outcome(r.Err), Err: r.Err, Slot: r.Slot, Index: r.Index, Session: r.Session, First: r.Seq, Result: r.Reply,
	})
}

// complete hands the outcome on.
func (p *pending) complete(r load.Reply) {
	done := p.done
	p.done, p.reply = nil, r
	done.Complete(&p.reply)
	p.reply = load.Reply{}
	pendings.Put(p)
}

func outcome(err error) load.Outcome {
	switch {
	case err == nil:
		return load.Done
	case client.MayBeDone(err):
		return load.Unknown
	}
	return load.Failed
}

// NewBlock implements load.Target.
func (t *target) NewBlock() load.Block { return t.client.NewBlock() }

// Submit implements load.Target.
func (t *target) Submit(b load.Block, done load.Completion) error {
	block := b.(*client.Block)
	p := newPending(done)
	err := t.client.Submit(block, p)
	if err != nil {
		block.Release()
		p.drop()
	}
	return err
}

// Call implements load.Target.
func (t *target) Call(cmd []byte, done load.Completion) error {
	p := newPending(done)
	err := t.client.Go(cmd, p)
	if err != nil {
		p.drop()
	}
	return err
}

// Query implements load.Target.
func (t *target) Query(req []byte, mode load.ReadMode, done load.Completion) error {
	p := newPending(done)
	err := t.client.GoQuery(req, mode.Query(), p)
	if err != nil {
		p.drop()
	}
	return err
}

// Close implements load.Target.
func (t *target) Close() error { return t.client.Close() }

// retries sums up what the clients had to send again, and how often they were turned away.
func retries(targets []load.Target) (resent, busy uint64) {
	for _, t := range targets {
		if own, ok := t.(*target); ok {
			s := own.client.Stats()
			resent, busy = resent+s.Resends, busy+s.Busy
		}
	}
	return resent, busy
}

// queueBlocks is how many full blocks may wait in a client library: those of the call interface, whose blocks the
// library cuts.
const queueBlocks = 1 << 12

// dial opens one session per client of the load, all at once.
func dial(ctx context.Context, nodes cluster.Nodes, c load.Config) ([]load.Target, error) {
	config := client.Config{
		Cluster: nodes.Cluster, Addrs: nodes.Addrs, QueueBlocks: queueBlocks,
		// The load cuts its blocks itself; the library must not cut them smaller.
		BlockBytes: wire.BlockBytesMax, BlockCommands: wire.BlockCommandsMax,
	}
	if c.Patience > 0 {
		config.Timeout = c.Patience
	}
	if c.API == load.APICall {
		config.BlockCommands, config.Pipeline = c.BlockCommands, c.Blocks
	}
	targets := make([]load.Target, c.Own())
	errs := make([]error, len(targets))
	var wait sync.WaitGroup
	for i := range targets {
		wait.Go(func() {
			own := config
			// Whom it asks first: where every node takes proposals, it stays there.
			first := c.FirstNode(c.Part.First+i, len(nodes.Addrs))
			own.Addrs = slices.Concat(nodes.Addrs[first:], nodes.Addrs[:first])
			cl, err := dialClient(ctx, own)
			if err != nil {
				errs[i] = fmt.Errorf("bench: client %d: %w", c.Part.First+i+1, err)
				return
			}
			targets[i] = &target{cl}
		})
	}
	wait.Wait()
	if err := firstError(errs); err != nil {
		return nil, errors.Join(err, closeTargets(targets))
	}
	return targets, nil
}

// dialLimit is how long a session may take to be opened.
const dialLimit = 10 * time.Second

// dialClient opens a session. A timeout that is meant for operations need not be long enough for that.
func dialClient(ctx context.Context, c client.Config) (*client.Client, error) {
	for begin := time.Now(); ; {
		cl, err := client.Dial(ctx, c)
		if err == nil || !errors.Is(err, client.ErrTimeout) || time.Since(begin) > dialLimit {
			return cl, err
		}
	}
}

// firstError gives one error of many that are mostly the same.
func firstError(errs []error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func closeTargets(targets []load.Target) error {
	var wait sync.WaitGroup
	errs := make([]error, len(targets))
	for i, t := range targets {
		if t != nil {
			wait.Go(func() { errs[i] = t.Close() })
		}
	}
	wait.Wait()
	return firstError(errs)
}
