package load

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/paxbench/paxbench/engine/client"
	"github.com/paxbench/paxbench/wire"
)

// dialsMax bounds the clients that are connecting at once: a new session costs the cluster a slot.
const dialsMax = 16

// Dial connects one client for each of c.Clients and returns them as targets for Run. The limits of cc that c decides
// - block size, pipeline, queues - are set from c unless cc has them. On an error nothing stays open.
func Dial(ctx context.Context, cc client.Config, c Config) ([]Target, error) {
	c = c.withDefaults()
	if err := c.Validate(); err != nil {
		return nil, err
	}
	setDefault(&cc.BlockBytes, wire.BlockBytesMax)
	setDefault(&cc.BlockCommands, c.BlockCommands)
	setDefault(&cc.QueriesMax, queriesMax)
	// However the library cuts single commands into blocks, there are no more blocks than commands.
	setDefault(&cc.QueueBlocks, min(max(c.Inflight, 64), 1<<20))
	targets := make([]Target, c.Clients)
	errs := make([]error, c.Clients)
	slots := make(chan struct{}, dialsMax)
	var all sync.WaitGroup
	for i := range targets {
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			cl, err := client.Dial(ctx, cc)
			if err != nil {
				errs[i] = err
				return
			}
			targets[i] = &session{cl}
		})
	}
	all.Wait()
	for i, err := range errs {
		if err != nil {
			_ = Close(targets) // the cause is err
			return nil, fmt.Errorf("load: client %d of %d: %w", i+1, c.Clients, err)
		}
	}
	return targets, nil
}

// Close closes all targets at once.
func Close(targets []Target) error {
	errs := make([]error, len(targets))
	var all sync.WaitGroup
	for i, t := range targets {
		if t != nil {
			all.Go(func() { errs[i] = t.Close() })
		}
	}
	all.Wait()
	return errors.Join(errs...)
}

// session is a Target over a client of the engine.
type session struct{ c *client.Client }

func (s *session) NewBlock() Block { return s.c.NewBlock() }

func (s *session) Submit(b Block, done Completion) error {
	blk := b.(*client.Block)
	p := takeCallback(done, false)
	err := s.c.Submit(blk, p)
	if err != nil {
		blk.Release()
		p.give()
	}
	return err
}

func (s *session) Call(cmd []byte, done Completion) error {
	p := takeCallback(done, false)
	err := s.c.Go(cmd, p)
	if err != nil {
		p.give()
	}
	return err
}

func (s *session) Query(req []byte, mode ReadMode, done Completion) error {
	p := takeCallback(done, true)
	err := s.c.GoQuery(req, mode.Query(), p)
	if err != nil {
		p.give()
	}
	return err
}

func (s *session) Close() error { return s.c.Close() }

// callback passes an outcome from the client library on to a Completion. Callbacks are pooled: one is taken for each
// submission and given back when it has been called.
type callback struct {
	done  Completion
	query bool
	reply Reply
}

var callbacks = sync.Pool{New: func() any { return new(callback) }}

func takeCallback(done Completion, query bool) *callback {
	p := callbacks.Get().(*callback)
	p.done, p.query = done, query
	return p
}

func (p *callback) give() {
	*p = callback{}
	callbacks.Put(p)
}

// BlockDone implements client.BlockDone.
func (p *callback) BlockDone(r *client.BlockResult) {
	p.reply = Reply{
		Outcome: outcome(r.Err), Err: r.Err, Slot: r.Slot, Index: r.Index,
		Session: r.Session, First: r.First, Results: r.Results,
	}
	p.done.Complete(&p.reply)
	p.give()
}

// Done implements client.Done.
func (p *callback) Done(r *client.Result) {
	p.reply = Reply{
		Outcome: outcome(r.Err), Err: r.Err, Slot: r.Slot, Index: r.Index,
		Session: r.Session, First: r.Seq, Result: r.Reply,
	}
	if p.query && r.Err != nil {
		p.reply.Outcome = Failed // a query changes nothing: there is nothing that may have been done
	}
	p.done.Complete(&p.reply)
	p.give()
}

func outcome(err error) Outcome {
	switch {
	case err == nil:
		return Done
	case client.MayBeDone(err):
		return Unknown
	}
	return Failed
}
