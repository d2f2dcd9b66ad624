package wal

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/paxbench/paxbench/engine/wal/vfs"
	"github.com/paxbench/paxbench/wire"
)

// smallLog writes votes 1..n, one synced group each, and closes the log.
func smallLog(t testing.TB, c Config, size int, n wire.Slot) {
	t.Helper()
	l := bootstrapped(t, c)
	for _, s := range slotRange(1, n) {
		appendVotes(t, l, size, s)
		mustSync(t, l)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// segmentFile is the path of segment id.
func segmentFile(id uint64) string { return filepath.Join(testDir, segmentName(id)) }

// groupsOf lists the groups of a segment as they stand in the file.
func groupsOf(t testing.TB, m *vfs.Mem, id uint64) (offsets []int64, end int64) {
	t.Helper()
	w, err := openWalker(m, segmentFile(id), id, Identity{Cluster: testCluster, Node: 1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.walk(visitor{group: func(off int64, _ *groupHeader) error { offsets = append(offsets, off); return nil }}); err != nil {
		t.Fatal(err)
	}
	return offsets, w.off
}

// wantCorrupt checks that an error refuses the log naming this file.
func wantCorrupt(t *testing.T, err error, file string) {
	t.Helper()
	var c *CorruptError
	if !errors.As(err, &c) {
		t.Fatalf("error %v, want a *CorruptError", err)
	}
	if c.File != file || c.Reason == "" {
		t.Errorf("error names %s at %d (%s), want %s", c.File, c.Offset, c.Reason, file)
	}
	if !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "new id") {
		t.Errorf("message does not name the file and the way out: %v", err)
	}
}

// TestEveryByteFlipped: one flipped bit anywhere in a log of two segments. If the flip could pass for the end of the log,
// acknowledged votes would vanish silently. Allowed is: refusal; nothing lost; or the very last group cut, which cannot be
// told from a torn one, and then the verdict must say so.
func TestEveryByteFlipped(t *testing.T) {
	m := vfs.NewMem()
	const votes = 10
	smallLog(t, memConfig(m), 700, votes)
	last, end := groupsOf(t, m, 2)
	if len(last) < 2 {
		t.Fatalf("the second segment has %d groups", len(last))
	}
	rng := rand.New(rand.NewPCG(1, 2))
	refused, cut := 0, 0
	for id := uint64(1); id <= 2; id++ {
		for off := int64(0); off < segmentBytesMin; off++ {
			bit := byte(1) << rng.IntN(8)
			damaged := m.Clone()
			damaged.Corrupt(segmentFile(id), func(p []byte) []byte { p[off] ^= bit; return p })
			l, r, err := openReplay(memConfig(damaged))
			what := fmt.Sprintf("segment %d, byte %d, bit %#x", id, off, bit)
			if err != nil {
				var c *CorruptError
				if !errors.As(err, &c) || c.File != segmentFile(1) && c.File != segmentFile(2) {
					t.Fatalf("%s: %v", what, err)
				}
				refused++
				continue
			}
			l.Close()
			whole := slices.Equal(slotsOf(r.votes), slotRange(1, votes))
			inLast := id == 2 && off >= last[len(last)-1]
			if !whole {
				cut++
			}
			if !whole && (!inLast || off >= end || !l.Verdict().Torn || !slices.Equal(slotsOf(r.votes), slotRange(1, votes-1))) {
				t.Fatalf("%s: replayed %v, verdict %v", what, slotsOf(r.votes), l.Verdict())
			}
		}
	}
	if refused == 0 || cut == 0 {
		t.Errorf("%d refused, %d cut: the test does not reach both", refused, cut)
	}
}

// TestZeroedSectors: a sector, or all sectors from one on, read as zeros (FAULTS.md F18). Zeros must not pass for
// the end of the log while a group behind them says otherwise.
func TestZeroedSectors(t *testing.T) {
	m := vfs.NewMem()
	smallLog(t, memConfig(m), 300, 6)
	groups, end := groupsOf(t, m, 1)
	final := groups[len(groups)-1]
	for off := int64(0); off < end; off += sectorSize {
		damaged := m.Clone()
		damaged.Corrupt(segmentFile(1), func(p []byte) []byte { clear(p[off : off+sectorSize]); return p })
		l, r, err := openReplay(memConfig(damaged))
		if off < final {
			wantCorrupt(t, err, segmentFile(1))
			continue
		}
		if err != nil || len(r.votes) != 5 {
			t.Fatalf("sector %d of the final group zeroed: %v", off/sectorSize, err)
		}
		if multi := end-final > sectorSize; multi && !l.Verdict().Torn {
			t.Errorf("sector %d of the final group zeroed: verdict %v", off/sectorSize, l.Verdict())
		}
		l.Close()
	}
}

// TestLyingLength: the length of a group in the middle is damaged in every way that could lead the reader over the groups
// behind it or stop it, with the header's CRC made to fit for good measure.
func TestLyingLength(t *testing.T) {
	m := vfs.NewMem()
	smallLog(t, memConfig(m), 300, 6)
	groups, _ := groupsOf(t, m, 1)
	for _, length := range []uint32{0, 1, 400, 1 << 20, 1<<31 - 1, 1<<32 - 1} {
		for _, sign := range []bool{false, true} {
			damaged := m.Clone()
			damaged.Corrupt(segmentFile(1), func(p []byte) []byte {
				head, err := decodeSegmentHeader("", p)
				if err != nil {
					t.Fatal(err)
				}
				var h groupHeader
				at := p[groups[3]:]
				if !h.decode(at, 1, head.seed()) {
					t.Fatal("no group")
				}
				if h.Length = length; sign {
					h.encode(at, head.seed())
				} else {
					le.PutUint32(at[44:], length)
				}
				return p
			})
			_, _, err := openReplay(memConfig(damaged))
			wantCorrupt(t, err, segmentFile(1))
		}
	}
}

// TestTruncated: a segment cut at any sector, or with bytes added, is refused: a crash cannot change the size of a file
// that was made in full before it got its name.
func TestTruncated(t *testing.T) {
	m := vfs.NewMem()
	smallLog(t, memConfig(m), 300, 4)
	for size := 0; size <= segmentBytesMin+sectorSize; size += sectorSize / 2 {
		if size == segmentBytesMin {
			continue
		}
		damaged := m.Clone()
		damaged.Corrupt(segmentFile(1), func(p []byte) []byte {
			return append(p[:min(size, len(p))], make([]byte, max(0, size-len(p)))...)
		})
		_, _, err := openReplay(memConfig(damaged))
		wantCorrupt(t, err, segmentFile(1))
	}
}

// TestTornTailIsNeverReadAgain tells why a cut is wiped. Under a relaxed policy two groups are written and not synced; the
// disk keeps only the second. Recovery cuts both. Then the first is written again, byte for byte: where it ends, the
// second one begins, and its chain fits. Without the wipe, and if a power loss takes the zeros that are written behind
// a group, a record that was cut comes back from the dead.
func TestTornTailIsNeverReadAgain(t *testing.T) {
	m := vfs.NewMem()
	c := memConfig(m)
	c.Policy = Policy{Mode: Never}
	l := bootstrapped(t, c)
	appendVotes(t, l, 100, 1)
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	lost := l.active.pos
	appendVotes(t, l, 100, 2)
	behind := l.active.pos
	appendVotes(t, l, 100, 3)
	m.PowerLoss(vfs.LoseNone, 0)
	m.Corrupt(segmentFile(1), func(p []byte) []byte { clear(p[lost:behind]); return p })

	l, r, err := openReplay(c)
	if err != nil || !slices.Equal(slotsOf(r.votes), []wire.Slot{1}) {
		t.Fatalf("replayed %+v, %v", r, err)
	}
	if v := l.Verdict(); !v.Torn || v.Groups != 1 || v.Offset != lost || v.LSN != 3 || v.File != segmentFile(1) {
		t.Errorf("verdict %+v", v)
	}
	p, err := vfs.ReadFile(m, segmentFile(1))
	if err != nil {
		t.Fatal(err)
	}
	left := slices.Clone(p[behind : behind+pageSize])
	l.durable.Store(2) // as it was when the lost group was written, so that the bytes come out the same
	appendVotes(t, l, 100, 2)
	if l.active.pos != behind {
		t.Fatalf("the second writing ends at %d, the first ended at %d", l.active.pos, behind)
	}
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	m.PowerLoss(vfs.LoseAll, 0)
	m.Corrupt(segmentFile(1), func(p []byte) []byte { copy(p[behind:], left); return p })
	l, r, err = openReplay(c)
	if err != nil || !slices.Equal(slotsOf(r.votes), []wire.Slot{1, 2}) {
		t.Fatalf("replayed %+v, %v; want votes 1 and 2", r, err)
	}
	l.Close()
}

// TestStaleGroupDoesNotFollow: a group of this very segment that stands where the log ends, but was written after other
// groups than those before it, is a misdirected write or a rolled-back sector. It must not be read as the next one.
func TestStaleGroupDoesNotFollow(t *testing.T) {
	m := vfs.NewMem()
	smallLog(t, memConfig(m), 100, 5)
	groups, end := groupsOf(t, m, 1)
	for i := range groups {
		damaged := m.Clone()
		damaged.Corrupt(segmentFile(1), func(p []byte) []byte {
			copy(p[end:end+sectorSize], p[groups[i]:])
			return p
		})
		_, _, err := openReplay(memConfig(damaged))
		wantCorrupt(t, err, segmentFile(1))
	}
}

// TestRecycledSegmentIsBlank: a reused file is full of valid groups of its former life, at the very offsets where
// the new life's groups go. None may be seen.
func TestRecycledSegmentIsBlank(t *testing.T) {
	m := vfs.NewMem()
	c := memConfig(m)
	l := bootstrapped(t, c)
	slot := wire.Slot(0)
	for l.Stats().Recycled == 0 || l.active.id < 5 {
		slot++
		appendVotes(t, l, 700, slot)
		mustSync(t, l)
		if slot%5 == 0 {
			if err := l.Trim(1, slot); err != nil {
				t.Fatal(err)
			}
		}
	}
	id := l.active.id
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	p, err := vfs.ReadFile(m, segmentFile(id))
	if err != nil {
		t.Fatal(err)
	}
	stale := 0
	for off := 0; off < len(p); off += sectorSize {
		if le.Uint32(p[off:]) == groupMagic && le.Uint64(p[off+8:]) < id {
			stale++
		}
	}
	if stale == 0 {
		t.Fatal("the segment holds nothing of a former life")
	}
	l, r, err := openReplay(c)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if l.Verdict().Torn || r.votes[len(r.votes)-1].slot != slot {
		t.Errorf("verdict %v, last vote %v, want slot %d", l.Verdict(), r.votes[len(r.votes)-1], slot)
	}
}

// TestLostAndSwappedFiles: files of the directory are lost, swapped, or come from elsewhere. Each is refused with a
// message that names a file, and the directory is left as it was.
func TestLostAndSwappedFiles(t *testing.T) {
	m := vfs.NewMem()
	smallLog(t, memConfig(m), 700, 30)
	names, err := m.List(testDir)
	if err != nil {
		t.Fatal(err)
	}
	count := len(slices.DeleteFunc(names, func(n string) bool { return !strings.HasPrefix(n, segmentPrefix) }))
	if count < 3 {
		t.Fatalf("%d segments", count)
	}
	for id := uint64(1); id <= uint64(count); id++ {
		lost := m.Clone()
		if err := lost.Remove(segmentFile(id)); err != nil {
			t.Fatal(err)
		}
		_, _, err := openReplay(memConfig(lost))
		wantCorrupt(t, err, segmentFile(id))
	}
	swapped := m.Clone()
	for _, r := range [][2]string{{segmentFile(1), "x"}, {segmentFile(2), segmentFile(1)}, {"x", segmentFile(2)}} {
		for i := range r {
			if r[i] == "x" {
				r[i] = filepath.Join(testDir, "x")
			}
		}
		if err := swapped.Rename(r[0], r[1]); err != nil {
			t.Fatal(err)
		}
	}
	_, _, err = openReplay(memConfig(swapped))
	wantCorrupt(t, err, segmentFile(1))
}

// TestForeignSegments: a segment of another node, cluster or run in an otherwise good directory.
func TestForeignSegments(t *testing.T) {
	m := vfs.NewMem()
	smallLog(t, memConfig(m), 700, 12)
	for _, change := range []func(*Config){
		func(c *Config) { c.Node = 2 },
		func(c *Config) { c.Cluster++ },
		func(c *Config) { salt := uint64(77); c.Salt = func() uint64 { salt++; return salt } },
	} {
		other := vfs.NewMem()
		c := memConfig(other)
		change(&c)
		l := bootstrapped(t, c)
		for _, s := range slotRange(1, 12) {
			rec := acceptRecord(1, s, wire.NewBallot(1, 2), 700)
			if c.Cluster != testCluster {
				wire.SealAccept(rec.Frame, c.Cluster, 1, 2, rec.Ballot, s, 0)
			}
			if _, err := l.Append([]wire.Record{rec}); err != nil {
				t.Fatal(err)
			}
			rec.Frame.Release()
			mustSync(t, l)
		}
		l.Close()
		for id := uint64(1); id <= 2; id++ {
			p, err := vfs.ReadFile(other, segmentFile(id))
			if err != nil {
				t.Fatal(err)
			}
			mixed := m.Clone()
			mixed.WriteFile(segmentFile(id), p)
			_, _, err = openReplay(memConfig(mixed))
			var ce *CorruptError
			if !errors.As(err, &ce) {
				t.Errorf("segment %d of node %d, cluster %x: %v", id, c.Node, c.Cluster, err)
			}
		}
	}
}

// TestOtherVersion: a segment of the next version is refused by naming both versions; its content is not guessed at.
func TestOtherVersion(t *testing.T) {
	m := vfs.NewMem()
	smallLog(t, memConfig(m), 300, 2)
	m.Corrupt(segmentFile(1), func(p []byte) []byte {
		le.PutUint32(p[8:], Version+1)
		return reseal(p)
	})
	_, _, err := openReplay(memConfig(m))
	var v *VersionError
	if !errors.As(err, &v) || v.Got != Version+1 || v.File != segmentFile(1) {
		t.Fatalf("error %v, want a *VersionError", err)
	}
}

// TestRefusalChangesNothing: a log that is refused must be left for whoever repairs it, byte for byte.
func TestRefusalChangesNothing(t *testing.T) {
	m := vfs.NewMem()
	smallLog(t, memConfig(m), 300, 6)
	groups, _ := groupsOf(t, m, 1)
	m.Corrupt(segmentFile(1), func(p []byte) []byte { p[groups[3]+80] ^= 1; return p })
	before, _ := vfs.ReadFile(m, segmentFile(1))
	m.CrashAt(1) // counts and refuses whatever changes or syncs something
	_, _, err := openReplay(memConfig(m))
	wantCorrupt(t, err, segmentFile(1))
	if after, _ := vfs.ReadFile(m, segmentFile(1)); !slices.Equal(before, after) || m.Ops() != 0 {
		t.Errorf("a refused log was touched: %d operations", m.Ops())
	}
}

// TestOpeningGroupDamaged: the newest segment holds its opening group and nothing else yet. It may be the only place
// where promises of recycled segments still stand, it was durable before the segment got its name, and nothing behind it
// can bear witness: it must not be cut like a torn tail.
func TestOpeningGroupDamaged(t *testing.T) {
	m := vfs.NewMem()
	l := bootstrapped(t, memConfig(m))
	appendVotes(t, l, 100, 1)
	if err := l.rotate(10); err != nil {
		t.Fatal(err)
	}
	end := l.active.pos
	l.Close()
	for off := int64(segmentHeaderSize); off < end-sectorSize/2; off++ {
		damaged := m.Clone()
		damaged.Corrupt(segmentFile(2), func(p []byte) []byte { p[off] ^= 4; return p })
		if off-segmentHeaderSize < groupHeaderSize+int64(wire.HeaderSize) {
			_, _, err := openReplay(memConfig(damaged))
			wantCorrupt(t, err, segmentFile(2))
		} else if l, r, err := openReplay(memConfig(damaged)); err == nil { // padding
			if len(r.votes) != 1 || r.members != 2 {
				t.Errorf("byte %d: replayed %+v", off, r)
			}
			l.Close()
		}
	}
}

// TestGroupIsBoundToItsPlace: a sector that a disk wrote in the wrong place, or kept from another time, holds a group that
// was valid there. It must not be one here.
func TestGroupIsBoundToItsPlace(t *testing.T) {
	here := segmentHeader{Cluster: 1, Node: 2, ID: 3, Salt: 4}
	p := make([]byte, groupHeaderSize)
	h := groupHeader{Segment: here.ID, First: 1, Count: 1, Prev: 7}
	h.encode(p, here.seed())
	if got := new(groupHeader); !got.decode(p, here.ID, here.seed()) || *got != h {
		t.Fatalf("decoded %+v, want %+v", got, h)
	}
	for name, other := range map[string]segmentHeader{
		"cluster": {Cluster: 9, Node: 2, ID: 3, Salt: 4},
		"node":    {Cluster: 1, Node: 9, ID: 3, Salt: 4},
		"segment": {Cluster: 1, Node: 2, ID: 9, Salt: 4},
		"salt":    {Cluster: 1, Node: 2, ID: 3, Salt: 9},
	} {
		if new(groupHeader).decode(p, other.ID, other.seed()) {
			t.Errorf("a group of another %s is valid", name)
		}
		// Also if only the CRC can tell.
		if new(groupHeader).decode(p, here.ID, other.seed()) {
			t.Errorf("the CRC of a group of another %s fits", name)
		}
	}
}

// badSector is a file system on which reading past an offset fails, as on a disk with an unreadable sector.
type badSector struct {
	FS
	from int64
}

type badFile struct {
	vfs.File
	from int64
}

func (b badSector) OpenRead(name string) (vfs.File, error) {
	f, err := b.FS.OpenRead(name)
	if strings.Contains(name, segmentPrefix) && err == nil {
		return badFile{f, b.from}, nil
	}
	return f, err
}

func (b badFile) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) <= b.from {
		return b.File.ReadAt(p, off)
	}
	return int(max(0, b.from-off)), syscall.EIO
}

// TestUnreadableSector: what cannot be read is not the end of the log. It is refused, with the cause.
func TestUnreadableSector(t *testing.T) {
	m := vfs.NewMem()
	smallLog(t, memConfig(m), 300, 3)
	for _, from := range []int64{0, 100, 1024, 4096} {
		c := memConfig(m)
		c.FS = badSector{m, from}
		_, _, err := openReplay(c)
		wantCorrupt(t, err, segmentFile(1))
		var ce *CorruptError
		if errors.As(err, &ce); !errors.Is(err, syscall.EIO) || ce.Offset != from {
			t.Errorf("unreadable from %d: %v", from, err)
		}
	}
}
