package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Damage to a log must be found by serve, which must not vote on it, and by wal verify, with file and offset.
func TestDamagedLog(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	args := small(t, "--nodes", "1", "--cluster", "inproc", "--keep-data")
	for i := range args {
		if args[i] == "--data-dir" {
			args[i+1] = base
		}
	}
	code, out, errs := spawn(t, args...)
	decode(t, code, out, errs)
	dirs, err := filepath.Glob(filepath.Join(base, "run-*", "cluster", "node1"))
	if err != nil || len(dirs) != 1 {
		t.Fatalf("%v, %v", dirs, err)
	}
	dir := dirs[0]
	code, out, errs = call(nil, "wal", "verify", dir)
	if code != exitOK || !strings.Contains(out, "node 1") {
		t.Fatalf("exit %d: %s%s", code, out, errs)
	}
	code, out, errs = call(nil, "wal", "inspect", "--records", dir)
	if code != exitOK || !strings.Contains(out, "Accept") || !strings.Contains(out, "log of node 1") {
		t.Fatalf("exit %d: %.2000s%s", code, out, errs)
	}
	code, record, errs := call(nil, "wal", "inspect", "--records", "--format", "json", dir)
	if code != exitOK {
		t.Fatalf("exit %d: %s", code, errs)
	}
	file, offset := thirdAccept(t, record)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(whole)
	flipped[offset+50] ^= 4
	for name, damaged := range map[string][]byte{"bit-flipped": flipped, "truncated": whole[:offset+50], "empty": nil} {
		if err := os.WriteFile(file, damaged, 0o644); err != nil {
			t.Fatal(err)
		}
		if code, out, errs := call(nil, "wal", "verify", dir); code != exitRuntime || !strings.Contains(errs, filepath.Base(file)) {
			t.Errorf("%s: wal verify: exit %d, %s%s", name, code, out, errs)
		}
		id := strings.TrimSpace(clusterOf(t, record, dir))
		node := serveArgs(1, dir, "1="+freeAddrs(t, 1)[0])
		node[4] = id
		code, _, errs := spawn(t, node...)
		if code != exitRuntime || !strings.Contains(errs, filepath.Base(file)) || !strings.Contains(errs, "wal verify") {
			t.Errorf("%s: serve: exit %d, %s", name, code, errs)
		}
	}
}

// thirdAccept finds a record well before the end of the log: damage there is never a torn tail.
func thirdAccept(t *testing.T, records string) (file string, offset int64) {
	t.Helper()
	n := 0
	for line := range strings.Lines(records) {
		var r struct {
			File   string
			Offset int64
			Kind   string
		}
		if json.Unmarshal([]byte(line), &r) == nil && r.Kind == "Accept" {
			if n++; n == 3 {
				return r.File, r.Offset
			}
		}
	}
	t.Fatalf("no third Accept record in:\n%.2000s", records)
	return "", 0
}

// clusterOf reads the cluster id from the last line of an inspection in JSON.
func clusterOf(t *testing.T, records, dir string) string {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(records), "\n")
	var report struct{ Identity struct{ Cluster uint64 } }
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &report); err != nil || report.Identity.Cluster == 0 {
		t.Fatalf("%s: %v in %s", dir, err, lines[len(lines)-1])
	}
	return strconv.FormatUint(report.Identity.Cluster, 10)
}
