package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A record that cannot be read back, or a file of another kind taken for one, would lose a run or make a table of
// nonsense.
func TestRecordRoundTrip(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "deep", "record.json")
	r := testRecord()
	if err := writeJSON(path, r); err != nil {
		t.Fatal(err)
	}
	back, err := readRecord(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(back.Samples) != len(r.Samples) || back.Samples[2] != r.Samples[2] || back.Cells[1] != r.Cells[1] {
		t.Errorf("read back %+v", back)
	}
	other := filepath.Join(dir, "other.json")
	if err := os.WriteFile(other, []byte(`{"schema_version":1,"config":{}}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := readRecord(other); err == nil || !strings.Contains(err.Error(), "other.json") {
		t.Errorf("a foreign file: %v", err)
	}
}

// A wrong flag must be refused with usage before any cluster starts.
func TestParseRun(t *testing.T) {
	for _, args := range [][]string{
		{"--cells", "none"}, {"--engines", "zookeeper"}, {"--rounds", "0"}, {"extra"}, {"--no-such-flag"},
	} {
		if _, err := parseRun(args); !errors.Is(err, errUsage) {
			t.Errorf("%v: %v", args, err)
		}
	}
	f, err := parseRun([]string{"--fsync=false"})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range f.engines {
		if !e.NoFsync {
			t.Errorf("%s runs without fsync", e.Name)
		}
	}
}

// A whole run, small: every side is started, loaded, verified and recorded. A session that is void, or samples that are
// missing or empty, would show here.
func TestRun(t *testing.T) {
	f, err := parseRun([]string{"--engines", "paxbench,etcd-raft", "--dir", t.TempDir(), "--rounds", "2"})
	if err != nil {
		t.Fatal(err)
	}
	f.cells = []cell{call(16, 64), block(16, 256)}
	f.config.Fill, f.config.Warmup, f.config.Length = 0, 0, 50*time.Millisecond
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Second)
	defer cancel()
	rec := &record{Cells: f.cells}
	if err := f.rounds(ctx, rec); err != nil {
		t.Fatal(err)
	}
	if len(rec.Samples) != 2*2*2 || len(rec.Invalid) > 0 {
		t.Fatalf("%d samples, invalid %+v", len(rec.Samples), rec.Invalid)
	}
	for _, s := range rec.Samples {
		if s.Commands == 0 || s.CPUSeconds <= 0 || s.PerSecond < 0 {
			t.Errorf("%+v", s)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(f.dir, "peers-data-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
