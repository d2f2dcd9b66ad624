package engine

import (
	"testing"
	"time"

	"github.com/paxbench/paxbench/wire"
)

// What can go wrong: a leader dies with a full window of batches of the largest default size, and the promise that reports
// them is larger than the queues between two nodes. Its end was dropped each time and no leader was ever elected again.
func TestLeaderLossWithWindowOfLargeBatches(t *testing.T) {
	c := newCluster(t, 3, true, func(c *Config) {
		c.NewStateMachine = func(wire.GroupID) StateMachine { return &null{} }
		c.SegmentBytes = 0
	})
	c.propose("a")
	l := c.leader()
	g := l.Group(1)
	big := string(make([]byte, 1<<20-100))
	slots := make(chan struct{}, 44) // more than the window, less than the queue of blocks
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-quit:
				return
			case slots <- struct{}{}:
			}
			if g.ProposeBlock(encodeBlock(0, 0, 0, big), CompletionFunc(func(*Result) { <-slots })) != nil {
				return
			}
		}
	}()
	// A slow machine may never show a full window from outside; it then dies with whatever is in flight.
	for deadline := time.Now().Add(3 * time.Second); time.Now().Before(deadline) && !windowFull(c, l); {
		time.Sleep(time.Millisecond)
	}
	_ = l.Close()
	close(quit)
	<-ended
	delete(c.nodes, l.c.Node)
	eventually(t, "a leader among the others", func() bool {
		for _, n := range c.nodes {
			if n.Group(1).Status().Role == "leader" {
				return true
			}
		}
		return false
	})
}

// windowFull says whether some follower holds votes for most of a window that it does not know to be chosen.
func windowFull(c *cluster, leader *Node) bool {
	for id, n := range c.nodes {
		if s := n.Group(1).Status(); id != leader.c.Node && s.LastSlot >= s.Chosen+30 && s.Chosen > 40 {
			return true
		}
	}
	return false
}
