package engine

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/paxbench/paxbench/engine/wal"
)

// What can go wrong: the last acknowledged group of a cluster of one is damaged, taken for a torn write that nobody was
// told of, and cut without a word. It must refuse, change nothing, and start when told to accept the loss.
func TestSingleNodeRefusesDamagedTail(t *testing.T) {
	c := newCluster(t, 1, false, nil)
	c.propose("first")
	if got := c.propose("acked"); got != "acked:1" {
		t.Fatal(got)
	}
	c.close()
	files, err := filepath.Glob(filepath.Join(c.dir, "1", "wal", "seg-*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("segments %v: %v", files, err)
	}
	name := files[len(files)-1]
	p, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	end := len(p)
	for end > 0 && p[end-1] == 0 {
		end--
	}
	p[end-3] ^= 1
	if err := os.WriteFile(name, p, 0o644); err != nil {
		t.Fatal(err)
	}
	var torn *wal.TornError
	for range 2 { // a refusal that cut the tail would let the second start through
		if _, err := c.open(1, false, nil); !errors.As(err, &torn) {
			t.Fatalf("started on a damaged tail: %v", err)
		}
	}
	c.config = func(c *Config) { c.AcceptTornTail = true }
	if _, err := c.open(1, false, nil); err != nil {
		t.Fatalf("told to accept the loss: %v", err)
	}
	if got := c.propose("acked"); got != "acked:1" {
		t.Errorf("after the cut the command counts %q: the damaged one was read", got)
	}
}
