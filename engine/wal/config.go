package wal

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/paxbench/paxbench/engine/wal/vfs"
	"github.com/paxbench/paxbench/wire"
)

// FS is the file system the log writes through; see package vfs.
type FS = vfs.FS

// Defaults and bounds of Config.
const (
	SegmentBytesDefault = 64 << 20
	SegmentBytesMax     = 1 << 30
	SparesDefault       = 8
)

// Config says which log to open and how. Dir, Cluster and Node are required; everything else has a default.
type Config struct {
	// Dir is the log's directory. Nothing else should live in it.
	Dir string

	// Cluster and Node say whose log this is. A directory of somebody else is refused.
	Cluster wire.ClusterID
	Node    wire.NodeID

	// Members are the cluster's founding nodes, Node among them. Required by Bootstrap; later they must be the ones
	// the log was made with, or nil for "as recorded".
	Members []wire.NodeID

	// Protocol is kept with the identity by Bootstrap, and must be the same later: what the records mean depends on it. One
	// line; empty is a value like any other.
	Protocol string

	// Bootstrap makes the log: in an absent or empty directory only. Without it an absent or empty directory is
	// refused, because a node that lost its log and starts over has forgotten its votes and would vote again.
	Bootstrap bool

	// SegmentBytes is the size of a segment file in bytes, rounded up to 4096. 0: 64 MiB. A record that does not fit
	// gets a larger segment of its own.
	SegmentBytes int64

	// RefuseTorn has Replay refuse a torn tail, with *TornError, instead of cutting it: for a cluster of one, which
	// has nobody to ask whether what the tail held was acknowledged (FAULTS.md, WAL rule).
	RefuseTorn bool

	// SuspectTorn has Replay mark the log as suspect before it cuts a torn tail (Log.Suspect): for a node that has others to
	// ask what it may have lost.
	SuspectTorn bool

	// SparesMax is how many segments nobody needs any more are kept for reuse; more are removed. 0: 8. Disk use
	// is bounded by (segments in use + SparesMax) * SegmentBytes.
	SparesMax int

	// Policy says when Sync reaches the disk. Zero: always.
	Policy Policy

	// FS is the file system. nil: the machine's.
	FS FS

	// OnSync, if set, is told the duration of each fdatasync of the log in nanoseconds. It is called by whoever
	// syncs: the caller of Sync, Trim, Append and Close, or with an interval policy a goroutine of the log.
	OnSync func(nanos int64)

	// Salt gives the random number that marks a segment file. nil: from the operating system's random source.
	// A simulator passes its own, so that runs repeat.
	Salt func() uint64

	// Foreground starts no goroutines: spare segments are made when they are needed and an interval policy syncs
	// only when Flush is called. For simulators.
	Foreground bool
}

// protocolMax bounds Config.Protocol in bytes.
const protocolMax = 200

// withDefaults returns c with defaults filled in, or all its faults joined.
func (c Config) withDefaults() (Config, error) {
	var faults []error
	add := func(format string, args ...any) { faults = append(faults, fmt.Errorf("wal: "+format, args...)) }
	if c.Dir == "" {
		add("no directory given")
	}
	if c.Node == 0 {
		add("node id 0 names no node")
	}
	if c.SegmentBytes < 0 || c.SegmentBytes > SegmentBytesMax {
		add("segment size of %d bytes is outside 0..%d", c.SegmentBytes, SegmentBytesMax)
	}
	if c.SparesMax < 0 {
		add("%d spare segments", c.SparesMax)
	}
	if c.Policy.Mode == Interval && c.Policy.Every <= 0 {
		add("fsync interval of %v", c.Policy.Every)
	}
	if c.Bootstrap && len(c.Members) == 0 {
		add("bootstrap needs the members of the cluster")
	}
	c.Members = slices.Clone(c.Members)
	slices.Sort(c.Members)
	if len(c.Members) > 0 && !slices.Contains(c.Members, c.Node) {
		add("node %d is not among the members %v", c.Node, c.Members)
	}
	if len(c.Protocol) > protocolMax || strings.ContainsAny(c.Protocol, "\r\n") {
		add("protocol %.40q: need one line of at most %d bytes", c.Protocol, protocolMax)
	}
	if len(c.Members) > wire.NodesMax {
		add("%d members, limit %d", len(c.Members), wire.NodesMax)
	}
	if len(slices.Compact(slices.Clone(c.Members))) != len(c.Members) || slices.Contains(c.Members, 0) {
		add("members %v: zero or repeated id", c.Members)
	}
	if c.SegmentBytes == 0 {
		c.SegmentBytes = SegmentBytesDefault
	}
	c.SegmentBytes = max(alignUp(c.SegmentBytes, pageSize), segmentBytesMin)
	if c.SparesMax == 0 {
		c.SparesMax = SparesDefault
	}
	if c.FS == nil {
		if c.FS = vfs.OS(); c.Policy.Mode == Always {
			c.FS = vfs.Direct()
		}
	}
	if c.Salt == nil {
		c.Salt = randomSalt
	}
	return c, errors.Join(faults...)
}

// Mode is the kind of an fsync policy.
type Mode uint8

// The fsync policies. Under Always an acknowledged write survives the power loss of every node; under Interval and Never
// it survives the end of the process, and a power loss may take the last interval or more, votes included: a node
// that lost some may contradict itself.
const (
	Always Mode = iota
	Interval
	Never
)

// Policy says when appended records are forced to the disk. The zero value is "always".
type Policy struct {
	Mode  Mode
	Every time.Duration // Interval only
}

// ParsePolicy reads "always", "never" or "interval=D" with D as in time.ParseDuration, for example "interval=10ms".
func ParsePolicy(s string) (Policy, error) {
	switch s {
	case "always", "":
		return Policy{}, nil
	case "never":
		return Policy{Mode: Never}, nil
	}
	const prefix = "interval="
	if len(s) > len(prefix) && s[:len(prefix)] == prefix {
		d, err := time.ParseDuration(s[len(prefix):])
		if err == nil && d > 0 {
			return Policy{Mode: Interval, Every: d}, nil
		}
	}
	return Policy{}, fmt.Errorf("wal: fsync policy %q: want always, never or interval=D with D such as 10ms", s)
}

// String is the form that ParsePolicy reads.
func (p Policy) String() string {
	switch p.Mode {
	case Always:
		return "always"
	case Never:
		return "never"
	case Interval:
		return "interval=" + p.Every.String()
	}
	return fmt.Sprintf("Mode(%d)", p.Mode)
}
