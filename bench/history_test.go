package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/paxbench/paxbench/bench/load"
	"github.com/paxbench/paxbench/bench/result"
)

// What can go wrong: the verdict is made of nothing. Reads in every mode and writes on few keys are recorded, executed again
// and decided; stale reads are called what they are.
func TestRunIsLinearizable(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		mode load.ReadMode
		api  load.API
		want string
	}{{load.ReadLog, load.APIBlock, result.OK}, {load.ReadQuorum, load.APICall, result.OK}, {load.ReadLease, load.APICall, result.OK}, {load.ReadStale, load.APIBlock, result.Stale}} {
		t.Run(fmt.Sprint(c.mode), func(t *testing.T) {
			t.Parallel()
			cfg := quick(t)
			cfg.Cluster = InProc
			cfg.History = filepath.Join(t.TempDir(), "h")
			cfg.Load.Reads, cfg.Load.ReadMode, cfg.Load.API = 0.5, c.mode, c.api
			cfg.Load.Rate, cfg.Load.Duration, cfg.Load.Keys, cfg.Load.HistoryKeys = 2000, time.Second, 20, 10
			r := mustRun(t, cfg)
			h := r.Safety.History
			if r.Safety.Linearizable != c.want || h == nil || h.Keys != 10 || h.Ops < 500 || h.Calls == 0 || h.Undecided > 0 || h.Dropped > 0 || h.Cut != nil {
				t.Fatalf("%+v %+v", r.Safety, h)
			}
			if (h.Stale > 0) != (c.mode == load.ReadStale) {
				t.Errorf("%d stale reads", h.Stale)
			}
			f, err := os.Open(cfg.History)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			j, err := JudgeHistory(f, time.Minute)
			if err != nil || j.Verdict() != c.want || j.Slots.Calls != h.Calls || j.Keys.Keys != h.Keys {
				t.Errorf("%+v, %v", j, err)
			}
		})
	}
}

// fibber passes on everything but one outcome in some: the client is told what another one was told.
type fibber struct {
	load.Target
	mu   sync.Mutex
	seen int
}

type fib struct {
	l    *fibber
	done load.Completion
}

func (c fib) Complete(r *load.Reply) {
	c.l.mu.Lock()
	c.l.seen++
	n := c.l.seen
	c.l.mu.Unlock()
	if n == 300 && len(r.Result) > 1 {
		r.Result = append([]byte{}, r.Result...)
		r.Result[1]++ // the version
	}
	c.done.Complete(r)
}

func (l *fibber) Call(cmd []byte, done load.Completion) error {
	return l.Target.Call(cmd, fib{l, done})
}

// What can go wrong: one wrong result among thousands, in a state that is all right in the end, passes; or the numbers of
// such a run are shown.
func TestWrongResultIsFound(t *testing.T) {
	t.Parallel()
	c := quick(t)
	c.Cluster = InProc
	c.Load.API, c.Load.Clients = load.APICall, 1
	c.Load.Rate, c.Load.Duration, c.Load.Keys, c.Load.HistoryKeys = 1000, time.Second, 5, 5
	c.hooks.target = func(t load.Target) load.Target { return &fibber{Target: t} }
	r, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if r.Safety.Verdict != result.Violated || r.Safety.Linearizable != result.Violated || !strings.Contains(strings.Join(r.Safety.Details, "\n"), "results: ") {
		t.Errorf("%+v", r.Safety)
	}
	if kept, _ := filepath.Glob(filepath.Join(c.DataDir, "*", "history")); len(kept) != 1 {
		t.Error("the history of a violated run is not kept")
	}
}
