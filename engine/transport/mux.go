package transport

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/paxbench/paxbench/wire"
)

// The first bytes of a connection say what it is. A client sends the preamble and then frames:
//
//	0 "PAXCLNT1"
//
// A peer sends the preamble, which is also fastrpc's sniff header, the rest of fastrpc's handshake, and then who it is
// and whom it means, so that a connection of another cluster, of a stranger, or to an address that now belongs to
// another node is refused before fastrpc sees it. Little endian:
//
//	0 "PAXPEER1" | 8 version u8 | 9 compression u8 = 1 (none) | 10 TLS u8 = 0                       (fastrpc)
//	11 cluster u64 | 19 from u32 | 23 to u32 | 27 zero u32 | 31 CRC32C u32 over bytes 0 to 30         (ours)
//
// The answer to it is the first 11 bytes again, by fastrpc, and then nothing for ever; or a refusal (deny).
const (
	handshakeSize    = 11
	introductionSize = 35
)

func handshakeBytes() (h [handshakeSize]byte) {
	copy(h[:], wire.PeerPreamble)
	h[8], h[9], h[10] = wire.Version, 1, 0
	return h
}

// appendIntroduction appends what a peer sends first.
func appendIntroduction(dst []byte, c wire.ClusterID, from, to wire.NodeID) []byte {
	start := len(dst)
	h := handshakeBytes()
	dst = append(dst, h[:]...)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(c))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(from))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(to))
	dst = binary.LittleEndian.AppendUint32(dst, 0)
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[start:], wire.Castagnoli))
}

// opening is what the first bytes said.
type opening struct {
	peer bool
	from wire.NodeID // of a peer
}

// readOpening reads the first bytes from r and decides. Errors are *rejection, except for io.EOF before any byte.
// known says whether a node may be a peer here.
func readOpening(r io.Reader, c wire.ClusterID, self wire.NodeID, known func(wire.NodeID) bool) (opening, error) {
	var p [introductionSize]byte
	if n, err := io.ReadFull(r, p[:8]); err != nil {
		if n == 0 {
			return opening{}, err
		}
		return opening{}, &rejection{RejectGarbage, fmt.Errorf("%q and no more: %w", p[:n], err)}
	}
	switch string(p[:8]) {
	case wire.ClientPreamble:
		return opening{}, nil
	case wire.PeerPreamble:
	default:
		return opening{}, &rejection{RejectGarbage, fmt.Errorf("first bytes %q", p[:8])}
	}
	if _, err := io.ReadFull(r, p[8:]); err != nil {
		return opening{}, &rejection{RejectGarbage, fmt.Errorf("introduction cut short: %w", err)}
	}
	if p[8] != wire.Version {
		return opening{}, &rejection{RejectVersion, fmt.Errorf("peer speaks version %d, this build %d", p[8], wire.Version)}
	}
	if binary.LittleEndian.Uint32(p[31:]) != crc32.Checksum(p[:31], wire.Castagnoli) || p[9] != 1 || p[10] != 0 || binary.LittleEndian.Uint32(p[27:]) != 0 {
		return opening{}, &rejection{RejectGarbage, errors.New("damaged introduction")}
	}
	cluster := wire.ClusterID(binary.LittleEndian.Uint64(p[11:]))
	from, to := wire.NodeID(binary.LittleEndian.Uint32(p[19:])), wire.NodeID(binary.LittleEndian.Uint32(p[23:]))
	if cluster != c {
		return opening{}, &rejection{RejectCluster, fmt.Errorf("peer of cluster %#x, this is %#x", uint64(cluster), uint64(c))}
	}
	if to != self {
		return opening{}, &rejection{RejectNode, fmt.Errorf("peer %d looks for node %d, this is %d", from, to, self)}
	}
	if !known(from) {
		return opening{}, &rejection{RejectNode, fmt.Errorf("node %d is not a peer", from)}
	}
	return opening{peer: true, from: from}, nil
}

// undecided is an accepted connection that has not said what it is.
type undecided struct {
	raw     net.Conn
	evicted bool // under TCP.mu
}

// accept takes connections until the listener closes.
func (t *TCP) accept() {
	defer t.running.Done()
	pause := time.Duration(0)
	for {
		raw, err := t.listener.Accept()
		if err == nil {
			pause = 0
			t.admit(raw)
			continue
		}
		if t.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return
		}
		// Out of descriptors or memory, most likely: other connections will end, so trying again is right.
		t.reject(RejectAccept, "", err)
		pause = min(max(2*pause, time.Millisecond), 100*time.Millisecond)
		select {
		case <-time.After(pause):
		case <-t.ctx.Done():
			return
		}
	}
}

