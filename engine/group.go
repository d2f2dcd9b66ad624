package engine

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.uber.org/atomic"

	"github.com/paxbench/paxbench/batching"
	"github.com/paxbench/paxbench/engine/paxos"
	"github.com/paxbench/paxbench/wire"
)

// Group is one replicated log with its state machine, as this node has it. All methods may be called from any
// goroutine.
type Group struct {
	id   wire.GroupID
	node *Node
	log  *slog.Logger

	mailbox   *batching.Mailbox[event]
	gatherer  gatherer
	loop      *loop
	applier   *applier
	receiver  *receiver
	transfers *transfers
	skips     skipTable
	loopDone  chan struct{}
	driver    *GroupDriver // nil but in a simulator

	// snapBusy holds a token while a snapshot is written, or restored.
	snapBusy chan struct{}

	count  counters
	stages stages

	// Published by their owners for everybody.
	leader      atomic.Uint32 // by the loop: node id of whom clients are sent to, 0 not known
	epoch       atomic.Uint64 // by the loop: the highest ballot that a node is known to have led at
	durable     atomic.Uint64 // by the syncer: the replica's own record number
	installed   atomic.Uint64 // by the applier: slot of the last restored snapshot; stored before applied
	applied     atomic.Uint64 // by the applier: slot
	snapshotAt  atomic.Uint64 // slot of the newest snapshot on the disk
	snapSize    atomic.Int64  // bytes of the last snapshot written or restored
	logBytes    atomic.Int64  // by the loop, each tick: bytes of log in memory
	nudged      atomic.Bool   // a nudge is in the mailbox
	wantApplied atomic.Bool   // the loop waits for the applier to catch up
	window      atomic.Int64  // see SetWindow
	windowNow   atomic.Int64  // by the loop, each tick: slots that may be in flight
	snapFailed  atomic.Bool   // by the writer of snapshots: the last one was not written
	snapAsked   atomic.Bool   // applySnapshot is in the applier's mailbox
	snapRotten  atomic.Uint64 // slot of the newest snapshot that was found damaged, until a new one is being written
	suspect     atomic.Bool   // the replica is suspect; counted in Node.suspects

	members  atomic.Pointer[publishedMembers] // by the loop
	restored atomic.Pointer[restored]         // by the applier; stored before installed

	lease        leaseState
	clientBytes  atomic.Int64 // see Limits
	syncBacklog  atomic.Int64 // see Limits
	applyBacklog atomic.Int64 // see Limits

	statusMu sync.Mutex
	status   paxos.Status // as of the last tick or transition
}

func newGroup(n *Node, id wire.GroupID, sm StateMachine) *Group {
	g := &Group{
		id: id, node: n, log: n.log.With("group", uint32(id)), stages: n.newStages(),
		mailbox:  batching.NewMailbox[event](n.limits.PeerItems, n.limits.PeerBytes),
		loopDone: make(chan struct{}), snapBusy: make(chan struct{}, 1),
	}
	g.transfers = &transfers{g: g, byPeer: make(map[wire.NodeID]*transfer)}
	g.applier = newApplier(g, sm)
	if n.c.FixedWindow {
		g.SetWindow(n.c.Window)
	}
	if n.driver != nil {
		g.driver = n.driver.groups[id-1]
		g.driver.g = g
	}
	return g
}

// spawn runs fn in the background: what is being written or sent while loop and applier go on. The node's end waits
// for it.
func (g *Group) spawn(fn func()) {
	if g.driver != nil {
		g.driver.jobs = append(g.driver.jobs, fn)
		return
	}
	g.node.background.Add(1)
	go func() {
		defer g.node.background.Done()
		fn()
	}()
}

// ID is the group's id.
func (g *Group) ID() wire.GroupID { return g.id }

// SetWindow says how many slots may be in flight here while this node leads: n of them, at most Config.Window; 0: as many as
// round trip and disk are good for. At first it is what Config.FixedWindow says. For measurements, and for whoever knows better. It takes effect with the next batch.
func (g *Group) SetWindow(n int) { g.window.Store(int64(max(0, min(n, g.node.c.Window)))) }

// nudge makes the loop look at what was published. Any number of nudges before it does are one.
func (g *Group) nudge() {
	if !g.nudged.Swap(true) {
		g.mailbox.PutUrgent(event{kind: eventNudge})
	}
}

// waiting is how many proposals, and other things, wait for the loop.
func (g *Group) waiting() int {
	items, _ := g.mailbox.Len()
	return items + g.gatherer.len()
}

