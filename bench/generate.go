package bench

import (
	"bufio"
	"context"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"time"

	"github.com/paxbench/paxbench/bench/cluster"
	"github.com/paxbench/paxbench/bench/env"
	"github.com/paxbench/paxbench/bench/load"
	"github.com/paxbench/paxbench/engine/history"
	"github.com/paxbench/paxbench/wire"
)

// GenerateCommand is the subcommand of one generator process of several. Its standard input is JSON: a generateSpec,
// then, when all are ready, a generateBegin; the end of it ends the load. Its standard output is gob: generateMessages.
const GenerateCommand = "generate"

// GeneratorsMax bounds Config.Generators.
const GeneratorsMax = 64

type generateSpec struct {
	Cluster uint64
	Addrs   []string
	Load    load.Config
	History string // where to record it
	Ops     uint64 // as in history.Limits
}

type generateBegin struct{ Begin time.Time }

// generateMessage is one of: the sessions are open; an interval; the end.
type generateMessage struct {
	Ready        bool
	Pulse        *load.Pulse
	Share        *load.Share
	Resent, Busy uint64
}

// beginIn is how long after the last generator is ready the load begins: all of them must have heard of it.
const beginIn = 100 * time.Millisecond

// Generate is the work of a generator process.
func Generate(ctx context.Context, in io.Reader, out io.Writer) error {
	var spec generateSpec
	orders, messages := json.NewDecoder(in), gob.NewEncoder(out)
	if err := orders.Decode(&spec); err != nil {
		return fmt.Errorf("bench: generator: settings: %w", err)
	}
	targets, err := dial(ctx, cluster.Nodes{Cluster: wire.ClusterID(spec.Cluster), Addrs: spec.Addrs}, spec.Load)
	if err != nil {
		return err
	}
	var begin generateBegin
	err = messages.Encode(&generateMessage{Ready: true})
	if err == nil {
		err = orders.Decode(&begin)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("bench: generator: %w", err), closeTargets(targets))
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, io.MultiReader(orders.Buffered(), in))
		cancel() // told to end, or orphaned
	}()
	var sent error
	var used time.Duration
	var window sync.WaitGroup
	c := spec.Load
	c.Begin = begin.Begin
	recorded, err := spec.record(&c)
	if err != nil {
		return errors.Join(err, closeTargets(targets))
	}
	c.Started = func(measuring time.Time) {
		window.Go(func() {
			time.Sleep(time.Until(measuring))
			used = env.ProcessCPU()
		})
	}
	c.Pulse = func(p *load.Pulse) { sent = errors.Join(sent, messages.Encode(&generateMessage{Pulse: p})) }
	loaded, err := load.Run(ctx, c, targets)
	if err = errors.Join(err, recorded()); err != nil {
		return errors.Join(err, closeTargets(targets))
	}
	window.Wait()
	share, err := loaded.Share(env.ProcessCPU()-used, min(runtime.GOMAXPROCS(0), c.Own()))
	last := generateMessage{Share: share}
	last.Resent, last.Busy = retries(targets)
	return errors.Join(sent, err, closeTargets(targets), messages.Encode(&last))
}

// record begins this process's part of the history, which ended finishes.
func (s *generateSpec) record(c *load.Config) (ended func() error, err error) {
	f, err := os.Create(s.History)
	if err != nil {
		return nil, fmt.Errorf("bench: history: %w", err)
	}
	w, err := history.NewWriter(f, historyHead(c), history.Limits{Ops: s.Ops})
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	c.History = w
	return func() error {
		_, err := w.Close()
		return errors.Join(err, f.Close())
	}, nil
}

// generator is a process, as its parent sees it.
type generator struct {
	*Piped
	history  string
	messages *gob.Decoder
	last     generateMessage
}

