package bench

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/paxbench/paxbench/bench/load"
	"github.com/paxbench/paxbench/bench/result"
	"github.com/paxbench/paxbench/engine/history"
	"github.com/paxbench/paxbench/engine/history/judge"
)

// HistoryKeysDefault is how many keys are recorded in full unless told otherwise.
const HistoryKeysDefault = 256

// JudgeLimit bounds the time that porcupine gets after a run.
const JudgeLimit = 20 * time.Second

// recording is the history of a run: always recorded, kept if it was asked for or if something is wrong.
type recording struct {
	path   string
	keep   bool
	file   *os.File
	writer *history.Writer
	ended  bool
	read   *Judged // after the run; nil: not readable, see err
	err    error
}

// record begins the history. Where there is no file to be had, the run goes on without: its verdict says so.
func (r *run) record() (*recording, error) {
	c := r.config
	rec := &recording{path: c.History, keep: c.History != ""}
	var err error
	switch {
	case rec.keep:
		rec.file, err = os.Create(rec.path)
	case r.dir != "":
		rec.path = filepath.Join(r.dir, "history")
		rec.file, err = os.Create(rec.path)
	default:
		if rec.file, err = os.CreateTemp("", "paxbench-history-*"); err == nil {
			rec.path = rec.file.Name()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("bench: history: %w", err)
	}
	head := historyHead(&c.Load)
	head.Fresh = r.cluster != nil
	if rec.writer, err = history.NewWriter(rec.file, head, history.Limits{Ops: historyOps}); err != nil {
		return nil, errors.Join(err, rec.file.Close())
	}
	return rec, nil
}

// historyHead says what load a history is of.
func historyHead(l *load.Config) history.Head {
	return history.Head{
		Started: time.Now(), Seed: l.Seed, SM: l.SM.String(), ReadMode: l.ReadMode.String(), Keys: l.Keys, Sampled: min(l.HistoryKeys, l.Keys),
	}
}

// historyOps is how many operations are recorded in full, as a judge's memory bounds them.
const historyOps = 1_000_000

// end finishes the file.
func (rec *recording) end() {
	if rec.ended {
		return
	}
	rec.ended = true
	_, err := rec.writer.Close()
	rec.err = errors.Join(rec.err, err, rec.file.Close())
}

// judge reads the file back and judges it, if there is one: what is judged is what `paxbench verify` would find.
func (rec *recording) judge() {
	if rec == nil || rec.err != nil {
		return
	}
	f, err := os.Open(rec.path)
	if err != nil {
		rec.err = fmt.Errorf("bench: history: %w", err)
		return
	}
	defer f.Close()
	rec.read, rec.err = JudgeHistory(f, JudgeLimit)
}

// clean removes the file unless somebody wants it.
func (rec *recording) clean(good bool) error {
	rec.end()
	if rec.keep || !good {
		return nil
	}
	return os.Remove(rec.path)
}

// Judged is a history with the verdicts of both judges.
type Judged struct {
	Head    history.Head
	Tail    history.Tail
	History *judge.History
	Slots   *judge.Report
	Keys    *judge.Report
	Skipped int // calls beyond what fits in memory
	Took    time.Duration
}

// JudgeHistory reads a history and judges it by slot and, for at most limit, by porcupine. An error that is a
// *history.DamageError names the place in the file.
func JudgeHistory(src io.Reader, limit time.Duration) (*Judged, error) {
	begun := time.Now()
	reader, err := history.NewReader(bufio.NewReaderSize(src, 1<<20))
	if err != nil {
		return nil, err
	}
	j := &Judged{Head: reader.Head, History: judge.New(reader.Head.Fresh)}
	j.History.Key = func(key uint64) string { return "key " + string(load.AppendKey(nil, uint32(key))) }
	j.Tail, err = reader.All(func(c *history.Call) error {
		if !j.History.Add(c) {
			j.Skipped++
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	j.History.Cut(j.Tail.Cut)
	j.Slots = j.History.BySlot()
	j.Keys = j.History.ByKey(limit)
	j.Took = time.Since(begun)
	return j, nil
}

// Verdict is the word for safety.linearizable.
func (j *Judged) Verdict() string {
	switch {
	case j.Slots.Violations+j.Keys.Violations > 0:
		return result.Violated
	case j.Slots.Calls == 0:
		return result.Unchecked
	case j.Keys.Undecided > 0 || j.Keys.Keys == 0 && j.Slots.Keys > 0:
		return result.Unknown
	case j.Slots.Stale > 0:
		return result.Stale
	}
	return result.OK
}

// shownMax is how many findings of each judge a result shows.
const shownMax = 3

// Findings are what both judges found, in words.
func (j *Judged) Findings() []string {
	return append(append([]string(nil), j.Slots.Findings...), j.Keys.Findings...)
}

// historyVerdict enters the history's verdict.
func (r *run) historyVerdict(out *result.Result) {
	rec := r.recording
	if rec == nil {
		return
	}
	if rec.err != nil {
		out.Safety.Linearizable = result.Unknown
		out.Validity.Notes = append(out.Validity.Notes, fmt.Sprintf("the history could not be judged: %v", rec.err))
		return
	}
	j := rec.read
	h := &result.History{
		Calls: j.Slots.Calls, Ops: j.Slots.Ops, Keys: j.Keys.Keys, Undecided: j.Keys.Undecided + j.Keys.Untried,
		Stale: j.Slots.Stale, Behind: j.Slots.Behind, Dropped: j.Tail.Dropped + uint64(j.Skipped),
	}
	if rec.keep {
		h.File = rec.path
	}
	if j.Tail.Cut != history.Never {
		h.Cut = &j.Tail.Cut
	}
	s := &out.Safety
	s.History, s.Linearizable = h, j.Verdict()
	if s.Linearizable == result.Violated {
		h.File, s.Verdict = rec.path, result.Violated
		all := j.Slots.Violations + j.Keys.Violations
		shown := slices.Concat(j.Slots.Findings[:min(shownMax, len(j.Slots.Findings))], j.Keys.Findings[:min(shownMax, len(j.Keys.Findings))])
		s.Details = append(s.Details, shown...)
		s.Details = append(s.Details, fmt.Sprintf("%d of %d findings in the history are shown; for more: paxbench verify %s", len(shown), all, rec.path))
	}
}
