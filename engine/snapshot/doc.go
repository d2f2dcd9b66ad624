// Package snapshot keeps snapshots of replicas in files: written so that a crash at any step leaves the old file or
// the new one, checked byte for byte before anything is read out of them, and copied between nodes in pieces that may
// be lost, repeated or interrupted.
//
// # File
//
//	snap-<group>-<slot>       decimal, padded, so that names sort by slot
//
//	offset 0   magic "PAXSNAP1"
//	       8   u32 version (1)
//	      12   u32 group
//	      16   u64 cluster
//	      24   u64 slot      the state holds every slot up to here
//	      32   u64 ballot    of that slot, as the writer learned it
//	      40   20 bytes zero
//	      60   u32 CRC32C of the bytes 0..59
//	      64   zstd stream: what the body function wrote
//	  -64..    u64 raw length: bytes of the body before compression
//	  -56..    u64 stream length: bytes of the zstd stream
//	  -48..    SHA-256 of everything before it: header, stream, the two lengths
//	  -16..    u64 file length
//	   -8..    magic "PAXSEND1"
//
// All integers are little endian. The lengths stand at the end because the stream is written as it is produced: a
// snapshot is never held in memory and no byte is written twice. Every byte is covered: the two magics and the file
// length by comparison, all others by the hash. The header has a CRC of its own so that a receiver can refuse a
// foreign file at its first piece instead of its last.
//
// # Crash states
//
// Write produces the file under a temporary name, syncs it, renames it, and syncs the directory, in that order
// (rename before sync can leave a complete name on incomplete bytes). Crashes leave:
//
//	before the rename               a temporary file, which nobody reads and Clean removes
//	rename done, directory unsynced the old directory or the new one
//	after the directory sync        the new file
//
// Latest does not trust any of this: a file counts only if its whole content verifies and its name agrees with its
// header, and otherwise the next older one is taken. The name that it finds may still be in memory only, after a crash of
// the process between rename and directory sync: Clean syncs the directory, and a start acts on what Latest gave after
// Clean. A crashed receiver leaves a part file with an unknown tail; the copy goes on from its length, and if the tail was
// garbage the hash at the end says so and the copy starts anew. A part file whose sync failed is removed: what the kernel
// shows of it need not be what the disk has, and no later sync would say so.
//
// The tests interrupt and fail every operation, and damage every bit, sector and length (go test -run Enumerate -v).
//
// Nothing is allocated from a length that a file or a peer claims: buffers are of fixed size, the decoder's window is
// bounded by WindowBytes, and a body ends with an error as soon as it exceeds its stated raw length.
package snapshot
