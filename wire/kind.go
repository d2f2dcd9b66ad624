package wire

import "strconv"

// Kind says what a frame is.
type Kind uint8

// Frames between replicas (see Message).
const (
	KindPrepare Kind = 1 + iota
	KindPromise
	KindReject
	KindAccept
	KindAccepted
	KindHeartbeat
	KindHeartbeatAck
	KindFetch
	KindLearn
	KindProbe
	KindProbeAck
	KindSnapChunk
	KindSnapAck
	kindPeerEnd
)

// Frames between clients and nodes (see client.go).
const (
	KindHello Kind = 32 + iota
	KindWelcome
	KindPropose
	KindReply
	KindQuery
	KindAnswer
	KindAdmin
	KindAdminReply
	kindClientEnd
)

// Frames that live in the log only. Accept and Learn frames are log records as well, verbatim (see Record).
const (
	KindRecPromise Kind = 64 + iota
	KindRecTrim
	KindRecMembers
	kindRecEnd
)

// kindInfo is what the header's check knows of a kind: its name, and how long a body of it can be, in bytes. Because
// the length is held against the kind, a header that lies can make a reader wait for, or allocate, no more than an
// honest frame of that kind: 1 KiB for the first frame of a client, 32 bytes for a heartbeat.
type kindInfo struct {
	name     string
	min, max uint32
}

// An array and not a map: a name is looked up without hashing, and the length check is on the way of every frame.
var kinds = [kindRecEnd]kindInfo{
	KindPrepare:      {"Prepare", MessageSize, MessageSize},
	KindPromise:      {"Promise", MessageSize + promiseTail, FrameMax - HeaderSize},
	KindReject:       {"Reject", MessageSize, MessageSize},
	KindAccept:       {"Accept", MessageSize + BatchHeaderSize, MessageSize + BatchHeaderSize + BatchBytesMax},
	KindAccepted:     {"Accepted", MessageSize, MessageSize},
	KindHeartbeat:    {"Heartbeat", MessageSize, MessageSize},
	KindHeartbeatAck: {"HeartbeatAck", MessageSize, MessageSize},
	KindFetch:        {"Fetch", MessageSize, MessageSize},
	KindLearn:        {"Learn", MessageSize + BatchHeaderSize, MessageSize + BatchHeaderSize + BatchBytesMax},
	KindProbe:        {"Probe", MessageSize, MessageSize},
	KindProbeAck:     {"ProbeAck", MessageSize, MessageSize},
	KindSnapChunk:    {"SnapChunk", MessageSize + snapTail, MessageSize + snapTail + SnapChunkBytes},
	KindSnapAck:      {"SnapAck", MessageSize + snapTail, MessageSize + snapTail},

	KindHello:      {"Hello", controlSize, controlSize + HelloBytesMax},
	KindWelcome:    {"Welcome", controlSize, controlSize + ControlBytesMax},
	KindPropose:    {"Propose", requestSize + BlockHeaderSize, requestSize + BlockHeaderSize + BlockBytesMax},
	KindReply:      {"Reply", replySize, replySize + ResultsBytesMax},
	KindQuery:      {"Query", querySize, querySize + QueryBytesMax},
	KindAnswer:     {"Answer", answerSize, answerSize + QueryBytesMax},
	KindAdmin:      {"Admin", controlSize, controlSize + AdminBytesMax},
	KindAdminReply: {"AdminReply", controlSize, controlSize + ControlBytesMax},

	KindRecPromise: {"RecPromise", MessageSize, MessageSize},
	KindRecTrim:    {"RecTrim", MessageSize, MessageSize},
	KindRecMembers: {"RecMembers", 4, 4 * NodesMax},
}

// known says whether this version has frames of this kind.
func (k Kind) known() bool { return k < kindRecEnd && kinds[k].max != 0 }

// String is the kind's name.
func (k Kind) String() string {
	if k.known() {
		return kinds[k].name
	}
	return "Kind(" + strconv.Itoa(int(k)) + ")"
}

// IsPeer says whether frames of this kind go between replicas.
func (k Kind) IsPeer() bool { return k >= KindPrepare && k < kindPeerEnd }

// IsClient says whether frames of this kind go between a client and a node.
func (k Kind) IsClient() bool { return k >= KindHello && k < kindClientEnd }

// IsRecord says whether frames of this kind may stand in the log.
func (k Kind) IsRecord() bool {
	return k == KindAccept || k == KindLearn || k >= KindRecPromise && k < kindRecEnd
}
