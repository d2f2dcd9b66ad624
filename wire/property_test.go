package wire

import (
	"bytes"
	"reflect"
	"slices"
	"testing"

	"github.com/klauspost/compress/s2"
	"pgregory.net/rapid"
)

// What can go wrong in all of these: a field is written at one place and read at another, cut to fewer bits, or forgotten
// by one of the two sides. The golden vectors have one value per field; here each takes any value it may have.

func anyBytes(maxLen int) *rapid.Generator[[]byte] {
	return rapid.SliceOfN(rapid.Byte(), 0, maxLen)
}

func anyBallot(t *rapid.T, name string) Ballot {
	return NewBallot(rapid.Uint32().Draw(t, name+" counter"), NodeID(rapid.Uint32Min(1).Draw(t, name+" node")))
}

func anySlot(t *rapid.T, name string, min Slot) Slot {
	return Slot(rapid.Uint64Range(uint64(min), SlotMax).Draw(t, name))
}

// genBlock draws a block and the commands in it.
func genBlock(t *rapid.T) (enc []byte, commands [][]byte) {
	commands = rapid.SliceOfN(anyBytes(300), 0, 20).Draw(t, "commands")
	first := rapid.Uint64Range(1, 1<<64-1-20).Draw(t, "first")
	return block(SessionID(rapid.Uint64().Draw(t, "session")), Seq(first), Seq(rapid.Uint64().Draw(t, "acked")), commands...), commands
}

// genBatch draws a batch: no-op, plain or compressed, and its payload, plain.
func genBatch(t *rapid.T) (enc, payload []byte) {
	n := rapid.IntRange(0, 5).Draw(t, "blocks")
	if n == 0 {
		return AppendNoop(nil), nil
	}
	var blocks [][]byte
	for range n {
		b, _ := genBlock(t)
		blocks = append(blocks, b)
	}
	enc = plainBatch(blocks...)
	payload = enc[BatchHeaderSize:]
	if rapid.Bool().Draw(t, "compress") {
		if out, ok := CompressInto(make([]byte, 0, s2.MaxEncodedLen(len(payload))), payload); ok {
			return s2Batch(n, int(le.Uint32(enc[4:])), len(payload), out), payload
		}
	}
	return enc, payload
}

func drawBatch(t *rapid.T) Batch {
	enc, _ := genBatch(t)
	tag := rapid.Uint64().Draw(t, "tag")
	if tag%2 == 0 || enc[0] != BatchBlocks {
		tag = 0
	} else {
		enc = taggedBatch(enc, tag)
	}
	b, err := ParseBatch(enc)
	if err != nil {
		t.Fatal(err)
	}
	if b.Tag() != tag {
		t.Fatalf("tag %d, want %d", b.Tag(), tag)
	}
	return b
}

func TestBlockRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		enc, commands := genBlock(t)
		behind := anyBytes(40).Draw(t, "behind")
		b, n, err := ParseBlock(append(bytes.Clone(enc), behind...))
		if err != nil || n != len(enc) || !bytes.Equal(b.Bytes(), enc) || b.Count() != len(commands) {
			t.Fatalf("%d of %d bytes, %d of %d commands, %v", n, len(enc), b.Count(), len(commands), err)
		}
		if err := b.CheckCommands(); err != nil {
			t.Fatal(err)
		}
		it := b.Commands()
		for i, want := range commands {
			if got, ok := it.Next(); !ok || got == nil || !bytes.Equal(got, want) {
				t.Fatalf("command %d is %q, want %q", i, got, want)
			}
		}
		if _, ok := it.Next(); ok {
			t.Fatal("a command too many")
		}
	})
}

func TestBatchRoundTrip(t *testing.T) {
	buf := Get(0)
	defer buf.Release()
	rapid.Check(t, func(t *rapid.T) {
		enc, payload := genBatch(t)
		b, err := ParseBatch(enc)
		if err != nil || !bytes.Equal(b.Bytes(), enc) || b.RawLen() != len(payload) || b.IsNoop() != (payload == nil) || b.IsZero() {
			t.Fatalf("%+v, %v", b, err)
		}
		plain, err := b.Plain(buf)
		if err != nil || !bytes.Equal(plain.Payload(), payload) || plain.Compressed() {
			t.Fatalf("plain %+v, %v", plain, err)
		}
		blocks, commands := 0, 0
		var joined []byte
		for it := plain.Blocks(); ; blocks++ {
			blk, ok := it.Next()
			if !ok {
				break
			}
			joined = append(joined, blk.Bytes()...)
			commands += blk.Count()
		}
		if blocks != b.BlockCount() || commands != b.Commands() || !bytes.Equal(joined, payload) {
			t.Fatalf("walked %d blocks, %d commands of %+v", blocks, commands, b)
		}
		run := Run(payload, blocks, commands)
		if run.BlockCount() != blocks || run.Commands() != commands || run.RawLen() != len(payload) || run.Bytes() != nil {
			t.Fatalf("run %+v", run)
		}
	})
}

