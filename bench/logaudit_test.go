package bench

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/paxbench/paxbench/bench/load"
	"github.com/paxbench/paxbench/engine"
	"github.com/paxbench/paxbench/engine/history/judge"
	"github.com/paxbench/paxbench/engine/wal"
	"github.com/paxbench/paxbench/wire"
)

// Two logs with different values in one chosen slot are the end of agreement: the audit must see it, whichever logs they
// are, and must not see it where a log has been trimmed.
func TestCompareVotes(t *testing.T) {
	at := func(ballot wire.Ballot, value uint64) vote { return vote{ballot: ballot, value: value} }
	same := []map[wire.Slot]vote{
		{1: at(1, 11), 2: at(1, 12), 3: at(2, 13)},
		{2: at(1, 12), 3: at(5, 13)}, // trimmed below 2; slot 3 learned at a later ballot
		{3: at(2, 13)},
	}
	if got := compareVotes(same); len(got.Findings) != 0 || got.Slots != 2 {
		t.Errorf("equal logs: %+v", got)
	}
	same[2][2] = at(3, 99)
	if got := compareVotes(same); len(got.Findings) != 1 || got.Slots != 2 {
		t.Errorf("a different value in slot 2: %+v", got)
	}
}

// States that differ must be found by hash, and by count where a state machine has no hash.
func TestDiverged(t *testing.T) {
	all := []engine.Status{{Node: 1, StateHash: "a", Commands: 5}, {Node: 2, StateHash: "a", Commands: 5}, {Node: 3, StateHash: "a", Commands: 5}}
	if why := diverged(all); why != nil {
		t.Errorf("equal replicas: %v", why)
	}
	all[2].StateHash = "b"
	if why := diverged(all); len(why) != 1 {
		t.Errorf("another hash: %v", why)
	}
	all[2].StateHash, all[1].Commands = "a", 6
	if why := diverged(all); len(why) != 1 {
		t.Errorf("another count: %v", why)
	}
}

// A log that is damaged must make the audit fail, not look like one that agrees with everything.
func TestAuditLogsReadsEveryByte(t *testing.T) {
	t.Parallel()
	c := quick(t)
	c.KeepData, c.Cluster = true, InProc
	mustRun(t, c)
	logs, err := filepath.Glob(filepath.Join(c.DataDir, "run-*", "cluster", "node*", "wal"))
	if err != nil || len(logs) != 3 {
		t.Fatalf("logs %v, %v", logs, err)
	}
	audit, err := auditLogs(logs, 1<<40, nil)
	if err != nil || audit.Slots < 10 || len(audit.Findings) != 0 {
		t.Fatalf("%+v, %v", audit, err)
	}
	var record wal.Entry
	if _, err := wal.Inspect(logs[1], func(e *wal.Entry) error {
		if e.Record.Slot == 10 {
			record = *e
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	flipBit(t, record.File, record.Offset+40)
	if audit, err := auditLogs(logs, 1<<40, nil); err == nil {
		t.Errorf("a flipped bit went unnoticed: %+v", audit)
	}
}

func flipBit(t *testing.T, file string, offset int64) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text[offset] ^= 0x10
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
}

// What can go wrong: an acknowledged write that was overwritten later is lost, moved or changed, and no state shows it. Each
// submission of a run must be found at its place; said to be elsewhere, by another session, with another value, or in a slot
// that no log has, it must be missed.
func TestAuditFindsEveryBlock(t *testing.T) {
	t.Parallel()
	for _, api := range []load.API{load.APIBlock, load.APICall} {
		c := quick(t)
		c.KeepData, c.Cluster, c.Load.API, c.Load.Reads, c.Load.ReadMode = true, InProc, api, 0.3, load.ReadLog
		c.Engine.Compress, c.Load.Duration = "s2", 300*time.Millisecond
		c.History = filepath.Join(t.TempDir(), "h")
		r := mustRun(t, c)
		logs, err := filepath.Glob(filepath.Join(c.DataDir, "run-*", "cluster", "node*", "wal"))
		if err != nil || len(logs) != 3 {
			t.Fatalf("logs %v, %v", logs, err)
		}
		file, err := os.Open(c.History)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		j, err := JudgeHistory(file, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		p := &promised{blocks: j.History.Blocks(), values: c.Load.Values, sm: load.KV}
		p.values.Seed = r.Seed
		n := len(p.blocks)
		audit, err := auditLogs(logs, 1<<40, p)
		if err != nil || audit.Blocks != n || n < 10 || len(audit.Findings) != 0 || audit.Trimmed != 0 {
			t.Fatalf("%d blocks: %+v, %v", n, audit, err)
		}
		good := p.blocks
		for what, change := range map[string]func(b *judge.Block){
			"another index":    func(b *judge.Block) { b.Index += 1000 },
			"another session":  func(b *judge.Block) { b.Session++ },
			"another sequence": func(b *judge.Block) { b.First += 1 << 20 },
			"another value":    func(b *judge.Block) { b.Stamp += 1 << 20; b.Reads = 0 },
			"no such slot":     func(b *judge.Block) { b.Slot = 1 << 30 },
		} {
			p.blocks = append([]judge.Block(nil), good...)
			at := n - 1
			for p.blocks[at].Reads == p.blocks[at].Count { // reads have no value
				at--
			}
			p.blocks = p.blocks[:at+1]
			change(&p.blocks[at])
			if audit, err := auditLogs(logs, 1<<40, p); err != nil || audit.Lost == 0 || len(audit.Findings) == 0 {
				t.Errorf("%v, %s: %+v, %v", api, what, audit, err)
			}
		}
	}
}

// A restart may bring commands of unknown outcome to light, and nothing else: an audit that calls that a loss cries wolf
// after each overload, one that lets everything pass does not see a log that forgets.
func TestRestarted(t *testing.T) {
	for _, c := range []struct {
		before, after, unknown uint64
		ok                     bool
	}{{10, 10, 0, true}, {10, 12, 2, true}, {10, 12, 5, true}, {10, 13, 2, false}, {10, 9, 0, false}, {10, 9, 5, false}} {
		if why := restarted(c.before, c.after, c.unknown); (why == "") != c.ok {
			t.Errorf("%+v: %q", c, why)
		}
	}
}
