package wal

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/paxbench/paxbench/engine/wal/vfs"
	"github.com/paxbench/paxbench/wire"
)

// item is something that a script gave to the log, in log order.
type item struct {
	kind   wire.Kind
	vote   vote         // KindAccept
	group  wire.GroupID // the others
	ballot wire.Ballot  // KindRecPromise
	slot   wire.Slot    // KindRecTrim
}

// run is a use of a log as a script says, and what its user may rely on at each moment. It is the exact model: the log
// must always replay to the state after some prefix of items, and the prefix must hold all that was acknowledged.
type run struct {
	m *vfs.Mem
	c Config
	l *Log

	items    []item
	returned int // of calls that returned: a crash of the process alone must not lose them
	acked    int // before the last sync that returned
	before   int // acked before that sync: what is between them is in the last group

	slots  map[wire.GroupID]wire.Slot
	asked  map[wire.GroupID]wire.Slot // marks that found no room
	ballot uint32
	full   int  // how often there was no room
	unsure bool // the last item is a trim that found no room: a part of its write, even all of it but the end mark, may be there
}

// newRun makes a log of node to run a script on. salt tells the files of one use of a disk from those of another.
func newRun(t testing.TB, m *vfs.Mem, node wire.NodeID, policy Policy) *run {
	t.Helper()
	r := &run{m: m, c: memConfig(m), slots: map[wire.GroupID]wire.Slot{}, asked: map[wire.GroupID]wire.Slot{}, ballot: 1}
	r.c.Node, r.c.Policy = node, policy
	r.l = bootstrapped(t, r.c)
	return r
}

// play runs the script up to the first error.
func (r *run) play(script []string) error {
	for _, line := range script {
		if err := r.do(line); err != nil {
			return err
		}
	}
	return nil
}

// do runs one line:
//
//	append G/SIZE ...   votes in the next slots of groups, each with one command of so many bytes
//	promise G           at a new ballot
//	sync | flush
//	trim G KEEP         all but the last so many slots, after a flush, as a snapshot does; without room it is not done
//	reopen              close, open, replay: everything must be there
func (r *run) do(line string) error {
	op, rest, _ := strings.Cut(line, " ")
	var g wire.GroupID
	if r.unsure && (op == "append" || op == "promise" || op == "trim") { // what is written now goes where that was
		r.items, r.unsure = r.items[:len(r.items)-1], false
	}
	switch op {
	case "append":
		return r.append(strings.Fields(rest))
	case "promise":
		fmt.Sscan(rest, &g)
		r.ballot++
		b := wire.NewBallot(r.ballot, 3)
		r.items = append(r.items, item{kind: wire.KindRecPromise, group: g, ballot: b})
		return r.give(wire.PromiseRecord(testCluster, g, r.c.Node, b, 0, nil))
	case "sync":
		return r.sync(r.l.Sync, r.c.Policy.Mode == Always)
	case "flush":
		return r.flush()
	case "trim":
		var keep wire.Slot
		fmt.Sscan(rest, &g, &keep)
		return r.trim(g, keep)
	case "reopen":
		return r.reopen()
	}
	panic("BUG: no such line: " + line)
}

func (r *run) append(what []string) error {
	var recs []wire.Record
	for _, w := range what {
		var g wire.GroupID
		var size int
		fmt.Sscanf(w, "%d/%d", &g, &size)
		r.slots[g]++
		rec := acceptRecord(g, r.slots[g], wire.NewBallot(r.ballot, 2), size)
		r.items = append(r.items, item{kind: wire.KindAccept, vote: voteOf(&rec)})
		recs = append(recs, rec)
	}
	return r.give(recs...)
}

func (r *run) give(recs ...wire.Record) error {
	defer releaseAll(recs)
	_, err := r.l.Append(recs)
	var full *FullError
	if errors.As(err, &full) { // there is room again
		r.full++
		_, err = r.l.Append(recs[full.Written:])
	}
	if err == nil {
		r.returned = len(r.items)
	}
	return err
}

func (r *run) flush() error {
	return r.sync(func() (wire.LSN, error) { return 0, r.l.Flush() }, true)
}

