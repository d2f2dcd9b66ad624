package compare

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/paxbench/paxbench/bench"
	"github.com/paxbench/paxbench/bench/result"
	"github.com/paxbench/paxbench/bench/stats"
)

// Answer is a line that `paxbench slices` prints: a slice, or the verdict at the end.
type Answer struct {
	Slice  *bench.Slice   `json:"slice,omitempty"`
	Safety *result.Safety `json:"safety,omitempty"`
}

// Session is a running cluster of one side.
type Session interface {
	Slice() (bench.Slice, error)
	End() (*result.Safety, error) // audits what was acknowledged
	Kill()                        // without an audit; also after End
}

// Opener starts a cluster of a side.
type Opener func(ctx context.Context, side int, seed uint64) (Session, error)

// live makes one round: both clusters are up at the same time and driven in turns, A B, B A, ..., a slice each. What
// comes of it is a pair of results whose ratios are the medians of the ratios of neighbouring slices. The first pair of
// slices warms both up and is thrown away. A round is one observation, however many slices it has: how memory happened to
// be laid out, and which node led, is the same for all of them.
func (d *driver) live(ctx context.Context, name string, round int, seed uint64) (pair [2]*result.Result, err error) {
	ctx, release := bench.UntilStopped(ctx, d.Stop)
	defer release()
	var sessions [2]Session
	for side := range sessions {
		if sessions[side], err = d.Live(ctx, side, seed); err != nil {
			return pair, d.failed(ctx, side, err)
		}
		defer sessions[side].Kill()
	}
	var all [2][]bench.Slice
	for i := range d.Slices + 1 {
		var both [2]bench.Slice
		for k := range both {
			side := (k + i + round) % 2
			if both[side], err = sessions[side].Slice(); err != nil {
				return pair, d.failed(ctx, side, err)
			}
		}
		if i > 0 {
			all[0], all[1] = append(all[0], both[0]), append(all[1], both[1])
		}
	}
	safety, err := d.endBoth(ctx, sessions)
	if err != nil {
		return pair, err
	}
	pair = d.center(all)
	for side, r := range pair {
		r.Safety, r.Seed = *safety[side], seed
	}
	if err := d.violated(name, pair); err != nil {
		return pair, err
	}
	d.log("%s: A %s ops/s, cpu %s; B %s ops/s, cpu %s; B/A %.3f and %.3f", name, result.Count(pair[0].Throughput.OpsPerSec), result.Duration(int64(pair[0].Cost.CPU)),
		result.Count(pair[1].Throughput.OpsPerSec), result.Duration(int64(pair[1].Cost.CPU)), pair[1].Throughput.OpsPerSec/pair[0].Throughput.OpsPerSec, pair[1].Cost.CPU/pair[0].Cost.CPU)
	return pair, nil
}

func (d *driver) failed(ctx context.Context, side int, err error) error {
	if ctx.Err() != nil {
		return bench.ErrInterrupted
	}
	return fmt.Errorf("side %c: %w", 'A'+side, err)
}

// endBoth audits both at the same time.
func (d *driver) endBoth(ctx context.Context, sessions [2]Session) (safety [2]*result.Safety, err error) {
	var wait sync.WaitGroup
	var errs [2]error
	for side, s := range sessions {
		wait.Go(func() { safety[side], errs[side] = s.End() })
	}
	wait.Wait()
	for side, err := range errs {
		if err != nil {
			return safety, d.failed(ctx, side, err)
		}
	}
	return safety, nil
}

