package wire

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden vectors anew instead of comparing with them")

// vector is an encoding whose bytes are promised: written by one version, read by all later ones of its number.
type vector struct {
	name  string
	about string // first line of the file
	bytes []byte
}

func frameVector(name, about string, f *Buffer) vector {
	defer f.Release()
	return vector{name, about, bytes.Clone(f.Bytes())}
}

func goldenVectors(t testing.TB) []vector {
	return slices.Concat(peerVectors(t), clientVectors(), recordVectors(), valueVectors())
}

// goldenS2 is a compressed batch put together by hand, because the bytes that an encoder makes are its own business
// and change with its version: two equal blocks of one command, "the same", as a literal and a copy of it.
func goldenS2() (batch, plain []byte) {
	b := block(7<<16, 5, 3, []byte("the same"))
	n := len(b) // 41
	stored := []byte{byte(2 * n), byte(n-1) << 2}
	stored = append(stored, b...)
	stored = append(stored, byte(n-1)<<2|2, byte(n), 0) // copy n bytes from n back
	return s2Batch(2, 2, 2*n, stored), plainBatch(b, b)
}

func peerVectors(t testing.TB) []vector {
	value := mustBatch(t, plainBatch(block(3<<16|1, 10, 9, []byte("put a 1"), []byte{}), block(0, 1, 0, []byte("x"))))
	noop := mustBatch(t, AppendNoop(nil))
	b := NewBallot(0x01020304, 2)
	votes := AppendVote(nil, Vote{Slot: 1001, Ballot: NewBallot(3, 1), Value: value})
	votes = AppendVote(votes, Vote{Slot: 1003, Ballot: NewBallot(4, 3), Value: noop})
	incarnations := goldenIncarnations()
	request := Message{Kind: KindHealRequest, Group: testGroup, From: testNode, Slot: 1001, Chosen: 999, Incarnations: incarnations}
	back := Message{Kind: KindBack, Group: testGroup, From: testNode, Chosen: 999, Round: 258, Incarnations: incarnations}
	vs := []vector{
		frameVector("heal-request", "HealRequest from slot 1001", request.Encode(testCluster)),
		frameVector("back", "Back of start 258", back.Encode(testCluster)),
	}
	for _, v := range []struct {
		name, about string
		m           Message
	}{
		{"prepare", "Prepare ballot 16909060.2 from slot 1001", Message{Kind: KindPrepare, Slot: 1001}},
		{"promise", "Promise part 1 of 3 with two votes", Message{
			Kind: KindPromise, Slot: 1001, Trimmed: 900, Part: 1, Parts: 3, First: 1001, Last: 1<<64 - 1, Votes: votes}},
		{"reject", "Reject naming ballot 16909061.3", Message{Kind: KindReject, Slot: 1001, Promised: NewBallot(0x01020305, 3)}},
		{"accept", "Accept of a batch of two blocks", Message{Kind: KindAccept, Slot: 1001, Value: value}},
		{"accept-noop", "Accept of a no-op", Message{Kind: KindAccept, Slot: 1002, Value: noop}},
		{"accepted", "Accepted for slots 1001 to 1007", Message{Kind: KindAccepted, Slot: 1001, Count: 7}},
		{"heartbeat", "Heartbeat of round 258", Message{Kind: KindHeartbeat, Slot: 1007, Round: 258}},
		{"heartbeat-ack", "HeartbeatAck of round 258", Message{Kind: KindHeartbeatAck, Round: 258}},
		{"heartbeat-lease", "Heartbeat that asks for a lease of 200 ms", Message{Kind: KindHeartbeat, Slot: 1007, Stamp: 0x0102030405060708, Span: 200_000_000}},
		{"heartbeat-ack-lease", "HeartbeatAck that grants a lease of 200 ms", Message{Kind: KindHeartbeatAck, Stamp: 0x0102030405060708, Span: 200_000_000}},
		{"heartbeat-chain", "Heartbeat that tells the sum of the values", Message{Kind: KindHeartbeat, Slot: 1007, Chain: 0x01020304}},
		{"resign", "Resign of ballot 16909060.2", Message{Kind: KindResign}},
		{"seen", "Seen: a promise of ballot 16909060.2 and a vote for slot 1007, asked for by start 258", Message{Kind: KindSeen, Slot: 1007, Round: 258}},
		{"seen-incarnations", "the same, by a node that knows of incarnations", Message{Kind: KindSeen, Slot: 1007, Round: 258, Incarnations: incarnations}},
		{"fetch", "Fetch of slots 950 to 1001", Message{Kind: KindFetch, Slot: 950, Until: 1001}},
		{"learn", "Learn of a batch of two blocks", Message{Kind: KindLearn, Slot: 950, Value: value}},
		{"probe", "Probe", Message{Kind: KindProbe}},
		{"probe-ack", "ProbeAck, granted", Message{Kind: KindProbeAck, Granted: true}},
		{"probe-nack", "ProbeAck, not granted", Message{Kind: KindProbeAck}},
		{"snap-chunk", "SnapChunk of 5 bytes at 258 of 66051", Message{Kind: KindSnapChunk, Slot: 900, Offset: 258, Total: 66051, Data: []byte("bytes")}},
		{"prepare-slot", "Prepare ballot 16909060.2 for slot 1001 alone", Message{Kind: KindPrepare, Slot: 1001, Scope: ScopeSlot}},
		{"accept-slot", "Accept of a no-op, its ballot for slot 1002 alone", Message{Kind: KindAccept, Slot: 1002, Scope: ScopeSlot, Value: noop}},
		{"accept-any", "Accept of a batch of two blocks at a fast ballot", Message{Kind: KindAccept, Slot: 1001, Scope: ScopeAny, Value: value}},
		{"chosen", "Chosen of slots 1001 to 1003", Message{Kind: KindChosen, Slot: 1001, Count: 3}},
		{"any", "Any from slot 1001", Message{Kind: KindAny, Slot: 1001}},
		{"fast-accepted", "FastAccepted for slots 1001 to 1007, tags from 0x0200000000000005", Message{
			Kind: KindFastAccepted, Slot: 1001, Count: 7, Tag: 0x0200000000000005}},
		{"fast-accepted-incarnations", "FastAccepted for slot 1001 that knows of incarnations of nodes 2 and 3", Message{
			Kind: KindFastAccepted, Slot: 1001, Count: 1, Tag: 0x0200000000000005, Incarnations: incarnations}},
		{"fast-chosen", "FastChosen of slots 1001 to 1003, tags from 0x0200000000000005", Message{
			Kind: KindFastChosen, Slot: 1001, Count: 3, Tag: 0x0200000000000005}},
		{"snap-ack", "SnapAck of 263 of 66051 bytes", Message{Kind: KindSnapAck, Slot: 900, Offset: 263, Total: 66051}},
		{"accepted-incarnations", "Accepted for slot 1001 that knows of incarnations of nodes 2 and 3", Message{
			Kind: KindAccepted, Slot: 1001, Count: 1, Incarnations: incarnations}},
		{"promise-incarnations", "Promise with a vote and incarnations of nodes 2 and 3", Message{
			Kind: KindPromise, Slot: 1001, Parts: 1, First: 1001, Last: 1<<64 - 1, Votes: votes, Incarnations: incarnations}},
		{"heal-reply", "HealReply with two votes and incarnations of nodes 2 and 3", Message{
			Kind: KindHealReply, Slot: 1001, Trimmed: 900, Parts: 1, First: 1001, Last: 1<<64 - 1, Votes: votes, Incarnations: incarnations}},
	} {
		v.m.Group, v.m.From, v.m.Ballot, v.m.Chosen = testGroup, testNode, b, 999
		vs = append(vs, frameVector(v.name, v.about, v.m.Encode(testCluster)))
	}
	members := Message{Kind: KindMembers, Group: testGroup, From: testNode, Slot: 900, Chosen: 999, Members: AppendMembership(nil, goldenMembership())}
	vs = append(vs, frameVector("members", "Members 1 and 4, chosen in slot 900, from slot 1924 on", members.Encode(testCluster)))
	held := Message{Kind: KindHeld, Group: testGroup, From: testNode, Slot: 900, Chosen: 999}
	vs = append(vs, frameVector("held", "Held up to slot 900", held.Encode(testCluster)))
	change := goldenMembership()
	change.Slot, change.From = 0, 0
	f := NewMembersAccept(change)
	SealAccept(f, testCluster, testGroup, testNode, b, 1001, 999)
	vs = append(vs, frameVector("accept-members", "Accept of a change of the membership to 1 and 4", f))
	lease := Message{Kind: KindLease, Step: LeasePropose, Group: testGroup, From: testNode, Ballot: b, Slot: 3, Owner: 2, Life: 0x1112131415161718, Span: 200_000_000}
	vs = append(vs, frameVector("lease", "Lease: propose owner 2 of resource 3 for 200 ms", lease.Encode(testCluster)))
	compressed, _ := goldenS2()
	m := Message{Kind: KindAccept, Group: testGroup, From: testNode, Ballot: b, Slot: 1003, Chosen: 999, Value: mustBatch(t, compressed)}
	return append(vs, frameVector("accept-s2", "Accept of a compressed batch", m.Encode(testCluster)))
}

