package bench

import (
	"errors"
	"fmt"
	"hash/maphash"
	"sync"

	"github.com/paxbench/paxbench/engine/wal"
	"github.com/paxbench/paxbench/wire"
)

// logAudit is what the logs on disk say after all nodes have ended.
type logAudit struct {
	Slots    int // chosen slots that at least two logs still hold and that were compared
	Records  int
	Blocks   int // acknowledged submissions found at their place, commands and values included
	Trimmed  int // acknowledged submissions in slots that no log holds any more: the states alone speak for them
	Lost     int // acknowledged submissions that are not where they were said to be
	Findings []string
}

func (a *logAudit) find(format string, args ...any) {
	if len(a.Findings) < logFindingsMax {
		a.Findings = append(a.Findings, fmt.Sprintf(format, args...))
	}
}

const logFindingsMax = 20

// vote is the highest-ballot vote that a log holds for a slot.
type vote struct {
	ballot wire.Ballot
	value  uint64 // hash
	wrong  string // what of the acknowledged is not in it; "": all is there
}

// logRead is what one log holds.
type logRead struct {
	votes   map[wire.Slot]vote
	trimmed wire.Slot // what was in slots up to here may be in a snapshot alone
	records int
}

// auditLogs compares, for every slot up to applied, the highest-ballot votes of all logs. In a chosen slot a vote at
// or above the ballot at which the slot was chosen carries the chosen value, and every replica that has applied the slot
// holds such a vote or a snapshot beyond it; so all must agree. And every acknowledged submission must be at its place, with
// the values that were sent, also where later writes have overwritten them. A log that cannot be read is an error. A directory "" is of
// a node that does not count: an auxiliary one.
func auditLogs(dirs []string, applied wire.Slot, p *promised) (logAudit, error) {
	seed := maphash.MakeSeed()
	logs := make([]logRead, len(dirs))
	errs := make([]error, len(dirs))
	var wait sync.WaitGroup
	for i, dir := range dirs {
		if dir == "" {
			continue
		}
		wait.Go(func() { logs[i], errs[i] = readVotes(dir, applied, seed, p) })
	}
	wait.Wait()
	if err := errors.Join(errs...); err != nil {
		return logAudit{}, fmt.Errorf("bench: audit of the logs: %w", err)
	}
	var votes []map[wire.Slot]vote
	for _, l := range logs {
		votes = append(votes, l.votes)
	}
	audit := compareVotes(votes)
	for _, l := range logs {
		audit.Records += l.records
	}
	p.audit(&audit, logs)
	return audit, nil
}

// compareVotes compares each slot of each log with the first log that has it.
func compareVotes(votes []map[wire.Slot]vote) (audit logAudit) {
	type holder struct {
		vote
		node     int
		compared bool
	}
	first := map[wire.Slot]*holder{}
	for i, log := range votes {
		for slot, v := range log {
			h := first[slot]
			if h == nil {
				first[slot] = &holder{vote: v, node: i + 1}
				continue
			}
			if !h.compared {
				h.compared = true
				audit.Slots++
			}
			if h.value != v.value {
				audit.find("slot %d: the logs of node %d (ballot %s) and node %d (ballot %s) hold different values", slot, h.node, h.ballot, i+1, v.ballot)
			}
		}
	}
	return audit
}

// readVotes reads one log.
func readVotes(dir string, applied wire.Slot, seed maphash.Seed, p *promised) (l logRead, err error) {
	l.votes = map[wire.Slot]vote{}
	_, err = wal.Inspect(dir, func(e *wal.Entry) error {
		l.records++
		r := &e.Record
		switch r.Kind {
		case wire.KindRecTrim:
			l.trimmed = max(l.trimmed, r.Slot)
			return nil
		case wire.KindAccept, wire.KindLearn, wire.KindRecVote:
		default:
			return nil
		}
		if old, ok := l.votes[r.Slot]; r.Slot > applied || ok && old.ballot > r.Ballot {
			return nil
		}
		value := r.Frame.Bytes()[wire.AcceptHeadroom:]
		l.votes[r.Slot] = vote{r.Ballot, maphash.Bytes(seed, value), p.missing(r.Slot, value)}
		return nil
	})
	return l, err
}
