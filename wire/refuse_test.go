package wire

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// TestDamageIsSeen: one flipped bit, or a cut, goes unnoticed and a replica votes for other bytes than were proposed.
// Every bit of every golden frame is flipped and every frame is cut at every length.
func TestDamageIsSeen(t *testing.T) {
	for _, v := range goldenVectors(t) {
		if _, err := CheckFrame(v.bytes); err != nil {
			continue // a block or a batch
		}
		p := bytes.Clone(v.bytes)
		for bit := range 8 * len(p) {
			p[bit/8] ^= 1 << (bit % 8)
			if _, err := CheckFrame(p); err == nil {
				t.Errorf("%s: bit %d flipped and not seen", v.name, bit)
			}
			p[bit/8] ^= 1 << (bit % 8)
		}
		for n := range p {
			if _, err := CheckFrame(p[:n]); err != ErrShort {
				t.Errorf("%s cut to %d bytes: %v", v.name, n, err)
			}
		}
	}
}

// TestHeaderRefusals: bytes that are no frame of ours are taken for one, or refused with an error that sends the
// reader of a log looking in the wrong place.
func TestHeaderRefusals(t *testing.T) {
	good := forge(KindProbe, testCluster, 1, 2, make([]byte, MessageSize))
	set := func(at int, with ...byte) []byte {
		p := bytes.Clone(good)
		copy(p[at:], with)
		return p
	}
	for _, c := range []struct {
		what string
		p    []byte
		want error
		says string
	}{
		{"nothing", nil, ErrShort, ""},
		{"31 bytes", good[:31], ErrShort, ""},
		{"HTTP", []byte("GET / HTTP/1.1\r\nHost: example\r\n\r\n"), ErrMagic, ""},
		{"TLS", set(0, 0x16, 3, 1, 2), ErrMagic, ""},
		{"zeros", make([]byte, 64), ErrMagic, ""},
		{"version", set(4, 3), ErrVersion, "got version 3, this build speaks 2"},
		{"kind 0", set(5, 0), ErrKind, "0"},
		{"kind between", set(5, byte(kindPeerEnd)), ErrKind, strconv.Itoa(int(kindPeerEnd))},
		{"kind 31", set(5, 31), ErrKind, "31"},
		{"kind 255", set(5, 255), ErrKind, "255"},
		{"reserved", set(7, 1), ErrFormat, "reserved"},
		{"incarnations where none belong", forge(KindReject, 1, 1, 1, make([]byte, MessageSize+12))[:32], ErrTooLong, "44"},
		{"incarnations that are not there", set(6, 1), ErrFormat, "at least 44"},
		{"more incarnations than nodes", set(6, NodesMax+1), ErrFormat, "65 incarnations"},
		{"length of 4 GiB", set(24, 255, 255, 255, 255), ErrTooLong, "Probe body of 4294967295 bytes, limit 32"},
		{"length of one more", set(24, MessageSize+1), ErrTooLong, "33"},
		{"length of one less", set(24, MessageSize-1), ErrFormat, "31"},
		{"length 0", set(24, 0, 0, 0, 0), ErrFormat, "0 bytes"},
		{"a first frame of 16 MiB", forge(KindHello, 1, 0, 0, make([]byte, controlSize+HelloBytesMax+1)), ErrTooLong, "Hello"},
	} {
		h, err := ParseHeader(c.p)
		if !errors.Is(err, c.want) || !strings.Contains(fmt.Sprint(err), c.says) {
			t.Errorf("%s: %v, want %v with %q", c.what, err, c.want, c.says)
		}
		if h != (Header{}) {
			t.Errorf("%s: refused but gave %+v", c.what, h)
		}
		if _, err := CheckFrame(c.p); !errors.Is(err, c.want) {
			t.Errorf("%s: CheckFrame: %v", c.what, err)
		}
	}
	if _, err := CheckFrame(set(40, 1)); err != ErrCRC {
		t.Errorf("changed body: %v", err)
	}
	if _, err := CheckFrame(append(bytes.Clone(good), "next frame"...)); err != nil {
		t.Errorf("bytes after the frame: %v", err)
	}
}

