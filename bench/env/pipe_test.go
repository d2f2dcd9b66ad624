package env

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/paxbench/paxbench/wire"
)

// The pipe is the bound that runs are compared with: it must count only frames that a majority has, keep its disk
// bounded, and end cleanly.
func TestPipe(t *testing.T) {
	base := t.TempDir()
	configs := make([]PipeConfig, 3)
	peers := map[wire.NodeID]string{}
	for i := range configs {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		id := wire.NodeID(i + 1)
		peers[id] = l.Addr().String()
		configs[i] = PipeConfig{Node: id, Cluster: 7, Listener: l, Peers: peers, Dir: filepath.Join(base, fmt.Sprint(id))}
	}
	var nodes []*PipeNode
	for _, c := range configs {
		n, err := OpenPipe(c)
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, n)
	}
	for _, load := range []PipeLoad{
		{512, 16, 32, 200 * time.Millisecond}, {1, 16, 1, 100 * time.Millisecond}, {32, 1024, 8, 100 * time.Millisecond},
	} {
		result, err := nodes[0].Run(context.Background(), load)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%+v", result)
		if result.Frames == 0 || result.OpsPerSecond <= 0 || result.FrameBytes < load.Commands*load.CommandBytes || result.Latency.P50 <= 0 {
			t.Errorf("measured nothing: %+v", result)
		}
	}
	for _, n := range nodes {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	}
	if size, err := Bytes(base); err != nil || size > 3*20*pipeSegmentBytes {
		t.Errorf("%d bytes on disk, %v", size, err)
	}
}

// A pipe whose followers are dead must say so, not report what the leader alone can do.
func TestPipeNeedsMajority(t *testing.T) {
	run := &pipeRun{majority: 2, slots: map[wire.Slot]*pipeSlot{1: {}, 2: {}}, next: 3, lowest: 1}
	run.take([]pipeAck{{1, 1, 2}, {1, 1, 2}})
	if len(run.sample) != 0 || run.lowest != 1 {
		t.Errorf("one node's repeated acknowledgement counted as a majority: %d frames", len(run.sample))
	}
	run.take([]pipeAck{{3, 2, 2}})
	if len(run.sample) != 1 || run.lowest != 1 {
		t.Errorf("%d frames, lowest in flight %d", len(run.sample), run.lowest)
	}
	run.take([]pipeAck{{2, 1, 1}})
	if len(run.sample) != 2 || run.lowest != 3 {
		t.Errorf("%d frames, lowest in flight %d", len(run.sample), run.lowest)
	}
}
