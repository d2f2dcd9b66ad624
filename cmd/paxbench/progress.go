package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/paxbench/paxbench/bench"
	"github.com/paxbench/paxbench/bench/load"
	"github.com/paxbench/paxbench/bench/result"
	"golang.org/x/sys/unix"
)

// How often progress is shown.
const (
	liveEvery  = 250 * time.Millisecond // on a terminal: one line, written over
	plainEvery = time.Second            // elsewhere: a line each
)

// progress tells on standard error what happens. Its methods may be called from any goroutine.
type progress struct {
	mu      sync.Mutex
	w       io.Writer
	quiet   bool
	verbose bool
	live    bool // w is a terminal that can write over a line
	shown   bool // a live line stands there
	total   time.Duration

	// What the intervals since the last line have in common.
	since       time.Duration
	ops, failed uint64
	p50, p99    int64
	unknown     uint64
	every       time.Duration
}

func (a *app) newProgress(o *outputConfig, c *bench.Config) *progress {
	p := &progress{w: a.err, quiet: o.quiet, verbose: o.verbose, total: c.Load.Duration, every: plainEvery}
	if isTerminal(a.err) && a.getenv("TERM") != "dumb" {
		p.live, p.every = true, liveEvery
	}
	return p
}

// isTerminal says whether w is a terminal.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

func (p *progress) log(format string, args ...any) {
	if p.quiet {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	fmt.Fprintf(p.w, format+"\n", args...)
}

func (p *progress) debug(format string, args ...any) {
	if p.verbose {
		p.log(format, args...)
	}
}

// clear removes the live line. mu is held.
func (p *progress) clear() {
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = false
	}
}

// end leaves no live line behind.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
}

// interval is bench.Config.Progress.
func (p *progress) interval(i load.Interval) {
	if p.quiet {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	end := time.Duration(i.Start + i.Length)
	if i.Start < 0 && i.Start+i.Length >= 0 {
		end = 0
	}
	p.since += time.Duration(i.Length)
	p.ops += i.Ops
	p.failed += i.Failed
	p.unknown += i.Unknown
	p.p50, p.p99 = max(p.p50, i.P50), max(p.p99, i.P99)
	if p.since < p.every && !(i.Start < 0 && end >= 0) {
		return
	}
	line := p.line(i.Start < 0, end)
	p.since, p.ops, p.failed, p.unknown, p.p50, p.p99 = 0, 0, 0, 0, 0, 0
	if !p.live {
		fmt.Fprintln(p.w, line)
		return
	}
	fmt.Fprint(p.w, "\r"+line+"\x1b[K")
	p.shown = true
}

// line describes the time since the last one. The percentiles are the worst of its intervals.
func (p *progress) line(warming bool, end time.Duration) string {
	var b strings.Builder
	switch {
	case warming:
		b.WriteString("warm-up   ")
	case p.total > 0:
		fmt.Fprintf(&b, "%5.1f/%.0fs ", end.Seconds(), p.total.Seconds())
	default:
		fmt.Fprintf(&b, "%5.1fs    ", end.Seconds())
	}
	fmt.Fprintf(&b, "%12s ops/s", result.Count(float64(p.ops)/p.since.Seconds()))
	if p.ops > 0 {
		fmt.Fprintf(&b, "   p50 %s  p99 %s", result.Duration(p.p50), result.Duration(p.p99))
	}
	if p.failed > 0 {
		fmt.Fprintf(&b, "   %s failed", result.Count(float64(p.failed)))
	}
	if p.unknown > 0 {
		fmt.Fprintf(&b, "   %s unknown", result.Count(float64(p.unknown)))
	}
	return b.String()
}