// beat is the tail of a Heartbeat.
func beat(stamp, span uint64) []byte {
	return append(le.AppendUint64(le.AppendUint64(nil, stamp), span), 0, 0, 0, 0)
}

// lease is the tail of a Lease message.
func lease(step LeaseStep, span uint64) []byte {
	p := le.AppendUint32(le.AppendUint32(nil, uint32(step)), 2)
	return le.AppendUint64(le.AppendUint64(p, 7), span)
}

// message encodes the fixed part of a message and a tail, unchecked.
func message(b Ballot, slot, chosen Slot, word uint64, tail ...byte) []byte {
	p := le.AppendUint64(nil, uint64(b))
	p = le.AppendUint64(p, uint64(slot))
	p = le.AppendUint64(p, uint64(chosen))
	return append(le.AppendUint64(p, word), tail...)
}

func promiseBody(part, parts uint16, first, last Slot, votes ...byte) []byte {
	p := le.AppendUint16(nil, part)
	p = le.AppendUint16(p, parts)
	p = le.AppendUint64(p, uint64(first))
	p = le.AppendUint64(p, uint64(last))
	return message(NewBallot(5, 2), 10, 9, 0, append(p, votes...)...)
}

// TestSenselessMessages: a frame with a right CRC carries what no sender means (FAULTS.md F36, F40), and behind the
// decoder a sum overflows, a ballot without an owner wins, or memory is taken for what is not there.
func TestSenselessMessages(t *testing.T) {
	b := NewBallot(5, 2)
	noop := AppendNoop(nil)
	vote := func(s Slot, b Ballot) []byte {
		p := le.AppendUint64(nil, uint64(s))
		p = le.AppendUint64(p, uint64(b))
		return append(le.AppendUint32(p, uint32(len(noop))), noop...)
	}
	u64 := func(v uint64) []byte { return le.AppendUint64(nil, v) }
	const top = 1<<64 - 1
	for _, c := range []struct {
		what string
		k    Kind
		body []byte
		ok   bool
	}{
		{"prepare", KindPrepare, message(b, 10, 9, 0), true},
		{"prepare without a ballot", KindPrepare, message(0, 10, 9, 0), false},
		{"prepare at a ballot of no node", KindPrepare, message(5<<32, 10, 9, 0), false},
		{"prepare from slot 0", KindPrepare, message(b, 0, 0, 0), false},
		{"prepare from the last slot", KindPrepare, message(b, SlotMax, 9, 0), true},
		{"prepare beyond the last slot", KindPrepare, message(b, SlotMax+1, 9, 0), false},
		{"prepare with everything chosen", KindPrepare, message(b, 10, top, 0), false},
		{"prepare for one slot", KindPrepare, message(b, 10, 9, 1), true},
		{"prepare for anybody's value", KindPrepare, message(b, 10, 9, 2), false},
		{"prepare with scope 257", KindPrepare, message(b, 10, 9, 257), false},

		{"accept", KindAccept, message(b, 10, 9, 0, noop...), true},
		{"accept in slot 0", KindAccept, message(b, 0, 0, 0, noop...), false},
		{"accept without a ballot", KindAccept, message(0, 10, 9, 0, noop...), false},
		{"accept with more than a batch", KindAccept, message(b, 10, 9, 0, append(bytes.Clone(noop), 0)...), false},
		{"accept in one slot", KindAccept, message(b, 10, 9, 1, noop...), true},
		{"accept of anybody's value", KindAccept, message(b, 10, 9, 2, noop...), true},
		{"accept with scope 3", KindAccept, message(b, 10, 9, 3, noop...), false},
		{"accept with scope 256", KindAccept, message(b, 10, 9, 256, noop...), false},
		{"learn with a scope", KindLearn, message(b, 10, 9, 1, noop...), false},
		{"chosen", KindChosen, message(b, 10, 9, 3), true},
		{"chosen at no ballot", KindChosen, message(0, 10, 9, 3), false},
		{"chosen of nothing", KindChosen, message(b, 10, 9, 0), false},
		{"chosen beyond the last slot", KindChosen, message(b, SlotMax-1, 9, 3), false},
		{"learn beyond the last slot", KindLearn, message(b, top, 9, 0, noop...), false},

		{"accepted", KindAccepted, message(b, 10, 9, AcceptedMax), true},
		{"accepted of nothing", KindAccepted, message(b, 10, 9, 0), false},
		{"accepted of too many", KindAccepted, message(b, 10, 9, AcceptedMax+1), false},
		{"accepted of 2^32+1", KindAccepted, message(b, 10, 9, 1<<32+1), false},
		{"accepted up to the last slot", KindAccepted, message(b, SlotMax-1, 9, 2), true},
		{"accepted beyond the last slot", KindAccepted, message(b, SlotMax-1, 9, 3), false},

		{"any", KindAny, message(b, 10, 9, 0), true},
		{"any without a ballot", KindAny, message(0, 10, 9, 0), false},
		{"any from slot 0", KindAny, message(b, 0, 9, 0), false},
		{"any with a word", KindAny, message(b, 10, 9, 1), false},
		{"fast accepted", KindFastAccepted, message(b, 10, 9, AcceptedMax, 1, 0, 0, 0, 0, 0, 0, 1), true},
		{"fast accepted of nothing", KindFastAccepted, message(b, 10, 9, 0, 1, 0, 0, 0, 0, 0, 0, 1), false},
		{"fast accepted of too many", KindFastAccepted, message(b, 10, 9, AcceptedMax+1, 1, 0, 0, 0, 0, 0, 0, 1), false},
		{"fast accepted without a tag", KindFastAccepted, message(b, 10, 9, 1, 0, 0, 0, 0, 0, 0, 0, 0), false},
		{"fast accepted with the last tag", KindFastAccepted, message(b, 10, 9, 1, 255, 255, 255, 255, 255, 255, 255, 255), true},
		{"fast accepted beyond the last tag", KindFastAccepted, message(b, 10, 9, 2, 255, 255, 255, 255, 255, 255, 255, 255), false},
		{"fast accepted beyond the last slot", KindFastAccepted, message(b, SlotMax-1, 9, 3, 1, 0, 0, 0, 0, 0, 0, 1), false},
		{"fast chosen", KindFastChosen, message(b, 10, 9, 3, 1, 0, 0, 0, 0, 0, 0, 1), true},
		{"fast chosen at no ballot", KindFastChosen, message(0, 10, 9, 3, 1, 0, 0, 0, 0, 0, 0, 1), false},

		{"heartbeat", KindHeartbeat, message(b, 0, 0, top, beat(StampMax, LeaseSpanMax)...), true},
		{"heartbeat without a ballot", KindHeartbeat, message(0, 0, 0, 1, beat(0, 0)...), false},
		{"heartbeat for too long a lease", KindHeartbeat, message(b, 0, 0, 1, beat(0, LeaseSpanMax+1)...), false},
		{"heartbeat ack of a time that overflows", KindHeartbeatAck, message(b, 0, 0, 1, beat(StampMax+1, 1)...), false},
		{"heartbeat without its tail", KindHeartbeat, message(b, 0, 0, 1), false},
		{"lease", KindLease, message(b, 3, 0, 0, lease(LeasePropose, LeaseSpanMax)...), true},
		{"lease of nothing", KindLease, message(b, 0, 0, 0, lease(LeasePropose, 1)...), false},
		{"lease at no ballot", KindLease, message(0, 3, 0, 0, lease(LeasePropose, 1)...), false},
		{"lease in an unknown step", KindLease, message(b, 3, 0, 0, lease(leaseStepEnd, 1)...), false},
		{"lease for too long", KindLease, message(b, 3, 0, 0, lease(LeasePropose, LeaseSpanMax+1)...), false},
		{"lease with a prefix", KindLease, message(b, 3, 9, 0, lease(LeasePropose, 1)...), false},
		{"lease refused for nothing", KindLease, message(b, 3, 0, 0, lease(LeaseReject, 1)...), false},
		{"lease promised above", KindLease, message(b, 3, 0, uint64(b), lease(LeasePromise, 1)...), false},
		{"resign", KindResign, message(b, 0, 0, 0), true},
		{"resign from no ballot", KindResign, message(0, 0, 0, 0), false},
		{"resign with a word", KindResign, message(b, 0, 0, 1), false},
		{"back", KindBack, message(0, 0, 9, 1), true},
		{"back with a ballot", KindBack, message(b, 0, 9, 1), false},
		{"back with a slot", KindBack, message(0, 1, 9, 1), false},
		{"seen", KindSeen, message(b, 5, 9, 1), true},
		{"seen nothing", KindSeen, message(0, 0, 9, 1), true},
		{"seen a slot beyond all", KindSeen, message(b, SlotMax+1, 9, 1), false},
		{"held", KindHeld, message(0, 900, 999, 0), true},
		{"held at a ballot", KindHeld, message(b, 900, 999, 0), false},
		{"held up to nowhere", KindHeld, message(0, 0, 999, 0), false},
		{"held with a word", KindHeld, message(0, 900, 999, 1), false},
		{"probe without a ballot", KindProbe, message(0, 0, 0, 0), false},
		{"probe ack of 2", KindProbeAck, message(b, 0, 0, 2), false},
		{"reject", KindReject, message(b, 0, 0, uint64(b)+1<<32), true},
		{"reject for nothing", KindReject, message(b, 0, 0, 0), false},
		{"reject for a ballot of no node", KindReject, message(b, 0, 0, 9<<32), false},
		{"fetch", KindFetch, message(0, 10, 9, 10), true},
		{"fetch backwards", KindFetch, message(0, 10, 9, 9), false},
		{"fetch from slot 0", KindFetch, message(0, 0, 0, 9), false},

		{"members", KindMembers, message(0, 10, 9, 0, AppendMembership(nil, goldenMembership())...), true},
		{"members, none known", KindMembers, message(0, 0, 9, 0, AppendMembership(nil, &Membership{})...), true},
		{"members at a ballot", KindMembers, message(b, 10, 9, 0, AppendMembership(nil, goldenMembership())...), false},
		{"members and more", KindMembers, message(0, 10, 9, 0, append(AppendMembership(nil, goldenMembership()), 0)...), false},
		{"members cut", KindMembers, message(0, 10, 9, 0, AppendMembership(nil, goldenMembership())[:50]...), false},
		{"members beyond the last slot", KindMembers, message(0, 10, 9, 0, membershipBody(SlotMax+1, 3, 1, 2)...), false},
		{"members in disorder", KindMembers, message(0, 10, 9, 0, membershipBody(1, 3, 2, 1)...), false},
		{"a member twice", KindMembers, message(0, 10, 9, 0, membershipBody(1, 3, 2, 2)...), false},
		{"member 0", KindMembers, message(0, 10, 9, 0, membershipBody(1, 3, 0, 1)...), false},
		{"a member above the highest id", KindMembers, message(0, 10, 9, 0, membershipBody(1, 3, 1, 4)...), false},
		{"65 members", KindMembers, message(0, 10, 9, 0, membershipBody(1, 100, ascending(65)...)...), false},
		{"change", KindAccept, message(b, 10, 9, 0, changeBatch(membershipBody(0, 3, 1, 2))...), true},
		{"change to nobody", KindAccept, message(b, 10, 9, 0, changeBatch(membershipBody(0, 3))...), false},
		{"change that says its slot", KindAccept, message(b, 10, 9, 0, changeBatch(membershipBody(1, 3, 1, 2))...), false},
		{"change and more", KindAccept, message(b, 10, 9, 0, changeBatch(append(membershipBody(0, 3, 1, 2), 0))...), false},
		{"change with blocks", KindAccept, message(b, 10, 9, 0, func() []byte {
			p := changeBatch(membershipBody(0, 3, 1, 2))
			p[2] = 1
			return p
		}()...), false},

		{"promise", KindPromise, promiseBody(0, 1, 10, top), true},
		{"promise of two votes", KindPromise, promiseBody(0, 1, 10, top, append(vote(10, b), vote(11, 1)...)...), true},
		{"promise of no parts", KindPromise, promiseBody(0, 0, 10, top), false},
		{"promise part beyond", KindPromise, promiseBody(3, 3, 10, top), false},
		{"promise of many parts", KindPromise, promiseBody(0, PromisePartsMax+1, 10, top), false},
		{"promise of no slots", KindPromise, promiseBody(0, 1, 11, 10), false},
		{"promise from slot 0", KindPromise, promiseBody(0, 1, 0, 10), false},
		{"vote outside its part", KindPromise, promiseBody(0, 1, 10, 11, vote(12, b)...), false},
		{"vote before its part", KindPromise, promiseBody(0, 1, 10, 11, vote(9, b)...), false},
		{"vote twice", KindPromise, promiseBody(0, 1, 10, 11, append(vote(10, b), vote(10, b)...)...), false},
		{"votes in disorder", KindPromise, promiseBody(0, 1, 10, 11, append(vote(11, b), vote(10, b)...)...), false},
		{"vote without a ballot", KindPromise, promiseBody(0, 1, 10, 11, vote(10, 0)...), false},
		{"vote at a ballot of no node", KindPromise, promiseBody(0, 1, 10, 11, vote(10, 1<<32)...), false},
		{"vote beyond the last slot", KindPromise, promiseBody(0, 1, 10, top, vote(SlotMax+1, b)...), false},
		{"vote cut", KindPromise, promiseBody(0, 1, 10, 11, vote(10, b)[:30]...), false},

		{"chunk", KindSnapChunk, message(0, 9, 9, 5, append(u64(7), "ab"...)...), true},
		{"chunk beyond the file", KindSnapChunk, message(0, 9, 9, 6, append(u64(7), "ab"...)...), false},
		{"chunk whose end wraps round", KindSnapChunk, message(0, 9, 9, top-1, append(u64(top), "abcd"...)...), false},
		{"chunk of a file of 2^63", KindSnapChunk, message(0, 9, 9, 0, u64(1<<63)...), false},
		{"ack beyond the file", KindSnapAck, message(0, 9, 9, 8, u64(7)...), false},
	} {
		checkMessage(t, c.what, forge(c.k, testCluster, 1, 2, c.body), c.ok)
	}
	good := message(b, 10, 9, 0)
	checkMessage(t, "from no node", forge(KindPrepare, testCluster, 1, 0, good), false)
	checkMessage(t, "for no group", forge(KindPrepare, testCluster, 0, 2, good), false)
	checkMessage(t, "a client's frame", forge(KindQuery, testCluster, 1, 0, make([]byte, querySize)), false)
	checkMessage(t, "two frames", append(forge(KindPrepare, testCluster, 1, 2, good), 0), false)
}