func goldenMembership() *Membership {
	return &Membership{Slot: 900, From: 1924, Base: 17, Last: 5, Members: []Member{{1, "10.0.0.1:7001"}, {4, "[::1]:7004"}}}
}

func goldenIncarnations() []byte {
	return AppendIncarnation(AppendIncarnation(nil, Incarnation{2, 1<<32 | 0xa1a2a3a4}), Incarnation{3, 5 << 32})
}

func clientVectors() []vector {
	control := func(k Kind, from NodeID, s Status, text string) *Buffer {
		f := Get(0)
		AppendControl(f, testCluster, testGroup, from, &Control{Kind: k, Request: 0xa1a2a3a4a5a6a7a8, Status: s, Text: []byte(text)})
		return f
	}
	propose := NewPropose(100)
	propose.Append(block(3<<16|1, 10, 9, []byte("put a 1"), []byte{}))
	SealPropose(propose, testCluster, testGroup, 0xa1a2a3a4a5a6a7a8, 0x3b3a3938_3736)
	reply := func(r Reply) *Buffer {
		f := Get(0)
		r.Request = 0xa1a2a3a4a5a6a7a8
		AppendReply(f, testCluster, testGroup, testNode, &r)
		return f
	}
	query, answer := Get(0), Get(0)
	AppendQuery(query, testCluster, testGroup, &Query{Request: 5, Mode: QueryStale, Patience: 0x3b3a3938_3736, Body: []byte("get a")})
	AppendAnswer(answer, testCluster, testGroup, testNode, &Answer{Request: 5, Status: StatusOK, Leader: 2, Slot: 1001, Epoch: NewBallot(7, 2), Body: []byte("1")})
	return []vector{
		frameVector("hello", "Hello", control(KindHello, 0, StatusOK, "")),
		frameVector("welcome", "Welcome", control(KindWelcome, testNode, StatusOK, `{"node":1}`)),
		frameVector("propose", "Propose of a block of two commands, with a patience", propose),
		frameVector("reply", "Reply with two results", reply(Reply{
			Slot: 1001, Index: 1, Count: 2, Session: 3<<16 | 1, First: 10, Epoch: NewBallot(7, 2), Results: AppendCommand(AppendCommand(nil, []byte("ok")), nil)})),
		frameVector("reply-empty", "Reply with 4096 empty results", reply(Reply{
			Empty: true, Slot: 1001, Index: 65534, Count: 4096, Session: 3<<16 | 1, First: 10})),
		frameVector("reply-not-leader", "Reply naming the leader", reply(Reply{Status: StatusNotLeader, Leader: 3, Count: 2, First: 10})),
		frameVector("query", "Query, stale", query),
		frameVector("answer", "Answer", answer),
		frameVector("admin", "Admin", control(KindAdmin, 0, StatusOK, "status")),
		frameVector("admin-reply", "AdminReply", control(KindAdminReply, testNode, StatusInvalid, `{}`)),
	}
}

