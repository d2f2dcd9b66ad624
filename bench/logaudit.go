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
	Findings []string
}

const logFindingsMax = 20

// vote is the highest-ballot vote that a log holds for a slot.
type vote struct {
	ballot wire.Ballot
	value  uint64 // hash
}

// auditLogs compares, for every slot up to applied, the highest-ballot votes of all logs. In a chosen slot a vote at
// or above the ballot at which the slot was chosen carries the chosen value, and every replica that has applied the slot
// holds such a vote or a snapshot beyond it; so all must agree. A log that cannot be read is an error.
func auditLogs(dirs []string, applied wire.Slot) (logAudit, error) {
	seed := maphash.MakeSeed()
	votes := make([]map[wire.Slot]vote, len(dirs))
	records := make([]int, len(dirs))
	errs := make([]error, len(dirs))
	var wait sync.WaitGroup
	for i, dir := range dirs {
		wait.Go(func() { votes[i], records[i], errs[i] = readVotes(dir, applied, seed) })
	}
	wait.Wait()
	if err := errors.Join(errs...); err != nil {
		return logAudit{}, fmt.Errorf("bench: audit of the logs: %w", err)
	}
	audit := compareVotes(votes)
	for _, n := range records {
		audit.Records += n
	}
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
			if h.value != v.value && len(audit.Findings) < logFindingsMax {
				audit.Findings = append(audit.Findings, fmt.Sprintf("slot %d: the logs of node %d (ballot %s) and node %d (ballot %s) hold different values",
					slot, h.node, h.ballot, i+1, v.ballot))
			}
		}
	}
	return audit
}

// readVotes reads one log.
func readVotes(dir string, applied wire.Slot, seed maphash.Seed) (votes map[wire.Slot]vote, records int, err error) {
	votes = map[wire.Slot]vote{}
	_, err = wal.Inspect(dir, func(e *wal.Entry) error {
		records++
		r := &e.Record
		if r.Kind != wire.KindAccept && r.Kind != wire.KindLearn || r.Slot > applied {
			return nil
		}
		if old, ok := votes[r.Slot]; ok && old.ballot > r.Ballot {
			return nil
		}
		votes[r.Slot] = vote{r.Ballot, maphash.Bytes(seed, r.Frame.Bytes()[wire.AcceptHeadroom:])}
		return nil
	})
	return votes, records, err
}
