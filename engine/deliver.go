package engine

import (
	"errors"
	"fmt"

	"github.com/paxbench/paxbench/engine/paxos"
	"github.com/paxbench/paxbench/wire"
)

// Atomic broadcast for other processes: a client asks a node for what comes after what it has ("deliver", an administrative operation),
// and is answered when there is something. It asks again when it is done with that, so it sets its own pace, and nothing waits
// for it here but one question.

// Delivered is the JSON of the answer to "deliver?from=SLOT&after=N": messages in their order, from slot SLOT on, of which the first N
// are left out. The next question is for Next and After.
type Delivered struct {
	Next  wire.Slot       `json:"next"`
	After int             `json:"after,omitempty"`
	Slots []DeliveredSlot `json:"slots"`
}

// DeliveredSlot is messages of one slot: all, or a part of a large one.
type DeliveredSlot struct {
	Slot     wire.Slot          `json:"slot"`
	Messages []DeliveredMessage `json:"messages"`
}

// DeliveredMessage is Message.
type DeliveredMessage struct {
	Session wire.SessionID `json:"session,omitempty"`
	Seq     wire.Seq       `json:"seq,omitempty"`
	Command []byte         `json:"command"` // in base64
}

// NotHeld is the JSON of the refusal of slots that the node does not hold any more.
type NotHeld struct {
	Error  string    `json:"error"`
	Oldest wire.Slot `json:"oldest"`
}

const (
	// deliverBytes bounds the commands of one answer; the first message always is in it. With a command of
	// wire.CommandBytesMax, and in base64, the answer keeps within wire.ControlBytesMax.
	deliverBytes = 1 << 20

	// deliverItems bounds the messages of one answer: the encoding adds to each.
	deliverItems = 8 << 10
)

// deliver answers a subscriber in another process. A connection has one question at a time.
func (l *clientLink) deliver(g *Group, args string, answer func(wire.Status, any)) {
	var from wire.Slot
	var after int
	if _, err := fmt.Sscanf(args, "from=%d&after=%d", &from, &after); err != nil || after < 0 || fmt.Sprintf("from=%d&after=%d", from, after) != args {
		answer(wire.StatusInvalid, NotHeld{Error: fmt.Sprintf("deliver?%.60s: need from=SLOT&after=N", args)})
		return
	}
	if g.node.c.auxiliary() {
		answer(wire.StatusInvalid, NotHeld{Error: ErrAuxiliary.Error()})
		return
	}
	f := &feed{next: max(from, 1)}
	f.then = func() { // on the loop: it may start what the node's end waits for
		l.feed.CompareAndSwap(f, nil)
		g.spawn(func() { f.answer(after, answer) })
	}
	if !l.feed.CompareAndSwap(nil, f) {
		answer(wire.StatusBusy, NotHeld{Error: "this connection waits for a delivery already"})
		return
	}
	if !g.mailbox.PutUrgent(event{kind: eventFeed, feed: f}) {
		l.feed.Store(nil)
		answer(wire.StatusClosed, NotHeld{Error: ErrClosed.Error()})
	}
}

// undeliver forgets the question of a connection that has ended.
func (l *clientLink) undeliver() {
	if f := l.feed.Swap(nil); f != nil {
		f.state.CompareAndSwap(feedWaits, feedAbandoned)
	}
}

// answer sends what was found and releases it.
func (f *feed) answer(after int, answer func(wire.Status, any)) {
	var trimmed *TrimmedError
	switch {
	case errors.As(f.err, &trimmed):
		answer(wire.StatusInvalid, NotHeld{trimmed.Error(), trimmed.Oldest})
		return
	case f.err != nil:
		answer(wire.StatusClosed, NotHeld{Error: f.err.Error()})
		return
	}
	d := Delivered{Next: f.next, After: after, Slots: []DeliveredSlot{}}
	bytes, items := 0, 0
	for _, c := range f.held {
		if items < deliverItems && bytes < deliverBytes {
			f.pack(&d, c, &bytes, &items)
		}
		c.Frame.Release()
	}
	answer(wire.StatusOK, d)
}

// pack adds a slot's messages, as far as there is room.
func (f *feed) pack(d *Delivered, c paxos.Chosen, bytes, items *int) {
	out := DeliveredSlot{Slot: c.Slot}
	skip, whole := d.After, true
	if !c.Value.IsNoop() {
		f.handOne(c, func(in *Delivery, _ error) bool {
			i := 0
			for m := range in.Messages() {
				if i++; i <= skip {
					continue
				}
				if *items > 0 && (*bytes+len(m.Command) > deliverBytes || *items >= deliverItems) {
					whole = false
					break
				}
				*bytes += len(m.Command)
				*items++
				d.After = i
				out.Messages = append(out.Messages, DeliveredMessage{m.Session, m.Seq, append([]byte{}, m.Command...)})
			}
			return true
		})
	}
	if len(out.Messages) > 0 {
		d.Slots = append(d.Slots, out)
	}
	if whole {
		d.Next, d.After = c.Slot+1, 0
	} else {
		*items = deliverItems // no more slots
	}
}
