package engine

import (
	"bytes"
	"strings"
	"testing"

	"github.com/paxbench/paxbench/wire"
)

// testRun is a run of blocks with these numbers of commands.
func testRun(counts ...int) wire.Batch {
	var p []byte
	total := 0
	for i, n := range counts {
		p = wire.AppendBlockHeader(p, 1, wire.Seq(1+i*100), 0, n, 2*n)
		for range n {
			p = wire.AppendCommand(p, []byte{'x'})
		}
		total += n
	}
	return wire.Run(p, len(counts), total)
}

// Results belong to blocks by count alone: an error of one would give every later client somebody else's result.
func TestRepliesBlocks(t *testing.T) {
	var o Replies
	for range 2 { // the second time on used memory
		o.Reset(testRun(2, 3, 1))
		long := bytes.Repeat([]byte("r"), 300)
		o.Append([]byte("a"))
		o.AppendEmpty(2) // across the border
		o.Append(long)
		o.Append(nil)
		o.Append([]byte("z"))
		o.finish(1)
		want := [][]string{{"a", ""}, {"", string(long), ""}, {"z"}}
		for i, w := range want {
			results, count := o.Block(i)
			if count != len(w) || o.allEmpty(i) {
				t.Fatalf("block %d: %d results, empty %v", i, count, o.allEmpty(i))
			}
			r := wire.Reply{Count: uint32(count), Results: results}
			it := r.Iter()
			for j := range w {
				if got, ok := it.Next(); !ok || string(got) != w[j] {
					t.Fatalf("block %d result %d: %q", i, j, got)
				}
			}
		}
	}
	o.Reset(testRun(4, 4))
	o.AppendEmpty(8)
	o.finish(1)
	if !o.allEmpty(0) || !o.allEmpty(1) || o.Len() != 8 {
		t.Error("empty results not seen as such")
	}
}

// A state machine that gives too many or too few results would shift every later one: it must be stopped at once.
func TestRepliesMiscounted(t *testing.T) {
	mustPanic := func(want string, fn func()) {
		t.Helper()
		defer func() {
			if p, _ := recover().(string); !strings.Contains(p, want) {
				t.Errorf("panic %q, want %q", p, want)
			}
		}()
		fn()
	}
	var o Replies
	o.Reset(testRun(2, 1))
	o.AppendEmpty(3)
	mustPanic("more results", func() { o.Append(nil) })
	o.Reset(testRun(2, 1))
	o.AppendEmpty(2)
	mustPanic("gave 2 results for the 3", func() { o.finish(9) })
}

// One result per command on the hot path: it must not allocate.
func TestRepliesAllocs(t *testing.T) {
	var o Replies
	run := testRun(100, 100)
	result := []byte("0123456789abcdef")
	if n := testing.AllocsPerRun(100, func() {
		o.Reset(run)
		for range 100 {
			o.Append(result)
		}
		o.AppendEmpty(100)
		o.finish(1)
	}); n != 0 {
		t.Errorf("%v allocations per run of 200 commands", n)
	}
}
