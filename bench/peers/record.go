package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"github.com/paxbench/paxbench/bench/env"
	"github.com/paxbench/paxbench/bench/peers/peer"
)

const schemaVersion = 1

// record is all that a run measured: additive changes only, times in nanoseconds.
type record struct {
	SchemaVersion int            `json:"schema_version"`
	Kind          string         `json:"kind"` // "peers"
	Partial       bool           `json:"partial"`
	Started       time.Time      `json:"started"`
	Elapsed       time.Duration  `json:"elapsed_ns"`
	Config        runConfig      `json:"config"`
	Env           env.Info       `json:"env"`
	Engines       []engineRecord `json:"engines"`
	Cells         []cell         `json:"cells"`
	Samples       []sample       `json:"samples"`
	Invalid       []invalid      `json:"invalid"` // sessions without samples, and why
}

type runConfig struct {
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

type engineRecord struct {
	Name     string `json:"name"`
	Module   string `json:"module"`
	Version  string `json:"version"`
	Settings string `json:"settings"`
}

// sample is one cell of one engine in one round, from a session that was verified.
type sample struct {
	Round     int        `json:"round"`
	Engine    string     `json:"engine"`
	Cell      int        `json:"cell"` // index into Cells
	PerSecond float64    `json:"commands_per_s"`
	Latency   peer.Times `json:"latency_ns"`
	Commands  uint64     `json:"commands"`
	// All processes together, the generator included; Disk and Flushes of the whole device, whoever wrote.
	CPUSeconds float64 `json:"cpu_s_per_million"`
	Allocs     float64 `json:"allocs_per_command"`
	DiskBytes  float64 `json:"disk_bytes_per_command"`
	Flushes    float64 `json:"flushes_per_thousand"` // of the device's cache
}

type invalid struct {
	Round  int    `json:"round"`
	Engine string `json:"engine"`
	Why    string `json:"why"`
}

func newSample(round int, engine string, at int, r peer.Result, used usage) sample {
	n := float64(max(1, r.Commands))
	return sample{
		Round: round, Engine: engine, Cell: at, PerSecond: r.PerSecond, Latency: r.Latency, Commands: r.Commands,
		CPUSeconds: float64(used.CPUNanos) / 1e9 / n * 1e6, Allocs: float64(used.Mallocs) / n,
		DiskBytes: float64(used.Disk.WriteBytes) / n, Flushes: float64(used.Disk.Flushes) / n * 1e3,
	}
}

func (r *record) write(path string) error { return writeJSON(path, r) }

func readRecord(path string) (*record, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := &record{}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if r.Kind != "peers" || r.SchemaVersion != schemaVersion {
		return nil, fmt.Errorf("%s: kind %q, schema version %d; need \"peers\", %d", path, r.Kind, r.SchemaVersion, schemaVersion)
	}
	return r, nil
}

// moduleVersion is the version of a module in this binary; of this repository's own the commit.
func moduleVersion(module string) string {
	if module == "github.com/paxbench/paxbench" {
		commit, modified := env.Commit()
		if modified {
			commit += " and changes"
		}
		return commit
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			if d.Path == module {
				return d.Version
			}
		}
	}
	return "unknown"
}
