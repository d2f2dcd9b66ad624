// Package history keeps what clients of a cluster did and were told: the record that a claim of linearizability can be
// checked against. Package judge, below, checks it.
//
// # What is recorded
//
// A Call is one submission: a block of commands, a single command, or a query. Of each call that changes the log there is a
// short record: client, session, sequence numbers, slot and index of the reply, when it was sent and when its outcome was
// known. That is enough to hold the order of slots against real time, and to find every acknowledged block in the logs. Of a
// sample of keys every single operation is recorded with its arguments and its result (Op), whoever did it: enough to
// execute the key's history again. Values are kept as 8 bytes: themselves, if they are of 8 bytes (so that what incr adds up
// can be computed), else their hash.
//
// Calls that certainly were not done are left out: they have no effect, and if one shows, it is an effect of nothing that
// is recorded. Calls of unknown outcome are kept; they may have taken effect at any time after they were sent, or not.
//
// # The file
//
//	frame*: kind u8 | 3 zero bytes | payload bytes u32 | plain bytes u32 | calls u32 | CRC32C u32 of all before and the payload
//	        | payload: the plain bytes, compressed by zstd
//	kind 1  head: JSON (Head), the first frame
//	kind 2  calls, in the encoding of codec.go; times, slots and sequence numbers as differences, which begin anew with each
//	        frame
//	kind 3  tail: JSON (Tail), the last one: a file without it was cut
//
// All integers little endian. Calls of different buffers come in any order.
//
// # What it costs
//
// A Buffer belongs to one worker of the load: Add encodes into its memory and takes no lock, no clock reading and no
// allocation. Full buffers go over a bounded queue to one goroutine that compresses and writes them. If that cannot follow,
// or if more operations were recorded in full than Limits.Ops, the recording of operations ends at a point in time (Tail.Cut)
// up to which it is complete; calls that do not fit in the queue are dropped and counted. The load never waits.
package history
