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
	if !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "--rejoin") {
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
		if !l.Verdict().Torn {
			t.Errorf("sector %d of the final group zeroed: verdict %v", off/sectorSize, l.Verdict())
		}
		l.Close()
	}
}

// TestEndMark: the last group fits in one sector, was acknowledged, and that sector then reads as zeros, or as it was before
// (a write that the disk confirmed and lost). Before there was an end mark both looked like a clean end, and the vote was
// gone without a word. A lost mark alone loses nothing, and is said as well: it may be all that is left of a lost group.
func TestEndMark(t *testing.T) {
	m := vfs.NewMem()
	smallLog(t, memConfig(m), 100, 5)
	groups, end := groupsOf(t, m, 1)
	final := groups[len(groups)-1]
	if end-final != sectorSize {
		t.Fatalf("the last group takes %d bytes", end-final)
	}
	before := vfs.NewMem()
	smallLog(t, memConfig(before), 100, 4)
	old, err := vfs.ReadFile(before, segmentFile(1))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		damage func(p []byte)
		votes  int
	}{
		{"last group zeroed", func(p []byte) { clear(p[final:end]) }, 4},
		{"last group never written", func(p []byte) { copy(p[final:end], old[final:]) }, 4},
		{"last group and its mark zeroed", func(p []byte) { clear(p[final : end+sectorSize]) }, 4},
		{"mark zeroed", func(p []byte) { clear(p[end : end+sectorSize]) }, 5},
		{"the mark of before in its place", func(p []byte) { copy(p[end:end+sectorSize], old[final:]) }, 5},
	} {
		damaged := m.Clone()
		damaged.Corrupt(segmentFile(1), func(p []byte) []byte { test.damage(p); return p })
		l, r, err := openReplay(memConfig(damaged))
		if err != nil || len(r.votes) != test.votes || !l.Verdict().Torn {
			t.Fatalf("%s: %+v, %v", test.name, r, err)
		}
		l.Close()
		// What was cut stays cut, and the end is clean from now on.
		l, r, err = openReplay(memConfig(damaged))
		if err != nil || len(r.votes) != test.votes || l.Verdict().Torn {
			t.Fatalf("%s: second replay: %+v, %v", test.name, r, err)
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

// TestChainDecides: a group whose LSN is the one expected, but that was written after another group than the one before
// it, as after a rollback of some sectors. Only the chain tells.
func TestChainDecides(t *testing.T) {
	m := vfs.NewMem()
	smallLog(t, memConfig(m), 100, 3)
	groups, end := groupsOf(t, m, 1)
	for _, prev := range []uint32{0, 1} { // as it should be, and off by one bit
		damaged := m.Clone()
		damaged.Corrupt(segmentFile(1), func(p []byte) []byte {
			head, err := decodeSegmentHeader("", p)
			var last, next groupHeader
			if err != nil || !last.decode(p[groups[3]:], 1, head.seed()) {
				t.Fatal("no last group")
			}
			body := p[groups[3]+groupHeaderSize:][:last.Length]
			next = last
			next.First, next.Durable, next.Prev = last.First+1, last.First, last.CRC^prev
			next.encode(p[end:], head.seed())
			copy(p[end+groupHeaderSize:], body)
			return p
		})
		l, r, err := openReplay(memConfig(damaged))
		if prev != 0 {
			wantCorrupt(t, err, segmentFile(1))
			continue
		}
		if err != nil || len(r.votes) != 4 {
			t.Fatalf("the forged group itself is not good: %+v, %v", r, err)
		}
		l.Close()
	}
}

// TestRotationIsFinished: a crash between the new segment's name and the old one's seal. Recovery must write the seal: it
// is what later tells a lost newest segment, with all that was acknowledged in it, from one that never was.
func TestRotationIsFinished(t *testing.T) {
	m := vfs.NewMem()
	l := bootstrapped(t, memConfig(m))
	appendVotes(t, l, 100, 1)
	mustSync(t, l)
	seal := l.active.pos
	m.SetHook(func(op vfs.Op) error {
		if op.Kind == "writev" && op.Off == seal {
			return syscall.EIO
		}
		return nil
	})
	if err := l.rotate(10); !errors.Is(err, syscall.EIO) {
		t.Fatalf("rotate: %v", err)
	}
	m.PowerLoss(vfs.LoseAll, 0)
	l, _, err := openReplay(memConfig(m))
	if err != nil || l.active.id != 2 {
		t.Fatalf("recovery: %v", err)
	}
	appendVotes(t, l, 100, 2)
	mustSync(t, l)
	m.PowerLoss(vfs.LoseAll, 0)
	if err := m.Remove(segmentFile(2)); err != nil {
		t.Fatal(err)
	}
	_, _, err = openReplay(memConfig(m))
	wantCorrupt(t, err, segmentFile(2))
}

// TestRecoveryAfterFailedSync: a sync fails and drops the pages of a group in a segment with a former life. The next
// process reads the group from memory, writes it once more and calls the end clean. The zeros behind the group were dropped
// as well: were they not written again too, a power loss would bring back the former life behind the end mark, and the
// next start would find a torn end where this one said clean.
func TestRecoveryAfterFailedSync(t *testing.T) {
	m := vfs.NewMem()
	c := memConfig(m)
	c.SegmentBytes = 4 * pageSize
	l := bootstrapped(t, c)
	slot := fill(t, l, 1, 1, 3)
	if err := l.Trim(1, slot); err != nil {
		t.Fatal(err)
	}
	slot = fill(t, l, 1, slot, 4) // in a reused file
	if l.Stats().Recycled == 0 || l.active.pos > 2*pageSize {
		t.Fatalf("no segment was reused, or is full at %d", l.active.pos)
	}
	m.SetHook(func(op vfs.Op) error {
		if op.Kind == "datasync" {
			return syscall.EIO
		}
		return nil
	})
	appendVotes(t, l, pageSize, slot) // into a page that nothing was written to yet
	if _, err := l.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	m.Reboot()
	for _, what := range []string{"new process", "power lost right after it"} {
		again, r, err := openReplay(c)
		if err != nil || again.Verdict().Torn || r.votes[len(r.votes)-1].slot != slot {
			t.Fatalf("%s: %v, %+v", what, err, again.Verdict())
		}
		m.PowerLoss(vfs.LoseAll, 0)
	}
}
