package engine

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/paxbench/paxbench/engine/wal"
	"github.com/paxbench/paxbench/wire"
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
	name, offset := "", int64(0) // of the last record
	_, err := wal.Inspect(filepath.Join(c.dir, "1", "wal"), func(e *wal.Entry) error {
		name, offset = e.File, e.Offset
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	p, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	p[offset+wire.HeaderSize] ^= 1
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