// admit starts to find out what a connection is. When too many are at that stage the oldest goes: a peer says what it
// is at once, so whoever has been silent longest is the least likely to be one.
func (t *TCP) admit(raw net.Conn) {
	u := &undecided{raw: raw}
	var oldest *undecided
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		raw.Close()
		return
	}
	if len(t.undecided) >= t.c.UndecidedMax {
		oldest = t.undecided[0]
		oldest.evicted = true
		t.undecided = t.undecided[1:]
	}
	t.undecided = append(t.undecided, u)
	t.running.Add(1)
	t.mu.Unlock()
	if oldest != nil {
		t.reject(RejectEvicted, addrOf(oldest.raw), errors.New("too many connections that say nothing"))
		oldest.raw.Close()
	}
	go t.decide(u)
}

// decide reads the first bytes and passes the connection on.
func (t *TCP) decide(u *undecided) {
	defer t.running.Done()
	tuneSocket(u.raw, clientUserTimeout(t.c.WriteTimeout))
	u.raw.SetReadDeadline(time.Now().Add(t.c.FirstBytesTimeout))
	o, err := readOpening(u.raw, t.c.Cluster, t.c.Self, t.known)
	if err == nil {
		err = u.raw.SetReadDeadline(time.Time{})
	}
	switch {
	case err != nil:
		t.refuse(u, err)
	case o.peer && t.settle(u):
		t.servePeer(u.raw, o.from)
	case o.peer: // evicted, and closed, while it spoke
	default:
		t.serveClient(u)
	}
}

// settle takes u from the undecided. false: it had been evicted.
func (t *TCP) settle(u *undecided) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, v := range t.undecided {
		if v == u {
			t.undecided = append(t.undecided[:i], t.undecided[i+1:]...)
			break
		}
	}
	return !u.evicted
}

// refuse ends a connection whose first bytes are not good. Who speaks our protocol is told why; it counts as undecided
// while it listens.
func (t *TCP) refuse(u *undecided, err error) {
	addr := addrOf(u.raw)
	r, blame := err.(*rejection)
	switch {
	case blame && r.reason != RejectGarbage:
		t.reject(r.reason, addr, err)
		deny(u.raw, r.reason)
		t.settle(u)
		return
	case !t.settle(u) || t.ctx.Err() != nil: // we closed it
	case blame:
		t.reject(r.reason, addr, err)
	default:
		t.reject(RejectSilent, addr, err)
	}
	u.raw.Close()
}

// serveClient makes a ClientConn of u, if the caps allow.
func (t *TCP) serveClient(u *undecided) {
	ip := ipOf(u.raw)
	t.mu.Lock()
	serve := t.clientServer
	var why Reject
	switch {
	case t.closed || u.evicted:
		t.mu.Unlock()
		t.settle(u)
		u.raw.Close()
		return
	case serve == nil:
		why = RejectNoServer
	case len(t.clients) >= t.c.ClientsMax:
		why = RejectTotal
	case t.perAddr[ip] >= t.c.ClientsPerAddrMax:
		why = RejectAddress
	default:
		c := t.newServerConn(u.raw)
		t.clients[c] = struct{}{}
		t.perAddr[ip]++
		t.running.Add(1)
		t.mu.Unlock()
		t.settle(u)
		c.start(serve, func() { t.clientGone(c, ip) })
		return
	}
	t.mu.Unlock()
	t.reject(why, addrOf(u.raw), fmt.Errorf("client refused with %d connected", t.Stats().Clients))
	deny(u.raw, why)
	t.settle(u)
}

// clientGone takes c out of the books.
func (t *TCP) clientGone(c *ClientConn, ip netip.Addr) {
	t.mu.Lock()
	delete(t.clients, c)
	if t.perAddr[ip]--; t.perAddr[ip] == 0 {
		delete(t.perAddr, ip)
	}
	t.mu.Unlock()
	t.running.Done()
}

func addrOf(c net.Conn) string {
	if a := c.RemoteAddr(); a != nil {
		return a.String()
	}
	return ""
}

// ipOf is the address that the cap per address counts by.
func ipOf(c net.Conn) netip.Addr {
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}
