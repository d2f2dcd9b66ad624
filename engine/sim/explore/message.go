package explore

import (
	"fmt"
	"slices"

	"github.com/paxbench/paxbench/engine/paxos"
	"github.com/paxbench/paxbench/wire"
)

// msgID names a message: equal frames on the same way have the same number.
type msgID uint16

// message is a frame on its way.
type message struct {
	from, to int // node indexes
	frame    []byte
	m        wire.Message // views into frame
	held     *wire.Buffer // of frame, for good
}

// record is a record of a log: equal records have the same number.
type record struct {
	wire.Record
	value valueID
	held  *wire.Buffer
}

// checks says whether a property is looked at.
func (v *vocabulary) checks(property string) bool {
	return v.only == nil || property == "BUG" || slices.Contains(v.only, property)
}

type recID uint16

// valueID names a batch; 0 is none.
type valueID uint8

// vocabulary gives small numbers to messages, records and values, so that sets and sequences of them are short. The numbers
// are given in the order of first sight, which is the same in every run.
type vocabulary struct {
	blank    bool // Reductions.Unread
	whole    bool // Reductions.Sync
	scope    *Scope
	prelude  []move
	only     []string
	reads    bool
	messages []message
	byFrame  map[string]msgID
	records  []record
	byRecord map[string]recID
	values   []string // by valueID-1: the encoded batches
}

func newVocabulary(c *Scope, r Reductions, only []string) *vocabulary {
	return &vocabulary{scope: c, whole: r.Sync, only: only, blank: r.Unread, reads: c.Reads > 0, byFrame: map[string]msgID{}, byRecord: map[string]recID{}}
}

// message returns the number of frame f from node index from to to. ok is false for a message that no receiver acts upon.
//
// What is blanked (Reductions.Unread): the chosen prefix in messages whose receiver does not look at it (only Accept,
// Heartbeat, Promise, Learn, Probe and ProbeAck are read for it), the slot in Reject, which is there for people
// who read traces. Two messages that differ in nothing else cause the same at every receiver, so telling them apart would only
// multiply the states. A HeartbeatAck is read for its round, which only reads use, and as a sign of life; signs of life prolong
// a leadership, whose end is an action here that may happen at any time.
//
// A Reject makes a candidate or leader give up and remember the higher ballot for its next election. One that has no election left
// in the scope does nothing after giving up that it would not do as well without: it takes what others send in the same way, and a
// leader that nobody answers any more is one whose answers are lost. So a Reject to such a node is lost.
func (v *vocabulary) message(from, to int, f *wire.Buffer) (id msgID, ok bool) {
	var m wire.Message
	if err := wire.DecodeMessage(f, &m); err != nil {
		panic(fmt.Sprintf("BUG: explore: node %d sends a malformed frame: %v", from+1, err))
	}
	if v.blank {
		if v.scope.Fast {
			blankFast(&m)
		}
		switch m.Kind {
		case wire.KindHeartbeatAck:
			if !v.reads {
				return 0, false
			}
			m.Chosen = 0
		case wire.KindPrepare, wire.KindAccepted, wire.KindFetch:
			m.Chosen = 0
		case wire.KindReject:
			if of(v.scope.Campaigns, to) < 2 {
				return 0, false
			}
			m.Chosen, m.Slot = 0, 0
		}
		f = m.Encode(clusterID)
		defer f.Release()
	}
	key := fmt.Sprintf("%d%d", from, to) + string(f.Bytes())
	if id, ok := v.byFrame[key]; ok {
		return id, true
	}
	held := wire.GetCopy(f.Bytes())
	msg := message{from: from, to: to, frame: held.Bytes(), held: held}
	if err := wire.DecodeMessage(held, &msg.m); err != nil {
		panic("BUG: explore: " + err.Error())
	}
	id = msgID(len(v.messages))
	if int(id) != len(v.messages) {
		panic("BUG: explore: too many different messages")
	}
	v.messages = append(v.messages, msg)
	v.byFrame[key] = id
	return id, true
}

