package client

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/paxbench/paxbench/wire"
)

// Config says which cluster, and how. The zero value of a field means its default.
type Config struct {
	// Cluster is the cluster's id. Required.
	Cluster wire.ClusterID
	// Group is the replicated log to use. Default 1.
	Group wire.GroupID
	// Addrs are the addresses of nodes, host:port; at least one. Others are learned from them. Where a node has an
	// address here, that is the one used for it.
	Addrs []string

	// BlockBytes and BlockCommands are where a block is full. Default 64 KiB and 4096; at most wire's limits.
	BlockBytes    int
	BlockCommands int
	// Pipeline is how many blocks may be under way before commands of Go and Do are held to grow the next block.
	// Default 4.
	Pipeline int
	// Window is how many blocks may be under way in all, those of Submit included, counted from the oldest without
	// a reply. Default and maximum 128: half of what a session may keep on the replicas (wire.SessionBlocksMax).
	Window int
	// QueueBlocks is how many full blocks may wait to be sent; beyond, Go and Submit return ErrBusy and Do waits.
	// Default 64.
	QueueBlocks int
	// QueriesMax is how many queries may be under way. Default 1024.
	QueriesMax int

	// Timeout is how long a command or query is tried, from the moment its block was begun. Default 10 s. The shorter it is, the
	// fewer blocks are under way at a leader that is slow to reply (doc.go, Overload).
	Timeout time.Duration
	// AttemptTimeout is how long a node may be silent with requests under way before others are asked who leads.
	// It doubles up to 2 s while the silent node affirms that it leads. Default 250 ms.
	AttemptTimeout time.Duration
	// DialTimeout bounds one attempt to connect. Default 500 ms.
	DialTimeout time.Duration
	// RetryMin and RetryMax bound the pause before a busy or leaderless cluster is asked again: it doubles from the
	// one to the other, with jitter. Default 2 ms and 100 ms.
	RetryMin time.Duration
	RetryMax time.Duration
}

// windowMax leaves half of the session's window for blocks whose acknowledgement is still on its way.
const windowMax = wire.SessionBlocksMax / 2

// validate returns all faults of c, joined.
func (c *Config) validate() error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf("client: "+format, args...)) }
	if c.Cluster == 0 {
		fail("no cluster id")
	}
	if len(c.Addrs) == 0 {
		fail("no addresses")
	}
	for _, a := range c.Addrs {
		if _, _, err := net.SplitHostPort(a); err != nil {
			fail("address %q: %w", a, err)
		}
	}
	for name, v := range map[string]struct{ value, limit int }{
		"BlockBytes": {c.BlockBytes, wire.BlockBytesMax}, "BlockCommands": {c.BlockCommands, wire.BlockCommandsMax},
		"Pipeline": {c.Pipeline, windowMax}, "Window": {c.Window, windowMax},
		"QueueBlocks": {c.QueueBlocks, 1 << 20}, "QueriesMax": {c.QueriesMax, 1 << 20},
	} {
		if v.value < 0 || v.value > v.limit {
			fail("%s %d, must be between 1 and %d", name, v.value, v.limit)
		}
	}
	for _, d := range []time.Duration{c.Timeout, c.AttemptTimeout, c.DialTimeout, c.RetryMin, c.RetryMax} {
		if d < 0 {
			fail("negative duration %v", d)
		}
	}
	return errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	orInt := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	orTime := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	if c.Group == 0 {
		c.Group = 1
	}
	orInt(&c.BlockBytes, 64<<10)
	orInt(&c.BlockCommands, 4096)
	orInt(&c.Pipeline, 4)
	orInt(&c.Window, windowMax)
	orInt(&c.QueueBlocks, 64)
	orInt(&c.QueriesMax, 1024)
	orTime(&c.Timeout, 10*time.Second)
	orTime(&c.AttemptTimeout, 250*time.Millisecond)
	orTime(&c.DialTimeout, 500*time.Millisecond)
	orTime(&c.RetryMin, 2*time.Millisecond)
	orTime(&c.RetryMax, 100*time.Millisecond)
	c.RetryMax = max(c.RetryMax, c.RetryMin)
	c.Pipeline = min(c.Pipeline, c.Window)
	return c
}

// patienceMax bounds how long a node that affirms to be the leader may be silent before it is asked again.
const patienceMax = 2 * time.Second

// resendAfter is when a request without an answer is sent again on the same connection. A node answers every request
// while the connection lives, so this is for the case that it does not: when nothing came for so long, or when
// what was sent later has been answered. A slow node is not asked again, which would make it slower.
func (c *Config) resendAfter() int64 { return int64(min(3*time.Second, c.Timeout/4)) }
