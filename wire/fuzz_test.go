package wire

import (
	"bytes"
	"runtime/metrics"
	"testing"
)

// The fuzz targets. What can go wrong is the same in each: bytes from a stranger make a decoder panic, read beyond them,
// believe a count or a length, or be understood in a way that the encoder would never have meant. So each target
// decodes, bounds what that allocates, and encodes what was accepted again: it must be the same bytes.

// bounded runs f and fails if it allocates more than size bytes and a constant. The counter is the whole process's and
// is brought up to date in lumps, so an excess counts only if it repeats itself.
func bounded(t *testing.T, size int, f func()) {
	t.Helper()
	const slack = 256 << 10 // error texts, and what the runtime and the fuzzing engine do meanwhile
	n := uint64(0)
	for range 8 {
		before := heapAllocated()
		f()
		if n = heapAllocated() - before; n <= uint64(size)+slack {
			return
		}
	}
	t.Fatalf("allocated %d bytes, %d and %d are allowed", n, size, slack)
}

func heapAllocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// inside says that view lies within whole and cannot be appended to beyond it.
func inside(view, whole []byte) bool {
	if cap(view) == 0 {
		return true
	}
	for i := range whole {
		if &whole[i] == &view[:1][0] {
			return len(view) <= len(whole)-i
		}
	}
	return false
}

// fuzzBodies runs the decoders of some kinds over any body in a frame with a right header and CRC, seeded with the
// bodies of the golden vectors.
func fuzzBodies(f *testing.F, kinds ...Kind) {
	for _, v := range goldenVectors(f) {
		if h, err := CheckFrame(v.bytes); err == nil {
			for i, k := range kinds {
				if h.Kind == k {
					f.Add(byte(i), uint32(h.Group), uint32(h.From), v.bytes[HeaderSize:])
				}
			}
		}
	}
	f.Fuzz(func(t *testing.T, i byte, group, from uint32, body []byte) {
		p := forge(kinds[int(i)%len(kinds)], testCluster, GroupID(group), NodeID(from), body)
		bounded(t, 8*len(p), func() { // a copy for decoding, the encoding, and both again as their class rounds up
			if again, err := decodeAny(p); err == nil && !bytes.Equal(again, p) {
				t.Fatalf("accepted\n%s but encodes to\n%s", hexLines(p), hexLines(again))
			}
		})
	})
}

func FuzzDecodeMessage(f *testing.F) {
	fuzzBodies(f, KindPrepare, KindPromise, KindReject, KindAccept, KindAccepted, KindHeartbeat, KindHeartbeatAck,
		KindFetch, KindLearn, KindProbe, KindProbeAck, KindSnapChunk, KindSnapAck, KindHealRequest, KindHealReply, KindMembers,
		KindAny, KindFastAccepted, KindFastChosen, KindResign, KindLease, KindBack, KindSeen, KindHeld)
}

func FuzzDecodeRecord(f *testing.F) {
	fuzzBodies(f, KindRecPromise, KindRecTrim, KindRecMembers, KindRecVote)
}
func FuzzDecodePropose(f *testing.F) { fuzzBodies(f, KindPropose) }
func FuzzDecodeReply(f *testing.F)   { fuzzBodies(f, KindReply) }
func FuzzDecodeQuery(f *testing.F)   { fuzzBodies(f, KindQuery) }
func FuzzDecodeAnswer(f *testing.F)  { fuzzBodies(f, KindAnswer) }
func FuzzDecodeControl(f *testing.F) {
	fuzzBodies(f, KindHello, KindWelcome, KindAdmin, KindAdminReply)
}

// FuzzCheckFrame takes raw bytes, as a port does. They are looked at as they come, and once more with the CRC put
// right, so that the fuzzer gets behind it.
func FuzzCheckFrame(f *testing.F) {
	for _, v := range goldenVectors(f) {
		f.Add(v.bytes)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		bounded(t, 8*len(p), func() {
			h, err := ParseHeader(p)
			if err != nil {
				return
			}
			if h.Size() < HeaderSize || h.Size() > FrameMax || h.Kind.IsPeer() && h.Kind.IsClient() {
				t.Fatalf("header %+v", h)
			}
			if len(p) < h.Size() {
				if _, err := CheckFrame(p); err != ErrShort {
					t.Fatalf("frame of %d bytes in %d: %v", h.Size(), len(p), err)
				}
				return
			}
			frame := bytes.Clone(p[:h.Size()])
			le.PutUint32(frame[28:], frameCRC(frame))
			if _, err := CheckFrame(frame); err != nil {
				t.Fatalf("with the right CRC: %v", err)
			}
			if again, err := decodeAny(frame); err == nil && !bytes.Equal(again, frame) {
				t.Fatalf("accepted\n%s but encodes to\n%s", hexLines(frame), hexLines(again))
			}
		})
	})
}

