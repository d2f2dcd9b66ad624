package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/paxbench/paxbench/engine/paxos"
	"github.com/paxbench/paxbench/wire"
)

// What can go wrong: a slot that is larger than an answer may be is cut so that a message is lost, told twice, or never comes; or an
// answer grows beyond what a frame may hold.
func TestDeliverCutsSlots(t *testing.T) {
	const commands, size = 60, 100 << 10 // six answers
	slots := []paxos.Chosen{chosenSlot(1, 3, 10), chosenSlot(2, commands, size), chosenSlot(3, 2, 10), chosenSlot(4, 20000, 1), chosenSlot(5, 1, wire.CommandBytesMax)}
	var got []string
	from, after, answers := wire.Slot(1), 0, 0
	for from <= 5 {
		f := &feed{next: from}
		for _, c := range slots[from-1:] {
			c.Frame.Retain()
			f.held = append(f.held, c)
		}
		f.answer(after, func(s wire.Status, v any) {
			d := v.(Delivered)
			text, err := json.Marshal(d)
			if s != wire.StatusOK || err != nil || len(text) > wire.ControlBytesMax {
				t.Fatalf("%v, %d bytes, %v", s, len(text), err)
			}
			for _, slot := range d.Slots {
				for i, m := range slot.Messages {
					got = append(got, fmt.Sprintf("%d/%d", slot.Slot, m.Command[0]))
					_ = i
				}
			}
			if d.Next < from || d.Next == from && d.After <= after {
				t.Fatalf("from %d, %d on to %d, %d", from, after, d.Next, d.After)
			}
			from, after = d.Next, d.After
			answers++
		})
	}
	var want []string
	for _, c := range slots {
		for b := range c.Value.Commands() {
			want = append(want, fmt.Sprintf("%d/%d", c.Slot, byte(b)))
		}
		c.Frame.Release()
	}
	if fmt.Sprint(got) != fmt.Sprint(want) || answers < 9 {
		t.Errorf("%d messages in %d answers, want %d", len(got), answers, len(want))
	}
}

// chosenSlot is a slot of one block of commands that begin with their number.
func chosenSlot(s wire.Slot, commands, size int) paxos.Chosen {
	var cmds []byte
	for i := range commands {
		cmd := make([]byte, size)
		cmd[0] = byte(i)
		cmds = wire.AppendCommand(cmds, cmd)
	}
	f := wire.NewAccept(0)
	f.SetBytes(append(f.Bytes(), make([]byte, wire.BatchHeaderSize)...))
	n := wire.BlockHeaderSize + len(cmds)
	wire.PutBatchHeader(f.Bytes()[wire.AcceptHeadroom:], wire.BatchBlocks, wire.CompressNone, 1, commands, n, n)
	f.SetBytes(append(wire.AppendBlockHeader(f.Bytes(), 0, 0, 0, commands, len(cmds)), cmds...))
	return paxos.Chosen{Slot: s, Value: wire.TrustedValue(f), Frame: f}
}

// What can go wrong: a question that makes no sense, a second one on the same connection, or one for slots that are gone is left without
// an answer, or one is left behind by a connection that ended.
func TestDeliverRefuses(t *testing.T) {
	c := newCluster(t, 1, false, nil)
	g := c.nodes[1].Group(1)
	l := &clientLink{node: g.node}
	type reply struct {
		s wire.Status
		v any
	}
	replies := make(chan reply, 4)
	ask := func(args string) { l.deliver(g, args, func(s wire.Status, v any) { replies <- reply{s, v} }) }
	for _, bad := range []string{"", "from=1", "from=1&after=-1", "from=x&after=0", "from=1&after=0&more=1", "from=01&after=0"} {
		ask(bad)
		if r := <-replies; r.s != wire.StatusInvalid || r.v.(NotHeld).Oldest != 0 {
			t.Errorf("%q: %v %+v", bad, r.s, r.v)
		}
	}
	ask("from=1000000&after=0") // waits
	ask("from=1&after=0")
	if r := <-replies; r.s != wire.StatusBusy {
		t.Errorf("a second question: %v %+v", r.s, r.v)
	}
	waits := l.feed.Load()
	l.undeliver()
	if l.feed.Load() != nil || waits.state.Load() != feedAbandoned {
		t.Errorf("the question of a connection that has ended still waits: %d", waits.state.Load())
	}
	f := &feed{next: 3, err: &TrimmedError{Asked: 3, Oldest: 9}}
	f.answer(0, func(s wire.Status, v any) {
		if s != wire.StatusInvalid || v.(NotHeld).Oldest != 9 {
			t.Errorf("what is gone: %v %+v", s, v)
		}
	})
	ask("from=2000000&after=0")
	if err := c.nodes[1].Close(); err != nil && !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	if r := <-replies; r.s != wire.StatusClosed {
		t.Errorf("a node that ends: %v %+v", r.s, r.v)
	}
}
