//go:build !race

package client

import (
	"testing"

	"github.com/paxbench/paxbench/wire"
)

// What can go wrong: a command, a block or a query allocates, and at millions a second the garbage collector takes the
// processor. The whole way is measured, connection and echoing node
// included. The race detector empties pools at random, so this test is left out under it.
func TestSteadyStateDoesNotAllocate(t *testing.T) {
	c := dial(t, echoServer(t))
	l := newLoop(c, 16)
	l.run(20000, 1000)
	if n := testing.AllocsPerRun(10, func() { l.run(20000, 1000) }); n > 20 {
		t.Errorf("Go: %v allocations for 20000 commands", n)
	}
	b := &blockLoop{c: c, cmd: make([]byte, 16), each: 100, idle: make(chan struct{}, 1)}
	b.run(200, 8)
	if n := testing.AllocsPerRun(10, func() { b.run(200, 8) }); n > 20 {
		t.Errorf("Submit: %v allocations for 200 blocks", n)
	}
	done := make(chan struct{}, 1)
	f := DoneFunc(func(r *Result) { done <- struct{}{} })
	query := func() {
		for range 100 {
			if err := c.GoQuery(l.cmd, wire.QueryStale, f); err != nil {
				t.Error(err)
			}
			<-done
		}
	}
	query()
	if n := testing.AllocsPerRun(10, query); n > 10 {
		t.Errorf("GoQuery: %v allocations for 100 queries", n)
	}
}
