package snapshot

import (
	"fmt"
	"path/filepath"

	"github.com/paxbench/paxbench/wire"
	"github.com/paxbench/paxbench/wire/plant"
)

// ReceiverConfig says where copies go.
type ReceiverConfig struct {
	FS      FS     // nil: the operating system's
	Dir     string // existing directory of the group's snapshots
	Cluster wire.ClusterID
	Group   wire.GroupID
	Have    wire.Slot // newest slot that is on disk already; pieces up to here are old news
	// TotalMax bounds the size of a file that is accepted, in bytes. Default 1 TiB. It guards the disk against a
	// senseless total; memory never depends on it.
	TotalMax uint64
}

// Receiver puts the pieces of a snapshot together: lost, repeated, overtaken and stale pieces are tolerated, an
// interrupted copy is resumed (also after a restart), and nothing is visible under the file's name before all of it
// was received, verified and synced. It works on disk: never call it on a goroutine that must not wait.
// Not safe for concurrent use.
type Receiver struct {
	c  ReceiverConfig
	fs FS

	// The copy under way; f nil: none.
	slot   wire.Slot
	total  uint64
	path   string
	f      FileHandle
	have   uint64 // Invariant: every byte below was written to f, and have <= total
	synced uint64
}

// Ack is what to tell the sender: every byte below Offset is here. Send it unless Ignored.
type Ack struct {
	Slot    wire.Slot
	Total   uint64
	Offset  uint64
	Ignored bool // a piece of an older copy: say nothing

	// Installed is the complete file once: with the piece that completed it. The caller restores from it.
	Installed *File
}

// NewReceiver returns a receiver without a copy under way. It touches no file.
func NewReceiver(c ReceiverConfig) *Receiver {
	if c.TotalMax == 0 {
		c.TotalMax = 1 << 40
	}
	return &Receiver{c: c, fs: orOS(c.FS)}
}

// Chunk takes the piece data at offset of the snapshot at slot, whose file has total bytes. The piece that completes
// the file verifies, syncs and installs it.
//
// After an error the acknowledgement is still good to send: the copy goes on or starts anew from Ack.Offset. An
// *Error with ErrDamaged, ErrCut, ErrForeign or ErrStale means that what was received was refused and dropped; other
// errors come from the file system and are the disk's.
func (r *Receiver) Chunk(slot wire.Slot, total, offset uint64, data []byte) (Ack, error) {
	if slot <= r.c.Have {
		return Ack{Slot: slot, Total: total, Offset: total}, nil // installed long ago: the sender can stop
	}
	if r.f != nil && slot < r.slot && r.have >= headerSize { // a copy without a checked header holds no place
		return Ack{Ignored: true}, nil
	}
	if total > r.c.TotalMax || total < headerSize+trailerSize || offset > total || uint64(len(data)) > total-offset {
		return Ack{Ignored: true}, &Error{File: r.name(slot), Err: ErrCut,
			Detail: fmt.Sprintf("piece of %d bytes at %d of %d, limit %d", len(data), offset, total, r.c.TotalMax)}
	}
	if r.f == nil || slot != r.slot || total != r.total {
		// Another file of the same slot (another sender made its own) replaces the copy only with its first piece:
		// a late piece of an abandoned copy must not throw away what the present one has.
		if r.f != nil && slot == r.slot && offset != 0 {
			return Ack{Slot: slot, Total: total, Offset: 0}, nil
		}
		if err := r.begin(slot, total); err != nil {
			return Ack{Slot: slot, Total: total, Offset: 0}, err
		}
	}
	if err := r.write(offset, data); err != nil {
		r.drop()
		return Ack{Slot: slot, Total: total, Offset: 0}, err
	}
	ack := Ack{Slot: slot, Total: total, Offset: r.have}
	if r.have < r.total {
		return ack, nil
	}
	f, err := r.finish()
	if err != nil {
		r.drop()
		ack.Offset = 0
		return ack, err
	}
	ack.Installed = f
	return ack, nil
}

// Progress is the copy under way: its slot and how many bytes of total are here. slot 0: none.
func (r *Receiver) Progress() (slot wire.Slot, have, total uint64) {
	if r.f == nil {
		return 0, 0, 0
	}
	return r.slot, r.have, r.total
}

// SetHave tells the receiver that the snapshot at slot is on disk, written here. A copy at or below it is dropped.
func (r *Receiver) SetHave(slot wire.Slot) {
	r.c.Have = max(r.c.Have, slot)
	if r.f != nil && r.slot <= r.c.Have {
		r.drop()
	}
}

// Abandon gives up the copy under way, whose sender is gone, so that another snapshot may be copied, also an older one.
func (r *Receiver) Abandon() {
	if r.f != nil {
		r.drop()
	}
}