func recordVectors() []vector {
	noopBatch, _ := ParseBatch(AppendNoop(nil))
	return []vector{
		frameVector("rec-promise", "RecPromise of ballot 77.2, chosen 1233", PromiseRecord(testCluster, testGroup, testNode, NewBallot(77, 2), 1233, nil).Frame),
		frameVector("rec-promise-slot", "RecPromise of ballot 77.2 for slot 1235 alone, chosen 1233",
			SlotPromiseRecord(testCluster, testGroup, testNode, NewBallot(77, 2), 1235, 1233, nil).Frame),
		frameVector("rec-promise-incarnations", "RecPromise of ballot 77.2 with incarnations of nodes 2 and 3",
			PromiseRecord(testCluster, testGroup, testNode, NewBallot(77, 2), 1233, goldenIncarnations()).Frame),
		frameVector("rec-vote", "RecVote for a no-op in slot 1001 at ballot 77.2",
			VoteRecord(testCluster, testGroup, testNode, Vote{1001, NewBallot(77, 2), noopBatch}).Frame),
		frameVector("rec-trim", "RecTrim up to slot 900", TrimRecord(testCluster, testGroup, testNode, 900).Frame),
		frameVector("rec-members", "RecMembers 1, 2, 300", MembersRecord(testCluster, testNode, []NodeID{1, 2, 300}).Frame),
	}
}

