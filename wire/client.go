package wire

import "fmt"

// ClientPreamble is what a client sends first on a connection, before any frame. PeerPreamble opens the connections
// between nodes. One TCP port serves both.
const (
	ClientPreamble = "PAXCLNT1"
	PeerPreamble   = "PAXPEER1"
)

// Status is the outcome of a request. Every status but StatusOK and StatusUnknown means: certainly not done.
type Status uint8

const (
	StatusOK          Status = iota
	StatusNotLeader          // ask Reply.Leader
	StatusBusy               // a queue is full; later
	StatusClosed             // the node is stopping
	StatusSessionGone        // the session is unknown or was evicted; whether an earlier try was done cannot be told
	StatusInvalid            // malformed, or outside the session's window
	StatusTooLarge           // beyond a limit of this package
	StatusUnknown            // may be done: leadership was lost, or the disk failed, while it was under way
	StatusDiskFull           // the node's disk has no room; later, or another leader
	StatusExpired            // the request's patience ran out before it was proposed, or before its query was read
	statusEnd
)

var statusNames = [statusEnd]string{"ok", "not leader", "busy", "closed", "session gone", "invalid", "too large", "unknown", "disk full", "expired"}

func (s Status) String() string {
	if s < statusEnd {
		return statusNames[s]
	}
	return fmt.Sprintf("Status(%d)", uint8(s))
}

// QueryMode says how fresh a query's answer must be.
type QueryMode uint8

const (
	QueryLinearizable QueryMode = iota // read-index: a quorum confirms the leader, then the read
	QueryStale                         // this replica's state as it is
	QueryLease                         // linearizable: by the leader's lease, without a message; without one as QueryLinearizable
	queryModeEnd
)

// Sizes in bytes of the fixed parts of client frames' bodies. All begin with the request id.
const (
	requestSize = 8
	proposeSize = requestSize + 8
	replySize   = 64
	querySize   = 24
	answerSize  = 32
	controlSize = 16
)

// ProposeHeadroom is what precedes the block in a Propose frame.
const ProposeHeadroom = HeaderSize + proposeSize

// NewPropose returns a buffer for a Propose frame with a block of up to size bytes, header included: its length is
// ProposeHeadroom, and the block is appended by the caller. SealPropose makes it a frame.
func NewPropose(size int) *Buffer {
	f := Get(ProposeHeadroom + size)
	f.Extend(ProposeHeadroom)
	return f
}

// clientBody returns the body of a frame that passed CheckFrame and must be of kind k, with nothing behind it. The
// header's check has seen to it that the kind's fixed part is there.
func clientBody(frame []byte, k Kind) ([]byte, error) {
	h, err := ParseHeader(frame)
	if err != nil {
		return nil, err
	}
	if h.Kind != k {
		return nil, fmt.Errorf("%w: %v where %v is due", ErrKind, h.Kind, k)
	}
	if len(frame) != h.Size() {
		return nil, fmt.Errorf("%w: %v frame of %d bytes in %d", ErrFormat, k, h.Size(), len(frame))
	}
	if h.From != 0 && (k == KindPropose || k == KindQuery) {
		return nil, fmt.Errorf("%w: %v of a client that calls itself node %d", ErrFormat, k, h.From)
	}
	return frame[HeaderSize:], nil
}

// SealPropose fills in everything in front of the block and the CRC. Patience is for how many nanoseconds from its arrival
// the block may be proposed: later nobody waits for it any more, and it is refused (StatusExpired). 0: for ever.
func SealPropose(f *Buffer, c ClusterID, g GroupID, request, patience uint64) {
	p := f.Bytes()
	putHeader(p, KindPropose, c, g, 0)
	le.PutUint64(p[HeaderSize:], request)
	le.PutUint64(p[HeaderSize+requestSize:], patience)
	seal(p)
}

// DecodePropose decodes a Propose frame that passed CheckFrame. The block is a view.
func DecodePropose(frame []byte) (request, patience uint64, blk Block, err error) {
	body, err := clientBody(frame, KindPropose)
	if err != nil {
		return 0, 0, Block{}, err
	}
	blk, n, err := ParseBlock(body[proposeSize:])
	if err == nil && n != len(body)-proposeSize {
		err = fmt.Errorf("%w: %d bytes after the block", ErrFormat, len(body)-proposeSize-n)
	}
	if patience = le.Uint64(body[requestSize:]); err == nil && patience > PatienceMax {
		err = fmt.Errorf("%w: patience of %d ns", ErrFormat, patience)
	}
	if err != nil {
		return 0, 0, Block{}, err
	}
	return le.Uint64(body), patience, blk, nil
}

