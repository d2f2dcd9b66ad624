package wal

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"

	"github.com/paxbench/paxbench/engine/wal/vfs"
)

var scriptsFlag = flag.Int("wal.scripts", 1, "random scripts, beside the fixed one, for the enumeration of crashes and failures")

// story is the fixed script: two groups, promises and votes, Appends that extend a group, groups of one sector and of
// many, a record too large for a segment, segments that fill, are trimmed and live again, a restart in the middle, and a last
// group that is not synced.
var story = []string{
	"append 1/100 1/300 2/50", "sync",
	"promise 2", "append 2/10", "sync",
	"append 1/200", "append 1/900", "sync",
	"promise 1", "sync",
	"append 1/1400 2/1400", "sync",
	"append 2/700", "append 2/20", "append 1/20", "sync",
	"append 1/1300", "sync", // the second segment
	"append 1/2000 2/900", "sync",
	"append 1/30", "sync", "append 2/30", "sync",
	"trim 1 2", "trim 2 1", // frees the first
	"append 1/1800", "sync", "append 2/1800", "sync",
	"promise 1", "append 1/2500", "sync",
	"reopen",
	"append 2/2500", "sync",
	"append 1/9000", "sync", // does not fit any segment
	"trim 2 0", "trim 1 1",
	"append 1/1500 2/1500", "sync", "append 1/1500 1/1500", "sync",
	"promise 2", "trim 1 2", "append 2/40", "sync",
	"append 1/700", "append 1/500", "sync",
	"append 2/60", "sync",
	"append 1/60", "append 1/600",
}

// randomStory is another script of the same kind.
func randomStory(seed uint64) []string {
	rng := rand.New(rand.NewPCG(seed, 1))
	var lines []string
	for range 40 {
		g := 1 + rng.IntN(2)
		switch roll := rng.IntN(20); {
		case roll < 9:
			line := "append"
			for range 1 + rng.IntN(3) {
				size := rng.IntN(1500)
				if rng.IntN(30) == 0 {
					size = 2 * segmentBytesMin
				}
				line += fmt.Sprintf(" %d/%d", 1+rng.IntN(2), size)
			}
			lines = append(lines, line)
		case roll < 11:
			lines = append(lines, fmt.Sprintf("promise %d", g))
		case roll < 14 && len(lines) > 10:
			lines = append(lines, fmt.Sprintf("trim %d %d", g, rng.IntN(3)))
		case roll < 15 && len(lines) > 10:
			lines = append(lines, "reopen")
		default:
			lines = append(lines, "sync")
		}
	}
	// A trim or a restart before the first vote would find nothing to do.
	return append([]string{"append 1/10 2/10 1/10 2/10"}, append(lines, "flush")...)
}

func scripts() [][]string {
	all := [][]string{story}
	for i := range *scriptsFlag {
		all = append(all, randomStory(uint64(i+1)))
	}
	return all
}

// TestEnumerateCrashes: whatever operation a crash interrupts, and whatever of the un-synced changes the disk had taken by
// then, the log opens, and replay gives everything that a Sync had returned for, in order, and nothing that was not written.
// A log that reused a segment too early, sealed one too soon or cut too much would lose a vote or refuse to open. Recovery is
// itself cut short at each of its operations, and the log is used and crashed again after it (FAULTS.md F11-F13).
func TestEnumerateCrashes(t *testing.T) {
	all := newTally()
	for i, script := range scripts() {
		for _, policy := range []Policy{{}, {Mode: Never}} {
			enumerateCrashes(t, all, script, policy, uint64(i))
		}
	}
	all.report(t)
	all.must(t, complete, torn)
}

