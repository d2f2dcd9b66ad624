package engine

import (
	"time"

	"github.com/paxbench/paxbench/wire"
)

// Limits bounds the shell's queues. What crosses a wire or a disk is bounded in package wire. The zero value of a field means its
// default; only simulators have others, because bounds that are never reached are never tested.
type Limits struct {
	// PeerItems and PeerBytes bound the peer frames that wait for a group's loop; an answer to a Fetch, 128 frames, should fit. A
	// frame beyond is dropped, as the network may drop it; the protocol sends it again. Default 65536, 64 MiB.
	PeerItems int
	PeerBytes int

	// ClientBytes bounds the memory of the blocks that wait for a group's loop and of the queries that wait for
	// their answer; beyond it the answer is Busy. Each counts as clientItemBytes at least, which bounds their number:
	// 64 MiB / 2 KiB = 32768. The count is apart from the peers', so that clients cannot starve them. Default 64 MiB.
	ClientBytes int64

	// SyncBacklog bounds the bytes of a group's records, and of the messages gated by them, that wait for the disk. Beyond
	// it the loop drops the peer frames that would add to them (as the network may) until the disk has caught up, and
	// proposes nothing. What is under way when the bound is reached comes on top: one turn's. Default 128 MiB.
	SyncBacklog int64

	// ApplyBacklog bounds the bytes of chosen slots that wait for the state machine, in the same way. Default 128 MiB.
	ApplyBacklog int64

	// ReceiverItems and ReceiverBytes bound the pieces of a snapshot that wait to be written; a piece beyond is
	// dropped and sent again. Default 64, 4 MiB: twice what the sender keeps under way, at least.
	ReceiverItems int
	ReceiverBytes int

	// Sessions bounds the client sessions of a group. Part of the replicated state's meaning: it must be equal on every
	// node. Default wire.SessionsMax.
	Sessions int

	// Frame is the memory of the largest frame with a batch. It limits nothing: bounds are made with it. Default wire.FrameMax.
	Frame int64
}

// withDefaults returns l with every zero field set to its default.
func (l Limits) withDefaults() Limits {
	def(&l.PeerItems, 1<<16)
	def(&l.PeerBytes, 64<<20)
	def(&l.ClientBytes, 64<<20)
	def(&l.SyncBacklog, 128<<20)
	def(&l.ApplyBacklog, 128<<20)
	def(&l.ReceiverItems, 64)
	def(&l.ReceiverBytes, 4<<20)
	def(&l.Sessions, wire.SessionsMax)
	def(&l.Frame, wire.FrameMax)
	return l
}

// snapshotBytesMax bounds the log between two snapshots, however large they are (Group.snapshotDue). An auxiliary takes none.
func (c *Config) snapshotBytesMax() int64 {
	if c.auxiliary() {
		return c.SnapshotBytes
	}
	return snapshotStretch * c.SnapshotBytes
}

// logBytesMax bounds the chosen slots that a group keeps in memory: twice what snapshots let it grow to (snapshotBytesMax between two,
// RetainBytes behind the newest, pinFactor times that for peers that are being sent one, and whole slots), and what may wait to be
// applied. Beyond it nothing is taken until a snapshot has succeeded: a group whose snapshots fail comes to a halt and does not eat
// the memory.
func (c *Config) logBytesMax(l *Limits) int64 {
	return 2*c.snapshotBytesMax() + (pinFactor+2)*c.RetainBytes + l.ApplyBacklog + 4*l.Frame
}

// Bounds that are the same everywhere.
const (
	clientItemBytes = 2 << 10 // see Limits.ClientBytes

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

	// snapshotShare and snapshotStretch: a snapshot is due when the log has grown by SnapshotBytes, or by one in snapshotShare of the
	// last snapshot's size if that is more, but by no more than snapshotStretch times SnapshotBytes. Until then a byte of log costs at
	// most snapshotShare bytes of snapshots; the stretch bounds the log in memory.
	snapshotShare   = 2
	snapshotStretch = 4

	// snapshotsKept is how many snapshots of a group stay on the disk: the newest, and others to restart from should it turn
	// out to be damaged, as far as the log reaches back to them.
	snapshotsKept = 3

	// snapshotRetryTicks is how often a group looks whether a snapshot is due although no slot is applied: the last one
	// failed, or was still being written when the log filled up.
	snapshotRetryTicks = 50
)