func (r *run) sync(sync func() (wire.LSN, error), durable bool) error {
	_, err := sync()
	if err == nil && durable {
		r.ack()
	}
	return err
}

// ack notes that everything is durable that was given to the log.
func (r *run) ack() {
	sure := len(r.items)
	if r.unsure {
		sure--
	}
	if r.acked < sure {
		r.before, r.acked = r.acked, sure
	}
}

func (r *run) trim(g wire.GroupID, keep wire.Slot) error {
	if err := r.flush(); err != nil {
		return err
	}
	mark := max(r.slots[g]-keep, r.asked[g]) // a mark that found no room is made up for
	r.items = append(r.items, item{kind: wire.KindRecTrim, group: g, slot: mark})
	err := r.l.Trim(g, mark+1)
	if errors.As(err, new(*FullError)) { // as in the engine nobody asks again before the next snapshot
		r.full, r.unsure, r.asked[g] = r.full+1, true, mark
		return nil
	}
	if err == nil {
		r.returned = len(r.items)
	}
	return err
}

func (r *run) reopen() error {
	if err := r.l.Close(); err != nil {
		return err
	}
	r.ack()
	l, rec, err := openReplay(r.c)
	if err != nil {
		return err
	}
	r.l = l
	o, n, err := r.outcome(rec, l.Verdict(), nil)
	if o != complete && !(r.unsure && o == torn) || err != nil {
		return fmt.Errorf("an orderly restart: %v, %v", o, err)
	}
	r.items, r.unsure = r.items[:n], false
	clear(r.asked)
	return nil
}

// summary is what a prefix of the items amounts to.
type summary struct {
	votes    []vote
	promised map[wire.GroupID]wire.Ballot
	trimmed  map[wire.GroupID]wire.Slot
}

func stateOf(items []item) summary {
	s := summary{promised: map[wire.GroupID]wire.Ballot{}, trimmed: map[wire.GroupID]wire.Slot{}}
	for _, it := range items {
		switch it.kind {
		case wire.KindAccept:
			s.votes = append(s.votes, it.vote)
			s.promised[it.vote.group] = max(s.promised[it.vote.group], it.vote.ballot)
		case wire.KindRecPromise:
			s.promised[it.group] = max(s.promised[it.group], it.ballot)
		case wire.KindRecTrim:
			if it.slot == 0 {
				continue // nothing to trim: no record
			}
			s.trimmed[it.group] = max(s.trimmed[it.group], it.slot)
		}
	}
	return s
}

// is says whether a replay gave exactly this state. Votes at the beginning may be missing if a trim mark covers them.
func (s *summary) is(r *recovered) bool {
	missing := len(s.votes) - len(r.votes)
	if missing < 0 || r.members == 0 || !slices.Equal(s.votes[missing:], r.votes) ||
		!maps.Equal(s.promised, r.promised) || !maps.Equal(s.trimmed, r.trimmed) {
		return false
	}
	for _, v := range s.votes[:missing] {
		if v.slot > s.trimmed[v.group] {
			return false
		}
	}
	return true
}

// reached is how many items a replay gave the state of; false if it is the state of no prefix.
func (r *run) reached(rec *recovered) (int, bool) {
	for n := len(r.items); n >= 0; n-- {
		if s := stateOf(r.items[:n]); s.is(rec) {
			return n, true
		}
	}
	return 0, false
}

// outcome is what became of a log after a fault.
type outcome int

const (
	complete   outcome = iota // all that was acknowledged, clean end
	torn                      // all that was acknowledged; a tail that never was is cut
	refused                   // an error that names file and offset
	ambiguous                 // acknowledged data at the end is cut, and the verdict is torn: suspect, or refused by a cluster of one
	needsPeers                // the last acknowledged group is missing, and nothing on this disk says so
	silent                    // anything else: never
	outcomes
)

var outcomeNames = [outcomes]string{"complete", "torn tail", "refused", "ambiguous", "needs peers", "SILENT LOSS"}

func (o outcome) String() string { return outcomeNames[o] }