func FuzzVotes(f *testing.F) {
	for _, v := range peerVectors(f) {
		if Kind(v.bytes[5]) == KindPromise {
			f.Add(v.bytes[AcceptHeadroom+promiseTail:], uint64(1001), uint64(1<<64-1))
		}
	}
	f.Fuzz(func(t *testing.T, p []byte, first, last uint64) {
		bounded(t, 2*len(p), func() {
			if checkVotes(p, Slot(first), Slot(last)) != nil {
				return
			}
			again := make([]byte, 0, len(p))
			prev := Slot(0)
			for it := (&Message{Votes: p}).IterVotes(); ; {
				v, ok := it.Next()
				if !ok {
					break
				}
				if v.Slot <= prev || v.Slot < Slot(first) || v.Slot > Slot(last) || v.Ballot == 0 || !inside(v.Value.Bytes(), p) {
					t.Fatalf("vote %+v after slot %d", v, prev)
				}
				prev = v.Slot
				again = AppendVote(again, v)
			}
			if !bytes.Equal(again, p) {
				t.Fatalf("votes\n%s encode to\n%s", hexLines(p), hexLines(again))
			}
		})
	})
}

func FuzzParseBatch(f *testing.F) {
	for _, v := range valueVectors() {
		f.Add(v.bytes)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		// The one place that may allocate more than it was given: the plain form, up to its limit, and the class above.
		bounded(t, len(p)+BatchBytesMax*3/2, func() {
			b, err := ParseBatch(p)
			if err != nil {
				if !b.IsZero() {
					t.Fatal("a refused batch has content")
				}
				return
			}
			if !bytes.Equal(b.Bytes(), p) || !inside(b.Payload(), p) || b.Commands() > b.RawLen() {
				t.Fatalf("batch %+v of\n%s", b, hexLines(p))
			}
			buf := Get(0)
			defer buf.Release()
			plain, err := b.Plain(buf)
			if err != nil {
				return
			}
			walkBatch(t, plain, b)
		})
	})
}

// walkBatch iterates over everything in plain, the plain form of b.
func walkBatch(t *testing.T, plain, b Batch) {
	blocks, commands, size := 0, 0, 0
	for it := plain.Blocks(); ; {
		blk, ok := it.Next()
		if !ok {
			break
		}
		blocks++
		size += len(blk.Bytes())
		malformed := blk.CheckCommands() != nil
		bytesSeen := 0
		for it := blk.Commands(); ; {
			cmd, ok := it.Next()
			if !ok {
				break
			}
			if cmd == nil && !malformed {
				t.Fatal("nil command in a sound block")
			}
			commands++
			bytesSeen += len(cmd)
		}
		if bytesSeen > len(blk.Bytes()) {
			t.Fatalf("commands of %d bytes in a block of %d", bytesSeen, len(blk.Bytes()))
		}
	}
	if blocks != b.BlockCount() || commands != b.Commands() || size != b.RawLen() || size != plain.RawLen() {
		t.Fatalf("walked %d blocks, %d commands, %d bytes of %+v", blocks, commands, size, b)
	}
}

func FuzzParseBlock(f *testing.F) {
	for _, v := range valueVectors() {
		f.Add(v.bytes)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		bounded(t, 2*len(p), func() {
			b, n, err := ParseBlock(p)
			if err != nil {
				return
			}
			if n != len(b.Bytes()) || n > len(p) || !inside(b.Bytes(), p) || b.Count() > n {
				t.Fatalf("block of %d commands, %d bytes of %d", b.Count(), n, len(p))
			}
			again := AppendBlockHeader(nil, b.Session(), b.First(), b.Acked(), b.Count(), n-BlockHeaderSize)
			if again = append(again, b.Bytes()[BlockHeaderSize:]...); !bytes.Equal(again, p[:n]) {
				t.Fatalf("block\n%s encodes to\n%s", hexLines(p[:n]), hexLines(again))
			}
		})
	})
}

func FuzzParseMembers(f *testing.F) {
	for _, v := range recordVectors() {
		f.Add(v.bytes)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		bounded(t, 8*len(p), func() {
			nodes, err := ParseMembers(p)
			if err != nil {
				return
			}
			h, err := ParseHeader(p)
			if err != nil || len(nodes) == 0 || len(nodes) > NodesMax {
				t.Fatalf("members %v, %v", nodes, err)
			}
			r := MembersRecord(h.Cluster, h.From, nodes)
			defer r.Frame.Release()
			if !bytes.Equal(r.Frame.Bytes()[HeaderSize:], p[HeaderSize:]) {
				t.Fatalf("members %v encode to\n%s", nodes, hexLines(r.Frame.Bytes()))
			}
		})
	})
}
