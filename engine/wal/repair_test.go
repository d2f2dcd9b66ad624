package wal

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"path/filepath"
	"strings"
	"testing"

	"github.com/paxbench/paxbench/engine/wal/vfs"
	"github.com/paxbench/paxbench/wire"
)

// peersOf puts the logs of two other nodes which were given the same votes onto the run's disk, and returns where. They
// synced at other times, promised for themselves, and trim less.
func (r *run) peersOf(t testing.TB, script []string) (dirs []string) {
	t.Helper()
	for i, node := range testMembers[1:] {
		var lines []string
		for n, line := range script {
			if strings.HasPrefix(line, "trim") || line == "reopen" || line == "sync" && n%3 != i {
				continue
			}
			lines = append(lines, line)
		}
		peer := newRun(t, vfs.NewMem(), node, Policy{})
		if err := peer.play(lines); err != nil {
			t.Fatal(err)
		}
		if err := peer.l.Close(); err != nil {
			t.Fatal(err)
		}
		dir := fmt.Sprintf("/peer-%d", node)
		dirs = append(dirs, dir)
		copyLog(t, peer.m, testDir, r.m, dir)
	}
	return dirs
}

// copyLog copies the files of a directory.
func copyLog(t testing.TB, from *vfs.Mem, dir string, to *vfs.Mem, as string) {
	t.Helper()
	if err := to.MkdirAll(as); err != nil {
		t.Fatal(err)
	}
	names, err := from.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		p, err := vfs.ReadFile(from, filepath.Join(dir, n))
		if err != nil {
			t.Fatal(err)
		}
		to.WriteFile(filepath.Join(as, n), p)
	}
}

// mendings counts what became of damaged logs.
type mendings struct {
	rows   []string
	counts map[string]*[4]int
	faults []string

	refusals []string
}

// What became of a log.
const (
	unneeded = iota // its node starts, with all it had
	repaired        // byte for byte what it was
	tornLeft        // its end is torn, and nothing proves what was there: suspect
	unmended        // refused, and nothing was changed
)

func (n *mendings) note(row string, what int) {
	if n.counts == nil {
		n.counts = map[string]*[4]int{}
	}
	if n.counts[row] == nil {
		n.rows, n.counts[row] = append(n.rows, row), new([4]int)
	}
	n.counts[row][what]++
}

func (n *mendings) fault(format string, args ...any) {
	n.faults = append(n.faults, fmt.Sprintf(format, args...))
}

func (n *mendings) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-46s%12s%12s%12s%12s", "fault", "no need", "repaired", "torn left", "refused")
	for _, row := range n.rows {
		fmt.Fprintf(&b, "\n%-46s", row)
		for _, c := range n.counts[row] {
			fmt.Fprintf(&b, "%12d", c)
		}
	}
	return b.String()
}

func (n *mendings) report(t testing.TB) {
	t.Helper()
	for i, f := range n.faults {
		if i == 8 {
			t.Errorf("and %d more", len(n.faults)-i)
			break
		}
		t.Error(f)
	}
	t.Logf("\n%v", n)
	for _, f := range n.refusals {
		t.Log(f)
	}
}

// used is what of each segment means something: up to the end of its last group.
func (r *run) used(t testing.TB) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	rep, err := InspectFS(r.m, testDir, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range rep.Segments {
		p, err := vfs.ReadFile(r.m, s.File)
		if err != nil {
			t.Fatal(err)
		}
		all[s.File] = p[:s.Used]
	}
	return all
}

