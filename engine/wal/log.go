package wal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/paxbench/paxbench/engine/wal/vfs"
	"github.com/paxbench/paxbench/wire"
	"github.com/paxbench/paxbench/wire/plant"
)

// Log is a node's log: the records of all its groups. The order of calls is Open, Replay, then Append, Sync and Trim as
// often as needed, then Close.
//
// All of these are called by one goroutine, the log's owner. Stats, Err, Members and Identity may be called from anywhere.
// The first write or sync that fails ends the log: that error is returned by every later call, and nothing is tried
// again, because what a failed sync left behind cannot be known. Only a full disk does not end it (FullError).
type Log struct {
	c    Config
	lock io.Closer
	id   Identity

	state   state
	verdict Verdict
	suspect mark // no reason: it is not
	sticky  atomic.Pointer[error]
	members atomic.Pointer[[]wire.NodeID]

	// syncMu is held through each fdatasync of the active segment and through each change of the active segment, so that
	// the background sync of an interval policy never works on a closed file.
	syncMu   sync.Mutex
	active   active
	appended atomic.Uint64 // LSN of the last record written. Invariant: durable <= appended.
	durable  atomic.Uint64 // LSN of the last record under a finished fdatasync

	sealed []segment // full segments that are still needed, oldest first, without the active one
	oldest uint64    // id of the oldest segment still needed
	groups groupSet

	hdr  [groupHeaderSize]byte
	mark [groupHeaderSize]byte
	vec  [][]byte

	keeper   *keeper
	stopSync chan struct{} // interval policy: ends the background sync
	syncDone chan struct{}
	stats    stats
}

type state uint8

const (
	opened state = iota
	running
	closed
)

// active is the segment that is appended to.
type active struct {
	id    uint64
	size  int64
	file  vfs.File
	seed  uint32
	pos   int64    // where the next group goes: a multiple of the sector size, at most size - sealSize
	next  wire.LSN // of the next record
	chain uint32   // CRC of the last group's header
	open  openGroup
}

// openGroup is the last group while it may still grow: it was appended after the last sync, under policy Always.
// Several Appends before one Sync make one group, so that there is never more than one group which nobody may
// acknowledge yet: a damaged group with any group after it is then known to have been acknowledged (doc.go).
type openGroup struct {
	start  int64
	header groupHeader // Count 0: no group is open
}

// segment is a full one.
type segment struct {
	id   uint64
	size int64
	max  []slotMax
}

// slotMax is the highest slot of a group's votes in a segment.
type slotMax struct {
	group wire.GroupID
	slot  wire.Slot
}

// Open opens the log in c.Dir, or with c.Bootstrap makes it. It takes the lock and checks whose log it is; the
// records are read and checked by Replay. Errors: the faults of c, ErrInUse, ErrNotBootstrapped, ErrHistory,
// *IdentityError, *CorruptError and *VersionError (of the identity file), and those of the file system. After an error
// nothing is held, and nothing that was there is changed.
func Open(c Config) (*Log, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	if plant.Is(plant.EmptyDirectoryVotes) && !c.Bootstrap {
		names, _ := c.FS.List(c.Dir)
		c.Bootstrap = len(names) == 0
	}
	if c.Bootstrap {
		if err := c.FS.MkdirAll(c.Dir); err != nil {
			return nil, fmt.Errorf("wal: make directory: %w", err)
		}
	} else if _, err := c.FS.List(c.Dir); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("wal: %s does not exist: %w: a node that had one starts once with --rejoin and comes back without a vote;"+
			" for a new node bootstrap it", c.Dir, ErrNotBootstrapped)
	} else if err != nil {
		return nil, fmt.Errorf("wal: list: %w", err)
	}
	lock, err := takeLock(&c)
	if err != nil {
		return nil, err
	}
	l := &Log{c: c, lock: lock}
	l.keeper = newKeeper(l)
	if l.id, err = openIdentity(&c); err != nil {
		lock.Close()
		return nil, err
	}
	l.members.Store(&l.id.Members)
	l.groups.init()
	return l, nil
}

func takeLock(c *Config) (io.Closer, error) {
	lock, err := c.FS.Lock(filepath.Join(c.Dir, lockName))
	var held *vfs.LockedError
	if errors.As(err, &held) && held.PID != 0 {
		return nil, fmt.Errorf("wal: %s: %w by process %d", c.Dir, ErrInUse, held.PID)
	}
	if errors.Is(err, vfs.ErrLocked) {
		return nil, fmt.Errorf("wal: %s: %w", c.Dir, ErrInUse)
	}
	if err != nil {
		return nil, fmt.Errorf("wal: lock: %w", err)
	}
	return lock, nil
}

