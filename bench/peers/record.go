package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/paxbench/paxbench/bench/env"
	"github.com/paxbench/paxbench/bench/peers/peer"
	"github.com/paxbench/paxbench/bench/peerstable"
)

// What a record holds is the main module's, which makes tables of it too.
type (
	record       = peerstable.Record
	runConfig    = peerstable.Config
	engineRecord = peerstable.Engine
	cell         = peerstable.Cell
	sample       = peerstable.Sample
	invalid      = peerstable.Invalid
)

func newSample(round int, engine string, at int, r peer.Result, used usage) sample {
	n := float64(max(1, r.Commands))
	return sample{
		Round: round, Engine: engine, Cell: at, PerSecond: r.PerSecond, Latency: r.Latency, Commands: r.Commands,
		CPUSeconds: float64(used.CPUNanos) / 1e9 / n * 1e6, Allocs: float64(used.Mallocs) / n,
		DiskBytes: float64(used.Disk.WriteBytes) / n, Flushes: float64(used.Disk.Flushes) / n * 1e3,
	}
}

func readRecord(path string) (*record, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return peerstable.Decode(b, path)
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
		return dependency(info, module)
	}
	return "unknown"
}

// dependency is the version of a module in a program.
func dependency(info *debug.BuildInfo, module string) string {
	for _, d := range info.Deps {
		if d.Path == module {
			return d.Version
		}
	}
	return "unknown"
}

// describe is an engine as a record names it; procs is what its processes are given.
func describe(e peer.Engine, procs int) (engineRecord, error) {
	version := ""
	if e.Program == nil {
		version = moduleVersion(e.Module)
	} else {
		program, err := e.Program()
		if err != nil {
			return engineRecord{}, err
		}
		version = programVersion(program, e.Module)
	}
	return engineRecord{Name: e.Name, Module: e.Module, Version: version, Settings: e.Settings, Procs: procs}, nil
}

func writeJSON(path string, v any) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}
