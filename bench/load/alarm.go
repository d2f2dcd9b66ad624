package load

import "time"

// alarm wakes a worker at a given time. set replaces the time that was set before; a wake-up too many does no harm.
// One goroutine sets it.
type alarm interface {
	set(in time.Duration)
	close()
}

// timer is the portable alarm. A Go timer of less than a millisecond fires up to a millisecond late when the process
// is otherwise idle, because the scheduler then sleeps in whole milliseconds.
type timer struct{ t *time.Timer }

func newTimer(wake func()) alarm {
	t := time.AfterFunc(time.Hour, wake)
	t.Stop()
	return timer{t}
}

func (a timer) set(in time.Duration) { a.t.Reset(in) }
func (a timer) close()               { a.t.Stop() }