// overloaded says that the disk or the state machine is so far behind that peers' frames are dropped and nothing is proposed.
func (g *Group) overloaded() bool {
	return g.syncBacklog.Load() > g.node.limits.SyncBacklog || g.applyBacklog.Load() > g.node.limits.ApplyBacklog
}

// publish makes a copy of the core's state visible.
func (g *Group) publish(st paxos.Status) {
	g.logBytes.Store(st.LogBytes)
	leader := st.Leader
	if st.Taking {
		leader = g.node.c.Node // whom clients may go to: here values go straight to the acceptors
	}
	g.leader.Store(uint32(leader))
	g.statusMu.Lock()
	g.status = st
	g.statusMu.Unlock()
}

// propose queues a block, which is a view into frame. The status is StatusOK if it was taken, with the reference;
// otherwise neither done nor the reference was touched. patience is in nanoseconds, 0: without end.
func (g *Group) propose(frame *wire.Buffer, blk wire.Block, patience uint64, done Completion) wire.Status {
	cost := clientCost(frame)
	if g.clientBytes.Add(cost) > g.node.limits.ClientBytes {
		g.clientBytes.Sub(cost)
		g.count.busy.Inc()
		return wire.StatusBusy
	}
	e := event{kind: eventPropose, frame: frame, block: blk, done: done, at: g.node.nanotime()}
	e.until = until(e.at, patience)
	if !g.mailbox.PutUrgent(e) {
		g.clientBytes.Sub(cost)
		return wire.StatusClosed
	}
	return wire.StatusOK
}

// until is when a patience of that many nanoseconds ends; 0: never.
func until(now int64, patience uint64) int64 {
	if patience == 0 {
		return 0
	}
	return now + int64(min(patience, wire.PatienceMax))
}

// ask queues a query; false: it was failed instead.
func (g *Group) ask(q *query, mode wire.QueryMode) {
	if g.clientBytes.Add(q.cost()) > g.node.limits.ClientBytes {
		g.count.busy.Inc()
		q.fail(g, wire.StatusBusy)
		return
	}
	switch mode {
	case wire.QueryStale:
		if g.node.c.auxiliary() { // there is none
			q.fail(g, wire.StatusNotLeader)
			return
		}
		g.applier.put(applyItem{kind: applyQuery, query: q})
		return
	case wire.QueryLease:
		var ok bool
		if q.ballot, q.from, ok = g.lease.take(g.node); ok {
			g.applier.put(applyItem{kind: applyLease, query: q})
			return
		}
	}
	if !g.mailbox.PutUrgent(event{kind: eventQuery, query: q}) {
		q.fail(g, wire.StatusClosed)
	}
}

// ProposeBlock proposes a block of commands (see wire.Block) whose encoding is the whole of block. It returns at once;
// done is called exactly once, later, unless an error is returned, and then never. One reference to block is taken
// whatever happens.
//
// Errors: ErrInvalid, ErrBusy, ErrClosed. All mean certainly not done.
func (g *Group) ProposeBlock(block *wire.Buffer, done Completion) error {
	return g.ProposeBlockWithin(block, 0, done)
}

// ProposeBlockWithin is ProposeBlock for callers who do not wait for ever: if the block has not been proposed within
// patience, up to a day (0: without end), it never is, and done is told ErrExpired: certainly not done. A block that was
// proposed in time may be done, and answered, later.
func (g *Group) ProposeBlockWithin(block *wire.Buffer, patience time.Duration, done Completion) error {
	blk, n, err := wire.ParseBlock(block.Bytes())
	if err == nil && n != block.Len() {
		err = fmt.Errorf("%d bytes after the block", block.Len()-n)
	}
	if err != nil {
		block.Release()
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if s := g.propose(block, blk, uint64(max(patience, 0)), done); s != wire.StatusOK {
		block.Release()
		return statusError(s, 0, "")
	}
	return nil
}

// proposal is a blocking Propose under way.
type proposal struct {
	done   chan struct{}
	result []byte
	err    error
}

// CommandDone implements CommandDone.
func (p *proposal) CommandDone(r *CommandResult) {
	p.result, p.err = append([]byte(nil), r.Result...), r.Err
	close(p.done)
}

// Propose proposes one command outside of any session and returns the state machine's result. It is executed at most
// once; after ErrUnknown, also when ctx ended, it may have been. Commands that must be executed exactly once belong in
// a session (engine/client).
//
// Errors: ErrTooLarge, ErrBusy, ErrDiskFull, ErrClosed, *NotLeaderError: certainly not done; ErrUnknown, wrapping ctx's error if
// that was the cause.
func (g *Group) Propose(ctx context.Context, cmd []byte) ([]byte, error) {
	p := &proposal{done: make(chan struct{})}
	if err := g.Go(cmd, p); err != nil {
		return nil, err
	}
	select {
	case <-p.done:
		return p.result, p.err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrUnknown, ctx.Err())
	}
}