func checkMessage(t *testing.T, what string, p []byte, ok bool) {
	t.Helper()
	f := GetCopy(p)
	defer f.Release()
	var m Message
	err := DecodeMessage(f, &m)
	if (err == nil) != ok {
		t.Errorf("%s: %v", what, err)
	}
	if err != nil && !errors.Is(err, ErrFormat) && !errors.Is(err, ErrKind) {
		t.Errorf("%s: error of no kind: %v", what, err)
	}
}

// TestEncodeRefuses: the core builds a message that its peers would count and drop, and nobody finds out why an election
// never ends.
func TestEncodeRefuses(t *testing.T) {
	base := Message{Kind: KindHeartbeat, Group: 1, From: 1, Ballot: NewBallot(1, 1)}
	base.Encode(testCluster).Release()
	for what, change := range map[string]func(m *Message){
		"no ballot":            func(m *Message) { m.Ballot = 0 },
		"no group":             func(m *Message) { m.Group = 0 },
		"no sender":            func(m *Message) { m.From = 0 },
		"slot":                 func(m *Message) { m.Slot = SlotMax + 1 },
		"accept of no value":   func(m *Message) { m.Kind, m.Slot = KindAccept, 1 },
		"accept of a run":      func(m *Message) { m.Kind, m.Slot, m.Value = KindAccept, 1, Run(nil, 0, 0) },
		"chunk beyond its end": func(m *Message) { m.Kind, m.Offset, m.Total = KindSnapChunk, 2, 1 },
	} {
		m := base
		change(&m)
		mustPanic(t, what, func() { m.Encode(testCluster) })
	}
	mustPanic(t, "vote of no value", func() { AppendVote(nil, Vote{Slot: 1, Ballot: 1}) })
	mustPanic(t, "members in disorder", func() { MembersRecord(testCluster, 1, []NodeID{2, 1}) })
	mustPanic(t, "no members", func() { MembersRecord(testCluster, 1, nil) })
	mustPanic(t, "member 0", func() { MembersRecord(testCluster, 1, []NodeID{0, 1}) })
	mustPanic(t, "batch of 65536 blocks", func() { PutBatchHeader(make([]byte, 16), BatchBlocks, CompressNone, 1<<16, 0, 1<<22, 1<<22) })
	mustPanic(t, "batch that compression made longer", func() { PutBatchHeader(make([]byte, 16), BatchBlocks, CompressS2, 1, 1, 40, 41) })
	mustPanic(t, "session in slot 2^48", func() { NewSessionID(SlotMax+1, 0) })
	mustPanic(t, "query beyond its limit", func() {
		f := Get(0)
		defer f.Release()
		AppendQuery(f, testCluster, 1, &Query{Body: make([]byte, QueryBytesMax+1)})
	})
}

