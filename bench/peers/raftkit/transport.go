// Package raftkit is what the adapters of several versions of etcd's raft have in common, which is everything but what speaks the
// types of one version (Raft): a replica's goroutines, a transport for messages of whatever type, and the operations under way.
// A program holds one version of a module, so each version's program links this package with its own Raft.
package raftkit

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net"
	"sync"
	"time"

	"github.com/paxbench/paxbench/batching"
)

// Codec is how messages of type M are written and read.
type Codec[M any] struct {
	To        func(M) uint64          // which node it is for
	Append    func([]byte, M) []byte  // appends the encoded form
	Unmarshal func([]byte) (M, error) // copies: its argument is free when it returns
}

// Transport has one outgoing connection to each peer. A message on it is u32 length | message. The writer marshals
// everything that is queued and writes it at once, as etcd's stream does with its buffered, flushed-when-idle writer.
type Transport[M any] struct {
	codec    Codec[M]
	listener net.Listener
	deliver  func(M)
	links    map[uint64]*link[M]
	stop     chan struct{}
	wait     sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{} // incoming; nil: closed
}

type link[M any] struct {
	addr  string
	queue *batching.Mailbox[M]
}

const (
	// mailboxItems bounds nothing here: items are put urgently, and the load has a bound of its own.
	mailboxItems = 1 << 16

	writeBytes = 256 << 10 // marshalled bytes after which is written
	readBytes  = 256 << 10
	frameMax   = 64 << 20
	redial     = 20 * time.Millisecond
)

// Listen starts the transport of node id; addrs are those of nodes 1 and up. deliver is called from a goroutine for each
// connection and must not block for long.
func Listen[M any](id int, addrs []string, codec Codec[M], deliver func(M)) (*Transport[M], error) {
	l, err := net.Listen("tcp", addrs[id-1])
	if err != nil {
		return nil, err
	}
	t := &Transport[M]{
		codec: codec, listener: l, deliver: deliver, links: map[uint64]*link[M]{}, stop: make(chan struct{}), conns: map[net.Conn]struct{}{},
	}
	for i, addr := range addrs {
		if i+1 != id {
			k := &link[M]{addr: addr, queue: batching.NewMailbox[M](mailboxItems, math.MaxInt)}
			t.links[uint64(i+1)] = k
			t.wait.Go(func() { t.write(k) })
		}
	}
	t.wait.Go(t.accept)
	return t, nil
}

// Send never blocks.
func (t *Transport[M]) Send(m M) {
	if k := t.links[t.codec.To(m)]; k != nil {
		k.queue.PutUrgent(m)
	}
}

// Close ends it; what is queued may be lost.
func (t *Transport[M]) Close() {
	close(t.stop)
	t.listener.Close()
	t.mu.Lock()
	for c := range t.conns {
		c.Close()
	}
	t.conns = nil
	t.mu.Unlock()
	t.wait.Wait()
}

// write sends what is queued, over connection after connection. What was under way when one broke is lost, and raft
// sends it again.
func (t *Transport[M]) write(k *link[M]) {
	var msgs []M
	var none M
	buf := make([]byte, 0, 2*writeBytes)
	var conn net.Conn
	defer func() {
		if conn != nil {
			conn.Close()
		}
	}()
	for {
		select {
		case <-k.queue.Wait():
		case <-t.stop:
			return
		}
		msgs = k.queue.Swap(msgs)
		if conn == nil {
			var err error
			if conn, err = net.DialTimeout("tcp", k.addr, time.Second); err != nil {
				conn = nil
				clear(msgs)
				select {
				case <-time.After(redial):
				case <-t.stop:
					return
				}
				continue
			}
		}
		buf = buf[:0]
		var err error
		for i := range msgs {
			buf = t.append(buf, msgs[i])
			msgs[i] = none
			if len(buf) > writeBytes || i == len(msgs)-1 {
				if _, e := conn.Write(buf); e != nil {
					err = e
				}
				buf = buf[:0]
			}
		}
		if err != nil {
			conn.Close()
			conn = nil
		}
	}
}

// append appends a message after its length.
func (t *Transport[M]) append(buf []byte, m M) []byte {
	at := len(buf)
	buf = t.codec.Append(append(buf, 0, 0, 0, 0), m)
	binary.LittleEndian.PutUint32(buf[at:], uint32(len(buf)-at-4))
	return buf
}

func (t *Transport[M]) accept() {
	for {
		c, err := t.listener.Accept()
		if err != nil {
			return // closed
		}
		t.mu.Lock()
		if t.conns == nil {
			t.mu.Unlock()
			c.Close()
			return
		}
		t.conns[c] = struct{}{}
		t.mu.Unlock()
		t.wait.Go(func() { t.read(c) })
	}
}

func (t *Transport[M]) read(c net.Conn) {
	defer func() {
		c.Close()
		t.mu.Lock()
		delete(t.conns, c)
		t.mu.Unlock()
	}()
	in := bufio.NewReaderSize(c, readBytes)
	var buf []byte
	for {
		var head [4]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return
		}
		n := int(binary.LittleEndian.Uint32(head[:]))
		if n > frameMax {
			panic(fmt.Sprintf("BUG: raftkit: a message of %d bytes", n))
		}
		if cap(buf) < n {
			buf = make([]byte, n+n/2)
		}
		if _, err := io.ReadFull(in, buf[:n]); err != nil {
			return
		}
		m, err := t.codec.Unmarshal(buf[:n])
		if err != nil {
			panic(fmt.Sprintf("BUG: raftkit: %v", err))
		}
		t.deliver(m)
	}
}