// question is a blocking Query under way.
type question struct {
	done chan struct{}
	body []byte
	err  error
}

func (q *question) answered(a *wire.Answer, addr string) {
	switch {
	case a.Status == wire.StatusOK:
		q.body = append([]byte(nil), a.Body...)
	case len(a.Body) > 0:
		q.err = fmt.Errorf("engine: query: %s", a.Body)
	default:
		q.err = statusError(a.Status, a.Leader, addr)
	}
	close(q.done)
}

// Query asks the state machine, linearizably: the answer reflects every command whose reply anybody had before the
// call, which a quorum confirms (read index). Only the leader answers; no log entry is written.
//
// Errors: ErrTooLarge, ErrBusy, ErrClosed, *NotLeaderError, ctx's, the state machine's. None has any effect.
func (g *Group) Query(ctx context.Context, req []byte) ([]byte, error) {
	return g.query(ctx, req, wire.QueryLinearizable)
}

// QueryLease is Query, answered by the leader's lease (Config.Lease) without asking anybody. A leader without one asks a quorum.
func (g *Group) QueryLease(ctx context.Context, req []byte) ([]byte, error) {
	return g.query(ctx, req, wire.QueryLease)
}

// QueryStale asks the state machine of this replica as it is, which may be arbitrarily old. Errors as for Query; *NotLeaderError
// is that of an auxiliary node.
func (g *Group) QueryStale(ctx context.Context, req []byte) ([]byte, error) {
	return g.query(ctx, req, wire.QueryStale)
}