// repairs damages a copy of the log and has it repaired. A log that was refused or cut must come out byte for byte as it was before, or be
// left as it is.
func (r *run) repairs(n *mendings, row, what string, from []string, used map[string][]byte, do func(m *vfs.Mem)) {
	m := r.m.Clone()
	do(m)
	damaged := m.Clone()
	_, before := InspectFS(m, testDir, nil)
	rep, err := Repair(RepairConfig{Dir: testDir, From: from, FS: m})
	h, after := InspectFS(m, testDir, nil)
	fault := func(format string, args ...any) { n.fault("%s: %s: %s", row, what, fmt.Sprintf(format, args...)) }
	switch {
	case err != nil:
		n.note(row, unmended)
		n.refusals = append(n.refusals, fmt.Sprintf("%s: %s: %v", row, what, err))
		if before == nil {
			fault("a log that is not refused cannot be repaired: %v", err)
		}
		if !strings.Contains(err.Error(), testDir) {
			fault("no file is named: %v", err)
		}
		sameFiles(damaged, m, fault)
	case after != nil:
		fault("%+v was repaired and is refused: %v", rep, after)
	case len(rep.Files) == 0:
		if before != nil {
			fault("nothing was done, and it was refused: %v", before)
		}
		if h.Verdict.Torn {
			n.note(row, tornLeft)
		} else {
			n.note(row, unneeded)
		}
		sameFiles(damaged, m, fault)
	default:
		if h.Verdict.Torn {
			n.note(row, tornLeft)
		} else {
			n.note(row, repaired)
		}
		for name, want := range used {
			got, err := vfs.ReadFile(m, name)
			if err != nil {
				fault("%v", err)
			} else if at := differs(got, want); at >= 0 && !(h.Verdict.Torn && int64(at) >= h.Verdict.Offset && name == h.Verdict.File) && !onlySalt(got, want) {
				fault("%s differs from what it was at %d; %+v", name, at, rep.Places)
			}
		}
		l, rec, err := openReplay(r.configOn(m, 9))
		if err != nil {
			fault("replay: %v", err)
			return
		}
		v := l.Verdict()
		l.Close()
		if o, k, bad := r.outcome(rec, v, nil); bad != nil || o != complete && !v.Torn {
			fault("replay: %v, %d items, %v", o, k, bad)
		}
	}
}

// differs is where two segments begin to differ, within the second's length; -1: nowhere.
func differs(got, want []byte) int {
	for i := range want {
		if i >= len(got) || got[i] != want[i] {
			return i
		}
	}
	return -1
}

// onlySalt says that two segments differ in the header's salt alone, and that no checksum tells them apart.
func onlySalt(got, want []byte) bool {
	a, errA := decodeSegmentHeader("", got)
	b, errB := decodeSegmentHeader("", want)
	if errA != nil || errB != nil || a.CRC != b.CRC || a.seed() != b.seed() {
		return false
	}
	a.Salt = b.Salt
	return bytes.Equal(a.encode(), want[:segmentHeaderSize]) && differs(got[segmentHeaderSize:], want[segmentHeaderSize:]) < 0
}

func sameFiles(a, b *vfs.Mem, fault func(string, ...any)) {
	names, _ := a.List(testDir)
	for _, n := range names {
		path := filepath.Join(testDir, n)
		if n == lockName {
			continue
		}
		p, _, err := loadSectors(a, path, nil)
		q, _, errQ := loadSectors(b, path, nil)
		if err != nil || errQ != nil || !bytes.Equal(p, q) {
			fault("%s was changed (%v, %v)", path, err, errQ)
		}
	}
}

// TestEnumerateRepair: everything that disks do to one sector of a log, to each sector in turn, with two other nodes' logs at hand. If a
// repair put one wrong byte into a log, a node would vote against what it has promised; so what comes out is what was there, or
// nothing was done (FAULTS.md F24).
func TestEnumerateRepair(t *testing.T) {
	var n mendings
	for _, script := range [][]string{smallStory, story} {
		enumerateRepair(t, &n, script)
	}
	n.report(t)
	for _, row := range n.rows {
		if c := n.counts[row]; strings.HasPrefix(row, "a sector") && stride == 1 && c[repaired] < 9*c[unmended] {
			t.Errorf("%s: %d repaired, %d refused", row, c[repaired], c[unmended])
		}
	}
}

