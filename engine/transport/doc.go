// Package transport carries frames between the nodes of a cluster, and between clients and nodes.
//
// Transport is what the engine needs of a network: it may drop, delay, repeat and reorder frames, and it never blocks
// its caller. There are two: TCP, between processes, and Loopback, within one.
//
// # One port
//
// A node listens on one TCP port. The first 8 bytes of a connection say what it is; mux.go draws them.
//
//	"PAXPEER1"   a peer: fastrpc from here on, frames towards this node only
//	"PAXCLNT1"   a client: frames both ways, see ClientConn
//	anything     counted, closed, and logged at most once a second
//
// Between two nodes there are two connections, one in each direction, each opened by the sender of its frames.
//
// # To a peer: frames through fastrpc
//
//	Send -> Mailbox (bounded by items and bytes) -> token in fastrpc's queue -> fastrpc's writer -> one write
//
// fastrpc's queue holds no frames but one token, which stands for all that waits (slot). When its turn comes it writes
// all of it as one message, a count and the frames back to back. Frames are encoded once and shared by reference with
// the queues to other peers and with the log; runs of up to 16 KiB are copied once in user space to be one write, larger
// ones go to the kernel by one vectored write, uncopied. A run of up to 16 KiB that finds the way free is written by the
// goroutine that calls Send, in the same form and without waiting (direct): what the socket does not take is the token's.
//
// On the receiving side fastrpc's reader hands each frame to the handler as it is read, in place but for its first few
// KiB. Bad bytes close the connection, are counted by reason, and change nothing else.
//
// # What fastrpc does, and what is done about it
//
//   - Its Client and Server have no Close. Connections are wrapped and tracked, so that TCP.Close can close them and
//     knows when the last handler has returned. A client's two goroutines cannot be ended; slots use them again.
//   - It answers a failed dial or handshake with a sleep of 1 s. The Dial it is given does not return before a connection
//     is established and introduced, and retries by itself: after 1 ms, doubling to 200 ms, with jitter, and at once
//     when the peer connects to this node. A restarted peer is back within milliseconds.
//   - It keeps what waits for a peer that is away, for 10 s, and then loses it or delivers it stale. Here frames to such
//     a peer are dropped at once, and counted.
//   - Its queue is bounded by items only, and its worker and sweeper rotate it. One token has no order to lose.
//   - Its deadlines go by a clock of whole seconds, and an error of setting one costs the sleep of 1 s. They are not
//     used; a write that makes no progress for 10 s fails here, a frame must be complete within 30 s, keep-alive and
//     TCP_USER_TIMEOUT find dead machines.
//   - Its Server does not close a connection beyond its Concurrency. The number of connections handed to it is bounded
//     well below.
//   - It compresses by default (flate). Batches are compressed once by their leader, not once for each link.
//   - SendNowait calls the release function also when it returns false. The token's release is written for that.
//
// # Hostile bytes
//
// A length on the wire is never allocated: a frame's buffer starts at a constant (1 MiB for a peer, of which there is
// one connection each; 64 KiB for a client) and grows to at most twice what has come. Clients are bounded in all and
// for each address; connections that have not said what they are, in number and time, where a new one displaces the
// oldest; peers need neither budget. What waits for clients is bounded for each and for all together; one that does
// not read is cut.
//
// There is no authentication: whoever can reach the port and knows the cluster's id can pose as a peer.
package transport
