package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/paxbench/paxbench/engine/wal"
	"github.com/paxbench/paxbench/wire"
)

// What can go wrong, with real processes and files: each of three logs is damaged in another place, all three nodes are refused, and although
// every byte exists somewhere nothing brings the cluster back; or something does, and a vote is forgotten or made up (FAULTS.md F24).
// Each is repaired from the other two as they are, comes out byte for byte as it was, votes at once, and has everything that was acknowledged.
func TestServeRepair(t *testing.T) {
	t.Parallel()
	c, dirs, servers, peers := startThree(t)
	c.load()
	for _, s := range servers {
		s.end(t)
	}
	votes := []map[string]bool{votesIn(t, dirs[0]), votesIn(t, dirs[1]), votesIn(t, dirs[2])}
	whole := make([]map[string]string, 3)
	for i, dir := range dirs {
		whole[i] = segmentsIn(t, dir)
		damage(t, dir, func(all []place) place { return all[len(all)*(i+1)/4] })
	}
	for i, dir := range dirs {
		code, _, errs := spawn(t, serveArgs(i+1, dir, peers)...)
		if code == 0 || !strings.Contains(errs, "offset") || !strings.Contains(errs, "wal repair") || !strings.Contains(errs, "--rejoin") {
			t.Fatalf("node %d: refused with exit %d:\n%s", i+1, code, errs)
		}
	}
	for i, dir := range dirs {
		args := []string{"wal", "repair", dir, "--from", dirs[(i+1)%3], "--from", dirs[(i+2)%3]}
		if code, out, errs := spawn(t, append(args, "--dry-run")...); code != 0 || !strings.Contains(out, "nothing was written") {
			t.Fatalf("node %d, dry run: exit %d\n%s%s", i+1, code, out, errs)
		}
		code, out, errs := spawn(t, args...)
		if code != 0 || !strings.Contains(out, "was replaced") {
			t.Fatalf("node %d: exit %d\n%s%s", i+1, code, out, errs)
		}
		for name, was := range whole[i] {
			now, err := os.ReadFile(name)
			if err != nil || string(now) != was {
				t.Errorf("node %d: %s is not what it was (%v)", i+1, name, err)
			}
		}
		if code, out, errs := spawn(t, args...); code != 0 || !strings.Contains(out, "nothing to repair") {
			t.Errorf("node %d, once more: exit %d\n%s%s", i+1, code, out, errs)
		}
		if now := votesIn(t, dir); len(now) != len(votes[i]) {
			t.Errorf("node %d: %d votes, had %d", i+1, len(now), len(votes[i]))
		}
	}
	for i := range servers {
		servers[i] = startServer(t, serveArgs(i+1, dirs[i], peers)...)
	}
	for i := range servers {
		if role := c.role(i); role == "suspect" {
			t.Errorf("node %d is suspect", i+1)
		}
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		roles := []string{c.role(0), c.role(1), c.role(2)}
		if slices.Contains(roles, "leader") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no leader: %v", roles)
		}
	}
	if code, _, errs := spawn(t, "wal", "repair", dirs[0], "--from", dirs[1]); code == 0 || !strings.Contains(errs, "in use by process") {
		t.Errorf("repair of a running node: exit %d\n%s", code, errs)
	}
	c.load()
	for _, s := range servers {
		s.end(t)
	}
	for i, dir := range dirs {
		now := votesIn(t, dir)
		for v := range votes[i] {
			if !now[v] {
				t.Fatalf("node %d: the vote %s is gone", i+1, v)
			}
		}
	}
}

// votesIn lists the votes in the log of a node's data directory, values included.
func votesIn(t *testing.T, dir string) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	_, err := wal.Inspect(filepath.Join(dir, "wal"), func(e *wal.Entry) error {
		if r := &e.Record; r.Kind == wire.KindAccept || r.Kind == wire.KindLearn {
			all[fmt.Sprintf("%d %d %v %x", r.Group, r.Slot, r.Ballot, r.Frame.Bytes()[wire.HeaderSize-4:wire.HeaderSize])] = true
		}
		return nil
	})
	if err != nil || len(all) < 10 {
		t.Fatalf("%d votes, %v", len(all), err)
	}
	return all
}

// segmentsIn reads the segments in a node's data directory.
func segmentsIn(t *testing.T, dir string) map[string]string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "wal", "seg-*.wal"))
	if err != nil || len(names) == 0 {
		t.Fatalf("%v, %v", names, err)
	}
	all := map[string]string{}
	for _, name := range names {
		p, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = string(p)
	}
	return all
}