func enumerateRepair(t testing.TB, n *mendings, script []string) {
	r := rotten(t, script, false)
	used, from := r.used(t), r.peersOf(t, script)
	rep, _ := InspectFS(r.m, testDir, nil)
	for _, s := range rep.Segments {
		for at := int64(0); at*sectorSize < s.Used; at += stride {
			whole := r.m.Sector(s.File, at)
			set := func(row string, p []byte) {
				if len(p) > 0 && !bytes.Equal(p, whole) {
					r.repairs(n, row, fmt.Sprintf("%s, sector %d", s.File, at), from, used, func(m *vfs.Mem) { m.SetSector(s.File, at, p) })
				}
			}
			set("a sector zeroed", make([]byte, sectorSize))
			set("a sector as it was before", r.m.SectorBefore(s.File, at))
			set("a sector with the content of another", r.m.Sector(s.File, (at*7+3)%(s.Size/sectorSize)))
			set("a sector with the content of the next", r.m.Sector(s.File, at+1))
			r.repairs(n, "a sector unreadable", fmt.Sprintf("%s, sector %d", s.File, at), from, used, func(m *vfs.Mem) { m.Unreadable(s.File, at) })
			if at%(pageSize/sectorSize) == 0 {
				r.repairs(n, "a page zeroed", fmt.Sprintf("%s, sector %d", s.File, at), from, used, func(m *vfs.Mem) {
					m.Corrupt(s.File, func(p []byte) []byte { clear(p[at*sectorSize : at*sectorSize+pageSize]); return p })
				})
			}
			for i := at * sectorSize; i < (at+1)*sectorSize; i += 23 * stride {
				r.repairs(n, "a bit", fmt.Sprintf("%s, byte %d", s.File, i), from, used, func(m *vfs.Mem) {
					m.Corrupt(s.File, func(p []byte) []byte { p[i] ^= 1 << (i % 8); return p })
				})
			}
		}
		r.repairs(n, "a file cut in half", s.File, from, used, func(m *vfs.Mem) {
			m.Corrupt(s.File, func(p []byte) []byte { return p[:len(p)/2] })
		})
		r.repairs(n, "a file lost", s.File, from, used, func(m *vfs.Mem) { m.Remove(s.File) })
	}
}

// TestRepairVotedOtherwise: the others voted for the same slots at another ballot, in frames of the same lengths. What fits by its length
// is not what was there.
func TestRepairVotedOtherwise(t *testing.T) {
	var n mendings
	enumerateRepairOthers(t, &n)
	n.report(t)
	if c := n.counts["a sector zeroed, the others voted otherwise"]; stride == 1 && (c[repaired] == 0 || c[tornLeft] == 0 || c[unmended] == 0) {
		t.Errorf("repaired, left, refused: %v; the test does not reach all", c)
	}
}

func enumerateRepairOthers(t testing.TB, n *mendings) {
	script := []string{"append 1/100", "sync", "append 2/700", "sync", "promise 1", "append 1/40", "sync", "append 1/600 1/300 2/200", "sync"}
	r := rotten(t, script, false)
	peer := newRun(t, vfs.NewMem(), 2, Policy{})
	peer.ballot = 7
	if err := peer.play(script); err != nil {
		t.Fatal(err)
	}
	copyLog(t, peer.m, testDir, r.m, "/peer")
	used := r.used(t)
	for name, p := range used {
		for s := int64(1); s < int64(len(p))/sectorSize; s += (stride + 3) / 4 {
			r.repairs(n, "a sector zeroed, the others voted otherwise", fmt.Sprintf("%s, sector %d", name, s), []string{"/peer"}, used, func(m *vfs.Mem) {
				m.SetSector(name, s, make([]byte, sectorSize))
			})
		}
	}
}

