//go:build planted && linux

package engine

import (
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// waited is the processor time that all busy waits of this process took.
var waited struct {
	sync.Mutex
	time.Duration
}

// busyWait makes the process use a tenth more processor time than it would (plant.SlowApply): it spins until what all
// calls have spun is an eleventh of all the time used. The time is the processor's, not the wall's: on a busy machine a
// wait by the wall would be shorter work.
func busyWait() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	waited.Lock()
	defer waited.Unlock()
	start := clock(unix.CLOCK_THREAD_CPUTIME_ID)
	for x := uint64(1); ; {
		for range 10_000 { // some microseconds: asking for the time costs more than a little of it
			x = x*6364136223846793005 + 1442695040888963407
		}
		runtime.KeepAlive(x)
		spun := waited.Duration + clock(unix.CLOCK_THREAD_CPUTIME_ID) - start
		if 11*spun >= clock(unix.CLOCK_PROCESS_CPUTIME_ID) {
			waited.Duration = spun
			return
		}
	}
}

func clock(id int32) time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(id, &t); err != nil {
		panic("BUG: engine: clock_gettime: " + err.Error())
	}
	return time.Duration(t.Nano())
}
