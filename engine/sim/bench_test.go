package sim

import "testing"

// BenchmarkSchedule plays schedules of three nodes, one after the other, as a batch does. What counts is schedules/s on one core
// (GOMAXPROCS=1), and events/s, which does not depend on how long schedules are.
func BenchmarkSchedule(b *testing.B) {
	events := 0
	b.ReportAllocs()
	for i := range b.N {
		r := Run(Options{Seed: uint64(1 + i), Nodes: 3})
		if r.Violation != nil {
			b.Fatal(r.Violation)
		}
		events += r.Events
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "schedules/s")
	b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(events)/float64(b.N), "events/schedule")
}
