// Package wire is the vocabulary of the system and its bytes: the ids, what replicas and clients say to each other, and
// what stands in the log. It imports no other package of this module; everything else imports it.
//
// # Rules
//
//   - All integers are little endian and unsigned. Lengths and counts are in bytes and pieces, never in words.
//   - What crosses a network or a disk is a frame. A log record is a frame too, and an Accept frame is the same bytes in
//     the leader's socket, in its own log and in each follower's log: encoded once, never re-encoded.
//   - A reader checks in this order: header and length (ParseHeader), CRC (CheckFrame), body (DecodeMessage,
//     DecodeRecord, DecodePropose ...). A decoder is given a frame whose CRC was checked. It must still survive any bytes:
//     a CRC is no proof of good faith.
//   - A decoder allocates nothing (ParseMembers: at most NodesMax ids). No claimed length or count is believed further
//     than the bytes at hand or a bound of limits.go. A header's length is held against what a frame of its kind can
//     have, so that a reader never waits for 16 MiB of heartbeat.
//   - What is decoded is a view into the frame's buffer and dies with it. Whoever keeps it does Buffer.Retain.
//   - Reserved bytes and words are zero, and a decoder refuses anything else. A frame between replicas, a log record, a
//     Reply, a Query or an Answer that a decoder accepts is what the encoder would make of the decoded fields, byte by
//     byte. Two things inside are free: the length prefixes of commands (a uvarint may be longer than it needs to be)
//     and the s2 form of a batch (one input has many).
//   - A decoder refuses field values that no sender can mean: slots beyond SlotMax, ballots without an owner, counts that
//     are not there. What depends on the receiver's state (a ballot that jumps, a slot too far ahead, a ballot that is not
//     its sender's) is for engine/paxos to refuse.
//   - A changed layout is a new Version. A frame of another version is refused, naming both; unknown kinds are refused,
//     never skipped. The vectors in testdata hold the layouts still: the tests fail if one byte changes.
//
// # Frame
//
//	 0       4 5 6 7 8               16      20      24      28      32
//	 | magic |v|k| n | cluster       | group | from  | length| CRC   | body ...
//
//	magic    u32  "PXB1"
//	v        u8   Version
//	k        u8   Kind
//	n        u16  incarnations at the body's end; 0 in every frame as long as no node was ever healed, and in most kinds
//	cluster  u64  ClusterID
//	group    u32  GroupID; 0 in RecMembers and in frames that concern the whole node
//	from     u32  NodeID of the sender; 0: a client
//	length   u32  of the body
//	CRC      u32  CRC32C (Castagnoli) over bytes 0..27 and the body
//
// An incarnation says which life of a node's memory is meant; they stand in ascending order of nodes, and are not 0:
//
//	0       4               12
//	| node  | number u64    |
//
// # Message: what replicas say (kinds 1 to 24)
//
//	32              40              48              56              64
//	 | ballot        | slot          | chosen        | word          | tail ...
//
//	ballot   u64  counter<<32 | node
//	slot     u64
//	chosen   u64  the sender's chosen prefix
//	word     u64  depends on the kind
//
//	kind            word             tail
//	 1 Prepare       scope 0 or 1     -
//	 2 Promise       trimmed          part u16 | parts u16 | first u64 | last u64 | votes
//	 3 Reject        promised ballot  -
//	 4 Accept        scope 0 to 2     batch
//	 5 Accepted      count of slots   -
//	 6 Heartbeat     round            stamp u64 | span u64, both in nanoseconds
//	 7 HeartbeatAck  round            as Heartbeat
//	 8 Fetch         until (slot)     -
//	 9 Learn         0                batch
//	10 Probe         0                -
//	11 ProbeAck      1 granted, 0 not -
//	12 SnapChunk     offset           total u64 | bytes of the snapshot file, up to SnapChunkBytes
//	13 SnapAck       offset received  total u64
//	14 Chosen        count of slots   -
//	15 HealRequest   0                -; ballot 0
//	16 HealReply     trimmed          as Promise; ballot = highest promised
//	18 Any           0                -
//	19 FastAccepted  count of slots   tag u64, of the first slot's batch
//	20 FastChosen    count of slots   tag u64, of the first slot's batch
//	21 Resign        0                -
//	22 Lease         promised ballot  step u32 | owner u32 | life u64 | span u64; chosen 0
//	23 Back          number of start  -; ballot and slot 0
//	24 Seen          as in Back       -; ballot 0: none
//	25 Held          0                -; ballot 0
//
// Votes stand back to back, in strictly ascending slot order, between the part's first and last slot:
//
//	0               8               16      20
//	| slot u64      | ballot u64    | n u32 | batch of n bytes
//
// # Batch: the value of a slot
//
//	 0 1 2   4       8       12      16
//	 |k|c| b | cmds  | raw   | store | payload
//
//	k      u8   0 no-op (everything else is 0 and there is no payload), 1 blocks, 2 blocks and a tag
//	c      u8   compression: 0 none, 1 s2
//	b      u16  blocks, at least one
//	cmds   u32  commands in all blocks
//	raw    u32  size of the blocks back to back, at most BatchBytesMax
//	store  u32  size of the payload: raw, or less when compressed
//
// The payload of a plain batch is its blocks back to back; of a compressed batch, one s2 block of that, which begins with
// the raw size as a uvarint. Behind the payload of a tagged batch stands its tag, u64, which store does not count.
//
// # Block: a client's run of commands
//
//	 0               8               16              24      28      32
//	 | session       | first         | acked         | count | length| commands
//
//	session  u64  SessionID; 0: none
//	first    u64  Seq of the first command; of a block that opens a session, a nonce
//	acked    u64  Seq below which the client has every reply
//	count    u32  commands
//	length   u32  bytes of the commands
//	command       uvarint length | that many bytes
//
// # Log records (kinds 64 to 67; and Accept and Learn, verbatim)
//
//	64 RecPromise   the message layout: ballot = promised; slot = the only one it is for, 0: all; chosen = own chosen prefix;
//	                word 0
//	65 RecTrim      the message layout: slot = trimmed up to here; ballot, chosen and word 0
//	66 RecMembers   group 0; the body is the node ids, u32 each, ascending
//	67 RecVote      the layout of Accept, chosen 0: a vote of another replica, adopted in healing
//
// # Client frames (kinds 32 to 39)
//
// A client connects, sends ClientPreamble and then frames, of which Hello is the first. Replies come in any order and
// carry the request's id.
//
//	32               40
//	 | request u64    | the rest of the body
//
//	32 Hello        status u64 = 0 | text, which no node reads yet
//	33 Welcome      status u64 | JSON
//	34 Propose      patience u64 | one block
//	35 Reply        status u8 | empty u8 | 0 u16 | leader u32 | slot u64 | index u32 | count u32 | session u64 | first u64
//	                | length u32 | 0 u32 | epoch u64 | results: count x (uvarint length | bytes)
//	36 Query        mode u64 | patience u64 | the question
//	37 Answer       status u32 | leader u32 | slot u64 | epoch u64 | the answer
//	38 Admin        status u64 = 0 | the operation's name
//	39 AdminReply   status u64 | JSON
//
// Empty says that every result is empty and that none is sent. Patience is in nanoseconds from the frame's arrival, up to
// PatienceMax; 0: no bound.
//
// # Buffers
//
// A Buffer is a counted run of bytes from a pool of its size class: Get gives one reference, Retain adds one, Release
// gives one back. Steady traffic allocates nothing. Built with the tag "invariants", a released buffer is overwritten, so
// that a view kept too long is nonsense at once, and writing to a shared buffer panics.
package wire
