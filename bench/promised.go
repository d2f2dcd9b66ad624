package bench

import (
	"fmt"
	"sort"

	"github.com/paxbench/paxbench/bench/load"
	"github.com/paxbench/paxbench/engine/history/judge"
	"github.com/paxbench/paxbench/engine/kv"
	"github.com/paxbench/paxbench/wire"
)

// promised is what clients were told: which submissions are at which places of the log. A nil promised promises nothing.
type promised struct {
	blocks []judge.Block // by place
	values load.Values
	sm     load.SM
}

// promised are the acknowledged submissions of a run's history; nil if it has none that can be read.
func (r *run) promised() *promised {
	if r.recording == nil || r.recording.read == nil {
		return nil
	}
	return &promised{blocks: r.recording.read.History.Blocks(), values: r.loaded.Ledger.Values, sm: r.config.Load.SM}
}

// in is the acknowledged submissions of a slot.
func (p *promised) in(s wire.Slot) []judge.Block {
	if p == nil {
		return nil
	}
	from := sort.Search(len(p.blocks), func(i int) bool { return p.blocks[i].Slot >= uint64(s) })
	end := from
	for end < len(p.blocks) && p.blocks[end].Slot == uint64(s) {
		end++
	}
	return p.blocks[from:end]
}

// missing says what of the acknowledged submissions of a slot is not in its value; "": nothing.
func (p *promised) missing(s wire.Slot, value []byte) string {
	blocks := p.in(s)
	if len(blocks) == 0 {
		return ""
	}
	batch, err := wire.ParseBatch(value)
	if err != nil {
		return err.Error()
	}
	buf := wire.Get(batch.RawLen())
	defer buf.Release()
	plain, err := batch.Plain(buf)
	if err != nil {
		return err.Error()
	}
	it, index := plain.Blocks(), uint32(0)
	in, ok := it.Next()
	for i := range blocks {
		b := &blocks[i]
		for ; ok && index < b.Index; index++ {
			in, ok = it.Next()
		}
		if !ok {
			return fmt.Sprintf("%s: the slot has only %d blocks", blockName(b), plain.BlockCount())
		}
		if why := p.compare(b, in); why != "" {
			return blockName(b) + ": " + why
		}
	}
	return ""
}

// compare holds a submission against the block at its place: it is the block, or, where the client library has gathered
// single commands, a part of it.
func (p *promised) compare(b *judge.Block, in wire.Block) string {
	first, count := uint64(in.First()), uint64(in.Count())
	if uint64(in.Session()) != b.Session || b.First < first || b.First+uint64(b.Count) > first+count {
		return fmt.Sprintf("there is the block of session %#x with commands %d to %d", uint64(in.Session()), first, first+count-1)
	}
	stamp := load.Stamp(b.Stamp)
	it := in.Commands()
	for n := first; n < b.First+uint64(b.Count); n++ {
		cmd, ok := it.Next()
		if n < b.First {
			continue
		}
		if !ok {
			return fmt.Sprintf("command %d is missing", n)
		}
		value, write := cmd, true
		if p.sm == load.KV {
			c, good := kv.DecodeCommand(cmd)
			if !good {
				return fmt.Sprintf("command %d is malformed", n)
			}
			value, write = c.Value, c.Op != kv.OpGet
		}
		if write {
			if !p.values.Is(stamp, value) {
				return fmt.Sprintf("command %d has not the value that was sent (client %d, write %d)", n, stamp.Client(), stamp.Number())
			}
			stamp++
		}
	}
	return ""
}

func blockName(b *judge.Block) string {
	return fmt.Sprintf("commands %d to %d of session %#x, acknowledged in slot %d.%d", b.First, b.First+uint64(b.Count)-1, b.Session, b.Slot, b.Index)
}

// audit enters what became of every acknowledged submission.
func (p *promised) audit(audit *logAudit, logs []logRead) {
	if p == nil {
		return
	}
	for at := 0; at < len(p.blocks); {
		slot := wire.Slot(p.blocks[at].Slot)
		n := len(p.in(slot))
		held, covered, wrong := false, false, ""
		for _, l := range logs {
			v, ok := l.votes[slot]
			held, covered = held || ok, covered || slot <= l.trimmed
			if ok && v.wrong != "" {
				wrong = v.wrong
			}
		}
		switch {
		case wrong != "":
			audit.Lost += n
			audit.find("the log lacks %s", wrong)
		case held:
			audit.Blocks += n
		case covered:
			audit.Trimmed += n
		default:
			audit.Lost += n
			audit.find("slot %d is in no log and below no snapshot; there: %s", slot, blockName(&p.blocks[at]))
		}
		at += n
	}
}
