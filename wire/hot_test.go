package wire

import (
	"fmt"
	"testing"

	"github.com/klauspost/compress/s2"
)

// hotPath is something that happens for every message, block or batch. TestHotPathsAllocateNothing and BenchmarkWire
// walk the same list, so that nothing is measured which is not guarded, and the other way round.
type hotPath struct {
	name string
	size int // bytes that one call works on
	run  func()
}

const hotCommand = 16 // bytes of a command, as in the benchmark's standard load

// hotBatch is a batch of blocks x commands commands. Its payload is as compressible as that of a key-value load: keys
// that differ in their last bytes, values that do not repeat.
func hotBatch(blocks, commands int) []byte {
	var bs [][]byte
	x := uint64(1)
	for i := range blocks {
		body := make([]byte, 0, commands*(hotCommand+1))
		for j := range commands {
			x = x*6364136223846793005 + 1442695040888963407
			cmd := le.AppendUint64(append(make([]byte, 0, hotCommand), fmt.Sprintf("key%05d", (i*commands+j)%100000)...), x)
			body = AppendCommand(body, cmd)
		}
		bs = append(bs, append(AppendBlockHeader(nil, SessionID(i+1)<<16, 1, 1, commands, len(body)), body...))
	}
	return plainBatch(bs...)
}

// hotPaths prepares every path; done releases what they hold.
func hotPaths(tb testing.TB) (paths []hotPath, done func()) {
	var held []*Buffer
	hold := func(f *Buffer) *Buffer {
		held = append(held, f)
		return f
	}
	add := func(name string, size int, run func()) { paths = append(paths, hotPath{name, size, run}) }
	for _, s := range []struct{ blocks, commands int }{{1, 1}, {1, 64}, {8, 512}, {16, 4096}} {
		enc := hotBatch(s.blocks, s.commands)
		name := fmt.Sprintf("/blocks=%d/commands=%d", s.blocks, s.commands)
		addAccept(tb, add, hold, name, enc)
		addBatch(tb, add, hold, name, enc)
	}
	addSmall(tb, add, hold)
	addClient(tb, add, hold)
	return paths, func() {
		for _, f := range held {
			f.Release()
		}
	}
}

type addPath = func(name string, size int, run func())
type holdBuffer = func(*Buffer) *Buffer

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// addAccept: what the leader does to a batch before it leaves, and a follower before it is written.
func addAccept(tb testing.TB, add addPath, hold holdBuffer, name string, enc []byte) {
	ballot := NewBallot(3, 1)
	sealed := hold(NewAccept(len(enc)))
	sealed.Append(enc)
	SealAccept(sealed, testCluster, 1, 1, ballot, 1001, 999)
	add("AcceptSeal"+name, len(enc), func() { SealAccept(sealed, testCluster, 1, 1, ballot, 1001, 999) })
	var m Message
	decode := func(f *Buffer) {
		_, err := CheckFrame(f.Bytes())
		must(err)
		must(DecodeMessage(f, &m))
	}
	add("AcceptDecode"+name, sealed.Len(), func() { decode(sealed) })
	add("AcceptRoundTrip"+name, len(enc), func() {
		f := NewAccept(len(enc))
		f.Append(enc)
		SealAccept(f, testCluster, 1, 1, ballot, 1001, 999)
		decode(f)
		f.Release()
	})
	var r Record
	add("RecordDecode"+name, sealed.Len(), func() { must(DecodeRecord(sealed, &r)) })
	value := mustBatch(tb, enc)
	add("LearnRoundTrip"+name, len(enc), func() {
		learn := Message{Kind: KindLearn, Group: 1, From: 1, Ballot: ballot, Slot: 1001, Chosen: 999, Value: value}
		f := learn.Encode(testCluster)
		decode(f)
		f.Release()
	})
}

// addBatch: what the applier does with a batch, and the batcher's compression of it.
func addBatch(tb testing.TB, add addPath, hold holdBuffer, name string, enc []byte) {
	b := mustBatch(tb, enc)
	add("BatchParse"+name, len(enc), func() {
		_, err := ParseBatch(enc)
		must(err)
	})
	add("BatchBlocks"+name, b.RawLen(), func() {
		n := 0
		for it := b.Blocks(); ; {
			blk, ok := it.Next()
			if !ok {
				break
			}
			n += blk.Count()
		}
		if n != b.Commands() {
			panic(n)
		}
	})
	add("BlockCommands"+name, b.RawLen(), func() {
		n := 0
		for it := b.Blocks(); ; {
			blk, ok := it.Next()
			if !ok {
				break
			}
			for commands := blk.Commands(); ; n++ {
				cmd, ok := commands.Next()
				if !ok {
					break
				}
				if len(cmd) != hotCommand {
					panic(len(cmd))
				}
			}
		}
		if n != b.Commands() {
			panic(n)
		}
	})
	if b.RawLen() < CompressMin {
		return
	}
	scratch := hold(Get(s2.MaxEncodedLen(b.RawLen())))
	add("Compress"+name, b.RawLen(), func() {
		if _, ok := CompressInto(scratch.Bytes(), b.Payload()); !ok {
			panic("not smaller")
		}
	})
	stored, ok := CompressInto(make([]byte, 0, s2.MaxEncodedLen(b.RawLen())), b.Payload())
	if !ok {
		tb.Fatal("not smaller")
	}
	compressed := mustBatch(tb, s2Batch(b.BlockCount(), b.Commands(), b.RawLen(), stored))
	plain := hold(Get(0))
	add("Plain"+name, b.RawLen(), func() {
		_, err := compressed.Plain(plain)
		must(err)
	})
}