// openIdentity checks the identity of the log that is there, or makes a new log.
func openIdentity(c *Config) (Identity, error) {
	id, ok, err := readIdentity(c.FS, c.Dir)
	if err != nil {
		return id, err
	}
	names, err := c.FS.List(c.Dir)
	if err != nil {
		return id, fmt.Errorf("wal: list: %w", err)
	}
	segments := slices.ContainsFunc(names, func(n string) bool { _, ok := parseName(n, segmentPrefix); return ok })
	switch {
	case c.Bootstrap && ok:
		return id, fmt.Errorf("wal: %s: %w (of node %d): start it without bootstrap", c.Dir, ErrHistory, id.Node)
	case c.Bootstrap:
		return bootstrap(c, names)
	case ok && !segments:
		return id, &CorruptError{File: filepath.Join(c.Dir, identityName),
			Reason: "the log was made, but none of its segments is here"}
	case ok:
		return id, id.check(c)
	case segments:
		return id, &IdentityError{c.Dir, "the segments are here but not the identity file: part of the directory is lost; start the node once with --rejoin"}
	}
	return id, fmt.Errorf("wal: %s: %w: a node that had a log starts once with --rejoin and comes back without a vote; for a new node bootstrap it",
		c.Dir, ErrNotBootstrapped)
}

// bootstrap makes a log: first its first segment, then the identity file, whose rename is the moment the log exists.
// A crash before that leaves at most an empty first segment, which the next bootstrap replaces.
func bootstrap(c *Config, names []string) (Identity, error) {
	id := Identity{Cluster: c.Cluster, Node: c.Node, Members: c.Members, Protocol: c.Protocol}
	for _, n := range names {
		if err := clearLeftover(c, id, n); err != nil {
			return id, err
		}
	}
	return id, makeLog(c, id)
}

// clearLeftover removes what a bootstrap that a crash cut short may have left under this name, and refuses anything that
// may be history.
func clearLeftover(c *Config, id Identity, name string) error {
	path := filepath.Join(c.Dir, name)
	_, spare := parseName(name, sparePrefix)
	switch seg, isSegment := parseName(name, segmentPrefix); {
	case isSegment && seg == 1 && unused(c.FS, path, id):
	case isSegment || spare || name == suspectName:
		return fmt.Errorf("wal: %s: %w: %s is in the way", c.Dir, ErrHistory, name)
	case filepath.Ext(name) != tmpSuffix:
		return nil
	}
	if err := c.FS.Remove(path); err != nil {
		return fmt.Errorf("wal: bootstrap: %w", err)
	}
	return nil
}

// unused says whether the first segment holds nothing but its opening group.
func unused(fsys FS, path string, id Identity) bool {
	w, err := openWalker(fsys, path, 1, id, nil)
	if err != nil {
		return false
	}
	end, err := w.walk(visitor{})
	return err == nil && !end.sealed && end.reason == "" && w.groups == 1 && len(w.later(w.off)) == 0
}

// Identity says whose log this is.
func (l *Log) Identity() Identity { return l.id }

// Members is the newest membership on record, ascending; not to be changed.
func (l *Log) Members() []wire.NodeID { return *l.members.Load() }

// Verdict says how the log was found. Valid after Replay.
func (l *Log) Verdict() Verdict { return l.verdict }

// Err is the error that ended the log, or nil.
func (l *Log) Err() error {
	if e := l.sticky.Load(); e != nil {
		return *e
	}
	return nil
}

// fail records the error that ends the log and returns the one that did: the first.
func (l *Log) fail(err error) error {
	l.sticky.CompareAndSwap(nil, &err)
	return l.Err()
}

// failWrite is fail for a write that may be repeated: a full disk is not the end.
func (l *Log) failWrite(err error) error {
	if errors.Is(err, syscall.ENOSPC) {
		return &FullError{Err: err}
	}
	return l.fail(err)
}

// ready returns why the log cannot be used, or nil.
func (l *Log) ready() error {
	if err := l.Err(); err != nil {
		return err
	}
	switch l.state {
	case opened:
		panic("BUG: wal: the log is used before Replay")
	case closed:
		return ErrClosed
	}
	return nil
}

// start begins the background work after a good Replay.
func (l *Log) start() {
	l.state = running
	if l.c.Foreground {
		return
	}
	l.keeper.start()
	if l.c.Policy.Mode == Interval {
		l.stopSync, l.syncDone = make(chan struct{}), make(chan struct{})
		go l.syncEvery(l.c.Policy.Every)
	}
}

// syncEvery is the background sync of an interval policy.
func (l *Log) syncEvery(every time.Duration) {
	defer close(l.syncDone)
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-l.stopSync:
			return
		case <-t.C:
			if l.Err() != nil || l.flush() != nil {
				return
			}
		}
	}
}

// Close syncs what is not synced yet, under every policy, ends the background work, and gives up the lock. It returns the
// log's final error, if there is one; the log is closed in any case. A second Close does nothing.
func (l *Log) Close() error {
	if l.state == closed {
		return nil
	}
	if l.stopSync != nil {
		close(l.stopSync)
		<-l.syncDone
	}
	l.keeper.close()
	err := l.Err()
	if l.active.file != nil {
		if err == nil {
			err = l.flush()
		}
		err = errors.Join(err, l.active.file.Close())
	}
	l.state = closed
	l.groups.release()
	return errors.Join(err, l.lock.Close())
}
