package etcdraft

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net"
	"sync"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/paxbench/paxbench/batching"
)

// transport has one outgoing connection to each peer. A message on it is u32 length | raftpb.Message. The writer marshals
// everything that is queued and writes it at once, as etcd's stream does with its buffered, flushed-when-idle writer.
type transport struct {
	listener net.Listener
	deliver  func(raftpb.Message)
	links    map[uint64]*link
	stop     chan struct{}
	wait     sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{} // incoming; nil: closed
}

type link struct {
	addr  string
	queue *batching.Mailbox[raftpb.Message]
}

const (
	writeBytes = 256 << 10 // marshalled bytes after which is written
	readBytes  = 256 << 10
	frameMax   = 64 << 20
	redial     = 20 * time.Millisecond
)

func listen(id int, addrs []string, deliver func(raftpb.Message)) (*transport, error) {
	l, err := net.Listen("tcp", addrs[id-1])
	if err != nil {
		return nil, err
	}
	t := &transport{
		listener: l, deliver: deliver, links: map[uint64]*link{}, stop: make(chan struct{}), conns: map[net.Conn]struct{}{},
	}
	for i, addr := range addrs {
		if i+1 != id {
			k := &link{addr: addr, queue: batching.NewMailbox[raftpb.Message](mailboxItems, math.MaxInt)}
			t.links[uint64(i+1)] = k
			t.wait.Go(func() { t.write(k) })
		}
	}
	t.wait.Go(t.accept)
	return t, nil
}

// send never blocks.
func (t *transport) send(m raftpb.Message) {
	if k := t.links[m.To]; k != nil {
		k.queue.PutUrgent(m)
	}
}

func (t *transport) close() {
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
func (t *transport) write(k *link) {
	var msgs []raftpb.Message
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
			buf = appendMessage(buf, &msgs[i])
			msgs[i] = raftpb.Message{}
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

func (t *transport) accept() {
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

func (t *transport) read(c net.Conn) {
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
			panic(fmt.Sprintf("BUG: etcdraft: a message of %d bytes", n))
		}
		if cap(buf) < n {
			buf = make([]byte, n+n/2)
		}
		if _, err := io.ReadFull(in, buf[:n]); err != nil {
			return
		}
		var m raftpb.Message
		if err := unmarshal(buf[:n], &m); err != nil {
			panic(fmt.Sprintf("BUG: etcdraft: %v", err))
		}
		t.deliver(m)
	}
}