// outcome classifies a replay, which gave rec and v or failed with err. n is how many items are there. An error says
// what must never be.
func (r *run) outcome(rec *recovered, v Verdict, err error) (o outcome, n int, bad error) {
	if err != nil {
		return refused, 0, namesFile(err)
	}
	n, ok := r.reached(rec)
	switch {
	case !ok:
		return silent, n, fmt.Errorf("replay gave the state of no prefix: %d votes, promised %v, trimmed %v; verdict %v",
			len(rec.votes), rec.promised, rec.trimmed, v)
	case n >= r.acked && v.Torn:
		return torn, n, nil
	case n >= r.acked:
		return complete, n, nil
	case v.Torn:
		return ambiguous, n, nil
	case n < r.before:
		return silent, n, fmt.Errorf("%d items were acknowledged, %d of them before the last group, and %d are there", r.acked, r.before, n)
	}
	return needsPeers, n, nil
}

// namesFile says what is wrong with the error of a refusal: it must name a file of the log, and its type must be one that
// callers know.
func namesFile(err error) error {
	var corrupt *CorruptError
	var version *VersionError
	var ident *IdentityError
	if !errors.As(err, &corrupt) && !errors.As(err, &version) && !errors.As(err, &ident) && !errors.Is(err, ErrNotBootstrapped) {
		return fmt.Errorf("refused with an error of no known type: %w", err)
	}
	if !strings.Contains(err.Error(), testDir) {
		return fmt.Errorf("refused with an error that names no file: %w", err)
	}
	return nil
}

// fork is the run that goes on where a replay of n items on m ended.
func (r *run) fork(m *vfs.Mem, l *Log, c Config, n int) *run {
	f := &run{m: m, c: c, l: l, items: slices.Clone(r.items[:n]), returned: n, acked: n, before: n, ballot: r.ballot + 1, asked: map[wire.GroupID]wire.Slot{}}
	f.slots = map[wire.GroupID]wire.Slot{1: r.slots[1] + 100, 2: r.slots[2] + 100}
	return f
}

// configOn is the run's configuration for another disk. salt sets what is written there apart from what was before.
func (r *run) configOn(m *vfs.Mem, salt uint64) Config {
	c := r.c
	c.FS = m
	salt = salt<<20 | 1<<63
	c.Salt = func() uint64 { salt++; return salt * 0x9e3779b97f4a7c15 }
	return c
}

// tally counts outcomes by kind of fault.
type tally struct {
	rows   []string
	counts map[string]*[outcomes]int
	failed int
	first  []string
}

func newTally() *tally { return &tally{counts: map[string]*[outcomes]int{}} }

// note counts an outcome. allowed are those that the fault may have; anything else is a failure, which names what
// was done.
func (t *tally) note(row string, o outcome, bad error, what string, allowed ...outcome) {
	c := t.counts[row]
	if c == nil {
		c = new([outcomes]int)
		t.counts[row] = c
		t.rows = append(t.rows, row)
	}
	c[o]++
	if bad == nil && slices.Contains(allowed, o) {
		return
	}
	t.failed++
	if len(t.first) < 5 {
		t.first = append(t.first, fmt.Sprintf("%s: %s: %v (%v)", row, what, o, bad))
	}
}

// total is how often an outcome came of the faults in all rows.
func (t *tally) total(o outcome) int {
	n := 0
	for _, c := range t.counts {
		n += c[o]
	}
	return n
}

// String is the table.
func (t *tally) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-46s", "fault")
	for o := range silent {
		fmt.Fprintf(&b, "%12s", o)
	}
	for _, row := range t.rows {
		fmt.Fprintf(&b, "\n%-46s", row)
		for _, n := range t.counts[row][:silent] {
			fmt.Fprintf(&b, "%12d", n)
		}
	}
	return b.String()
}

// report fails the test for what must not be, and logs the table.
func (t *tally) report(tb testing.TB) {
	tb.Helper()
	for _, f := range t.first {
		tb.Error(f)
	}
	if t.failed > len(t.first) {
		tb.Errorf("and %d more", t.failed-len(t.first))
	}
	tb.Logf("\n%v", t)
}

// must demands that each of these came about: a harness in which nothing is ever torn or refused tests nothing.
func (t *tally) must(tb testing.TB, all ...outcome) {
	tb.Helper()
	for _, o := range all {
		if t.total(o) == 0 && stride == 1 {
			tb.Errorf("no fault had the outcome %q", o)
		}
	}
}
