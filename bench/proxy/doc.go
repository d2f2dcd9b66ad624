// Package proxy puts a network that can be broken between processes of one machine: TCP proxies on loopback, one for
// each ordered pair of ends, so that each direction between two ends has conditions of its own.
//
// # What a proxy can show, and what not
//
// A proxy ends TCP on both of its sides: the sender's bytes are acknowledged by this machine's kernel, not by the
// receiver's. That is what makes a cut of one direction possible at all: between two real hosts it would stop the
// acknowledgements of the other direction as well, and sooner or later both would stand still. Here one direction of a
// connection can be dead for as long as one likes while the other one flows.
//
// What becomes of the bytes of a dead direction is the caller's choice (Cut):
//
//   - Hold: as if packets were lost. TCP keeps what was sent and delivers it when the network is back, late and in
//     order. New connections seem to come up, and are silent. An end of the stream (FIN, RST) is held like the bytes,
//     so the other side has half-open connections meanwhile.
//   - Swallow: a black hole, half-open for good: bytes are acknowledged and thrown away. A stream with a hole must
//     never go on, so at the heal a connection that lost bytes is reset.
//   - Refuse: connections are reset, and new ones as soon as they were made: an RST in the middle of whatever was on
//     its way.
//
// Latency delays each piece that was read, jitter adds a random part of it; pieces of one stream never overtake each
// other, as in TCP. Making a connection costs one round trip more. Bandwidth is that of the direction between two ends, all its
// connections together. A connection has at most about 1 MiB under way in each direction: with a latency of L
// it carries no more than that each L, as with a TCP window of that size. Nothing is reordered, repeated or corrupted
// within a stream; that is the simulator's field.
//
// A connection to an end that does not listen is accepted and then reset, where without a proxy it were refused.
package proxy