// TestBlockRefusals: a client's block claims what it does not have, and the leader puts it into a batch that every
// replica then chokes on.
func TestBlockRefusals(t *testing.T) {
	header := func(session SessionID, first Seq, count, length int, tail int) []byte {
		return append(AppendBlockHeader(nil, session, first, 0, count, length), make([]byte, tail)...)
	}
	for _, c := range []struct {
		what string
		p    []byte
		ok   bool
	}{
		{"one empty command", header(1, 1, 1, 1, 1), true},
		{"with bytes behind", header(1, 1, 1, 1, 9), true},
		{"open", header(0, 0, 0, 0, 0), true},
		{"most commands", header(1, 1, BlockCommandsMax, BlockCommandsMax, BlockCommandsMax), true},
		{"most bytes", header(1, 1, 1, BlockBytesMax, BlockBytesMax), true},
		{"last numbers", header(1, 1<<64-4, 3, 3, 3), true},
		{"no header", make([]byte, 31), false},
		{"too many commands", header(1, 1, BlockCommandsMax+1, BlockCommandsMax+1, BlockCommandsMax+1), false},
		{"too many bytes", header(1, 1, 1, BlockBytesMax+1, BlockBytesMax+1), false},
		{"more commands than bytes", header(1, 1, 2, 1, 1), false},
		{"bytes without commands", header(1, 1, 0, 1, 1), false},
		{"cut", header(1, 1, 1, 5, 4), false},
		{"4 GiB", header(1, 1, 1, 1<<32-1, 0), false},
		{"number 0", header(1, 0, 1, 1, 1), false},
		{"numbers that wrap round", header(1, 1<<64-1, 2, 2, 2), false},
	} {
		b, n, err := ParseBlock(c.p)
		if (err == nil) != c.ok || err == nil && n != len(b.Bytes()) || err != nil && (n != 0 || !errors.Is(err, ErrFormat)) {
			t.Errorf("%s: %d, %v", c.what, n, err)
		}
	}
}

