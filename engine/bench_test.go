package engine

import (
	"fmt"
	"testing"
	"time"

	"github.com/paxbench/paxbench/wire"
)

// BenchmarkProposeBlock measures the whole path from ProposeBlock to Complete in one process: real logs with fdatasync, a
// null state machine, 16-byte commands in a session, a fixed number of blocks outstanding. commands/s is the throughput;
// p50-ns and p99-ns are of a block.
func BenchmarkProposeBlock(b *testing.B) {
	for _, bc := range []struct {
		nodes, commands, outstanding int
		tcp                          bool
	}{
		{1, 64, 32, false}, {3, 64, 32, false}, {3, 64, 32, true}, {3, 1, 1, true}, {3, 1024, 32, true},
	} {
		name := fmt.Sprintf("nodes=%d/tcp=%v/commands=%d/outstanding=%d", bc.nodes, bc.tcp, bc.commands, bc.outstanding)
		b.Run(name, func(b *testing.B) {
			c := newCluster(b, bc.nodes, bc.tcp, func(c *Config) {
				c.NewStateMachine = func(wire.GroupID) StateMachine { return &null{} }
				c.SegmentBytes, c.Tick, c.ElectionTicks = 0, 10*time.Millisecond, 30
			})
			g := c.leader().Group(1)
			id := c.openSession()
			latency := newHistogram()
			type slot struct {
				sent int64
				done CompletionFunc
			}
			free := make(chan *slot, bc.outstanding)
			for range bc.outstanding {
				s := &slot{}
				s.done = func(r *Result) {
					if r.Status != wire.StatusOK {
						b.Errorf("%v", r.Status)
					}
					latency.record(nanotime() - s.sent)
					free <- s
				}
				free <- s
			}
			first, acked := wire.Seq(1), wire.Seq(1)
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				s := <-free
				f := wire.Get(wire.BlockHeaderSize + 17*bc.commands)
				commands16(f, id, first, bc.commands)
				// As a client would: everything but what is outstanding is acknowledged.
				if back := wire.Seq(bc.outstanding * bc.commands); first > back {
					acked = first - back
				}
				wire.PutBlockHeader(f.Bytes(), id, first, acked, bc.commands, 17*bc.commands)
				first += wire.Seq(bc.commands)
				s.sent = nanotime()
				if err := g.ProposeBlock(f, s.done); err != nil {
					b.Fatal(err)
				}
			}
			for range bc.outstanding {
				<-free
			}
			b.StopTimer()
			l := latency.read(false)
			b.ReportMetric(float64(b.N*bc.commands)/b.Elapsed().Seconds(), "commands/s")
			b.ReportMetric(float64(l.P50), "p50-ns")
			b.ReportMetric(float64(l.P99), "p99-ns")
		})
	}
}