// Reply answers a Propose frame: one for each block.
//
// Epoch is the ballot of the leadership under which the answer was given (Burrows, The Chubby lock service, OSDI 2006, and Paxos
// Made Live, section 5.2, epoch numbers): of an answer to a request that was sent after another answer had come, not a lower
// one. A client that sees it change knows that another node, or another leadership of the same, answers now; a service that
// remembers the highest can refuse what an earlier one has ordered. An answer that says StatusOK to a block or a linearizable query
// holds that promise; a stale one, and a refusal, have what the answering node knows of, which never falls at one node. 0: there is no
// leadership (independent instances), or the node knows of none.
type Reply struct {
	Request uint64
	Status  Status
	Empty   bool      // every result is empty and Results holds nothing
	Leader  NodeID    // where to go, or 0 if not known
	Slot    Slot      // where the block was chosen
	Index   uint32    // the block's index in its batch: (Slot, Index) orders all blocks of a group
	Count   uint32    // commands
	Session SessionID // the block's, or the one just opened
	First   Seq       // as in the block
	Epoch   Ballot    // of the leadership that answers; see above
	Results []byte    // Count x (uvarint length | bytes), a view
}

// ReplySize is the size in bytes of a Reply frame without its results.
const ReplySize = HeaderSize + replySize

// AppendReply appends r as a frame of cluster c, group g, from node from. Results that no frame can hold
// (ResultsBytesMax) are left out and the status becomes StatusUnknown: the commands were done, but the client will
// not learn with what result.
func AppendReply(f *Buffer, c ClusterID, g GroupID, from NodeID, r *Reply) {
	if len(r.Results) > ResultsBytesMax {
		cut := *r
		cut.Status, cut.Results = StatusUnknown, nil
		r = &cut
	}
	start := f.Len()
	p := f.Extend(ReplySize + len(r.Results))
	putHeader(p, KindReply, c, g, from)
	body := p[HeaderSize:]
	le.PutUint64(body, r.Request)
	body[8], body[9], body[10], body[11] = byte(r.Status), 0, 0, 0
	if r.Empty {
		body[9] = 1
	}
	le.PutUint32(body[12:], uint32(r.Leader))
	le.PutUint64(body[16:], uint64(r.Slot))
	le.PutUint32(body[24:], r.Index)
	le.PutUint32(body[28:], r.Count)
	le.PutUint64(body[32:], uint64(r.Session))
	le.PutUint64(body[40:], uint64(r.First))
	le.PutUint32(body[48:], uint32(len(r.Results)))
	le.PutUint32(body[52:], 0)
	le.PutUint64(body[56:], uint64(r.Epoch))
	copy(body[replySize:], r.Results)
	seal(f.Bytes()[start:])
}

// DecodeReply decodes a Reply frame that passed CheckFrame. Results is a view.
func DecodeReply(frame []byte, r *Reply) error {
	body, err := clientBody(frame, KindReply)
	if err != nil {
		return err
	}
	*r = Reply{
		Request: le.Uint64(body),
		Status:  Status(body[8]),
		Empty:   body[9] == 1,
		Leader:  NodeID(le.Uint32(body[12:])),
		Slot:    Slot(le.Uint64(body[16:])),
		Index:   le.Uint32(body[24:]),
		Count:   le.Uint32(body[28:]),
		Session: SessionID(le.Uint64(body[32:])),
		First:   Seq(le.Uint64(body[40:])),
		Epoch:   Ballot(le.Uint64(body[56:])),
		Results: body[replySize:],
	}
	switch {
	case r.Status >= statusEnd, body[9] > 1, body[10] != 0, body[11] != 0, le.Uint32(body[52:]) != 0:
	case int(le.Uint32(body[48:])) != len(r.Results), r.Slot > SlotMax, r.Index >= BatchBlocksMax, !r.Epoch.sound():
	case !r.countFits():
	default:
		return nil
	}
	return fmt.Errorf("%w: Reply of status %d with %d results in %d bytes", ErrFormat, body[8], r.Count, len(r.Results))
}

// countFits bounds Count by what is there to walk: a reply of a few bytes must not make its receiver go round four
// billion times (FAULTS.md F35).
func (r *Reply) countFits() bool {
	switch {
	case r.Count > BlockCommandsMax:
		return false
	case r.Empty:
		return len(r.Results) == 0
	case len(r.Results) > 0 || r.Status == StatusOK:
		return int(r.Count) <= len(r.Results) && (r.Count > 0) == (len(r.Results) > 0)
	}
	return true
}

// Iter walks the results of the reply: Count of them, in command order.
func (r *Reply) Iter() CommandIter {
	return CommandIter{p: r.Results, left: int(r.Count), empty: r.Empty}
}

// Query asks a replica's state machine. Its answer is an Answer frame.
type Query struct {
	Request  uint64
	Mode     QueryMode
	Patience uint64 // as in Propose, until it is read
	Body     []byte // a view
}

// AppendQuery appends q as a frame of cluster c, group g. Body takes up to QueryBytesMax; more is the caller's bug.
func AppendQuery(f *Buffer, c ClusterID, g GroupID, q *Query) {
	start := f.Len()
	p := f.Extend(HeaderSize + querySize + len(q.Body))
	putHeader(p, KindQuery, c, g, 0)
	le.PutUint64(p[HeaderSize:], q.Request)
	le.PutUint64(p[HeaderSize+8:], uint64(q.Mode))
	le.PutUint64(p[HeaderSize+16:], q.Patience)
	copy(p[HeaderSize+querySize:], q.Body)
	seal(f.Bytes()[start:])
}

