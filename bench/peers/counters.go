package main

import (
	"runtime/metrics"

	"github.com/paxbench/paxbench/bench/env"
)

// counters are what a process has used since its start.
type counters struct {
	CPUNanos int64  `json:"cpu_ns"`  // user and system
	Mallocs  uint64 `json:"mallocs"` // objects
}

func (c counters) plus(d counters) counters {
	return counters{c.CPUNanos + d.CPUNanos, c.Mallocs + d.Mallocs}
}

func (c counters) minus(d counters) counters {
	return counters{c.CPUNanos - d.CPUNanos, c.Mallocs - d.Mallocs}
}

func readCounters() counters {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:objects"}, {Name: "/gc/heap/tiny/allocs:objects"}}
	metrics.Read(sample)
	return counters{CPUNanos: int64(env.ProcessCPU()), Mallocs: sample[0].Value.Uint64() + sample[1].Value.Uint64()}
}