// TestCommandLengths: a length is written in one, two or three bytes, and at a boundary the reader takes it for one of
// the other kind.
func TestCommandLengths(t *testing.T) {
	var commands [][]byte
	for _, n := range []int{0, 1, 126, 127, 128, 129, 255, 256, 16383, 16384, 16385, 0, 3} {
		commands = append(commands, bytes.Repeat([]byte{byte(n), 1}, n/2+1)[:n])
	}
	p := block(1, 1, 1, commands...)
	b, n, err := ParseBlock(p)
	if err != nil || n != len(p) || b.CheckCommands() != nil {
		t.Fatalf("%d of %d bytes, %v, %v", n, len(p), err, b.CheckCommands())
	}
	it := b.Commands()
	for i, want := range commands {
		if got, ok := it.Next(); !ok || got == nil || !bytes.Equal(got, want) {
			t.Errorf("command %d has %d bytes, want %d", i, len(got), len(want))
		}
	}
	if _, ok := it.Next(); ok {
		t.Error("a command too many")
	}
}

// TestMalformedCommands: two replicas see different numbers of commands in the same damaged block and their results no
// longer line up.
func TestMalformedCommands(t *testing.T) {
	for _, body := range [][]byte{
		{1, 'a', 5, 'b'},          // overruns
		{1, 'a', 0x80, 0x80},      // a length without an end
		{1, 'a', 255, 255, 255},   // the same
		{0x81, 0, 'a', 0xff, 127}, // a long form, then beyond the end
		bytes.Repeat([]byte{0xff}, 12),
	} {
		p := append(AppendBlockHeader(nil, 1, 1, 1, 4, len(body)), body...)
		b, _, err := ParseBlock(p)
		if err != nil {
			t.Fatal(err)
		}
		if b.CheckCommands() == nil {
			t.Errorf("%x is taken for four commands", body)
		}
		n, broken := 0, false
		for it := b.Commands(); ; n++ {
			cmd, ok := it.Next()
			if !ok {
				break
			}
			if broken && cmd != nil {
				t.Errorf("%x: command %q after a broken one", body, cmd)
			}
			broken = broken || cmd == nil
		}
		if n != 4 || !broken {
			t.Errorf("%x: %d commands, broken %v", body, n, broken)
		}
	}
	trailing := append(AppendBlockHeader(nil, 1, 1, 1, 1, 3), 1, 'a', 'b')
	if b, _, err := ParseBlock(trailing); err != nil || b.CheckCommands() == nil {
		t.Errorf("bytes after the last command: %v", err)
	}
	long := block(1, 1, 1, make([]byte, CommandBytesMax))
	if b, _, err := ParseBlock(long); err != nil || b.CheckCommands() != nil {
		t.Errorf("the longest command: %v", err)
	}
	long = block(1, 1, 1, make([]byte, CommandBytesMax+1))
	if b, _, err := ParseBlock(long); err != nil || b.CheckCommands() == nil {
		t.Errorf("one byte more than the longest command: %v", err)
	}
}

