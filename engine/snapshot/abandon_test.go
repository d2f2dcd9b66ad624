package snapshot

import (
	"io"
	"os"
	"testing"

	"github.com/paxbench/paxbench/wire"
)

// What can go wrong: the sender of a newer snapshot dies in the middle, and the copy of an older one, which is all that the
// living have, is ignored for ever.
func TestAbandonMakesRoomForAnOlderSnapshot(t *testing.T) {
	src := t.TempDir()
	body := func(w io.Writer) error { _, err := w.Write(make([]byte, 1000)); return err }
	read := func(slot wire.Slot) []byte {
		path, _, err := Write(nil, src, Meta{Cluster: 7, Group: 1, Slot: slot}, body)
		if err != nil {
			t.Fatal(err)
		}
		p, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	older, newer := read(900), read(1000)
	r := NewReceiver(ReceiverConfig{Dir: t.TempDir(), Cluster: 7, Group: 1})
	defer r.Close()
	if a, err := r.Chunk(1000, uint64(len(newer)), 0, newer[:100]); err != nil || a.Offset != 100 {
		t.Fatal(a, err)
	}
	if a, err := r.Chunk(900, uint64(len(older)), 0, older); err != nil || !a.Ignored {
		t.Fatalf("a newer copy is under way, the older one is not ignored: %+v, %v", a, err)
	}
	r.Abandon()
	a, err := r.Chunk(900, uint64(len(older)), 0, older)
	if err != nil || a.Installed == nil || a.Installed.Meta.Slot != 900 {
		t.Fatalf("after Abandon: %+v, %v", a, err)
	}
}
