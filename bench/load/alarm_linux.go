package load

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// timerfd is an alarm that the kernel rings, within some 50 µs and without a spinning processor: on a machine that
// the servers share, cycles spent on waiting would be missing there. A goroutine waits for it in the network poller.
type timerfd struct {
	file *os.File
	fd   int
}

func newAlarm(wake func()) alarm {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return newTimer(wake)
	}
	a := &timerfd{file: os.NewFile(uintptr(fd), "timerfd"), fd: fd}
	go func() {
		var expirations [8]byte
		for {
			if _, err := a.file.Read(expirations[:]); err != nil {
				return // closed
			}
			wake()
		}
	}()
	return a
}

func (a *timerfd) set(in time.Duration) {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(max(int64(in), 1))} // 0 would switch it off
	if err := unix.TimerfdSettime(a.fd, 0, &spec, nil); err != nil {
		panic("BUG: load: timerfd_settime: " + err.Error())
	}
}

func (a *timerfd) close() { a.file.Close() }
