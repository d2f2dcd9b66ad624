package sim

import (
	"errors"
	"path/filepath"
	"strings"
	"time"

	"github.com/paxbench/paxbench/engine"
	"github.com/paxbench/paxbench/engine/wal"
	"github.com/paxbench/paxbench/engine/wal/vfs"
)

// Disks that rot under a running node, directories that are gone, and the operator who has their nodes rejoin. All of it stays
// within what the others can heal (rotted).

// spared says that no more nodes may lose acknowledged records now, or that this one has lost some already.
func (n *nemesis) spared(p *proc) bool {
	return p.suspicion.rotted || p.suspicion.groups != 0 || n.w.rotted() >= n.w.k.spare() || n.w.relaxed() || n.w.k.Changes
}

// loses notes that a node's disk may have lost acknowledged records. Nobody takes that for a torn end any more.
func (p *proc) loses() {
	p.suspicion.rotted, p.suspicion.fresh = true, true
	p.acceptTorn = false
}

// gone empties a node's directory, of its log or of everything (FAULTS.md F20, F32). The node is refused, and its operator has it
// rejoin.
func (n *nemesis) gone(p *proc) {
	if n.spared(p) {
		return
	}
	p.crash(n.w.chance(2))
	p.restartLater()
	p.empty(n.w.chance(2))
	p.loses()
	n.w.counts["directories emptied for good"]++
}

// empty removes the log of a node that is down, or everything.
func (p *proc) empty(everything bool) {
	dirs := []string{p.disk.walDir()}
	if everything {
		dirs = append(dirs, p.disk.snapDir())
	}
	for _, dir := range dirs {
		for _, name := range p.w.list(p, dir) {
			if err := p.disk.mem.Remove(filepath.Join(dir, name)); err != nil {
				panic("BUG: sim: " + err.Error())
			}
		}
		if err := p.disk.mem.SyncDir(dir); err != nil {
			panic("BUG: sim: " + err.Error())
		}
	}
}

// decay damages a sector of a node's log or snapshots while it runs (FAULTS.md F16-F19): it is noticed at the next start, or when
// the snapshot is sent to somebody, or never, because the sector is not needed any more.
func (n *nemesis) decay(p *proc) {
	if n.spared(p) {
		return
	}
	var files []string
	for _, dir := range []string{p.disk.walDir(), p.disk.snapDir()} {
		for _, name := range n.w.list(p, dir) {
			if ext := filepath.Ext(name); ext == ".wal" || dir == p.disk.snapDir() && ext != ".tmp" && ext != ".part" {
				files = append(files, filepath.Join(dir, name))
			}
		}
	}
	if len(files) == 0 {
		return
	}
	name := files[n.w.rng.IntN(len(files))]
	if !n.damageSector(p, name) {
		return
	}
	n.w.counts["sectors decayed under a running node"]++
	p.loses()
	if n.w.chance(2) {
		life := p.life
		n.w.after(n.w.between(0, 300*time.Millisecond), func() {
			if p.life == life && p.d != nil {
				p.crash(n.w.chance(3))
				p.restartLater()
			}
		})
	}
}

// damageSector damages a random sector of a file, among those that are in use or not far behind; false: there is none.
func (n *nemesis) damageSector(p *proc, name string) bool {
	mem, rng := p.disk.mem, n.w.rng
	content, err := vfs.ReadFile(mem, name)
	used := int64(len(content)+vfs.SectorSize-1) / vfs.SectorSize
	for used > 0 && allZero(content[(used-1)*vfs.SectorSize:min(used*vfs.SectorSize, int64(len(content)))]) {
		used--
	}
	if err != nil || used == 0 {
		return false
	}
	s := rng.Int64N(used)
	sector := content[s*vfs.SectorSize : min((s+1)*vfs.SectorSize, int64(len(content)))]
	was := string(sector)
	kind := rng.IntN(4)
	switch kind {
	case 0:
		clear(sector)
	case 1: // what belongs elsewhere
		from := rng.Int64N(used) * vfs.SectorSize
		copy(sector, content[from:])
	case 2:
		mem.Unreadable(name, s)
		n.w.counts["sectors made unreadable"]++
		return true
	}
	if string(sector) == was {
		sector[rng.IntN(len(sector))] ^= 1 << rng.IntN(8)
	}
	damaged := string(sector)
	mem.Corrupt(name, func(b []byte) []byte {
		copy(b[s*vfs.SectorSize:], damaged)
		return b
	})
	return true
}

func allZero(p []byte) bool {
	for _, b := range p {
		if b != 0 {
			return false
		}
	}
	return true
}

// rejoins is what an operator does with a node that is refused after its disk has lost something: he reads the message, and has it
// rejoin. false: the refusal has another cause.
func (p *proc) rejoins(err error) bool {
	if !p.ails() || !refusal(err) {
		return false
	}
	p.loses()
	if p.w.ruined {
		p.refusedBeyond(err)
		return true
	}
	if !strings.Contains(err.Error(), "--rejoin") {
		p.w.fail("S15", p.id, 0, "refused, and the way out is not named: %v", err)
	}
	p.w.counts["refused logs told to rejoin"]++
	p.rejoin = true
	p.disk.mem.Reboot()
	return true
}

// refusal says that a start was refused for what the directory holds, or does not hold.
func refusal(err error) bool {
	var corrupt *wal.CorruptError
	var identity *wal.IdentityError
	var missing *engine.MissingError
	return errors.As(err, &corrupt) || errors.As(err, &identity) || errors.As(err, &missing) || errors.Is(err, wal.ErrNotBootstrapped) || errors.Is(err, wal.ErrHistory)
}