// valueVectors are the encodings that stand inside frames.
func valueVectors() []vector {
	long := bytes.Repeat([]byte("long"), 50) // its length takes two bytes
	s2, _ := goldenS2()
	return []vector{
		{"block", "block of session 196609 with commands of 7, 0 and 200 bytes", block(3<<16|1, 10, 9, []byte("put a 1"), nil, long)},
		{"block-anonymous", "anonymous block", block(0, 1, 0, []byte("x"))},
		{"block-open", "block that opens a session", block(0, 0xc1c2c3c4c5c6c7c8, 0)},
		{"block-close", "block that closes a session", block(3<<16|1, 12, 12)},
		{"batch-noop", "no-op batch", AppendNoop(nil)},
		{"batch", "batch of two blocks", plainBatch(block(3<<16|1, 10, 9, []byte("put a 1")), block(0, 1, 0, []byte("x")))},
		{"batch-tagged", "batch of one block with a tag", taggedBatch(plainBatch(block(3<<16|1, 10, 9, []byte("put a 1"))), 0x0102030405060708)},
		{"batch-s2", "compressed batch of two blocks", s2},
	}
}

// TestGoldenVectors: a layout changes by accident (a field moved, a width, a new meaning of a byte) and a node of the
// new build cannot read the log of the old one. Then the bytes made here differ from those in testdata.
func TestGoldenVectors(t *testing.T) {
	known := map[string]bool{}
	for _, v := range goldenVectors(t) {
		file := filepath.Join("testdata", "golden", v.name+".hex")
		known[filepath.Base(file)] = true
		if *update {
			if err := os.WriteFile(file, []byte("# "+v.about+"\n"+hexLines(v.bytes)), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want := readHex(t, file)
		if !bytes.Equal(v.bytes, want) {
			t.Errorf("%s (%s) changed:\n got\n%s want\n%s", v.name, v.about, hexLines(v.bytes), hexLines(want))
		}
	}
	entries, err := os.ReadDir(filepath.Join("testdata", "golden"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !known[e.Name()] {
			t.Errorf("testdata/golden/%s belongs to no vector", e.Name())
		}
	}
}

// TestGoldenDecode: encoder and decoder change together, so that they agree with each other but not with the bytes
// on disk. The committed frames must decode, and encode to themselves again.
func TestGoldenDecode(t *testing.T) {
	kinds := map[Kind]bool{}
	for _, v := range slices.Concat(peerVectors(t), clientVectors(), recordVectors()) {
		p := readHex(t, filepath.Join("testdata", "golden", v.name+".hex"))
		again, err := decodeAny(p)
		if err != nil {
			t.Errorf("%s: %v", v.name, err)
		} else if !bytes.Equal(again, p) {
			t.Errorf("%s encodes to\n%s after decoding\n%s", v.name, hexLines(again), hexLines(p))
		}
		kinds[Kind(p[5])] = true
	}
	for k := range Kind(255) {
		if k.known() && !kinds[k] {
			t.Errorf("no golden vector of kind %v", k)
		}
	}
}

// TestGoldenS2: the s2 decoder, which is another project's, changes what it makes of bytes that stand in logs.
func TestGoldenS2(t *testing.T) {
	batch, plain := goldenS2()
	buf := Get(0)
	defer buf.Release()
	got, err := mustBatch(t, batch).Plain(buf)
	if err != nil {
		t.Fatal(err)
	}
	if want := plain[BatchHeaderSize:]; !bytes.Equal(got.Payload(), want) {
		t.Errorf("decompressed to\n%s want\n%s", hexLines(got.Payload()), hexLines(want))
	}
}

// TestLayoutAsDrawn: doc.go says one thing and the code does another. The offsets here are those of the drawings.
func TestLayoutAsDrawn(t *testing.T) {
	value := plainBatch(block(3<<16|1, 10, 9, []byte("ab")))
	m := Message{Kind: KindAccept, Group: testGroup, From: testNode, Ballot: NewBallot(6, 2), Slot: 1001, Chosen: 999, Value: mustBatch(t, value)}
	f := m.Encode(testCluster)
	defer f.Release()
	p := f.Bytes()
	for _, c := range []struct {
		what      string
		at, width int
		want      uint64
	}{
		{"magic", 0, 4, 0x31425850}, {"version", 4, 1, 2}, {"kind", 5, 1, 4}, {"reserved", 6, 2, 0},
		{"cluster", 8, 8, uint64(testCluster)}, {"group", 16, 4, uint64(testGroup)}, {"from", 20, 4, uint64(testNode)},
		{"length", 24, 4, uint64(len(p) - 32)},
		{"ballot", 32, 8, 6<<32 | 2}, {"slot", 40, 8, 1001}, {"chosen", 48, 8, 999}, {"word", 56, 8, 0},
		{"batch kind", 64, 1, 1}, {"compression", 65, 1, 0}, {"blocks", 66, 2, 1}, {"commands", 68, 4, 1},
		{"raw", 72, 4, 35}, {"stored", 76, 4, 35},
		{"session", 80, 8, 3<<16 | 1}, {"first", 88, 8, 10}, {"acked", 96, 8, 9}, {"count", 104, 4, 1}, {"block length", 108, 4, 3},
		{"command length", 112, 1, 2}, {"command", 113, 2, 'a' | 'b'<<8},
	} {
		var b [8]byte
		copy(b[:c.width], p[c.at:])
		if got := le.Uint64(b[:]); got != c.want {
			t.Errorf("%s at %d is %#x, want %#x", c.what, c.at, got, c.want)
		}
	}
	if len(p) != 115 {
		t.Errorf("the frame takes %d bytes, want 115", len(p))
	}
}

// hexLines prints 16 bytes a line.
func hexLines(p []byte) string {
	var sb strings.Builder
	for len(p) > 0 {
		n := min(16, len(p))
		sb.WriteString(hex.EncodeToString(p[:n]) + "\n")
		p = p[n:]
	}
	return sb.String()
}

func readHex(t testing.TB, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (go test ./wire -run Golden -update writes it)", err)
	}
	var digits strings.Builder
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") {
			digits.WriteString(strings.TrimSpace(line))
		}
	}
	p, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return p
}
