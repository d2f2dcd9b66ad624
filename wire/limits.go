package wire

// Every bound on sizes and counts of what crosses a wire or a disk. A decoder refuses what exceeds them
// before it allocates anything; a queue that is full answers Busy.
const (
	// FrameMax bounds one frame, header included. It holds the largest Accept: a full batch with its headers.
	FrameMax = 16 << 20

	// CommandBytesMax bounds one command.
	CommandBytesMax = 1 << 20

	// BlockBytesMax bounds the command bytes of one block: one largest command and its length prefix fit.
	BlockBytesMax = CommandBytesMax + 16

	// BlockCommandsMax bounds the commands of one block.
	BlockCommandsMax = 1 << 16

	// BatchBlocksMax bounds the blocks of one batch. SessionID keeps a block's index in 16 bits.
	BatchBlocksMax = 1<<16 - 1

	// BatchBytesMax bounds the blocks of one batch, uncompressed: what a decoder of compressed batches may
	// allocate. FrameMax minus the largest headers, rounded down.
	BatchBytesMax = 12 << 20

	// PatienceMax bounds how long a request may wait at a node, in nanoseconds: a day, so that no sum of a time and a
	// patience overflows.
	PatienceMax = 24 * 3600 * 1_000_000_000

	// SlotMax is the highest slot: SessionID keeps a slot in 48 bits. At a million slots a second it is reached
	// after nine years of writing; decoders refuse what lies beyond, so that no sum of a slot and a count
	// overflows anywhere.
	SlotMax = 1<<48 - 1

	// WindowMax bounds the slots in flight of one group.
	WindowMax = 1024

	// AcceptedMax bounds the slots that one Accepted tells of: more than any window, because an acceptor may still
	// tell of the last window while the next one comes in.
	AcceptedMax = 2 * WindowMax

	// SlotsAheadMax bounds how far above its chosen prefix an acceptor takes votes: a frame naming a slot
	// beyond is dropped, so that a senseless slot cannot make it allocate (FAULTS.md F40).
	SlotsAheadMax = 1 << 16

	// BallotJumpMax bounds how far a ballot's counter may exceed the highest one seen here: a frame beyond is
	// dropped, so that a senseless ballot cannot exhaust the counter (FAULTS.md F40).
	BallotJumpMax = 1 << 20

	// PromiseBytesMax is where a promise is cut into parts: the encoded votes of one part stay below it,
	// except that a part holds at least one vote.
	PromiseBytesMax = 1 << 20

	// PromisePartsMax bounds the parts of one promise.
	PromisePartsMax = 1 << 12

	// SnapChunkBytes is the size of a piece of a snapshot on the wire.
	SnapChunkBytes = 256 << 10

	// SnapBytesMax bounds a snapshot file.
	SnapBytesMax = 1 << 40

	// LeaseSpanMax bounds a lease, in nanoseconds: 73 minutes.
	LeaseSpanMax = 1 << 42

	// StampMax bounds a clock, in nanoseconds: no sum of a stamp and a span overflows.
	StampMax = 1 << 62

	// NodesMax bounds the nodes of a cluster: sets of nodes are 64-bit masks.
	NodesMax = 64

	// AddrBytesMax bounds a node's address.
	AddrBytesMax = 255

	// SessionsMax bounds the client sessions of one group; the least recently used one is evicted.
	// Part of the replicated state's meaning: it must be equal on every node.
	SessionsMax = 1 << 14

	// SessionBlocksMax bounds the blocks of one session that are in flight or whose replies are not yet
	// acknowledged. Part of the replicated state's meaning.
	SessionBlocksMax = 256

	// SessionReplyBytesMax bounds the reply bytes kept for one session's retries.
	// Part of the replicated state's meaning.
	SessionReplyBytesMax = 8 << 20

	// QueryBytesMax bounds a query's request and its answer.
	QueryBytesMax = 4 << 20

	// ResultsBytesMax bounds the results in one reply: what remains of a frame.
	ResultsBytesMax = FrameMax - ReplySize

	// HelloBytesMax bounds the text of Hello, the one frame taken from a client that nothing is known of.
	HelloBytesMax = 1 << 10

	// AdminBytesMax bounds the name of an administrative operation.
	AdminBytesMax = 4 << 10

	// ControlBytesMax bounds the text of Welcome and AdminReply.
	ControlBytesMax = 4 << 20

	// CompressMin is the raw size in bytes below which a batch is never compressed.
	CompressMin = 512
)

// The sums behind the bounds. A line does not compile when its sum is negative.
const (
	_ = uint(FrameMax - (AcceptHeadroom + BatchHeaderSize + BatchBytesMax + TagSize))                                        // Accept, Learn
	_ = uint(FrameMax - (AcceptHeadroom + promiseTail + voteHeaderSize + BatchHeaderSize + BatchBytesMax + incarnationsMax)) // a promise of one vote
	_ = uint(FrameMax - (AcceptHeadroom + promiseTail + PromiseBytesMax + incarnationsMax))                                  // a promise of many
	_ = uint(BatchBytesMax - (BlockHeaderSize + BlockBytesMax))                                                              // any block fits a batch
	_ = uint(BlockBytesMax - (3 + CommandBytesMax))                                                                          // any command fits a block
	_ = uint(FrameMax - (HeaderSize + answerSize + QueryBytesMax))                                                           // Query, Answer
	_ = uint(FrameMax - (HeaderSize + controlSize + ControlBytesMax))                                                        // Welcome, AdminReply
)