// peerKinds is every kind of message.
func peerKinds() (all []Kind) {
	for k := KindPrepare; k.IsPeer(); k++ {
		if k.known() {
			all = append(all, k)
		}
	}
	return all
}

// genIncarnations draws the incarnations of a message or record.
func genIncarnations(t *rapid.T) (p []byte) {
	node := NodeID(0)
	for n := rapid.IntRange(0, NodesMax).Draw(t, "incarnations"); n > 0; n-- {
		node += NodeID(rapid.Uint32Range(1, 1000).Draw(t, "gap"))
		p = AppendIncarnation(p, Incarnation{node, rapid.Uint64Min(1).Draw(t, "number")})
	}
	return p
}

// genMessage draws a message of any kind with every field that its kind carries.
func genMessage(t *rapid.T) Message {
	m := Message{
		Kind:   rapid.SampledFrom(peerKinds()).Draw(t, "kind"),
		Group:  GroupID(rapid.Uint32Min(1).Draw(t, "group")),
		From:   NodeID(rapid.Uint32Min(1).Draw(t, "from")),
		Ballot: anyBallot(t, "ballot"),
		Slot:   anySlot(t, "slot", 1),
		Chosen: anySlot(t, "chosen", 0),
	}
	if kinds[m.Kind].incarnations {
		m.Incarnations = genIncarnations(t)
	}
	switch m.Kind {
	case KindPromise, KindHealReply:
		genPromise(t, &m)
	case KindHealRequest, KindHeld:
		m.Ballot = 0
	case KindBack:
		m.Ballot, m.Slot, m.Round = 0, 0, rapid.Uint64().Draw(t, "round")
	case KindSeen:
		m.Round = rapid.Uint64().Draw(t, "round")
	case KindMembers:
		m.Ballot = 0
		m.Members = AppendMembership(nil, genMembership(t))
	case KindReject:
		m.Promised = anyBallot(t, "promised")
	case KindPrepare:
		m.Scope = Scope(rapid.IntRange(0, int(ScopeSlot)).Draw(t, "scope"))
	case KindAccept, KindLearn:
		m.Value = drawBatch(t)
		if m.Kind == KindAccept {
			m.Scope = Scope(rapid.IntRange(0, int(ScopeAny)).Draw(t, "scope"))
		}
	case KindAccepted, KindChosen:
		m.Count = rapid.Uint32Range(1, AcceptedMax).Draw(t, "count")
		m.Slot = min(m.Slot, SlotMax-AcceptedMax)
	case KindFastAccepted, KindFastChosen:
		m.Count = rapid.Uint32Range(1, AcceptedMax).Draw(t, "count")
		m.Tag = rapid.Uint64Range(1, 1<<64-AcceptedMax).Draw(t, "tag")
		m.Slot = min(m.Slot, SlotMax-AcceptedMax)
	case KindHeartbeat, KindHeartbeatAck:
		m.Round = rapid.Uint64().Draw(t, "round")
		m.Stamp = rapid.Uint64Range(0, StampMax).Draw(t, "stamp")
		m.Span = rapid.Uint64Range(0, LeaseSpanMax).Draw(t, "span")
		m.Chain = rapid.Uint32().Draw(t, "chain")
	case KindLease:
		m.Chosen = 0
		m.Step = LeaseStep(rapid.IntRange(0, int(leaseStepEnd)-1).Draw(t, "step"))
		m.Owner, m.Life = NodeID(rapid.Uint32().Draw(t, "owner")), rapid.Uint64().Draw(t, "life")
		m.Span = rapid.Uint64Range(0, LeaseSpanMax).Draw(t, "span")
		if m.Step == LeaseReject {
			m.Promised = anyBallot(t, "promised")
		}
	case KindFetch:
		m.Until = Slot(rapid.Uint64Min(uint64(m.Slot)).Draw(t, "until"))
	case KindProbeAck:
		m.Granted = rapid.Bool().Draw(t, "granted")
	case KindSnapChunk, KindSnapAck:
		m.Total = rapid.Uint64Range(0, SnapBytesMax).Draw(t, "total")
		m.Offset = rapid.Uint64Range(0, m.Total).Draw(t, "offset")
		if m.Kind == KindSnapChunk {
			m.Data = anyBytes(int(min(500, m.Total-m.Offset))).Draw(t, "data")
		}
	}
	return m
}