// Close ends the copy under way and keeps what was received, so that a later Receiver can resume it; but not if it cannot
// be synced: the kernel may go on showing bytes that the disk will never have, and the sync of the whole file would find
// nothing to write and succeed.
func (r *Receiver) Close() error {
	if r.f == nil {
		return nil
	}
	err := r.f.Sync()
	if err != nil && !plant.Is(plant.PartKeptUnsynced) {
		r.drop()
		return fmt.Errorf("snapshot: sync part: %w", err)
	}
	if cerr := r.f.Close(); err == nil {
		err = cerr
	}
	r.f = nil
	return err
}

func (r *Receiver) name(slot wire.Slot) string {
	return filepath.Join(r.c.Dir, Name(r.c.Group, slot))
}

// begin opens the part file of a copy, and takes up what an earlier life left in it.
func (r *Receiver) begin(slot wire.Slot, total uint64) error {
	if r.f != nil {
		r.drop()
	}
	path := filepath.Join(r.c.Dir, partName(r.c.Group, slot, total))
	f, err := r.fs.OpenPart(path)
	if err != nil {
		return fmt.Errorf("snapshot: open part: %w", err)
	}
	size, err := f.Size()
	if err != nil {
		_ = f.Close()
		return fmt.Errorf("snapshot: open part: %w", err)
	}
	r.slot, r.total, r.path, r.f = slot, total, path, f
	// At least the last piece is received again: it is what triggers verification.
	r.have = min(uint64(max(size, 0)), total-1)
	r.synced = 0
	if r.have < headerSize {
		r.have = 0
		return nil
	}
	if err := r.checkHeader(); err != nil {
		r.have = 0 // an earlier life's garbage: overwrite it
	}
	return nil
}

// write adds what is new in the piece and checks the header as soon as it is here.
func (r *Receiver) write(offset uint64, data []byte) error {
	if offset > r.have || offset+uint64(len(data)) <= r.have {
		return nil // something in between is missing, or a repeat
	}
	p := data[r.have-offset:]
	if _, err := r.f.WriteAt(p, int64(r.have)); err != nil {
		return fmt.Errorf("snapshot: write part: %w", err)
	}
	before := r.have
	r.have += uint64(len(p))
	if before < headerSize && r.have >= headerSize {
		if err := r.checkHeader(); err != nil {
			return err
		}
	}
	if r.have-r.synced >= syncBytes {
		if err := r.f.Sync(); err != nil {
			return fmt.Errorf("snapshot: sync part: %w", err)
		}
		r.synced = r.have
	}
	return nil
}

// checkHeader refuses a foreign file at its first bytes.
func (r *Receiver) checkHeader() error {
	var b [headerSize]byte
	if err := readFull(r.f, b[:], 0); err != nil {
		return at(r.path, err)
	}
	m, err := parseHeader(b[:])
	if err != nil {
		return at(r.path, err)
	}
	return r.checkMeta(m)
}

func (r *Receiver) checkMeta(m Meta) error {
	if m.Cluster != r.c.Cluster || m.Group != r.c.Group {
		return &Error{File: r.path, Err: ErrForeign, Detail: fmt.Sprintf("cluster %d group %d, this is cluster %d group %d",
			m.Cluster, m.Group, r.c.Cluster, r.c.Group)}
	}
	if m.Slot != r.slot {
		return &Error{File: r.path, Err: ErrStale, Detail: fmt.Sprintf("slot %d, announced as %d", m.Slot, r.slot)}
	}
	return nil
}

// finish verifies, syncs and installs the complete part file.
func (r *Receiver) finish() (*File, error) {
	v, err := verify(r.f)
	if err != nil {
		return nil, at(r.path, err)
	}
	if err := r.checkMeta(v.Meta); err != nil {
		return nil, err
	}
	if uint64(v.Size) != r.total {
		return nil, &Error{File: r.path, Err: ErrCut, Detail: fmt.Sprintf("%d bytes, announced as %d", v.Size, r.total)}
	}
	if err := r.f.Sync(); err != nil {
		return nil, fmt.Errorf("snapshot: sync part: %w", err)
	}
	err = r.f.Close()
	r.f = nil
	if err != nil {
		return nil, fmt.Errorf("snapshot: close part: %w", err)
	}
	v.Path, v.fs = r.name(r.slot), r.fs
	if err := install(r.fs, r.c.Dir, r.path, v.Path); err != nil {
		return nil, err
	}
	r.c.Have = r.slot
	return v, nil
}

// drop throws the copy under way away.
func (r *Receiver) drop() {
	if r.f != nil {
		_ = r.f.Close()
		r.f = nil
	}
	_ = r.fs.Remove(r.path) // best effort: a leftover is overwritten, or removed by Clean
}
