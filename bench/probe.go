package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/paxbench/paxbench/bench/cluster"
	"github.com/paxbench/paxbench/bench/env"
	"github.com/paxbench/paxbench/wire"
)

// Limits are what this machine can do at best: the numbers that a result is read against.
type Limits struct {
	Fsync              env.Times      `json:"fsync_ns"` // 4 KiB written and fdatasync, on preallocated space
	FsyncsPerSecond    float64        `json:"fsyncs_per_s"`
	LoopbackRTT        env.Times      `json:"loopback_rtt_ns"`        // 64 bytes to and fro over TCP
	LoopbackBandwidth  float64        `json:"loopback_bytes_per_s"`   // one TCP stream
	CRC32C             float64        `json:"crc32c_bytes_per_s"`     // one core
	Copy               float64        `json:"copy_bytes_per_s"`       // one core
	Pipe               env.PipeResult `json:"pipe"`                   // three processes, three logs, no protocol
	PipeFsync          string         `json:"pipe_fsync"`             // always
	PipeNodes          int            `json:"pipe_nodes"`             // 3
	PipeBytesPerSecond float64        `json:"pipe_frame_bytes_per_s"` // into each log
	Took               time.Duration  `json:"took_ns"`
}

// ProbeConfig says where and how long to probe.
type ProbeConfig struct {
	// Dir is a directory on the file system to probe; it must exist. What is written there is removed.
	Dir string
	// Full takes about 12 seconds; otherwise it is less than 2.
	Full bool
	// Binary is as in cluster.Config.
	Binary string
	// Log, if set, is told what is being probed.
	Log func(format string, args ...any)
}

type probeTimes struct{ fsync, rtt, bandwidth, memory, pipe time.Duration }

var (
	quickProbe = probeTimes{250 * time.Millisecond, 100 * time.Millisecond, 100 * time.Millisecond, 20 * time.Millisecond, 600 * time.Millisecond}
	fullProbe  = probeTimes{3 * time.Second, 2 * time.Second, time.Second, 200 * time.Millisecond, 4 * time.Second}
)

// Probe measures the machine's limits, one after the other.
func Probe(ctx context.Context, c ProbeConfig) (Limits, error) {
	begin := time.Now()
	times := quickProbe
	if c.Full {
		times = fullProbe
	}
	say := func(what string, d time.Duration) {
		if c.Log != nil {
			c.Log("probing %s for %s", what, d)
		}
	}
	dir, err := os.MkdirTemp(c.Dir, "probe-*")
	if err != nil {
		return Limits{}, fmt.Errorf("bench: probe: %w", err)
	}
	defer os.RemoveAll(dir)
	l := Limits{PipeFsync: "always", PipeNodes: pipeNodes}
	say("fdatasync", times.fsync)
	if l.Fsync, err = env.Fsync(ctx, dir, times.fsync); err != nil {
		return l, err
	}
	l.FsyncsPerSecond = float64(l.Fsync.Count) / times.fsync.Seconds()
	say("loopback round trips", times.rtt)
	if l.LoopbackRTT, err = env.LoopbackRTT(ctx, times.rtt); err != nil {
		return l, err
	}
	say("loopback bandwidth", times.bandwidth)
	if l.LoopbackBandwidth, err = env.LoopbackBandwidth(ctx, times.bandwidth); err != nil {
		return l, err
	}
	say("CRC32C and copying", 2*times.memory)
	l.CRC32C, l.Copy = env.CRC32C(times.memory), env.Copy(times.memory)
	say("the bare replicated pipe", times.pipe)
	if l.Pipe, err = probePipe(ctx, dir, c.Binary, times.pipe); err != nil {
		return l, err
	}
	l.PipeBytesPerSecond = float64(l.Pipe.Frames*l.Pipe.FrameBytes) / times.pipe.Seconds()
	l.Took = time.Since(begin)
	return l, nil
}

const pipeNodes = 3

// PipePeerCommand is the hidden subcommand that runs a follower of the pipe: its arguments are those of PipePeerArgs.
const PipePeerCommand = "pipe-peer"

// probePipe runs the pipe's leader here and its followers as processes.
func probePipe(ctx context.Context, dir, binary string, length time.Duration) (env.PipeResult, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return env.PipeResult{}, fmt.Errorf("bench: pipe: %w", err)
	}
	id := newClusterID()
	peers := map[wire.NodeID]string{1: listener.Addr().String()}
	followers, err := cluster.StartHelpers(ctx, binary, dir, pipeNodes-1, func(i int, addrs []string) []string {
		for k, addr := range addrs {
			peers[wire.NodeID(k+2)] = addr
		}
		nc := cluster.NodeConfig{Node: wire.NodeID(i + 2), Cluster: id, Listen: addrs[i], Peers: peers, Dir: filepath.Join(dir, fmt.Sprintf("pipe%d", i+2))}
		return append([]string{PipePeerCommand}, nc.Args()...)
	})
	if err != nil {
		listener.Close()
		return env.PipeResult{}, err
	}
	leader, err := env.OpenPipe(env.PipeConfig{Node: 1, Cluster: id, Listener: listener, Peers: peers, Dir: filepath.Join(dir, "pipe1")})
	if err != nil {
		return env.PipeResult{}, errors.Join(err, followers.Close())
	}
	load := env.ProbeLoad
	load.Length = length
	result, err := leader.Run(ctx, load)
	return result, errors.Join(err, leader.Close(), followers.Close())
}