// generate is load.Run by Config.Generators processes. started is told when measuring begins; the end of soft ends the
// load, that of hard everything.
func (r *run) generate(hard, soft context.Context, c load.Config) (*load.Result, error) {
	var err error
	if r.recording, err = r.record(); err != nil {
		return nil, err
	}
	defer r.recording.end()
	parts := c.Parts(r.config.Generators)
	all := make([]*generator, len(parts))
	defer func() {
		for _, g := range all {
			if g != nil {
				g.End()
			}
		}
	}()
	for i, part := range parts {
		g, err := r.startGenerator(c, part, fmt.Sprintf("%s-part-%d", r.recording.path, i+1), len(parts))
		if err != nil {
			return nil, fmt.Errorf("bench: generator %d: %w", i+1, err)
		}
		all[i] = g
	}
	release := context.AfterFunc(hard, func() {
		for _, g := range all {
			_ = g.Kill()
		}
	})
	defer release()
	for i, g := range all {
		if err := g.ready(); err != nil {
			return nil, fmt.Errorf("bench: generator %d: %w", i+1, err)
		}
	}
	begin := time.Now().Add(beginIn)
	for _, g := range all {
		if err := json.NewEncoder(g.In).Encode(generateBegin{begin}); err != nil {
			return nil, fmt.Errorf("bench: generator: %w", err)
		}
	}
	measuring := begin.Add(c.Warmup)
	c.Started(measuring)
	releaseSoft := context.AfterFunc(soft, func() {
		for _, g := range all {
			_ = g.In.Close()
		}
	})
	defer releaseSoft()
	out, err := r.gather(c, parts, all, measuring)
	if err == nil {
		r.recording.merge(all)
	}
	return out, err
}

// merge adds what the generators recorded. What cannot be read is said with the verdict.
func (rec *recording) merge(all []*generator) {
	for _, g := range all {
		f, err := os.Open(g.history)
		if err == nil {
			err = errors.Join(rec.writer.Merge(bufio.NewReaderSize(f, 1<<20), int64(load.ClockSlack)), f.Close(), os.Remove(g.history))
		}
		rec.err = errors.Join(rec.err, err)
	}
}

// gather takes what the generators send until the last of them has ended.
func (r *run) gather(c load.Config, parts []load.Part, all []*generator, measuring time.Time) (*load.Result, error) {
	gather := load.NewGather(c, parts, measuring)
	var mu sync.Mutex
	var wait sync.WaitGroup
	errs := make([]error, len(all))
	for i, g := range all {
		wait.Go(func() {
			errs[i] = g.listen(func(p *load.Pulse) error {
				mu.Lock()
				defer mu.Unlock()
				return gather.Pulse(p)
			})
		})
	}
	wait.Wait()
	shares := make([]*load.Share, len(all))
	for i, g := range all {
		if errs[i] != nil {
			return nil, fmt.Errorf("bench: generator %d: %w", i+1, errs[i])
		}
		shares[i] = g.last.Share
		r.resent, r.busy = r.resent+g.last.Resent, r.busy+g.last.Busy
	}
	return gather.End(shares)
}

func (r *run) startGenerator(c load.Config, part load.Part, file string, parts int) (*generator, error) {
	binary := r.config.Binary
	if binary == "" {
		binary = cluster.SelfBinary
	}
	cmd := exec.Command(binary, GenerateCommand)
	cmd.Stderr, cmd.Env = os.Stderr, cluster.ChildEnv(os.Environ())
	p, err := StartPiped(cmd)
	if err != nil {
		return nil, err
	}
	g := &generator{Piped: p, history: file, messages: gob.NewDecoder(bufio.NewReader(p.Out))}
	c.Part = part
	if err := json.NewEncoder(g.In).Encode(generateSpec{uint64(r.nodes.Cluster), r.seen().Addrs, c, file, historyOps / uint64(parts)}); err != nil {
		g.End()
		return nil, fmt.Errorf("it ended before it was ready: %w", err)
	}
	return g, nil
}

func (g *generator) ready() error {
	var m generateMessage
	if err := g.messages.Decode(&m); err != nil {
		return fmt.Errorf("it ended before it was ready: %w", err)
	}
	return nil
}

// listen passes on what the generator says, up to its last message.
func (g *generator) listen(pulse func(*load.Pulse) error) error {
	for {
		var m generateMessage
		if err := g.messages.Decode(&m); err != nil {
			return fmt.Errorf("it ended before the load: %w", err)
		}
		if m.Share != nil {
			g.last = m
			return nil
		}
		if m.Pulse != nil {
			if err := pulse(m.Pulse); err != nil {
				return err
			}
		}
	}
}
