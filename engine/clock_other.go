//go:build !linux

package engine

// leaseClock is the clock of leases, in nanoseconds: monotonic. Whether it goes on while the machine sleeps depends on the system; where
// it does not, a machine that may sleep must not serve reads by lease.
func leaseClock() int64 { return nanotime() }