func enumerateCrashes(t testing.TB, all *tally, script []string, policy Policy, seed uint64) {
	whole := newRun(t, vfs.NewMem(), 1, policy)
	whole.m.CrashAt(0)
	if err := whole.play(script); err != nil {
		t.Fatalf("script %d: %v", seed, err)
	}
	ops := whole.m.Ops()
	if s := whole.l.Stats(); seed == 0 && s.Recycled == 0 || ops < 60 {
		t.Fatalf("script %d does not exercise what it is for: %d operations, %+v", seed, ops, s)
	}
	for at := 1; at <= ops; at += stride {
		r := newRun(t, vfs.NewMem(), 1, policy)
		r.m.CrashAt(at)
		if err := r.play(script); !errors.Is(err, vfs.ErrCrashed) {
			t.Fatalf("script %d, crash at operation %d: %v", seed, at, err)
		}
		for _, loss := range vfs.Losses() {
			row := fmt.Sprintf("crash, fsync %v, %v", policy, loss)
			for try := range triesOf(loss) {
				m := r.m.Clone()
				salt := uint64(at)<<8 | uint64(loss)<<4 | try
				m.PowerLoss(loss, seed<<32|salt)
				what := fmt.Sprintf("script %d, operation %d of %d, try %d", seed, at, ops, try)
				if try == 0 {
					r.recoverTwice(all, m, salt, what)
				}
				r.survive(all, row, m, salt, what)
			}
		}
		r.m.Reboot()
		r.acked = r.returned // the machine goes on: all that was written is there, and must stay once recovery is done
		r.survive(all, fmt.Sprintf("process crash, fsync %v", policy), r.m, uint64(at)<<8, fmt.Sprintf("script %d, operation %d of %d", seed, at, ops))
	}
}

// triesOf is how often a loss is tried: more than once if it is a matter of chance.
func triesOf(loss vfs.Loss) uint64 {
	if loss == vfs.KeepPrefix || loss == vfs.KeepSectors || loss == vfs.KeepGarbage {
		return 2
	}
	return 1
}

// survive recovers the log on m, which has crashed, and goes on using it until the next power loss.
func (r *run) survive(all *tally, row string, m *vfs.Mem, salt uint64, what string) {
	c := r.configOn(m, salt)
	l, rec, err := openReplay(c)
	if err != nil {
		all.note(row, refused, nil, fmt.Sprintf("%s: %v", what, err), complete, torn)
		return
	}
	o, n, bad := r.outcome(rec, l.Verdict(), nil)
	all.note(row, o, bad, what, complete, torn)
	if bad != nil || o > torn {
		return
	}
	bare := m.Clone() // a power loss now, with nothing appended since: replay has promised that it gave durable records
	bare.PowerLoss(vfs.LoseAll, 0)
	f := r.fork(m, l, c, n)
	f.again(all, powerAfterRecovery, bare, salt+1, what)
	for _, line := range []string{"append 1/100", "flush", "append 2/700 1/10", "flush", "append 1/50"} {
		if err := f.do(line); err != nil {
			all.note(row, silent, err, what+": using it after recovery")
			return
		}
	}
	losses := vfs.Losses()
	m.PowerLoss(losses[salt%uint64(len(losses))], salt)
	f.again(all, "  used after recovery, power lost again", m, salt+2, what)
}

// again recovers a log that has crashed for the last time.
func (r *run) again(all *tally, row string, m *vfs.Mem, salt uint64, what string) {
	l, rec, err := openReplay(r.configOn(m, salt))
	if err != nil {
		all.note(row, refused, nil, fmt.Sprintf("%s: %v", what, err), complete, torn)
		return
	}
	o, _, bad := r.outcome(rec, l.Verdict(), nil)
	if row == powerAfterRecovery {
		all.note(row, o, bad, fmt.Sprintf("%s: %v", what, l.Verdict()), complete)
		return
	}
	all.note(row, o, bad, what, complete, torn)
}

// powerAfterRecovery must leave what recovery said was durable, and its clean end.
const powerAfterRecovery = "  then power lost right after recovery"

