package engine

import "golang.org/x/sys/unix"

// leaseClock is the clock of leases, in nanoseconds: monotonic, and it goes on while the machine sleeps, which the one of package time
// does not. A leader that sleeps must not wake up with the time it fell asleep at.
func leaseClock() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic("BUG: engine: CLOCK_BOOTTIME: " + err.Error())
	}
	return t.Nano()
}
