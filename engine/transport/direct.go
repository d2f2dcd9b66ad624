package transport

import (
	"encoding/binary"
	"net"
	"sync/atomic"
	"syscall"

	"github.com/paxbench/paxbench/wire"
)

// direct is a connection's way around fastrpc's worker: what waits, if it is little, is written by the goroutine that calls
// Send, with one write that never blocks. Through the worker, the plain design, every frame cost a wake-up of another
// goroutine, mostly of another thread as well: at both ends of a round trip that was a third of what a command costs
// beside the disk.
//
// What the kernel does not take at once is kept in rest, and the token is armed to write it before anything else.
//
// Invariant: bytes are written to the connection by whoever holds the link's writing, whole messages at a time. fastrpc
// itself writes none: its handshake is swallowed (peerOut.Write), and a request id waits in its buffered writer until
// link.write flushes it.
type direct struct {
	sys   syscall.RawConn // nil: not possible
	flat  []byte          // the message
	wrote int             // of flat
	err   error
	try   func(fd uintptr) bool // writes flat, as one value: a closure allocates at each use

	rest   []byte      // of flat, under writing
	behind atomic.Bool // rest is not empty
}

// flatMax is the most memory that a connection keeps for a message, or for its rest.
const flatMax = 4 * writeBuffer

func (d *direct) open(raw net.Conn) {
	c, ok := raw.(syscall.Conn)
	if !ok || !canTryWrite {
		return
	}
	sys, err := c.SyscallConn()
	if err != nil {
		return // the connection is dead, as the next write will find
	}
	d.sys = sys
	d.flat = make([]byte, 0, writeBuffer)
	d.try = func(fd uintptr) bool {
		d.wrote, d.err = tryWrite(fd, d.flat)
		return true // not again: without it the runtime would wait until the socket has room
	}
}

// writeDirect writes what waits, or makes sure that somebody else does; false: the caller arms the token.
func (l *link) writeDirect() bool {
	c := l.slot.conn.Load() // another link's, if this one was closed meanwhile
	if c == nil || c.link != l || c.direct.sys == nil || c.direct.behind.Load() {
		return false
	}
	if _, bytes := l.queue.Len(); bytes > writeBuffer-8 || !l.writing.TryLock() {
		return false
	}
	defer l.writing.Unlock()
	d := &c.direct
	if d.behind.Load() || c.out.arm(false) != nil {
		return false
	}
	frames := l.queue.Swap(l.spare)
	l.spare = frames
	if len(frames) == 0 {
		return true // whoever took them writes them
	}
	d.flat = binary.LittleEndian.AppendUint32(append(d.flat[:0], 0, 0, 0, 0), uint32(len(frames)))
	for _, f := range frames {
		d.flat = append(d.flat, f.Bytes()...)
	}
	d.wrote, d.err = 0, nil
	if err := d.sys.Write(d.try); err != nil {
		d.err = err
	}
	if d.err != nil {
		c.raw.Close() // which fastrpc's reader notices; it ends the connection
		l.dropQueued(frames, DropDisconnected)
		return true
	}
	l.wrote(frames, len(d.flat))
	if d.wrote < len(d.flat) {
		d.rest = append(d.rest[:0], d.flat[d.wrote:]...)
		// Before the token is armed: it may be at its end, where released looks for what is left.
		d.behind.Store(true)
	}
	if cap(d.flat) > flatMax { // others have put more into the queue meanwhile
		d.flat = make([]byte, 0, writeBuffer)
	}
	return !d.behind.Load()
}

// writeRest writes what a direct write has left. The caller holds writing.
func (c *peerOut) writeRest() error {
	d := &c.direct
	if !d.behind.Load() {
		return nil
	}
	err := c.out.writeFlat(d.rest)
	if d.rest = d.rest[:0]; cap(d.rest) > flatMax {
		d.rest = nil
	}
	d.behind.Store(false)
	return err
}

// wrote counts frames that are on their way, and releases them.
func (l *link) wrote(frames []*wire.Buffer, bytes int) {
	for _, f := range frames {
		f.Release()
	}
	l.t.count.framesSent.Add(uint64(len(frames)))
	l.t.count.bytesSent.Add(uint64(bytes))
}
