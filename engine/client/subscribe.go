package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"

	"github.com/paxbench/paxbench/wire"
)

// Delivery is messages of one slot, in order: all of them, or a part of a large slot, the rest of which follows.
type Delivery struct {
	Slot     wire.Slot `json:"slot"`
	Messages []Message `json:"messages"`
}

// Message is one command of the log as it was executed. Session and Seq are 0 if it was proposed outside of a session.
type Message struct {
	Session wire.SessionID `json:"session"`
	Seq     wire.Seq       `json:"seq"`
	Command []byte         `json:"command"`
}

// TrimmedError ends a subscription whose next slot the node does not hold any more: it is only in a snapshot.
type TrimmedError struct {
	Asked, Oldest wire.Slot
	Text          string // what the node says
}

func (e *TrimmedError) Error() string { return "client: " + e.Text }

// Subscribe delivers the group's messages in the log's order, from slot from on (0 and 1: the first), as this node applies them, leader or
// not. Every node delivers the same. It asks for more when the loop over it comes round: nothing is queued for a slow
// subscriber, and one that falls behind what the node holds gets a *TrimmedError. To go on after a restart, here or at another node,
// subscribe from the last slot that was delivered whole + 1.
//
// It ends with an error: ctx's, *TrimmedError, or that of the connection. Breaking off the loop ends it too. A Node can have one
// subscription at a time.
func (n *Node) Subscribe(ctx context.Context, from wire.Slot) iter.Seq2[*Delivery, error] {
	return func(yield func(*Delivery, error) bool) {
		var page struct {
			Next  wire.Slot   `json:"next"`
			After int         `json:"after"`
			Slots []*Delivery `json:"slots"`
		}
		page.Next = max(from, 1)
		for {
			asked, after := page.Next, page.After
			text, err := n.Admin(ctx, fmt.Sprintf("deliver?from=%d&after=%d", asked, after))
			if err != nil {
				yield(nil, notHeld(err, text, asked))
				return
			}
			page.After, page.Slots = 0, nil
			if err := json.Unmarshal(text, &page); err != nil {
				yield(nil, fmt.Errorf("client: %s: delivery from slot %d: %w", n.addr, asked, err))
				return
			}
			if page.Next < asked || page.Next == asked && page.After <= after {
				yield(nil, fmt.Errorf("client: %s: delivery from slot %d, message %d goes on at slot %d, message %d", n.addr, asked, after, page.Next, page.After))
				return
			}
			for _, d := range page.Slots {
				if !yield(d, nil) {
					return
				}
			}
		}
	}
}

// notHeld recognises the refusal of slots that are gone.
func notHeld(err error, text []byte, asked wire.Slot) error {
	var refusal struct {
		Error  string    `json:"error"`
		Oldest wire.Slot `json:"oldest"`
	}
	if errors.Is(err, ErrInvalid) && json.Unmarshal(text, &refusal) == nil && refusal.Oldest > 0 {
		return &TrimmedError{asked, refusal.Oldest, refusal.Error}
	}
	return err
}
