// Package peerstable holds what bench/peers records - this repository's engine and others under the same work - and makes
// Markdown tables of it. bench/peers is a module of its own, for its dependencies' sake; the records are of both.
package peerstable

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/paxbench/paxbench/bench/env"
)

// SchemaVersion is that of both kinds of records.
const SchemaVersion = 1

// The kinds of records.
const (
	KindRun      = "peers"
	KindFailover = "peers-failover"
)

// Record is all that a run measured: additive changes only, times in nanoseconds.
type Record struct {
	SchemaVersion int           `json:"schema_version"`
	Kind          string        `json:"kind"` // KindRun
	Partial       bool          `json:"partial"`
	Started       time.Time     `json:"started"`
	Elapsed       time.Duration `json:"elapsed_ns"`
	Config        Config        `json:"config"`
	Env           env.Info      `json:"env"`
	Engines       []Engine      `json:"engines"`
	Cells         []Cell        `json:"cells"`
	Samples       []Sample      `json:"samples"`
	Invalid       []Invalid     `json:"invalid"` // sessions without samples, and why
}

// Config is how a run was made.
type Config struct {
	Rounds   int           `json:"rounds"`
	Replicas int           `json:"replicas"`
	Single   bool          `json:"one_process"`
	Fsync    bool          `json:"fsync"`
	GOGC     int           `json:"gogc"`
	Matrix   string        `json:"cells"`
	Fill     time.Duration `json:"fill_ns"`   // before the first cell of a session
	Warmup   time.Duration `json:"warmup_ns"` // before each cell
	Length   time.Duration `json:"length_ns"` // of each cell
	API      string        `json:"generator"` // where the load is made
}

// Engine is a side of the comparison.
type Engine struct {
	Name     string `json:"name"`
	Module   string `json:"module"`
	Version  string `json:"version"`
	Settings string `json:"settings"`
	Procs    int    `json:"procs,omitempty"` // processor threads (GOMAXPROCS) given to each process; 0: the runtime's choice, or not recorded
}

// Ours says whether an engine is this repository's: ratios are between ours and the others.
func Ours(name string) bool { return strings.HasPrefix(name, "paxbench") }

// Cell is one piece of work. All engines do it in the same shape.
type Cell struct {
	API         string `json:"api"`         // "call": one call and one completion per command; "block": per block of commands; "open": calls, at half the rate that the closed loop reached; "rate": calls, at PerSecond
	Size        int    `json:"size"`        // bytes per command
	Outstanding int    `json:"outstanding"` // commands
	Block       int    `json:"block"`       // commands per block; 1 for calls

	PerSecond float64 `json:"commands_per_s,omitempty"` // of "rate"; 0: closed loop, or "open"
}

func (c Cell) String() string {
	if c.PerSecond > 0 {
		return fmt.Sprintf("calls %dB at %s/s", c.Size, count(c.PerSecond))
	}
	if c.API == "open" {
		return fmt.Sprintf("open loop of calls %dB, at half of each engine's own rate at %s", c.Size, c.Reference())
	}
	if c.Block == 1 {
		return fmt.Sprintf("%s %dB x %d", c.API, c.Size, c.Outstanding)
	}
	return fmt.Sprintf("%s %dB x %d (%d x %d)", c.API, c.Size, c.Outstanding, c.Block, c.Outstanding/c.Block)
}

// Reference is the cell whose rate an open loop halves.
func (c Cell) Reference() Cell {
	return Cell{API: "call", Size: c.Size, Outstanding: c.Outstanding, Block: 1}
}

// Times sums up the latencies of a load, in nanoseconds from the call of Propose to the completion.
type Times struct {
	P50  int64 `json:"p50"`
	P99  int64 `json:"p99"`
	P999 int64 `json:"p999"`
	Max  int64 `json:"max"`
}

// Sample is one cell of one engine in one round, from a session that was verified.
type Sample struct {
	Round     int     `json:"round"`
	Engine    string  `json:"engine"`
	Cell      int     `json:"cell"` // index into Cells
	PerSecond float64 `json:"commands_per_s"`
	Latency   Times   `json:"latency_ns"`
	Commands  uint64  `json:"commands"`
	// All processes together, the generator included; Disk and Flushes of the whole device, whoever wrote.
	CPUSeconds float64 `json:"cpu_s_per_million"`
	Allocs     float64 `json:"allocs_per_command"`
	DiskBytes  float64 `json:"disk_bytes_per_command"`
	Flushes    float64 `json:"flushes_per_thousand"` // of the device's cache
}

// Invalid is a session or trial that does not count.
type Invalid struct {
	Round  int    `json:"round"`
	Engine string `json:"engine"`
	Why    string `json:"why"`
}

// String is one line: the record has the rest, which may be the end of a process's log.
func (v Invalid) String() string {
	why, _, _ := strings.Cut(v.Why, "\n")
	return fmt.Sprintf("INVALID, not counted: %s in round %d: %s", v.Engine, v.Round+1, why)
}

// Decode reads a record of a run; where names it in errors.
func Decode(b []byte, where string) (*Record, error) {
	r, err := decode[Record](b, where, KindRun)
	if err != nil {
		return nil, err
	}
	for i, s := range r.Samples {
		if s.Cell < 0 || s.Cell >= len(r.Cells) {
			return nil, fmt.Errorf("%s: sample %d is of cell %d; there are %d", where, i, s.Cell, len(r.Cells))
		}
	}
	return r, nil
}

// DecodeFailover reads a record of failovers; where names it in errors.
func DecodeFailover(b []byte, where string) (*Failover, error) {
	return decode[Failover](b, where, KindFailover)
}

// decode reads a record of a kind.
func decode[T any](b []byte, where, kind string) (*T, error) {
	var head struct {
		Kind          string `json:"kind"`
		SchemaVersion int    `json:"schema_version"`
	}
	r := new(T)
	if err := errors.Join(json.Unmarshal(b, &head), json.Unmarshal(b, r)); err != nil {
		return nil, fmt.Errorf("%s: %w", where, err)
	}
	if head.Kind != kind || head.SchemaVersion != SchemaVersion {
		return nil, fmt.Errorf("%s: kind %q, schema version %d; need %q, %d", where, head.Kind, head.SchemaVersion, kind, SchemaVersion)
	}
	return r, nil
}