// recoverTwice cuts the first recovery of the log on m short at each of its operations by another power loss: the second
// one must find what the first would have found.
func (r *run) recoverTwice(all *tally, m *vfs.Mem, salt uint64, what string) {
	for op := 1; ; op++ {
		cut := m.Clone()
		cut.CrashAt(op)
		_, _, err := openReplay(r.configOn(cut, salt))
		if !errors.Is(err, vfs.ErrCrashed) {
			return // it is through, or it fails without a crash as well, which survive will see
		}
		losses := vfs.Losses()
		cut.PowerLoss(losses[(op+int(salt))%len(losses)], salt+uint64(op))
		r.again(all, "  then a crash in recovery, at every operation", cut, salt+1, fmt.Sprintf("%s, recovery crashes at operation %d", what, op))
	}
}

// failure is an error that an operation of these kinds may have.
type failure struct {
	name  string
	kinds []string
	err   error
}

var failures = []failure{
	{"EIO", []string{"writev", "preallocate", "create", "rename", "remove", "mkdirall"}, syscall.EIO},
	{"EIO of a sync, success from then on", []string{"sync", "datasync", "syncdir"}, syscall.EIO},
	{"ENOSPC", []string{"writev", "preallocate", "create", "rename", "syncdir"}, syscall.ENOSPC},
	{"short write", []string{"writev", "preallocate"}, &vfs.PartialError{Bytes: vfs.SectorSize, Err: syscall.ENOSPC}},
	{"short write inside a sector", []string{"writev", "preallocate"}, &vfs.PartialError{Bytes: 700, Err: syscall.EIO}},
	{"EMFILE", []string{"create", "open", "openread", "list", "lock"}, syscall.EMFILE},
	{"EIO of a read", []string{"readat", "list"}, syscall.EIO},
}

// traced plays the script and returns its operations, reads included.
func traced(t testing.TB, script []string) []vfs.Op {
	var ops []vfs.Op
	r := newRun(t, vfs.NewMem(), 1, Policy{})
	r.m.SetHook(func(op vfs.Op) error { ops = append(ops, op); return nil })
	if err := r.play(script); err != nil {
		t.Fatal(err)
	}
	return ops
}

// failing plays the script with operation number at answered by err, which then is reported by the hook once.
func failing(t testing.TB, script []string, at int, answer error) (r *run, err error) {
	n := 0
	r = newRun(t, vfs.NewMem(), 1, Policy{})
	r.m.SetHook(func(vfs.Op) error {
		if n++; n-1 == at {
			return answer
		}
		return nil
	})
	return r, r.play(script)
}

// TestEnumerateFailures: every operation that can fails, once, with everything it can fail with, and the next try would
// succeed. The log must pass the error on and be finished with, for good: going on after a failed sync would acknowledge what
// the kernel has dropped. Only a write that found no room may be repeated, and must then do what it was to do. Whatever comes then, the process ending, in order or not, or power loss, keeps what was
// acknowledged (FAULTS.md F14, F15).
func TestEnumerateFailures(t *testing.T) {
	all := newTally()
	retried := 0
	for i, script := range scripts() {
		retried += enumerateFailures(t, all, script, uint64(i))
	}
	if retried == 0 {
		t.Error("no write found the disk full and was repeated")
	}
	all.report(t)
	all.must(t, complete, torn)
}

func enumerateFailures(t testing.TB, all *tally, script []string, seed uint64) (retried int) {
	for at, op := range traced(t, script) {
		for _, f := range failures {
			if at%stride != 0 || !slices.Contains(f.kinds, op.Kind) {
				continue
			}
			what := fmt.Sprintf("script %d, operation %d, %s of %s", seed, at, op.Kind, op.Name)
			r, err := failing(t, script, at, f.err)
			retried += r.full
			if bad := r.finished(err, f.err); bad != nil {
				all.note(f.name, silent, bad, what)
			}
			for i, loss := range []vfs.Loss{vfs.LoseAll, vfs.LoseNone, vfs.KeepGarbage} {
				m := r.m.Clone()
				m.PowerLoss(loss, uint64(at))
				r.survive(all, f.name+", then power loss", m, uint64(at*4+i), what+", "+loss.String())
			}
			r.m.Reboot()
			r.survive(all, f.name+", then a new process", r.m, uint64(at*4+3), what)
		}
	}
	return retried
}