// genMembership draws a membership of any size.
func genMembership(t *rapid.T) *Membership {
	m := &Membership{Slot: anySlot(t, "of", 0), From: anySlot(t, "begins", 0), Base: anySlot(t, "base", 0)}
	for n := rapid.IntRange(0, NodesMax).Draw(t, "members"); n > 0; n-- {
		m.Last += NodeID(rapid.Uint32Range(1, 1000).Draw(t, "gap"))
		m.Members = append(m.Members, Member{m.Last, rapid.StringN(0, -1, AddrBytesMax).Draw(t, "addr")})
	}
	return m
}

// TestMembershipRoundTrip: a node's address or id is lost on the way, and others count a quorum of other nodes.
func TestMembershipRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := genMembership(t)
		enc := AppendMembership(nil, m)
		got, n, err := ParseMembership(append(enc, 1, 2, 3))
		if err != nil || n != len(enc) || !reflect.DeepEqual(&got, m) {
			t.Fatalf("%+v, %d, %v", got, n, err)
		}
		if m.Slot, m.From = 0, 0; len(m.Members) > 0 {
			f := NewMembersAccept(m)
			defer f.Release()
			b, err := AcceptValue(f)
			if err != nil || !b.IsMembers() || b.IsNoop() || b.BlockCount() != 0 || !reflect.DeepEqual(b.Membership(), *m) {
				t.Fatalf("%+v, %v", b, err)
			}
		}
	})
}

func genPromise(t *rapid.T, m *Message) {
	m.Trimmed = anySlot(t, "trimmed", 0)
	m.Parts = rapid.Uint16Range(1, PromisePartsMax).Draw(t, "parts")
	m.Part = rapid.Uint16Range(0, m.Parts-1).Draw(t, "part")
	m.First = anySlot(t, "first", 1)
	m.Last = m.First + 10 + Slot(rapid.Uint64Range(0, 1<<62).Draw(t, "last"))
	for s, n := m.First, rapid.IntRange(0, 4).Draw(t, "votes"); n > 0 && s <= SlotMax; n-- {
		m.Votes = AppendVote(m.Votes, Vote{Slot: s, Ballot: anyBallot(t, "vote"), Value: drawBatch(t)})
		s += Slot(rapid.IntRange(1, 2).Draw(t, "gap"))
	}
}

func TestMessageRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := genMessage(t)
		cluster := ClusterID(rapid.Uint64().Draw(t, "cluster"))
		f := m.Encode(cluster)
		defer f.Release()
		h, err := CheckFrame(f.Bytes())
		if err != nil || h.Cluster != cluster || h.Group != m.Group || h.From != m.From || h.Kind != m.Kind || h.Size() != f.Len() {
			t.Fatalf("header %+v, %v", h, err)
		}
		var got Message
		if err := DecodeMessage(f, &got); err != nil {
			t.Fatal(err)
		}
		if got.Frame != f {
			t.Fatal("decoded message names another frame")
		}
		if !bytes.Equal(got.Value.Bytes(), m.Value.Bytes()) || !bytes.Equal(got.Votes, m.Votes) || !bytes.Equal(got.Data, m.Data) ||
			!bytes.Equal(got.Incarnations, m.Incarnations) {
			t.Fatalf("value, votes or data differ: %+v", got)
		}
		if m.Kind == KindAccept || m.Kind == KindLearn {
			if v, err := AcceptValue(f); err != nil || !reflect.DeepEqual(v, TrustedValue(f)) || !reflect.DeepEqual(v, got.Value) {
				t.Fatalf("value by AcceptValue %+v, %v; by TrustedValue %+v", v, err, TrustedValue(f))
			}
		}
		got.Frame, got.Value, got.Votes, got.Data, got.Incarnations = nil, m.Value, m.Votes, m.Data, m.Incarnations // compared as bytes
		if !reflect.DeepEqual(got, m) {
			t.Fatalf("sent %+v, decoded %+v", m, got)
		}
	})
}

func TestVotesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var votes []Vote
		var enc []byte
		s := anySlot(t, "first", 1)
		for range rapid.IntRange(0, 5).Draw(t, "votes") {
			v := Vote{Slot: s, Ballot: anyBallot(t, "ballot"), Value: drawBatch(t)}
			before := len(enc)
			enc = AppendVote(enc, v)
			if len(enc)-before != VoteSize(v) {
				t.Fatalf("vote takes %d bytes, VoteSize says %d", len(enc)-before, VoteSize(v))
			}
			votes = append(votes, v)
			if s++; s > SlotMax {
				break
			}
		}
		it := (&Message{Votes: enc}).IterVotes()
		for i, want := range votes {
			if got, ok := it.Next(); !ok || got.Slot != want.Slot || got.Ballot != want.Ballot || !bytes.Equal(got.Value.Bytes(), want.Value.Bytes()) {
				t.Fatalf("vote %d is %+v, want %+v", i, got, want)
			}
		}
		if v, ok := it.Next(); ok {
			t.Fatalf("a vote too many: %+v", v)
		}
	})
}

// TestSealAccept: the hot path of Accept and the general encoder make different frames.
func TestSealAccept(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		enc, _ := genBatch(t)
		m := Message{
			Kind: KindAccept, Group: 3, From: 2, Ballot: anyBallot(t, "ballot"),
			Slot: anySlot(t, "slot", 1), Chosen: anySlot(t, "chosen", 0),
		}
		hot := NewAccept(rapid.IntRange(0, 2*len(enc)).Draw(t, "size"))
		defer hot.Release()
		hot.Append(enc)
		SealAccept(hot, testCluster, m.Group, m.From, m.Ballot, m.Slot, m.Chosen)
		var err error
		if m.Value, err = ParseBatch(enc); err != nil {
			t.Fatal(err)
		}
		general := m.Encode(testCluster)
		defer general.Release()
		if !bytes.Equal(hot.Bytes(), general.Bytes()) {
			t.Fatalf("sealed\n%s encoded\n%s", hexLines(hot.Bytes()), hexLines(general.Bytes()))
		}
	})
}

func TestRecordRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		group, from := GroupID(rapid.Uint32Min(1).Draw(t, "group")), NodeID(rapid.Uint32Min(1).Draw(t, "from"))
		cluster := ClusterID(rapid.Uint64().Draw(t, "cluster"))
		for _, want := range []Record{
			PromiseRecord(cluster, group, from, anyBallot(t, "promised"), 7, genIncarnations(t)),
			SlotPromiseRecord(cluster, group, from, anyBallot(t, "slot promised"), anySlot(t, "slot", 1), 7, genIncarnations(t)),
			VoteRecord(cluster, group, from, Vote{Slot: anySlot(t, "slot", 1), Ballot: anyBallot(t, "vote"), Value: drawBatch(t)}),
			TrimRecord(cluster, group, from, anySlot(t, "trimmed", 0)),
		} {
			checkRecord(t, want)
		}
		nodes := make([]NodeID, 0, NodesMax)
		for _, n := range rapid.SliceOfNDistinct(rapid.Uint32Min(1), 1, NodesMax, rapid.ID[uint32]).Draw(t, "nodes") {
			nodes = append(nodes, NodeID(n))
		}
		slices.Sort(nodes)
		r := MembersRecord(cluster, from, nodes)
		if got, err := ParseMembers(r.Frame.Bytes()); err != nil || !slices.Equal(got, nodes) {
			t.Fatalf("members %v, %v, want %v", got, err, nodes)
		}
		checkRecord(t, r)
		m := genMessage(t)
		if m.Kind != KindAccept && m.Kind != KindLearn {
			return
		}
		checkRecord(t, Record{Kind: m.Kind, Group: m.Group, Ballot: m.Ballot, Slot: m.Slot, Chosen: m.Chosen, Scope: m.Scope, Frame: m.Encode(cluster)})
	})
}

// checkRecord decodes the frame of want, which it releases, and compares.
func checkRecord(t *rapid.T, want Record) {
	defer want.Frame.Release()
	if _, err := CheckFrame(want.Frame.Bytes()); err != nil {
		t.Fatal(err)
	}
	var got Record
	if err := DecodeRecord(want.Frame, &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("wrote %+v, read %+v, %v", want, got, err)
	}
}

func TestClientRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := Get(0)
		defer f.Release()
		cluster, group, from := ClusterID(rapid.Uint64().Draw(t, "cluster")), GroupID(rapid.Uint32().Draw(t, "group")), NodeID(rapid.Uint32().Draw(t, "from"))
		request := rapid.Uint64().Draw(t, "request")
		status := Status(rapid.IntRange(0, int(statusEnd)-1).Draw(t, "status"))
		frame := func(append func()) []byte { // the frame that append adds, behind others as a server sends them
			start := f.Len()
			append()
			p := f.Bytes()[start:]
			if h, err := CheckFrame(p); err != nil || h.Size() != len(p) || h.Cluster != cluster || h.Group != group {
				t.Fatalf("header %+v, %v", h, err)
			}
			return p
		}
		reply := genReply(t, request, status)
		var gotReply Reply
		if err := DecodeReply(frame(func() { AppendReply(f, cluster, group, from, &reply) }), &gotReply); err != nil || !sameReply(reply, gotReply) {
			t.Fatalf("sent %+v, decoded %+v, %v", reply, gotReply, err)
		}
		query := Query{Request: request, Mode: QueryMode(rapid.IntRange(0, int(queryModeEnd)-1).Draw(t, "mode")), Patience: rapid.Uint64Range(0, PatienceMax).Draw(t, "query patience"), Body: anyBytes(300).Draw(t, "query")}
		var gotQuery Query
		if err := DecodeQuery(frame(func() { AppendQuery(f, cluster, group, &query) }), &gotQuery); err != nil ||
			gotQuery.Request != query.Request || gotQuery.Mode != query.Mode || !bytes.Equal(gotQuery.Body, query.Body) {
			t.Fatalf("sent %+v, decoded %+v, %v", query, gotQuery, err)
		}
		answer := Answer{Request: request, Status: status, Leader: from, Slot: anySlot(t, "slot", 0), Epoch: anyBallot(t, "epoch"), Body: anyBytes(300).Draw(t, "answer")}
		var gotAnswer Answer
		if err := DecodeAnswer(frame(func() { AppendAnswer(f, cluster, group, from, &answer) }), &gotAnswer); err != nil ||
			gotAnswer.Request != request || gotAnswer.Status != status || gotAnswer.Leader != from || gotAnswer.Slot != answer.Slot || gotAnswer.Epoch != answer.Epoch || !bytes.Equal(gotAnswer.Body, answer.Body) {
			t.Fatalf("sent %+v, decoded %+v, %v", answer, gotAnswer, err)
		}
		control := Control{
			Kind:    rapid.SampledFrom([]Kind{KindHello, KindWelcome, KindAdmin, KindAdminReply}).Draw(t, "kind"),
			Request: request, Status: status, Text: anyBytes(300).Draw(t, "text"),
		}
		var gotControl Control
		if err := DecodeControl(frame(func() { AppendControl(f, cluster, group, from, &control) }), &gotControl); err != nil ||
			gotControl.Kind != control.Kind || gotControl.Request != request || gotControl.Status != status || !bytes.Equal(gotControl.Text, control.Text) {
			t.Fatalf("sent %+v, decoded %+v, %v", control, gotControl, err)
		}
		enc, _ := genBlock(t)
		propose := NewPropose(rapid.IntRange(0, 2*len(enc)).Draw(t, "size"))
		defer propose.Release()
		propose.Append(enc)
		patience := rapid.Uint64Range(0, PatienceMax).Draw(t, "patience")
		SealPropose(propose, cluster, group, request, patience)
		if gotRequest, got, b, err := DecodePropose(propose.Bytes()); err != nil || gotRequest != request || got != patience || !bytes.Equal(b.Bytes(), enc) {
			t.Fatalf("proposed request %d, decoded %d, %v", request, gotRequest, err)
		}
	})
}

// genReply draws a reply whose results fit its status.
func genReply(t *rapid.T, request uint64, status Status) Reply {
	r := Reply{
		Request: request, Status: status, Leader: NodeID(rapid.Uint32().Draw(t, "leader")),
		Slot: anySlot(t, "slot", 0), Index: rapid.Uint32Range(0, BatchBlocksMax-1).Draw(t, "index"),
		Session: SessionID(rapid.Uint64().Draw(t, "session")), First: Seq(rapid.Uint64().Draw(t, "first")),
		Epoch: anyBallot(t, "epoch"),
	}
	switch {
	case status != StatusOK:
		r.Count = rapid.Uint32Range(0, BlockCommandsMax).Draw(t, "count")
	case rapid.Bool().Draw(t, "empty"):
		r.Empty = true
		r.Count = rapid.Uint32Range(0, BlockCommandsMax).Draw(t, "count")
	default:
		for _, c := range rapid.SliceOfN(anyBytes(200), 0, 20).Draw(t, "results") {
			r.Results = AppendCommand(r.Results, c)
			r.Count++
		}
	}
	return r
}

func sameReply(a, b Reply) bool {
	if !bytes.Equal(a.Results, b.Results) {
		return false
	}
	n := uint32(0)
	for it := b.Iter(); ; n++ {
		result, ok := it.Next()
		if !ok {
			break
		}
		if result == nil && b.Status == StatusOK {
			return false
		}
	}
	a.Results, b.Results = nil, nil
	return n == b.Count && reflect.DeepEqual(a, b)
}
