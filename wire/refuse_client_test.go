package wire

import (
	"bytes"
	"errors"
	"testing"

	"github.com/klauspost/compress/s2"
)

// TestBatchRefusals: a batch lies about its blocks, and a follower that voted for it falls over when it is applied; or a
// few bytes claim gigabytes.
func TestBatchRefusals(t *testing.T) {
	b := fixedBlock(1<<16, 1, 3, 20)
	good := plainBatch(b, b)
	set := func(at int, with ...byte) []byte {
		p := bytes.Clone(good)
		copy(p[at:], with)
		return p
	}
	compressed := func(blocks uint16, commands, raw uint32, stored []byte) []byte {
		p := []byte{BatchBlocks, CompressS2}
		p = le.AppendUint16(p, blocks)
		p = le.AppendUint32(p, commands)
		p = le.AppendUint32(p, raw)
		p = le.AppendUint32(p, uint32(len(stored)))
		return append(p, stored...)
	}
	zeros := s2.Encode(nil, make([]byte, 1000))
	bomb := s2.Encode(nil, make([]byte, BatchBytesMax+1))
	for _, c := range []struct {
		what string
		p    []byte
		ok   bool
	}{
		{"two blocks", good, true},
		{"no-op", AppendNoop(nil), true},
		{"compressed", compressed(1, 1, 1000, zeros), true}, // what it decodes to is seen by Plain
		{"no header", good[:15], false},
		{"cut", good[:len(good)-1], false},
		{"longer", append(bytes.Clone(good), 0), false},
		{"kind 2", set(0, 2), false},
		{"compression 2", set(1, 2), false},
		{"no-op with blocks", set(0, BatchNoop), false},
		{"compressed no-op", append([]byte{0, CompressS2}, make([]byte, 14)...), false},
		{"tagged", taggedBatch(plainBatch(block(1, 1, 0, []byte("x"))), 7), true},
		{"tagged with 0", append([]byte{BatchTagged}, append(plainBatch(block(1, 1, 0, []byte("x")))[1:], make([]byte, 8)...)...), false},
		{"tagged without a tag", append([]byte{BatchTagged}, plainBatch(block(1, 1, 0, []byte("x")))[1:]...), false},
		{"tagged no-op", append([]byte{BatchTagged}, make([]byte, 23)...), false},
		{"tagged and cut", append([]byte{BatchTagged}, make([]byte, 22)...), false},
		{"no blocks", append([]byte{BatchBlocks}, make([]byte, 15)...), false},
		{"one block less", set(2, 1), false},
		{"one block more", set(2, 3), false},
		{"one block less, as many commands", plainBatchOf(1, b, block(1<<16, 4, 4)), false},
		{"65535 blocks", set(2, 255, 255), false},
		{"one command more", set(4, 7), false},
		{"4294967295 commands", set(4, 255, 255, 255, 255), false},
		{"raw size of 4 GiB", set(8, 255, 255, 255, 255), false},
		{"stored size of 4 GiB", set(12, 255, 255, 255, 255), false},
		{"raw is not stored", set(8, 1), false},
		{"a block that overruns", set(BatchHeaderSize+28, 255), false},
		{"compressed, other size", compressed(1, 1, 999, zeros), false},
		{"compressed beyond the limit", compressed(1, 1, BatchBytesMax+1, bomb), false},
		{"compressed, more blocks than fit", compressed(32, 1, 1000, zeros), false},
		{"compressed, more commands than fit", compressed(1, 969, 1000, zeros), false},
		{"compressed to more than it was", compressed(1, 0, 40, s2.Encode(nil, []byte("0123456789abcdefghijklmnopqrstuvwxyzABCD"))), false},
		{"compressed nothing", compressed(1, 1, 1000, nil), false},
	} {
		got, err := ParseBatch(c.p)
		if (err == nil) != c.ok || err != nil && (!errors.Is(err, ErrFormat) || !got.IsZero()) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}

// TestPlainRefusals: a compressed batch is voted for by its header alone. What is inside comes out at Apply, and must
// come out the same everywhere: as an error, not as half a batch.
func TestPlainRefusals(t *testing.T) {
	b := fixedBlock(1<<16, 1, 64, 20)
	raw := append(bytes.Clone(b), b...)
	enc := s2.Encode(nil, raw)
	buf := Get(0)
	defer buf.Release()
	plain, err := mustBatch(t, s2Batch(2, 128, len(raw), enc)).Plain(buf)
	if err != nil || !bytes.Equal(plain.Payload(), raw) || plain.Compressed() || plain.Bytes() != nil {
		t.Fatalf("a right one: %v", err)
	}
	damaged := bytes.Clone(enc)
	damaged[len(damaged)-1] ^= 0x80
	for what, p := range map[string][]byte{
		"one block less":    s2Batch(1, 128, len(raw), enc),
		"one command less":  s2Batch(2, 127, len(raw), enc),
		"cut":               s2Batch(2, 128, len(raw), enc[:len(enc)-1]),
		"more behind":       s2Batch(2, 128, len(raw), append(bytes.Clone(enc), 0, 'x')),
		"damaged":           s2Batch(2, 128, len(raw), damaged),
		"zeros, not blocks": s2Batch(2, 128, 4000, s2.Encode(nil, make([]byte, 4000))),
	} {
		if plain, err := mustBatch(t, p).Plain(buf); !errors.Is(err, ErrFormat) || !plain.IsZero() {
			t.Errorf("%s: %v", what, err)
		}
	}
	mustPanic(t, "blocks of a compressed batch", func() { mustBatch(t, s2Batch(2, 128, len(raw), enc)).Blocks() })
}

// TestCompressInto: the batcher hands over too small a scratch buffer, or bytes that do not shrink, and the batch grows,
// is cut, or is written into somebody else's memory.
func TestCompressInto(t *testing.T) {
	src := bytes.Repeat([]byte("abcd"), 1000)
	need := s2.MaxEncodedLen(len(src))
	if out, ok := CompressInto(make([]byte, 5, 5+need-1), src); ok || len(out) != 5 {
		t.Errorf("one byte too little: %v, %d bytes", ok, len(out))
	}
	dst := make([]byte, 5, 5+need)
	copy(dst, "12345")
	out, ok := CompressInto(dst, src)
	if !ok || !bytes.HasPrefix(out, []byte("12345")) || len(out) >= len(src) || &out[0] != &dst[0] {
		t.Fatalf("ok %v, %d bytes", ok, len(out))
	}
	if got, err := s2.Decode(nil, out[5:]); err != nil || !bytes.Equal(got, src) {
		t.Errorf("decodes to %d bytes, %v", len(got), err)
	}
	random := make([]byte, 4000)
	x := uint32(1)
	for i := range random {
		x = x*1664525 + 1013904223
		random[i] = byte(x >> 24)
	}
	if out, ok := CompressInto(dst, random); ok || !bytes.Equal(out, []byte("12345")) {
		t.Errorf("noise compressed: %v, %d bytes", ok, len(out))
	}
	if _, ok := CompressInto(dst, nil); ok {
		t.Error("nothing compressed")
	}
}

// TestClientFrameRefusals: a client's, or a false node's, frame makes the other side walk four billion results, take a
// status or a mode that there is not, or read one kind as another.
func TestClientFrameRefusals(t *testing.T) {
	body := func(status, empty byte, count, length uint32, results int) []byte {
		p := make([]byte, replySize+results)
		p[8], p[9] = status, empty
		le.PutUint32(p[28:], count)
		le.PutUint32(p[48:], length)
		return p
	}
	set := func(p []byte, at int, v byte) []byte {
		p[at] = v
		return p
	}
	control := func(status byte) []byte { return set(make([]byte, controlSize), 8, status) }
	for _, c := range []struct {
		what string
		k    Kind
		from NodeID
		body []byte
		ok   bool
	}{
		{"reply", KindReply, 1, body(0, 0, 2, 5, 5), true},
		{"empty results", KindReply, 1, body(0, 1, BlockCommandsMax, 0, 0), true},
		{"refusal of two commands", KindReply, 1, body(byte(StatusBusy), 0, 2, 0, 0), true},
		{"opened a session", KindReply, 1, body(0, 0, 0, 0, 0), true},
		{"status", KindReply, 1, body(byte(statusEnd), 0, 0, 0, 0), false},
		{"empty flag 2", KindReply, 1, body(0, 2, 1, 0, 0), false},
		{"empty with results", KindReply, 1, body(0, 1, 1, 1, 1), false},
		{"too many", KindReply, 1, body(0, 1, BlockCommandsMax+1, 0, 0), false},
		{"four billion refused", KindReply, 1, body(byte(StatusBusy), 0, 1<<32-1, 0, 0), false},
		{"more results than bytes", KindReply, 1, body(0, 0, 6, 5, 5), false},
		{"bytes without results", KindReply, 1, body(0, 0, 0, 5, 5), false},
		{"results without bytes", KindReply, 1, body(0, 0, 5, 0, 0), false},
		{"says more bytes", KindReply, 1, body(0, 0, 2, 6, 5), false},
		{"says 4 GiB", KindReply, 1, body(0, 0, 2, 1<<32-1, 5), false},
		{"reserved 10", KindReply, 1, set(body(0, 1, 1, 0, 0), 10, 1), false},
		{"reserved 52", KindReply, 1, set(body(0, 1, 1, 0, 0), 52, 1), false},
		{"slot", KindReply, 1, set(body(0, 1, 1, 0, 0), 23, 1), false},
		{"epoch of no node", KindReply, 1, set(body(0, 1, 1, 0, 0), 60, 1), false},
		{"index", KindReply, 1, set(set(body(0, 1, 1, 0, 0), 24, 255), 25, 255), false},

		{"query", KindQuery, 0, make([]byte, querySize), true},
		{"query mode", KindQuery, 0, set(make([]byte, querySize), 8, byte(queryModeEnd)), false},
		{"query mode 2^56", KindQuery, 0, set(make([]byte, querySize), 15, 1), false},
		{"query's patience", KindQuery, 0, set(make([]byte, querySize), 23, 1), false},
		{"query by a node", KindQuery, 1, make([]byte, querySize), false},
		{"answer", KindAnswer, 1, make([]byte, answerSize), true},
		{"answer status", KindAnswer, 1, set(make([]byte, answerSize), 8, byte(statusEnd)), false},
		{"answer status 256", KindAnswer, 1, set(make([]byte, answerSize), 9, 1), false},
		{"answer slot", KindAnswer, 1, set(make([]byte, answerSize), 23, 1), false},
		{"answer epoch of no node", KindAnswer, 1, set(make([]byte, answerSize), 28, 1), false},
		{"welcome", KindWelcome, 1, control(0), true},
		{"welcome status", KindWelcome, 1, control(byte(statusEnd)), false},
		{"propose", KindPropose, 0, append(make([]byte, 16), block(1, 1, 1, nil)...), true},
		{"propose and more", KindPropose, 0, append(make([]byte, 16), append(block(1, 1, 1, nil), 0)...), false},
		{"propose by a node", KindPropose, 1, append(make([]byte, 16), block(1, 1, 1, nil)...), false},
		{"propose's patience", KindPropose, 0, append(set(make([]byte, 16), 15, 1), block(1, 1, 1, nil)...), false},
	} {
		p := forge(c.k, testCluster, 1, c.from, c.body)
		again, err := decodeAny(p)
		if (err == nil) != c.ok || err == nil && !bytes.Equal(again, p) || err != nil && !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
	checkWrongKinds(t)
}

// checkWrongKinds gives each decoder every frame of another kind, and its own with a byte behind.
func checkWrongKinds(t *testing.T) {
	decoders := map[Kind]func(p []byte) error{
		KindPropose: func(p []byte) error { _, _, _, err := DecodePropose(p); return err },
		KindReply:   func(p []byte) error { return DecodeReply(p, new(Reply)) },
		KindQuery:   func(p []byte) error { return DecodeQuery(p, new(Query)) },
		KindAnswer:  func(p []byte) error { return DecodeAnswer(p, new(Answer)) },
		KindHello:   func(p []byte) error { return DecodeControl(p, new(Control)) },
		KindRecTrim: func(p []byte) error {
			f := GetCopy(p)
			defer f.Release()
			return DecodeRecord(f, new(Record))
		},
		KindRecMembers: func(p []byte) error { _, err := ParseMembers(p); return err },
	}
	same := func(a, b Kind) bool {
		control := func(k Kind) bool {
			return k == KindHello || k == KindWelcome || k == KindAdmin || k == KindAdminReply
		}
		return a == b || control(a) && control(b) || a == KindRecTrim && b.IsRecord()
	}
	for want, decode := range decoders {
		if decode(nil) == nil {
			t.Errorf("decoder of %v takes nothing for a frame", want)
		}
		for _, v := range goldenVectors(t) {
			h, err := CheckFrame(v.bytes)
			if err != nil {
				continue
			}
			if err := decode(v.bytes); (err == nil) != same(want, h.Kind) {
				t.Errorf("decoder of %v, given %s: %v", want, v.name, err)
			}
			if decode(append(bytes.Clone(v.bytes), 0)) == nil {
				t.Errorf("decoder of %v takes %s with a byte behind it", want, v.name)
			}
		}
	}
}

// TestTooMuchToReply: a state machine's results fit no frame, and the node falls over instead of telling the client.
func TestTooMuchToReply(t *testing.T) {
	f := Get(0)
	defer f.Release()
	AppendReply(f, testCluster, 1, 1, &Reply{Request: 7, Count: 1, First: 3, Results: make([]byte, ResultsBytesMax+1)})
	var r Reply
	if err := DecodeReply(f.Bytes(), &r); err != nil || r.Status != StatusUnknown || r.Request != 7 || len(r.Results) != 0 {
		t.Errorf("reply %+v, %v", r, err)
	}
	f.SetBytes(f.Bytes()[:0])
	AppendAnswer(f, testCluster, 1, 1, &Answer{Request: 7, Slot: 3, Body: make([]byte, QueryBytesMax+1)})
	var a Answer
	if err := DecodeAnswer(f.Bytes(), &a); err != nil || a.Status != StatusTooLarge || a.Request != 7 || len(a.Body) != 0 {
		t.Errorf("answer %+v, %v", a, err)
	}
}

// TestRecordRefusals: a record that this build cannot have written is replayed as if it had.
func TestRecordRefusals(t *testing.T) {
	b := NewBallot(5, 2)
	for _, c := range []struct {
		what  string
		k     Kind
		group GroupID
		from  NodeID
		body  []byte
		ok    bool
	}{
		{"promise", KindRecPromise, 1, 2, message(b, 0, 0, 0), true},
		{"promise of nothing yet", KindRecPromise, 1, 2, message(0, 0, 0, 0), true},
		{"promise of no node's ballot", KindRecPromise, 1, 2, message(1<<32, 0, 0, 0), false},
		{"promise in a slot", KindRecPromise, 1, 2, message(b, 1, 0, 0), true},
		{"promise of nothing in a slot", KindRecPromise, 1, 2, message(0, 1, 0, 0), false},
		{"promise beyond the last slot", KindRecPromise, 1, 2, message(b, SlotMax+1, 0, 0), false},
		{"promise for no group", KindRecPromise, 0, 2, message(b, 0, 0, 0), false},
		{"promise from no node", KindRecPromise, 1, 0, message(b, 0, 0, 0), false},
		{"promise with a word", KindRecPromise, 1, 2, message(b, 0, 0, 1), false},
		{"trim", KindRecTrim, 1, 2, message(0, 9, 0, 0), true},
		{"trim at a ballot", KindRecTrim, 1, 2, message(b, 9, 0, 0), false},
		{"trim beyond the last slot", KindRecTrim, 1, 2, message(0, SlotMax+1, 0, 0), false},
		{"vote", KindAccept, 1, 2, message(b, 9, 8, 0, AppendNoop(nil)...), true},
		{"vote in slot 0", KindAccept, 1, 2, message(b, 0, 0, 0, AppendNoop(nil)...), false},
		{"vote without a ballot", KindLearn, 1, 2, message(0, 9, 8, 0, AppendNoop(nil)...), false},
		{"vote for half a batch", KindLearn, 1, 2, message(b, 9, 8, 0, make([]byte, 17)...), false},
		{"adopted vote", KindRecVote, 1, 2, message(b, 9, 0, 0, AppendNoop(nil)...), true},
		{"adopted vote that announces", KindRecVote, 1, 2, message(b, 9, 8, 0, AppendNoop(nil)...), false},
		{"members", KindRecMembers, 0, 2, []byte{1, 0, 0, 0, 2, 0, 0, 0}, true},
		{"members of a group", KindRecMembers, 1, 2, []byte{1, 0, 0, 0, 2, 0, 0, 0}, false},
		{"members in disorder", KindRecMembers, 0, 2, []byte{2, 0, 0, 0, 1, 0, 0, 0}, false},
		{"member twice", KindRecMembers, 0, 2, []byte{2, 0, 0, 0, 2, 0, 0, 0}, false},
		{"member 0", KindRecMembers, 0, 2, []byte{0, 0, 0, 0}, false},
		{"member and a half", KindRecMembers, 0, 2, []byte{1, 0, 0, 0, 2, 0}, false},
	} {
		f := GetCopy(forge(c.k, testCluster, c.group, c.from, c.body))
		var r Record
		if err := DecodeRecord(f, &r); (err == nil) != c.ok || err != nil && !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", c.what, err)
		}
		f.Release()
	}
}