// addSmall: the frames that carry no commands.
func addSmall(tb testing.TB, add addPath, hold holdBuffer) {
	for _, m := range []Message{
		{Kind: KindAccepted, Slot: 1001, Count: 7},
		{Kind: KindHeartbeat, Slot: 1007, Round: 258, Stamp: 1 << 40, Span: 200_000_000},
		{Kind: KindHeartbeatAck, Round: 258},
		{Kind: KindFetch, Slot: 950, Until: 1001},
		{Kind: KindSnapChunk, Total: SnapChunkBytes, Data: make([]byte, SnapChunkBytes)},
	} {
		m.Group, m.From, m.Ballot, m.Chosen = 1, 2, NewBallot(3, 1), 999
		frame := hold(m.Encode(testCluster))
		add(m.Kind.String()+"Encode", frame.Len(), func() { m.Encode(testCluster).Release() })
		var got Message
		add(m.Kind.String()+"Decode", frame.Len(), func() {
			_, err := CheckFrame(frame.Bytes())
			must(err)
			must(DecodeMessage(frame, &got))
		})
	}
	vote := Vote{Slot: 1, Ballot: NewBallot(3, 1), Value: mustBatch(tb, hotBatch(1, 64))}
	votes := make([]byte, 0, 100*VoteSize(vote))
	for range 100 {
		votes = AppendVote(votes, vote)
		vote.Slot++
	}
	add("VotesAppend", len(votes), func() {
		p := votes[:0]
		for range 100 {
			p = AppendVote(p, vote)
			vote.Slot++
		}
	})
	add("VotesIterate", len(votes), func() {
		n := 0
		for it := (&Message{Votes: votes}).IterVotes(); ; n++ {
			if _, ok := it.Next(); !ok {
				break
			}
		}
		if n != 100 {
			panic(n)
		}
	})
	add("RecPromise", AcceptHeadroom, func() { PromiseRecord(testCluster, 1, 2, NewBallot(3, 1), 4, nil).Frame.Release() })
	add("BufferGetRelease", 0, func() { Get(1 << 16).Release() })
	piece := make([]byte, 1<<10)
	add("BufferGrow", 1<<20, func() {
		b := Get(0)
		for range 1 << 10 {
			b.Append(piece)
		}
		b.Release()
	})
}

// addClient: a block's way in and its reply's way out.
func addClient(tb testing.TB, add addPath, hold holdBuffer) {
	for _, commands := range []int{1, 64, 4096} {
		name := fmt.Sprintf("/commands=%d", commands)
		blk := hotBatch(1, commands)[BatchHeaderSize:]
		propose := hold(NewPropose(len(blk)))
		propose.Append(blk)
		SealPropose(propose, testCluster, 1, 7, 0)
		add("ProposeSeal"+name, len(blk), func() { SealPropose(propose, testCluster, 1, 7, 0) })
		add("ProposeDecode"+name, propose.Len(), func() {
			_, err := CheckFrame(propose.Bytes())
			must(err)
			_, _, _, err = DecodePropose(propose.Bytes())
			must(err)
		})
		var results []byte
		for range commands {
			results = AppendCommand(results, []byte("12345678"))
		}
		out := hold(Get(ReplySize + len(results)))
		r := Reply{Request: 7, Slot: 1001, Count: uint32(commands), Session: 1 << 16, First: 1, Results: results}
		var got Reply
		add("ReplyRoundTrip"+name, ReplySize+len(results), func() {
			out.SetBytes(out.Bytes()[:0])
			AppendReply(out, testCluster, 1, 2, &r)
			_, err := CheckFrame(out.Bytes())
			must(err)
			must(DecodeReply(out.Bytes(), &got))
			n := 0
			for it := got.Iter(); ; n++ {
				if _, ok := it.Next(); !ok {
					break
				}
			}
			if n != commands {
				panic(n)
			}
		})
	}
	query, answer := hold(Get(1<<10)), hold(Get(1<<10))
	q, a := Query{Request: 7, Body: []byte("get key00001")}, Answer{Request: 7, Slot: 1001, Body: []byte("12345678")}
	add("QueryRoundTrip", 100, func() {
		query.SetBytes(query.Bytes()[:0])
		AppendQuery(query, testCluster, 1, &q)
		must(DecodeQuery(query.Bytes(), &q))
		answer.SetBytes(answer.Bytes()[:0])
		AppendAnswer(answer, testCluster, 1, 2, &a)
		must(DecodeAnswer(answer.Bytes(), &a))
	})
}

// BenchmarkWire times every hot path. A path's MB/s is of the bytes that go through it; ns per command is ns/op divided
// by blocks x commands.
func BenchmarkWire(b *testing.B) {
	paths, done := hotPaths(b)
	defer done()
	for _, p := range paths {
		b.Run(p.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(p.size))
			for b.Loop() {
				p.run()
			}
		})
	}
}

// BenchmarkCRC is the floor under sealing and checking: CRC32C alone.
func BenchmarkCRC(b *testing.B) {
	for _, n := range []int{64, 4 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("bytes=%d", n), func(b *testing.B) {
			p := forge(KindAccept, 1, 1, 1, make([]byte, n))
			b.SetBytes(int64(n))
			for b.Loop() {
				frameCRC(p)
			}
		})
	}
}
