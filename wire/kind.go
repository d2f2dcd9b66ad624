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
	KindChosen
	KindHealRequest
	KindHealReply
	KindMembers
	KindAny
	KindFastAccepted
	KindFastChosen
	KindResign
	KindLease
	KindBack
	KindSeen
	KindHeld
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
	KindRecVote
	kindRecEnd
)

// kindInfo is what the header's check knows of a kind: its name, and how long a body of it can be, in bytes. Because
// the length is held against the kind, a header that lies can make a reader wait for, or allocate, no more than an
// honest frame of that kind: 1 KiB for the first frame of a client, 48 bytes for a heartbeat.
type kindInfo struct {
	name         string
	min, max     uint32 // without incarnations
	incarnations bool   // a body of this kind may end with incarnations
}

// An array and not a map: a name is looked up without hashing, and the length check is on the way of every frame.
var kinds = [kindRecEnd]kindInfo{
	KindPrepare:      {"Prepare", MessageSize, MessageSize, true},
	KindPromise:      {"Promise", MessageSize + promiseTail, FrameMax - HeaderSize - incarnationsMax, true},
	KindReject:       {"Reject", MessageSize, MessageSize, false},
	KindAccept:       {"Accept", MessageSize + BatchHeaderSize, MessageSize + BatchHeaderSize + BatchBytesMax + TagSize, false},
	KindAccepted:     {"Accepted", MessageSize, MessageSize, true},
	KindHeartbeat:    {"Heartbeat", MessageSize + beatTail, MessageSize + beatTail, true},
	KindHeartbeatAck: {"HeartbeatAck", MessageSize + beatTail, MessageSize + beatTail, false},
	KindFetch:        {"Fetch", MessageSize, MessageSize, false},
	KindLearn:        {"Learn", MessageSize + BatchHeaderSize, MessageSize + BatchHeaderSize + BatchBytesMax + TagSize, false},
	KindProbe:        {"Probe", MessageSize, MessageSize, true},
	KindProbeAck:     {"ProbeAck", MessageSize, MessageSize, false},
	KindSnapChunk:    {"SnapChunk", MessageSize + snapTail, MessageSize + snapTail + SnapChunkBytes, false},
	KindSnapAck:      {"SnapAck", MessageSize + snapTail, MessageSize + snapTail, false},
	KindChosen:       {"Chosen", MessageSize, MessageSize, false},
	KindHealRequest:  {"HealRequest", MessageSize, MessageSize, true},
	KindHealReply:    {"HealReply", MessageSize + promiseTail, FrameMax - HeaderSize - incarnationsMax, true},
	KindMembers:      {"Members", MessageSize + membershipSize, MessageSize + MembershipBytesMax, false},
	KindAny:          {"Any", MessageSize, MessageSize, false},
	KindFastAccepted: {"FastAccepted", MessageSize + tagTail, MessageSize + tagTail, true},
	KindFastChosen:   {"FastChosen", MessageSize + tagTail, MessageSize + tagTail, false},
	KindResign:       {"Resign", MessageSize, MessageSize, false},
	KindLease:        {"Lease", MessageSize + leaseTail, MessageSize + leaseTail, false},
	KindBack:         {"Back", MessageSize, MessageSize, true},
	KindSeen:         {"Seen", MessageSize, MessageSize, true},
	KindHeld:         {"Held", MessageSize, MessageSize, false},

	KindHello:      {"Hello", controlSize, controlSize + HelloBytesMax, false},
	KindWelcome:    {"Welcome", controlSize, controlSize + ControlBytesMax, false},
	KindPropose:    {"Propose", proposeSize + BlockHeaderSize, proposeSize + BlockHeaderSize + BlockBytesMax, false},
	KindReply:      {"Reply", replySize, replySize + ResultsBytesMax, false},
	KindQuery:      {"Query", querySize, querySize + QueryBytesMax, false},
	KindAnswer:     {"Answer", answerSize, answerSize + QueryBytesMax, false},
	KindAdmin:      {"Admin", controlSize, controlSize + AdminBytesMax, false},
	KindAdminReply: {"AdminReply", controlSize, controlSize + ControlBytesMax, false},

	KindRecPromise: {"RecPromise", MessageSize, MessageSize, true},
	KindRecTrim:    {"RecTrim", MessageSize, MessageSize, false},
	KindRecMembers: {"RecMembers", 4, 4 * NodesMax, false},
	KindRecVote:    {"RecVote", MessageSize + BatchHeaderSize, MessageSize + BatchHeaderSize + BatchBytesMax + TagSize, false},
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
func (k Kind) IsPeer() bool { return k >= KindPrepare && k < kindPeerEnd && k.known() }

// IsClient says whether frames of this kind go between a client and a node.
func (k Kind) IsClient() bool { return k >= KindHello && k < kindClientEnd }

// IsRecord says whether frames of this kind may stand in the log.
func (k Kind) IsRecord() bool {
	return k == KindAccept || k == KindLearn || k >= KindRecPromise && k < kindRecEnd
}