// finished says what is wrong with how the log took a failure: it must have ended the play with it, or have needed
// nothing of the operation, and must answer with it for ever.
func (r *run) finished(err, answer error) error {
	if err == nil {
		return nil
	}
	var part *vfs.PartialError
	if errors.As(answer, &part) {
		answer = part.Err
	}
	if !errors.Is(err, answer) {
		return fmt.Errorf("the play ended with %w, not with %w", err, answer)
	}
	if r.l == nil || r.l.state == closed {
		return nil // it failed in a restart
	}
	if _, again := r.l.Sync(); again == nil || !errors.Is(again, answer) {
		return fmt.Errorf("after %w Sync returns %v", err, again)
	}
	if _, again := r.l.Append(nil); !errors.Is(again, answer) {
		return fmt.Errorf("after %w Append returns %v", err, again)
	}
	if again := r.l.Close(); !errors.Is(again, answer) {
		return fmt.Errorf("after %w Close returns %v", err, again)
	}
	return nil
}

// TestEnumerateLies: every write that is confirmed and not done, and every sync that is confirmed and did nothing, with
// the power loss that shows it. No software can keep what such a disk loses; what it can do is to notice. Whatever is lost
// before the last group must be noticed here; the whole last write is what only peers can know of.
func TestEnumerateLies(t *testing.T) {
	all := newTally()
	for i, script := range scripts() {
		enumerateLies(t, all, script, uint64(i))
	}
	all.report(t)
	all.must(t, complete, torn, refused, ambiguous, needsPeers)
}

func enumerateLies(t testing.TB, all *tally, script []string, seed uint64) {
	any := []outcome{complete, torn, refused, ambiguous, needsPeers}
	for at, op := range traced(t, script) {
		what := fmt.Sprintf("script %d, operation %d, %s of %s at %d", seed, at, op.Kind, op.Name, op.Off)
		if at%stride != 0 {
			continue
		}
		switch op.Kind {
		case "writev":
			r, err := failing(t, script, at, vfs.ErrLie)
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			r.m.PowerLoss(vfs.LoseAll, 0)
			r.reread(all, "a write never done, power loss at the end", r.m, uint64(at), what, any...)
		case "datasync", "sync", "syncdir":
			n := 0
			r := newRun(t, vfs.NewMem(), 1, Policy{})
			r.m.SetHook(func(vfs.Op) error {
				switch n++; {
				case n-1 < at:
					return nil
				case n-1 == at:
					return vfs.ErrLie
				}
				return vfs.ErrCrashed
			})
			_ = r.play(script) // ends with the crash, if it does not end before
			for _, loss := range vfs.Losses() {
				m := r.m.Clone()
				m.PowerLoss(loss, uint64(at))
				r.reread(all, "a sync that did nothing, then "+loss.String(), m, uint64(at), what, any...)
			}
		}
	}
}

// reread replays the log on m, and if it opens a second time: what was cut must stay cut.
func (r *run) reread(all *tally, row string, m *vfs.Mem, salt uint64, what string, allowed ...outcome) {
	c := r.configOn(m, salt)
	l, rec, err := openReplay(c)
	var v Verdict
	if err == nil {
		v = l.Verdict()
	}
	o, n, bad := r.outcome(rec, v, err)
	all.note(row, o, bad, fmt.Sprintf("%s: %v %v", what, v, err), allowed...)
	if err != nil || bad != nil {
		return
	}
	f := r.fork(m, l, c, n)
	if err := f.do("append 1/10"); err != nil {
		all.note(row, silent, err, what)
		return
	}
	if err := l.Close(); err != nil {
		all.note(row, silent, err, what)
		return
	}
	f.acked = len(f.items)
	l, rec, err = openReplay(c)
	if err == nil {
		o, _, err = f.outcome(rec, l.Verdict(), nil)
	}
	if err != nil || o != complete {
		all.note(row, silent, err, fmt.Sprintf("%s: used again: %v", what, o))
	}
}
