package wal

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"syscall"
)

// keeper has the spare segments: it makes one ahead of need, and turns segments nobody needs into spares. Making one
// writes a whole segment of zeros, and removing one may take as long: a goroutine does both, so that the log's owner
// waits only if it fills segments faster than they can be made. With Config.Foreground the owner does it.
type keeper struct {
	l *Log

	mu      sync.Mutex
	changed *sync.Cond
	spares  []string // names of files of the configured size, durable as files
	freed   []segment
	serial  uint64 // of the last spare's name
	idle    bool   // no spare can be made for now: the disk is full, or the log has failed
	started bool
	closed  bool
	done    chan struct{}
}

func newKeeper(l *Log) *keeper {
	k := &keeper{l: l, done: make(chan struct{})}
	k.changed = sync.NewCond(&k.mu)
	return k
}

func (k *keeper) start() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.started = true
	go k.run()
}

// close ends the goroutine after the step it is at. Segments still to be recycled stay where they are: replay knows
// that they are not needed.
func (k *keeper) close() {
	k.mu.Lock()
	k.closed = true
	k.changed.Broadcast()
	started := k.started
	k.mu.Unlock()
	if started {
		<-k.done
	}
}

func (k *keeper) run() {
	defer close(k.done)
	for {
		k.mu.Lock()
		for !k.closed && len(k.freed) == 0 && (len(k.spares) > 0 || k.idle) {
			k.changed.Wait()
		}
		if k.closed {
			k.mu.Unlock()
			return
		}
		freed := k.freed
		k.freed = nil
		k.mu.Unlock()
		if len(freed) > 0 {
			k.turn(freed)
		} else {
			k.make()
		}
	}
}

// take returns the name of a spare, which is then the caller's; "" if there is none and the caller must make one.
func (k *keeper) take() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	for k.started && len(k.spares) == 0 && !k.idle && !k.closed {
		k.changed.Wait()
	}
	if len(k.spares) == 0 {
		return ""
	}
	n := len(k.spares) - 1
	name := k.spares[n]
	k.spares = k.spares[:n]
	k.l.stats.spare.Add(-1)
	k.changed.Broadcast()
	return name
}

// recycle takes over segments that nobody needs. Their going must be durable on record already.
func (k *keeper) recycle(freed []segment) error {
	k.mu.Lock()
	if k.started {
		k.freed = append(k.freed, freed...)
		k.changed.Broadcast()
		k.mu.Unlock()
		return nil
	}
	k.mu.Unlock()
	return k.turn(freed)
}

// turn makes spares of segments, as many as may be kept, and removes the others. A segment is published as a spare only
// after the directory sync: were it reused before, a crash could bring its old name back with another segment's content
// in it. Replay would not look inside, as the name is below the oldest segment needed, but an operator might.
func (k *keeper) turn(freed []segment) error {
	fsys, dir := k.l.c.FS, k.l.c.Dir
	k.mu.Lock()
	room := k.l.c.SparesMax - len(k.spares)
	k.mu.Unlock()
	var names []string
	err := error(nil)
	for _, s := range freed {
		if err != nil {
			break
		}
		from := filepath.Join(dir, segmentName(s.id))
		if len(names) >= room || s.size != k.l.c.SegmentBytes {
			err = fsys.Remove(from)
			k.l.stats.removed.Add(1)
			continue
		}
		k.serial++
		name := spareName(k.serial)
		err = fsys.Rename(from, filepath.Join(dir, name))
		names = append(names, name)
	}
	if err == nil {
		err = fsys.SyncDir(dir)
	}
	if err != nil {
		return k.fail(fmt.Errorf("wal: give up old segments: %w", err))
	}
	k.l.stats.recycled.Add(uint64(len(names)))
	k.publish(names)
	return nil
}

// make makes a spare ahead of need. A full disk is not the log's end yet: nothing depends on this file. No other is
// tried until segments were given up or the owner found room, so as not to take the last space from the owner, who makes
// what it must have.
func (k *keeper) make() {
	fsys, dir := k.l.c.FS, k.l.c.Dir
	k.serial++
	name := spareName(k.serial)
	path := filepath.Join(dir, name)
	f, err := createZeroed(fsys, path+tmpSuffix, k.l.c.SegmentBytes)
	if err == nil {
		err = f.Close()
	}
	if err == nil {
		err = fsys.Rename(path+tmpSuffix, path)
	}
	if errors.Is(err, syscall.ENOSPC) {
		k.mu.Lock()
		k.idle = true
		k.changed.Broadcast()
		k.mu.Unlock()
		return
	}
	if err != nil {
		k.fail(fmt.Errorf("wal: make a spare segment: %w", err))
		return
	}
	k.l.stats.created.Add(1)
	k.publish([]string{name})
}

// room says that the owner found room for a segment: so spares can be made again.
func (k *keeper) room() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.idle && k.l.Err() == nil {
		k.idle = false
		k.changed.Broadcast()
	}
}

func (k *keeper) publish(names []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.spares = append(k.spares, names...)
	k.idle = false
	k.l.stats.spare.Add(int64(len(names)))
	k.changed.Broadcast()
}

// fail ends the log, and with it the making of spares.
func (k *keeper) fail(err error) error {
	err = k.l.fail(err)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.idle = true
	k.changed.Broadcast()
	return err
}
