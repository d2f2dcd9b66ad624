package engine

import "time"

// Bounds of the shell's queues. What crosses a wire or a disk is bounded in package wire.
const (
	// peerItemsMax and peerBytesMax bound the peer frames that wait for a group's loop. A frame beyond is dropped,
	// as the network may drop it; the protocol sends it again.
	peerItemsMax = 1 << 16
	peerBytesMax = 64 << 20

	// clientBytesMax bounds the memory of the blocks that wait for a group's loop and of the queries that wait for
	// their answer; beyond it the answer is Busy. Each counts as clientItemBytes at least, which bounds their number:
	// 64 MiB / 2 KiB = 32768. The count is apart from the peers', so that clients cannot starve them.
	clientBytesMax  = 64 << 20
	clientItemBytes = 2 << 10

	// syncBacklogMax bounds the bytes of a group's records that wait for the disk. Beyond it the loop drops the peer
	// frames that would become records (as the network may) until the disk has caught up.
	// What is under way when the bound is reached comes on top: one turn's frames, at most peerBytesMax.
	syncBacklogMax = 128 << 20

	// applyBacklogMax bounds the bytes of chosen slots that wait for the state machine, in the same way.
	applyBacklogMax = 128 << 20

	// receiverItemsMax and receiverBytesMax bound the pieces of a snapshot that wait to be written; a piece beyond is
	// dropped and sent again. Twice what the sender keeps under way.
	receiverItemsMax = 64
	receiverBytesMax = 4 << 20

	// transferAcksMax bounds the acknowledgements that wait for a sender of a snapshot.
	transferAcksMax = 16

	// transferRetry is how long a sender of a snapshot waits for an acknowledgement before it sends again, and
	// transferGiveUp how long it goes on without any.
	transferRetry  = 500 * time.Millisecond
	transferGiveUp = 15 * time.Second

	// transferGrace is how long after its end a transfer still keeps the log from being trimmed past its snapshot:
	// the receiver has to restore it and to ask for what follows. pinFactor bounds what is kept for transfers at all,
	// in multiples of Config.RetainBytes.
	transferGrace = 10 * time.Second
	pinFactor     = 4
)