// TestRepairEach: three logs, each with a sector gone, elsewhere in each; each is repaired from the other two as they are. Every byte exists
// somewhere, so the cluster must come back (FAULTS.md F24).
func TestRepairEach(t *testing.T) {
	var n mendings
	var script []string
	for _, line := range story {
		if !strings.HasPrefix(line, "trim") {
			script = append(script, line)
		}
	}
	var runs []*run
	for i := range testMembers {
		r := newRun(t, vfs.NewMem(), testMembers[i], Policy{})
		for at, line := range script {
			if line == "sync" && at%3 != i {
				continue
			}
			if err := r.do(line); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.l.Close(); err != nil {
			t.Fatal(err)
		}
		r.ack()
		runs = append(runs, r)
	}
	const rounds = 20
	for k := 0; k < rounds; k += stride {
		damaged := make([]func(m *vfs.Mem), len(runs))
		for i, r := range runs {
			rep, err := InspectFS(r.m, testDir, nil)
			if err != nil {
				t.Fatal(err)
			}
			var all []place
			for _, s := range rep.Segments {
				for at := int64(1); at*sectorSize < s.Used; at++ {
					all = append(all, place{s.File, at})
				}
			}
			at := all[(k+i*rounds/3)%rounds*len(all)/rounds]
			damaged[i] = func(m *vfs.Mem) { m.SetSector(at.name, at.s, make([]byte, sectorSize)) }
		}
		for i, r := range runs {
			on := &run{m: r.m.Clone(), c: r.c, items: r.items, acked: r.acked, before: r.before}
			var from []string
			for j, other := range runs {
				if j != i {
					m, dir := other.m.Clone(), fmt.Sprintf("/peer-%d", j)
					damaged[j](m)
					copyLog(t, m, testDir, on.m, dir)
					from = append(from, dir)
				}
			}
			on.repairs(&n, "a sector zeroed on each of three", fmt.Sprintf("round %d, node %d", k, i+1), from, r.used(t), damaged[i])
		}
	}
	n.report(t)
	// Not all of them: a promise or a mark that stood in a damaged sector together with votes may be found by no bounded search.
	if c := n.counts["a sector zeroed on each of three"]; c[repaired] < 15*(c[unmended]+c[tornLeft]) && stride == 1 {
		t.Errorf("repaired, left, refused: %v", c)
	}
}

// TestRepairCrash: power is lost at each operation of a repair, and the repair is done again. If the segment were ever gone, or half there, the
// second could not find what the first had.
func TestRepairCrash(t *testing.T) {
	r := rotten(t, smallStory, false)
	used, from := r.used(t), r.peersOf(t, smallStory)
	for id := uint64(3); id <= 4; id++ {
		r.m.SetSector(segmentFile(id), 3, make([]byte, sectorSize))
	}
	c := RepairConfig{Dir: testDir, From: from}
	for at := 1; ; at++ {
		m := r.m.Clone()
		c.FS = m
		m.CrashAt(m.Ops() + at)
		_, err := Repair(c)
		if err == nil {
			if at < 20 {
				t.Fatalf("a repair of two files takes %d operations", at)
			}
			return
		}
		m.PowerLoss(vfs.KeepSectors, uint64(at))
		m.CrashAt(0)
		if _, err := Repair(c); err != nil {
			t.Fatalf("crash at %d, then: %v", at, err)
		}
		for name, want := range used {
			got, err := vfs.ReadFile(m, name)
			if err != nil || differs(got, want) >= 0 {
				t.Fatalf("crash at %d: %s is not what it was (%v)", at, name, err)
			}
		}
		if p, err := vfs.ReadFile(m, segmentFile(3)+lostSuffix); err != nil || !allZero(p[3*sectorSize:4*sectorSize]) {
			t.Fatalf("crash at %d: the damaged file was not kept (%v)", at, err)
		}
	}
}

// TestRepairRefuses: what is no damage, or nobody's business, is refused or left alone.
func TestRepairRefuses(t *testing.T) {
	script := []string{"append 1/100", "sync", "append 2/700", "sync", "append 1/40", "sync"}
	r := rotten(t, script, false)
	c := RepairConfig{Dir: testDir, From: r.peersOf(t, script), FS: r.m}
	if rep, err := Repair(c); err != nil || len(rep.Places)+len(rep.Files) > 0 {
		t.Errorf("an intact log: %+v, %v", rep, err)
	}
	r.m.SetSector(segmentFile(1), 3, make([]byte, sectorSize))
	lock, err := takeLock(&Config{Dir: testDir, FS: r.m})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Repair(c); !errors.Is(err, ErrInUse) {
		t.Errorf("a log in use: %v", err)
	}
	lock.Close()
	before := r.m.Clone()
	c.DryRun = true
	rep, err := Repair(c)
	if err != nil || len(rep.Places) != 1 || rep.Places[0].Offset != 3*sectorSize || rep.Places[0].Records == 0 || len(rep.Files) > 0 {
		t.Errorf("dry run: %+v, %v", rep, err)
	}
	sameFiles(before, r.m, t.Errorf)
	c.DryRun, c.From = false, nil
	var no *UnrepairableError
	if _, err := Repair(c); !errors.As(err, &no) || no.File != segmentFile(1) || no.Offset != 3*sectorSize || !strings.Contains(err.Error(), "LSN") {
		t.Errorf("without the others: %v", err)
	}
	sameFiles(before, r.m, t.Errorf)
	if _, err := Repair(RepairConfig{Dir: "/empty", FS: r.m}); err == nil {
		t.Error("no log: repaired")
	}
}

// FuzzRepairFrom: whatever is in the other directories, a repair ends with the log as it was, or with nothing changed, without a panic and in
// bounded time.
func FuzzRepairFrom(f *testing.F) {
	r := rotten(f, smallStory, false)
	used, from := r.used(f), r.peersOf(f, smallStory)
	p, err := vfs.ReadFile(r.m, filepath.Join(from[0], segmentName(1)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(p, true)
	f.Add(p[:len(p)/2], false)
	f.Add(bytes.Repeat(p[segmentHeaderSize+groupHeaderSize:segmentHeaderSize+groupHeaderSize+wire.HeaderSize], 200), true)
	f.Add(p[:segmentHeaderSize], false)
	f.Fuzz(func(t *testing.T, p []byte, seal bool) {
		if len(p) > 1<<18 {
			return
		}
		if seal {
			p = sealedFrames(p)
		}
		m := r.m.Clone()
		m.WriteFile("/hostile/"+segmentName(1), p)
		on := &run{m: m, c: r.c, items: r.items, acked: r.acked, before: r.before}
		var n mendings
		on.repairs(&n, "hostile", "", []string{"/hostile"}, used, func(m *vfs.Mem) { m.SetSector(segmentFile(4), 2, make([]byte, sectorSize)) })
		on.repairs(&n, "hostile", "", []string{"/hostile"}, used, func(m *vfs.Mem) { m.SetSector(segmentFile(3), 4, make([]byte, sectorSize)) })
		for _, f := range n.faults {
			t.Error(f)
		}
	})
}

// sealedFrames makes the CRC of whatever looks like a frame fit, so that the fuzzer gets behind it.
func sealedFrames(p []byte) []byte {
	p = bytes.Clone(p)
	for off := 0; off+wire.HeaderSize <= len(p); off++ {
		if h, err := wire.ParseHeader(p[off:]); err == nil && off+h.Size() <= len(p) {
			frame := p[off : off+h.Size()]
			sum := crc32.Update(crc32.Checksum(frame[:wire.HeaderSize-4], wire.Castagnoli), wire.Castagnoli, frame[wire.HeaderSize:])
			le.PutUint32(frame[wire.HeaderSize-4:], sum)
			off += h.Size() - 1
		}
	}
	return p
}