// center makes one result a side. Slices that say nothing are left out with their neighbours; if these are more than a
// third, the round is invalid.
func (d *driver) center(all [2][]bench.Slice) (pair [2]*result.Result) {
	why, usable := "", [2][]bench.Slice{}
	for i := range all[0] {
		bad := all[0][i].Invalid
		if bad == "" {
			bad = all[1][i].Invalid
		}
		if bad != "" {
			why = bad
			continue
		}
		usable[0], usable[1] = append(usable[0], all[0][i]), append(usable[1], all[1][i])
	}
	for side := range pair {
		r := &result.Result{SchemaVersion: result.SchemaVersion, Validity: result.Validity{Verdict: result.Valid}}
		if 3*len(usable[0]) < 2*len(all[0]) {
			r.Invalidate("%d of %d slices say nothing: %s", len(all[0])-len(usable[0]), len(all[0]), why)
		}
		pair[side] = r
	}
	if len(usable[0]) == 0 {
		return pair
	}
	set := func(of func(*bench.Slice) float64, to func(r *result.Result, v float64)) {
		a, ratio := centers(usable, of)
		to(pair[0], a)
		to(pair[1], a*ratio)
	}
	set(func(s *bench.Slice) float64 { return s.OpsPerSec }, func(r *result.Result, v float64) { r.Throughput.OpsPerSec = v })
	set(func(s *bench.Slice) float64 { return float64(s.P50) }, func(r *result.Result, v float64) { r.Latency.Response.P50 = int64(v) })
	set(func(s *bench.Slice) float64 { return float64(s.P99) }, func(r *result.Result, v float64) { r.Latency.Response.P99 = int64(v) })
	set(func(s *bench.Slice) float64 { return s.Cost.CPU }, func(r *result.Result, v float64) { r.Cost.CPU = v })
	for _, cost := range []func(*result.Cost) *float64{
		func(c *result.Cost) *float64 { return &c.Fsyncs }, func(c *result.Cost) *float64 { return &c.Messages },
		func(c *result.Cost) *float64 { return &c.WALBytes }, func(c *result.Cost) *float64 { return &c.NetBytes },
		func(c *result.Cost) *float64 { return &c.Allocs },
	} {
		set(func(s *bench.Slice) float64 { return *cost(&s.Cost) }, func(r *result.Result, v float64) { *cost(&r.Cost) = v })
	}
	return pair
}

// centers is the median of A's slices, and the median of the ratios B/A of neighbours.
func centers(pairs [2][]bench.Slice, of func(*bench.Slice) float64) (a, ratio float64) {
	var va, logs []float64
	for i := range pairs[0] {
		x, y := of(&pairs[0][i]), of(&pairs[1][i])
		va = append(va, x)
		if x > 0 && y > 0 {
			logs = append(logs, math.Log(y/x))
		}
	}
	if len(logs) == 0 {
		return 0, 1
	}
	slices.Sort(va)
	slices.Sort(logs)
	return stats.Median(va), math.Exp(stats.Median(logs))
}

// Open starts `binary slices args...` as the cluster of a side.
func Open(binary string, args, env []string) (Session, error) {
	s := &spawned{}
	cmd := exec.Command(binary, append([]string{"slices"}, args...)...)
	cmd.Stderr, cmd.Env = &s.stderr, env
	p, err := bench.StartPiped(cmd)
	if err != nil {
		return nil, fmt.Errorf("compare: %w", err)
	}
	s.binary, s.cmd, s.orders, s.out, s.answers, s.ended = binary, cmd, p.In, p.Out, bufio.NewReader(p.Out), p.Ended
	return s, nil
}

// spawned is a side that is a process.
type spawned struct {
	binary  string
	cmd     *exec.Cmd
	orders  io.WriteCloser
	out     io.Closer
	answers *bufio.Reader
	stderr  strings.Builder
	ended   <-chan error
	over    bool
}

func (s *spawned) Slice() (bench.Slice, error) {
	// An error of the write shows when nothing is answered.
	_, _ = io.WriteString(s.orders, "go\n")
	a, err := s.answer()
	if err == nil && a.Slice == nil {
		err = errors.New("compare: a verdict where a slice was expected")
	}
	if err != nil {
		return bench.Slice{}, err
	}
	return *a.Slice, nil
}

func (s *spawned) End() (*result.Safety, error) {
	_ = s.orders.Close()
	a, err := s.answer()
	if err != nil {
		return nil, err
	}
	if a.Safety == nil {
		return nil, errors.New("compare: a slice where a verdict was expected")
	}
	s.over = true
	return a.Safety, <-s.ended
}

func (s *spawned) answer() (a Answer, err error) {
	line, err := s.answers.ReadBytes('\n')
	if err != nil { // it has ended
		s.over = true
		return a, fmt.Errorf("compare: %s slices: %w\n%s", s.binary, errors.Join(<-s.ended, errNoResult), strings.TrimSpace(s.stderr.String()))
	}
	if err := json.Unmarshal(line, &a); err != nil {
		return a, fmt.Errorf("compare: %s slices: %w", s.binary, err)
	}
	return a, nil
}

// Kill ends the process, which removes what it made: its nodes die with it.
func (s *spawned) Kill() {
	defer s.out.Close()
	if s.over {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGINT) // an error says that it has ended
	_ = s.orders.Close()
	_, _ = io.Copy(io.Discard, s.answers)
	<-s.ended
}
