package node

import (
	"runtime/metrics"

	"github.com/paxbench/paxbench/bench/env"
)

// Counters are what a process has used since its start.
type Counters struct {
	CPUNanos int64  `json:"cpu_ns"`  // user and system
	Mallocs  uint64 `json:"mallocs"` // objects
}

// Plus adds.
func (c Counters) Plus(d Counters) Counters {
	return Counters{c.CPUNanos + d.CPUNanos, c.Mallocs + d.Mallocs}
}

// Minus subtracts.
func (c Counters) Minus(d Counters) Counters {
	return Counters{c.CPUNanos - d.CPUNanos, c.Mallocs - d.Mallocs}
}

func readCounters() Counters {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:objects"}, {Name: "/gc/heap/tiny/allocs:objects"}}
	metrics.Read(sample)
	return Counters{CPUNanos: int64(env.ProcessCPU()), Mallocs: sample[0].Value.Uint64() + sample[1].Value.Uint64()}
}
