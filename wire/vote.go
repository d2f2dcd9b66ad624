package wire

import "fmt"

// Vote is one entry of a promise: the acceptor's last vote in a slot.
type Vote struct {
	Slot   Slot
	Ballot Ballot
	Value  Batch
}

const (
	promiseTail    = 20 // part u16, parts u16, first u64, last u64
	snapTail       = 8  // total u64
	tagTail        = 8  // tag u64
	beatTail       = 20 // stamp u64, span u64, chain u32
	leaseTail      = 24 // step u32, owner u32, life u64, span u64
	voteHeaderSize = 20 // slot u64, ballot u64, length u32
)

// VoteSize is the size in bytes that v takes in a promise.
func VoteSize(v Vote) int { return voteHeaderSize + len(v.Value.Bytes()) }

// AppendVote appends v to the votes of a promise. The value must be a whole batch, not a run of one.
func AppendVote(dst []byte, v Vote) []byte {
	if len(v.Value.Bytes()) == 0 {
		panic(fmt.Sprintf("BUG: wire: vote without a value in slot %d at ballot %v", v.Slot, v.Ballot))
	}
	dst = le.AppendUint64(dst, uint64(v.Slot))
	dst = le.AppendUint64(dst, uint64(v.Ballot))
	dst = le.AppendUint32(dst, uint32(len(v.Value.Bytes())))
	return append(dst, v.Value.Bytes()...)
}

// nextVote splits the first vote off p.
func nextVote(p []byte) (v Vote, rest []byte, err error) {
	if len(p) < voteHeaderSize {
		return v, nil, fmt.Errorf("%w: vote cut short", ErrFormat)
	}
	n := le.Uint32(p[16:])
	if uint64(n) > uint64(len(p)-voteHeaderSize) {
		return v, nil, fmt.Errorf("%w: vote of %d bytes in %d", ErrFormat, n, len(p)-voteHeaderSize)
	}
	v.Slot, v.Ballot = Slot(le.Uint64(p)), Ballot(le.Uint64(p[8:]))
	end := voteHeaderSize + int(n)
	v.Value, err = ParseBatch(p[voteHeaderSize:end:end])
	return v, p[end:], err
}

// checkVotes verifies a promise's votes: well formed, in strictly ascending slot order, and inside the slots that the
// part covers.
func checkVotes(p []byte, first, end Slot) error {
	if first == 0 || first > end {
		return fmt.Errorf("%w: Promise covers slots %d to %d", ErrFormat, first, end)
	}
	last := first - 1
	for len(p) > 0 {
		v, rest, err := nextVote(p)
		if err != nil {
			return err
		}
		if v.Slot <= last || v.Slot > end || v.Slot > SlotMax || v.Ballot == 0 || !v.Ballot.sound() {
			return fmt.Errorf("%w: vote for slot %d at ballot %v after slot %d", ErrFormat, v.Slot, v.Ballot, last)
		}
		last, p = v.Slot, rest
	}
	return nil
}

// VoteIter walks the votes of a decoded promise.
type VoteIter struct{ rest []byte }

// IterVotes walks m.Votes.
func (m *Message) IterVotes() VoteIter { return VoteIter{m.Votes} }

// Next returns the next vote, a view; ok is false at the end.
func (it *VoteIter) Next() (v Vote, ok bool) {
	if len(it.rest) == 0 {
		return v, false
	}
	v, rest, err := nextVote(it.rest)
	if err != nil {
		panic("BUG: wire: votes were checked when decoded: " + err.Error())
	}
	it.rest = rest
	return v, true
}