func (g *Group) query(ctx context.Context, req []byte, mode wire.QueryMode) ([]byte, error) {
	if len(req) > wire.QueryBytesMax {
		return nil, fmt.Errorf("%w: query of %d bytes, limit %d", ErrTooLarge, len(req), wire.QueryBytesMax)
	}
	w := &question{done: make(chan struct{})}
	// A copy: the caller may go away before the state machine has read it.
	g.ask(&query{req: append([]byte(nil), req...), to: w}, mode)
	select {
	case <-w.done:
		return w.body, w.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Status is a replica's state at a moment. Core and state machine are read one after the other; Applied, Commands,
// Sessions and StateHash belong together. Its JSON is the answer to the clients' "status" operation; fields are only
// ever added.
type Status struct {
	Node      wire.NodeID  `json:"node"`
	Group     wire.GroupID `json:"group"`
	Role      string       `json:"role"`   // follower, probing, preparing, leader, proposer, auxiliary; suspect: see Suspect
	Leader    wire.NodeID  `json:"leader"` // 0: not known
	Ballot    wire.Ballot  `json:"ballot"`
	Promised  wire.Ballot  `json:"promised"`
	Chosen    wire.Slot    `json:"chosen"` // chosen prefix
	Applied   wire.Slot    `json:"applied"`
	Trimmed   wire.Slot    `json:"trimmed"` // slots up to here are only in a snapshot
	LastSlot  wire.Slot    `json:"last_slot"`
	Snapshot  wire.Slot    `json:"snapshot"`   // newest on the disk
	StateHash string       `json:"state_hash"` // hexadecimal; empty if the state machine has none
	Commands  uint64       `json:"commands"`   // executed since the group's first slot, on any replica
	Sessions  int          `json:"sessions"`
	InFlight  int          `json:"in_flight"`           // slots proposed here and not learned
	Window    int          `json:"window"`              // so many may be, as of the last tick
	LogBytes  int64        `json:"log_bytes"`           // of log in memory
	Ignored   uint64       `json:"ignored"`             // messages that made no sense
	Stale     uint64       `json:"stale"`               // messages refused because of a higher promise
	Resent    uint64       `json:"resent"`              // Accept frames sent again
	Mode      string       `json:"mode"`                // multi, basic
	Auxiliary bool         `json:"auxiliary,omitempty"` // it is an auxiliary node: Applied and what belongs to it stay 0
	Engaged   bool         `json:"engaged,omitempty"`   // of a leader: auxiliary nodes are asked to vote

	// Suspect says why this replica does not vote; empty: it does. Healing of HealQuorum other nodes have told it what it may
	// have forgotten. Incarnation counts how often it has been healed.
	Suspect     string `json:"suspect,omitempty"`
	Healing     int    `json:"healing,omitempty"`
	HealQuorum  int    `json:"heal_quorum,omitempty"`
	Incarnation uint32 `json:"incarnation,omitempty"`
}

// Status returns the group's state. It waits for the applier, so not longer than one slot takes.
func (g *Group) Status() Status {
	ch := make(chan Status, 1)
	g.readStatus(func(s Status) { ch <- s })
	return <-ch
}

// readStatus calls fn with the state, once, on a goroutine that others wait for.
func (g *Group) readStatus(fn func(Status)) {
	g.applier.put(applyItem{kind: applyStatus, status: func(a *applyState) {
		g.statusMu.Lock()
		c := g.status
		g.statusMu.Unlock()
		s := Status{
			Node: g.node.c.Node, Group: g.id, Role: c.Role.String(), Leader: c.Leader, Ballot: c.Ballot,
			Promised: c.Promised, Chosen: c.Chosen, Applied: wire.Slot(g.applied.Load()), Trimmed: c.Trimmed,
			LastSlot: c.Last, Snapshot: wire.Slot(g.snapshotAt.Load()), InFlight: c.InFlight, Window: int(g.windowNow.Load()), LogBytes: c.LogBytes,
			Ignored: c.Ignored, Stale: c.Stale, Resent: c.Resent, Mode: g.node.c.Mode.String(),
			Auxiliary: c.Auxiliary, Engaged: c.Engaged,
			Suspect: c.Suspect, Healing: c.Healing, HealQuorum: c.HealQuorum, Incarnation: uint32(c.Incarnation >> 32),
		}
		if s.Auxiliary {
			s.Role = "auxiliary"
		}
		if s.Suspect != "" {
			s.Role = "suspect"
		}
		if a != nil { // nil: the node is closed
			s.Applied, s.Commands, s.Sessions = a.applied, a.commands, a.sessions
			s.Chosen = max(s.Chosen, s.Applied)
			if a.hashed {
				s.StateHash = hashString(a.hash)
			}
		}
		fn(s)
	}})
}

func hashString(h uint64) string {
	return hex.EncodeToString(binary.BigEndian.AppendUint64(nil, h))
}

// Metrics returns what the group measured so far.
func (g *Group) Metrics() Metrics { return g.metrics(false) }

// ResetMetrics is Metrics, and begins a new interval for the histograms.
func (g *Group) ResetMetrics() Metrics { return g.metrics(true) }

func (g *Group) metrics(reset bool) Metrics {
	c := &g.count
	m := Metrics{
		Node: g.node.c.Node, Group: g.id,
		Queue: g.stages.queue.read(reset), Batch: g.stages.batch.read(reset), WAL: g.stages.wal.read(reset),
		Quorum: g.stages.quorum.read(reset), Apply: g.stages.apply.read(reset), Learn: g.stages.learn.read(reset),
		Slots: c.slots.Load(), Noops: c.noops.Load(), Blocks: c.blocks.Load(), Commands: c.commands.Load(),
		LeaseReads: c.leaseReads.Load(), LeaseLapses: c.leaseLapses.Load(),
		Repeats: c.repeats.Load(), Refused: c.refused.Load(), Malformed: c.malformed.Load(), Queries: c.queries.Load(),
		Busy: c.busy.Load() + c.busyLoop.Load(), Expired: c.expired.Load(), PeerFrames: c.peerFrames.Load(), PeerDropped: c.peerDropped.Load(),
		PeerInvalid: c.peerInvalid.Load(), Elections: c.elections.Load(), LossesOfLead: c.losses.Load(), Engaged: c.engaged.Load(),
		Suspicions: c.suspicions.Load(), Heals: c.heals.Load(),
		Snapshots: c.snapshots.Load(), SnapInstalls: c.snapInstalls.Load(), SnapSent: c.snapSent.Load(),
	}
	g.statusMu.Lock()
	m.Stale, m.Leads = g.status.Stale, g.status.Role == paxos.Leader
	switch g.node.c.Mode {
	case paxos.ModeBasic:
		m.Instances = instances(&g.status.Basic, g.node.c.Tick)
	case paxos.ModeFast:
		m.Instances = fastRounds(&g.status.Fast, g.node.c.Tick)
	}
	if g.node.c.Mode != paxos.ModeBasic {
		m.Takeovers = &Takeovers{c.prepared.Load(), m.Elections, c.reproposed.Load(), c.holes.Load(), c.fillNanos.Load()}
	}
	g.statusMu.Unlock()
	g.node.readMetrics(&m, reset)
	m.readProcess()
	return m
}
