package wire

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
)

const (
	testCluster ClusterID = 0x1122334455667788
	testGroup   GroupID   = 0x99aabbcc
	testNode    NodeID    = 0x0d0e0f10
)

// block encodes a block with the given commands.
func block(session SessionID, first, acked Seq, commands ...[]byte) []byte {
	var body []byte
	for _, c := range commands {
		body = AppendCommand(body, c)
	}
	return append(AppendBlockHeader(nil, session, first, acked, len(commands), len(body)), body...)
}

// fixedBlock encodes a block of count commands of size bytes each.
func fixedBlock(session SessionID, first Seq, count, size int) []byte {
	commands := make([][]byte, count)
	for i := range commands {
		commands[i] = bytes.Repeat([]byte{byte(i)}, size)
	}
	return block(session, first, first, commands...)
}

// plainBatch encodes a batch of the given blocks, uncompressed.
func plainBatch(blocks ...[]byte) []byte {
	payload := slices.Concat(blocks...)
	commands := 0
	for _, b := range blocks {
		commands += int(le.Uint32(b[24:]))
	}
	p := make([]byte, BatchHeaderSize, BatchHeaderSize+len(payload))
	PutBatchHeader(p, BatchBlocks, CompressNone, len(blocks), commands, len(payload), len(payload))
	return append(p, payload...)
}

// plainBatchOf is plainBatch with another count of blocks in its header.
func plainBatchOf(count uint16, blocks ...[]byte) []byte {
	p := plainBatch(blocks...)
	le.PutUint16(p[2:], count)
	return p
}

// s2Batch encodes a batch whose compressed payload is given.
func s2Batch(blocks, commands, raw int, stored []byte) []byte {
	p := make([]byte, BatchHeaderSize, BatchHeaderSize+len(stored))
	PutBatchHeader(p, BatchBlocks, CompressS2, blocks, commands, raw, len(stored))
	return append(p, stored...)
}

// mustBatch is ParseBatch of bytes that are right.
func mustBatch(t testing.TB, p []byte) Batch {
	t.Helper()
	b, err := ParseBatch(p)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// forge makes a frame with a right header and CRC around any body, which seal would refuse to.
func forge(k Kind, c ClusterID, g GroupID, from NodeID, body []byte) []byte {
	p := make([]byte, HeaderSize, HeaderSize+len(body))
	putHeader(p, k, c, g, from)
	p = append(p, body...)
	le.PutUint32(p[24:], uint32(len(body)))
	le.PutUint32(p[28:], frameCRC(p))
	return p
}

// decodeAny runs the decoder of p's kind over the frame p and returns what its encoder makes of the decoded fields.
func decodeAny(p []byte) (again []byte, err error) {
	h, err := CheckFrame(p)
	if err != nil {
		return nil, err
	}
	f := GetCopy(p)
	defer f.Release()
	g := Get(HeaderSize)
	defer func() { g.Release() }()
	switch {
	case h.Kind.IsPeer():
		var m Message
		if err := DecodeMessage(f, &m); err != nil {
			return nil, err
		}
		g.Release()
		g = m.Encode(h.Cluster)
	case h.Kind.IsRecord():
		var r Record
		if err := DecodeRecord(f, &r); err != nil {
			return nil, err
		}
		g.Release()
		if g, err = encodeRecord(h, &r); err != nil {
			return nil, err
		}
	default:
		if err := decodeClient(h, p, g); err != nil {
			return nil, err
		}
	}
	return bytes.Clone(g.Bytes()), nil
}

// encodeRecord makes a record of the fields of r, which is not an Accept or a Learn.
func encodeRecord(h Header, r *Record) (*Buffer, error) {
	switch r.Kind {
	case KindRecPromise:
		return SlotPromiseRecord(h.Cluster, r.Group, h.From, r.Ballot, r.Slot, r.Chosen, r.Incarnations).Frame, nil
	case KindRecVote:
		return VoteRecord(h.Cluster, r.Group, h.From, Vote{Slot: r.Slot, Ballot: r.Ballot, Value: TrustedValue(r.Frame)}).Frame, nil
	case KindRecTrim:
		return TrimRecord(h.Cluster, r.Group, h.From, r.Slot).Frame, nil
	}
	nodes, err := ParseMembers(r.Frame.Bytes())
	if err != nil {
		return nil, fmt.Errorf("DecodeRecord accepted what ParseMembers refuses: %w", err)
	}
	return MembersRecord(h.Cluster, h.From, nodes).Frame, nil
}

// decodeClient decodes the client frame p and encodes it again into g.
func decodeClient(h Header, p []byte, g *Buffer) error {
	switch h.Kind {
	case KindPropose:
		request, patience, b, err := DecodePropose(p)
		if err != nil {
			return err
		}
		g.Extend(ProposeHeadroom)
		g.Append(b.Bytes())
		SealPropose(g, h.Cluster, h.Group, request, patience)
	case KindReply:
		var r Reply
		if err := DecodeReply(p, &r); err != nil {
			return err
		}
		AppendReply(g, h.Cluster, h.Group, h.From, &r)
	case KindQuery:
		var q Query
		if err := DecodeQuery(p, &q); err != nil {
			return err
		}
		AppendQuery(g, h.Cluster, h.Group, &q)
	case KindAnswer:
		var a Answer
		if err := DecodeAnswer(p, &a); err != nil {
			return err
		}
		AppendAnswer(g, h.Cluster, h.Group, h.From, &a)
	default:
		var m Control
		if err := DecodeControl(p, &m); err != nil {
			return err
		}
		AppendControl(g, h.Cluster, h.Group, h.From, &m)
	}
	return nil
}

// mustPanic runs f, which must panic.
func mustPanic(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s: no panic", what)
		}
	}()
	f()
}

// taggedBatch is a batch of blocks with a tag.
func taggedBatch(batch []byte, tag uint64) []byte {
	f := NewAccept(len(batch))
	defer f.Release()
	f.Append(batch)
	TagBatch(f, tag)
	return bytes.Clone(f.Bytes()[AcceptHeadroom:])
}
