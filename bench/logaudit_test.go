package bench

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/paxbench/paxbench/engine"
	"github.com/paxbench/paxbench/engine/wal"
	"github.com/paxbench/paxbench/wire"
)

// Two logs with different values in one chosen slot are the end of agreement: the audit must see it, whichever logs they
// are, and must not see it where a log has been trimmed.
func TestCompareVotes(t *testing.T) {
	at := func(ballot wire.Ballot, value uint64) vote { return vote{ballot, value} }
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
	audit, err := auditLogs(logs, 1<<40)
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
	if audit, err := auditLogs(logs, 1<<40); err == nil {
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