// record returns the number of record r.
func (v *vocabulary) record(r *wire.Record) recID {
	key := string(r.Frame.Bytes())
	if id, ok := v.byRecord[key]; ok {
		return id
	}
	rec := record{Record: *r, held: wire.GetCopy(r.Frame.Bytes())}
	rec.Frame = rec.held
	if r.Kind == wire.KindAccept || r.Kind == wire.KindLearn {
		rec.value = v.value(wire.TrustedValue(rec.held))
	}
	id := recID(len(v.records))
	v.records = append(v.records, rec)
	v.byRecord[key] = id
	return id
}

// value returns the number of a batch.
func (v *vocabulary) value(b wire.Batch) valueID {
	enc := string(b.Bytes())
	i := slices.Index(v.values, enc)
	if i < 0 {
		i = len(v.values)
		v.values = append(v.values, enc)
	}
	return valueID(i + 1)
}

// name prints a value.
func (v *vocabulary) name(id valueID) string {
	if id == 0 {
		return "nothing"
	}
	b, err := wire.ParseBatch([]byte(v.values[id-1]))
	if err != nil {
		panic("BUG: explore: " + err.Error())
	}
	return payload(b)
}

func (v *vocabulary) close() {
	for i := range v.messages {
		v.messages[i].held.Release()
	}
	for i := range v.records {
		v.records[i].held.Release()
	}
}

// proposal makes an Accept, not yet sealed, of one command that says text.
func proposal(text string) *wire.Buffer {
	cmd := wire.AppendCommand(nil, []byte(text))
	blk := append(wire.AppendBlockHeader(nil, 0, 0, 0, 1, len(cmd)), cmd...)
	f := wire.NewAccept(wire.BatchHeaderSize + len(blk))
	wire.PutBatchHeader(f.Extend(wire.BatchHeaderSize), wire.BatchBlocks, wire.CompressNone, 1, 1, len(blk), len(blk))
	f.Append(blk)
	return f
}

// payload is the inverse of proposal.
func payload(b wire.Batch) string {
	if b.IsNoop() {
		return "no-op"
	}
	it := b.Blocks()
	blk, _ := it.Next()
	cmds := blk.Commands()
	cmd, _ := cmds.Next()
	return string(cmd)
}

const clusterID = wire.ClusterID(7)

// config is that of a replica in its life-th life. Nothing here happens by itself after so and so many ticks: what time would bring about is an action
// of the search (campaign, beat, fetch), which gives the ticks it needs, and repeats are the network's.
func config(c *Scope, i, life int) paxos.Config {
	cfg := paxos.Config{
		Cluster: clusterID, Group: 1, Self: wire.NodeID(i + 1), Window: 8,
		HeartbeatTicks: 1, ElectionTicks: electionTicks, RetransmitTicks: lateTicks, StallTicks: lateTicks, Seed: 1,
		Fresh: true, // disks keep what was durable, so that nobody has anything to tell a node that starts (engine/paxos/back.go)
	}
	if c.Fast {
		// A tag must not come again after a restart, and follows from the seed. HoleTicks: see settleLate.
		cfg.Mode, cfg.HoleTicks, cfg.Seed = paxos.ModeFast, holeTicks, 1+uint64(life)
	}
	for id := range c.Nodes {
		cfg.Nodes = append(cfg.Nodes, wire.NodeID(id+1))
	}
	return cfg
}

// electionTicks is small, because a campaign gives three times as many ticks, and larger than the ticks that heartbeats and
// fetches can take between two signs of life: what each adds to a state is bounded by the slots. lateTicks is more than a node
// is given in one life within a scope (tick holds it to that), and soon over when a state is tried for liveness. holeTicks is the least
// there is: a coordinator that settles a slot late must not resign for the silence that this takes.
const (
	electionTicks = 8
	lateTicks     = 80
	holeTicks     = 1
)