// TestIncarnationRefusals: a node that was never healed, or twice the same node, is put into a vector that decides whose
// votes count; or the length of the body is taken for what it is without the incarnations.
func TestIncarnationRefusals(t *testing.T) {
	in := func(node, number byte) []byte { return []byte{node, 0, 0, 0, number, 0, 0, 0, 0, 0, 0, 0} }
	for _, c := range []struct {
		what string
		n    uint16
		tail []byte
		ok   bool
	}{
		{"one", 1, in(2, 1), true},
		{"two", 2, append(in(2, 1), in(3, 9)...), true},
		{"the same node twice", 2, append(in(2, 1), in(2, 9)...), false},
		{"descending", 2, append(in(3, 1), in(2, 9)...), false},
		{"node 0", 1, in(0, 1), false},
		{"number 0", 1, in(2, 0), false},
		{"one missing", 2, in(2, 1), false},
		{"one too many", 1, append(in(2, 1), in(3, 9)...), false},
	} {
		p := forge(KindAccepted, testCluster, 1, 2, message(NewBallot(5, 2), 9, 8, 1, c.tail...))
		le.PutUint16(p[6:], c.n)
		le.PutUint32(p[28:], frameCRC(p))
		_, err := CheckFrame(p)
		if err == nil {
			f := GetCopy(p)
			var m Message
			err = DecodeMessage(f, &m)
			if err == nil && !bytes.Equal(m.Incarnations, c.tail) {
				t.Errorf("%s: decoded as %x", c.what, m.Incarnations)
			}
			f.Release()
		}
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}

// membershipBody encodes a membership without checking it.
func membershipBody(s Slot, last NodeID, nodes ...uint32) []byte {
	p := le.AppendUint64(le.AppendUint64(le.AppendUint64(nil, uint64(s)), 0), 0)
	p = le.AppendUint16(le.AppendUint32(p, uint32(last)), uint16(len(nodes)))
	for _, n := range nodes {
		p = append(le.AppendUint32(p, n), 1, 'a')
	}
	return p
}

func ascending(n int) (nodes []uint32) {
	for i := range n {
		nodes = append(nodes, uint32(i+1))
	}
	return nodes
}

// changeBatch is the batch that carries an encoded membership.
func changeBatch(p []byte) []byte {
	var h [BatchHeaderSize]byte
	PutBatchHeader(h[:], BatchMembers, CompressNone, 0, 0, len(p), len(p))
	return append(h[:], p...)
}
