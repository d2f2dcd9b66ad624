// Package disk is a disk that can be made slow, stuck, broken or full: a layer over the file systems that a node writes
// its log and its snapshots through, switched by the process that started the node.
//
// It stands between the node and the kernel, so it shows what the node does about a bad disk, not what the kernel
// does: a failed sync does not drop pages here, and a full disk is full for this node alone. Reading is never touched.
package disk

import (
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Full says what a full disk refuses.
type Full string

// How full a disk is.
const (
	// FullWrite refuses all writing: a file system that copies on write, or a volume that promised more than it has.
	FullWrite Full = "write"
	// FullGrow refuses what needs new blocks. Writing over preallocated ones goes on: ext4 or XFS without a block left.
	FullGrow Full = "grow"
)

// Conditions are what is wrong with a disk. The zero value is nothing.
type Conditions struct {
	SyncLatency time.Duration `json:"sync_latency_ns,omitempty"` // each sync takes so much longer
	Stall       bool          `json:"stall,omitempty"`           // syncs do not end before the conditions change
	FailSync    bool          `json:"fail_sync,omitempty"`       // syncs fail with EIO
	Full        Full          `json:"full,omitempty"`            // writes fail with ENOSPC
}

// Counts are how often the conditions were felt, since the start.
type Counts struct {
	Slowed  uint64 `json:"slowed,omitempty"`  // syncs
	Stalled uint64 `json:"stalled,omitempty"` // syncs
	Failed  uint64 `json:"failed,omitempty"`  // syncs
	Refused uint64 `json:"refused,omitempty"` // writes without room
}

// Minus is what was counted since o. A process that was started meanwhile counts from 0.
func (c Counts) Minus(o Counts) Counts {
	since := func(now, then uint64) uint64 {
		if now < then {
			return now
		}
		return now - then
	}
	return Counts{since(c.Slowed, o.Slowed), since(c.Stalled, o.Stalled), since(c.Failed, o.Failed), since(c.Refused, o.Refused)}
}

// Disk holds the conditions of a node's file systems. Its methods may be called by many goroutines.
type Disk struct {
	slowed, stalled, failed, refused atomic.Uint64

	mu      sync.Mutex
	now     Conditions
	changed chan struct{} // closed at the next Set
}

// New is a disk that nothing is wrong with.
func New() *Disk { return &Disk{changed: make(chan struct{})} }

// Set changes the conditions. Syncs that are stalled go on under the new ones.
func (d *Disk) Set(c Conditions) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now = c
	close(d.changed)
	d.changed = make(chan struct{})
}

// Counts reads the counters.
func (d *Disk) Counts() Counts {
	return Counts{d.slowed.Load(), d.stalled.Load(), d.failed.Load(), d.refused.Load()}
}

func (d *Disk) look() (Conditions, <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.now, d.changed
}

// sync is do under the present conditions.
func (d *Disk) sync(name string, do func() error) error {
	for stalled := false; ; {
		now, changed := d.look()
		switch {
		case now.Stall:
			if !stalled {
				stalled = true
				d.stalled.Add(1)
			}
			<-changed
			continue
		case now.FailSync:
			d.failed.Add(1)
			return fmt.Errorf("fdatasync %s: %w (injected)", name, syscall.EIO)
		case now.SyncLatency > 0:
			d.slowed.Add(1)
			time.Sleep(now.SyncLatency)
		}
		return do()
	}
}

// room says whether there is room: for new blocks (grows), or to write over old ones.
func (d *Disk) room(name string, grows bool) error {
	now, _ := d.look()
	if now.Full == FullWrite || now.Full == FullGrow && grows {
		d.refused.Add(1)
		return fmt.Errorf("write %s: %w (injected)", name, syscall.ENOSPC)
	}
	return nil
}