// DecodeQuery decodes a Query frame that passed CheckFrame. Body is a view.
func DecodeQuery(frame []byte, q *Query) error {
	body, err := clientBody(frame, KindQuery)
	if err != nil {
		return err
	}
	mode, patience := le.Uint64(body[8:]), le.Uint64(body[16:])
	if mode >= uint64(queryModeEnd) || patience > PatienceMax {
		return fmt.Errorf("%w: Query mode %d, patience of %d ns", ErrFormat, mode, patience)
	}
	*q = Query{Request: le.Uint64(body), Mode: QueryMode(mode), Patience: patience, Body: body[querySize:]}
	return nil
}

// Answer answers a Query frame.
type Answer struct {
	Request uint64
	Status  Status
	Leader  NodeID
	Slot    Slot   // the state's: every slot up to here was applied, none beyond
	Epoch   Ballot // as in Reply
	Body    []byte // the state machine's answer; with StatusInvalid its error text. A view.
}

// AnswerSize is the size in bytes of an Answer frame without its body.
const AnswerSize = HeaderSize + answerSize

// AppendAnswer appends a as a frame of cluster c, group g, from node from. A body beyond QueryBytesMax is left out and
// the status becomes StatusTooLarge.
func AppendAnswer(f *Buffer, c ClusterID, g GroupID, from NodeID, a *Answer) {
	if len(a.Body) > QueryBytesMax {
		cut := *a
		cut.Status, cut.Body = StatusTooLarge, nil
		a = &cut
	}
	start := f.Len()
	p := f.Extend(AnswerSize + len(a.Body))
	putHeader(p, KindAnswer, c, g, from)
	body := p[HeaderSize:]
	le.PutUint64(body, a.Request)
	le.PutUint32(body[8:], uint32(a.Status))
	le.PutUint32(body[12:], uint32(a.Leader))
	le.PutUint64(body[16:], uint64(a.Slot))
	le.PutUint64(body[24:], uint64(a.Epoch))
	copy(body[answerSize:], a.Body)
	seal(f.Bytes()[start:])
}

// DecodeAnswer decodes an Answer frame that passed CheckFrame. Body is a view.
func DecodeAnswer(frame []byte, a *Answer) error {
	body, err := clientBody(frame, KindAnswer)
	if err != nil {
		return err
	}
	status, slot, epoch := le.Uint32(body[8:]), Slot(le.Uint64(body[16:])), Ballot(le.Uint64(body[24:]))
	if status >= uint32(statusEnd) || slot > SlotMax || !epoch.sound() {
		return fmt.Errorf("%w: Answer of status %d at slot %d in epoch %v", ErrFormat, status, slot, epoch)
	}
	*a = Answer{
		Request: le.Uint64(body), Status: Status(status), Leader: NodeID(le.Uint32(body[12:])),
		Slot: slot, Epoch: epoch, Body: body[answerSize:],
	}
	return nil
}

// Control is the common form of Hello, Welcome, Admin and AdminReply frames: rare, and not worth a layout each.
// Text is empty in Hello, an operation's name in Admin, JSON in Welcome and AdminReply.
type Control struct {
	Kind    Kind
	Request uint64
	Status  Status
	Text    []byte // a view
}

// AppendControl appends m as a frame of cluster c, group g, from node from (0: a client). Text beyond the limit of its
// kind (HelloBytesMax, AdminBytesMax, ControlBytesMax) is the caller's bug.
func AppendControl(f *Buffer, c ClusterID, g GroupID, from NodeID, m *Control) {
	start := f.Len()
	p := f.Extend(HeaderSize + controlSize + len(m.Text))
	putHeader(p, m.Kind, c, g, from)
	le.PutUint64(p[HeaderSize:], m.Request)
	le.PutUint64(p[HeaderSize+8:], uint64(m.Status))
	copy(p[HeaderSize+controlSize:], m.Text)
	seal(f.Bytes()[start:])
}

// DecodeControl decodes a Hello, Welcome, Admin or AdminReply frame that passed CheckFrame. Text is a view.
func DecodeControl(frame []byte, m *Control) error {
	h, err := ParseHeader(frame)
	if err != nil {
		return err
	}
	switch h.Kind {
	case KindHello, KindWelcome, KindAdmin, KindAdminReply:
	default:
		return fmt.Errorf("%w: %v is not a control frame", ErrKind, h.Kind)
	}
	body, err := clientBody(frame, h.Kind)
	if err != nil {
		return err
	}
	status := le.Uint64(body[8:])
	if status >= uint64(statusEnd) {
		return fmt.Errorf("%w: %v of status %d", ErrFormat, h.Kind, status)
	}
	*m = Control{Kind: h.Kind, Request: le.Uint64(body), Status: Status(status), Text: body[controlSize:]}
	return nil
}
