package transport

import (
	"errors"

	"github.com/paxbench/paxbench/wire"
)

// Transport carries frames between the nodes of a cluster. It may drop, delay, repeat and reorder them, and it never
// blocks its caller: the protocol above repeats what matters. All methods may be called from any goroutine.
type Transport interface {
	// Send hands one frame to node to. It takes one reference to f whatever happens and never blocks. false: the
	// frame was certainly dropped (counted by reason in Stats); true promises nothing.
	Send(to wire.NodeID, f *wire.Buffer) bool

	// Serve installs the handler of frames that arrive and starts to deliver; it returns at once. It may be called
	// once. h gets one reference to f with each call, must not block, and is called by several goroutines at once,
	// but for one sender never by two at a time. The frame's CRC, cluster and sender have been checked. No call
	// begins after Close has returned.
	Serve(h func(from wire.NodeID, f *wire.Buffer)) error

	// Close stops everything and releases what waits. A second Close returns nil.
	Close() error

	// Stats is a reading of the counters since the start.
	Stats() Stats
}

// Errors of this package, apart from those that the network gives.
var (
	// ErrClosed: the transport or connection was closed on this side.
	ErrClosed = errors.New("transport: closed")
	// ErrServing: Serve was called twice.
	ErrServing = errors.New("transport: already serving")
	// ErrOverflow: the connection was closed because the other side does not read what it asked for.
	ErrOverflow = errors.New("transport: reader too slow, send queue overflowed")
)

// Drop says why a frame was not sent.
type Drop uint8

const (
	DropUnknown      Drop = iota // no such peer
	DropDown                     // the peer does not answer; frames are not kept for it
	DropFull                     // the queue to the peer or client is full
	DropDisconnected             // the connection ended, or could not be made, while the frame waited or was written
	DropClosed                   // this side was closed
	DropFault                    // a fault injected into a loopback network
	drops
)

var dropNames = [drops]string{"unknown_peer", "peer_down", "queue_full", "disconnected", "closed", "fault"}

func (d Drop) String() string { return dropNames[d] }

// Reject says why a connection was refused or cut.
type Reject uint8

const (
	RejectGarbage  Reject = iota // the first bytes are neither a peer's nor a client's
	RejectSilent                 // the first bytes did not come in time
	RejectEvicted                // too many connections have not said what they are; the oldest went
	RejectTotal                  // too many clients in all
	RejectAddress                // too many clients from one address
	RejectNoServer               // a client where none are served
	RejectCluster                // of another cluster
	RejectNode                   // a peer that is not of this cluster, or that wants another node
	RejectVersion                // speaks another version
	RejectReplaced               // a newer connection of the same peer came
	RejectHeader                 // a frame header that is none, or of the wrong kind here
	RejectLength                 // a frame longer than the limit, or longer than it may be here
	RejectCRC                    // a damaged frame
	RejectFrom                   // a frame that names another sender than its connection
	RejectSlow                   // a frame that did not become complete in time
	RejectCut                    // the stream ended inside a frame
	RejectOverflow               // the other side does not read
	RejectAccept                 // the system could not accept a connection (descriptors, memory)
	rejects
)

var rejectNames = [rejects]string{
	"garbage", "silent", "evicted", "total_cap", "address_cap", "no_server", "wrong_cluster", "wrong_node", "wrong_version", "replaced",
	"bad_header", "bad_length", "bad_crc", "spoofed_from", "slow_frame", "cut_frame", "slow_reader", "accept_failed",
}

func (r Reject) String() string { return rejectNames[r] }

// Stats are counters since the start of a transport.
type Stats struct {
	FramesSent     uint64 // to peers, written to a connection
	BytesSent      uint64 // of these frames; 8 bytes are added for each run of frames written together
	FramesReceived uint64 // from peers, handed to the handler
	BytesReceived  uint64

	ClientFramesSent     uint64 // buffers written to clients: one or more frames each
	ClientBytesSent      uint64
	ClientFramesReceived uint64
	ClientBytesReceived  uint64

	Connects    uint64 // connections to peers that were established
	Disconnects uint64 // of these, ended
	DialErrors  uint64
	PeersIn     int // connections from peers now
	Clients     int // connections from clients now
	Undecided   int // connections that have not said yet what they are

	Dropped  [drops]uint64   // frames, by Drop
	Rejected [rejects]uint64 // connections, by Reject
}

// DroppedTotal is the number of frames dropped for any reason.
func (s *Stats) DroppedTotal() (n uint64) {
	for _, v := range s.Dropped {
		n += v
	}
	return n
}

// RejectedTotal is the number of connections rejected for any reason.
func (s *Stats) RejectedTotal() (n uint64) {
	for _, v := range s.Rejected {
		n += v
	}
	return n
}

// Each calls fn with every counter and its name, for reports; those of drops and rejections only if not zero.
func (s *Stats) Each(fn func(name string, v uint64)) {
	fn("frames_sent", s.FramesSent)
	fn("bytes_sent", s.BytesSent)
	fn("frames_received", s.FramesReceived)
	fn("bytes_received", s.BytesReceived)
	fn("client_frames_sent", s.ClientFramesSent)
	fn("client_bytes_sent", s.ClientBytesSent)
	fn("client_frames_received", s.ClientFramesReceived)
	fn("client_bytes_received", s.ClientBytesReceived)
	fn("connects", s.Connects)
	fn("disconnects", s.Disconnects)
	fn("dial_errors", s.DialErrors)
	fn("peers_in", uint64(s.PeersIn))
	fn("clients", uint64(s.Clients))
	fn("undecided", uint64(s.Undecided))
	for i, v := range s.Dropped {
		if v != 0 {
			fn("dropped_"+Drop(i).String(), v)
		}
	}
	for i, v := range s.Rejected {
		if v != 0 {
			fn("rejected_"+Reject(i).String(), v)
		}
	}
}
