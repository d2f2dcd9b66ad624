package engine

import (
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"

	"github.com/paxbench/paxbench/engine/paxos"
	"github.com/paxbench/paxbench/engine/wal"
	"github.com/paxbench/paxbench/wire"
)

// Driver is a node without goroutines and without a clock, for simulators: what the goroutines of a Node do when they
// wake up is done here one step at a time, by the driver's owner, who decides the order. The code of the steps is the
// node's own: one method for each goroutine of ARCHITECTURE.md.
//
//	loop             GroupDriver.Turn          may run when TurnDue
//	syncer           Driver.Write, then Sync   may run when WriteDue, SyncDue
//	applier          GroupDriver.Apply         may run when ApplyDue
//	receiver         GroupDriver.Receive       may run when ReceiveDue
//	snapshot writer  GroupDriver.Job           may run when JobDue
//	transfer         GroupDriver.Transfer      may run when TransferDue; with retry each TransferRetry
//	background sync  Driver.Flush              of the fsync policy interval, at each interval
//	connections      the handler that the Transport is given
//
// Between Write and Sync everything else may happen: that is the time in which the disk works. It is not safe for
// concurrent use.
type Driver struct {
	n       *Node
	c       DriverConfig
	groups  []*GroupDriver
	writing bool // Write was called, Sync was not
	full    bool // Write found no room
}

// GroupDriver has the steps of one group.
type GroupDriver struct {
	d         *Driver
	g         *Group
	items     []applyItem // taken from the applier's mailbox, not executed
	jobs      []func()    // snapshots to write
	transfers []*transfer // under way
	usage     [usedKinds]Usage
	contacts  int // of the core, when the bounds of usage were worked out
}

// DriverConfig is what a driven node has instead of the machine. All fields but Limits are required.
type DriverConfig struct {
	Now    func() int64                                                   // the clock, nanoseconds from any origin; it may jump
	Clock  func() int64                                                   // the clock of leases, nanoseconds from any origin: monotonic
	Salt   func() uint64                                                  // random numbers for log segments
	Core   func(*paxos.Config)                                            // may change a core's configuration
	Event  func(wire.GroupID, paxos.Event)                                // is told of each transition
	Chosen func(g wire.GroupID, s wire.Slot, b wire.Ballot, v wire.Batch) // is told of each slot before it is applied
	Limits Limits
}

// TransferRetry is how often Transfer should be called with retry, in nanoseconds.
const TransferRetry = int64(transferRetry)

// NewDriver starts a node as Open does: it recovers what the data directory holds. c.Transport is required. Errors are
// those of Open. After an error nothing is left.
func NewDriver(c Config, dc DriverConfig) (*Driver, error) {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c = c.withDefaults()
	d := &Driver{c: dc}
	d.n = &Node{
		c: c, log: c.Logger.With("node", uint32(c.Node)), driver: d, limits: dc.Limits.withDefaults(), stopping: make(chan struct{}), stopped: make(chan struct{}),
	}
	if err := c.validate(); err != nil {
		return nil, err
	}
	if c.Transport == nil {
		return nil, errors.New("engine: a driven node needs a transport")
	}
	n := d.n
	n.net = c.Transport
	for range c.Groups {
		d.groups = append(d.groups, &GroupDriver{d: d})
	}
	cores, err := n.recover()
	if err != nil {
		n.abandon()
		return nil, err
	}
	n.syncer = newSyncer(n, n.wal)
	for i, g := range n.groups {
		g.loop = newLoop(g, cores[i])
		g.receiver = newReceiver(g)
		g.publish(cores[i].Status())
		g.publishMembers(cores[i].Memberships())
	}
	if err := n.net.Serve(n.receive); err != nil {
		n.fail(fmt.Errorf("engine: serve: %w", err))
	}
	for _, g := range n.groups {
		g.loop.turn(false)
	}
	return d, nil
}

// Err is why the node has failed, or nil. A failed node takes no more steps: Close it.
func (d *Driver) Err() error { return d.n.Err() }

// Groups are the node's groups, in the order of their ids.
func (d *Driver) Groups() []*GroupDriver { return d.groups }

// Verdict says how the log was found.
func (d *Driver) Verdict() wal.Verdict { return d.n.wal.Verdict() }

// WriteDue says whether there is work for the disk and the disk is free.
func (d *Driver) WriteDue() bool {
	items, _ := d.n.syncer.box.Len()
	return (items > 0 || d.full) && !d.writing
}

// SyncDue says that something was written and waits for its Sync.
func (d *Driver) SyncDue() bool { return d.writing }

// Write takes what waits for the disk and appends it to the log. If there is no room it is due again.
func (d *Driver) Write() {
	if d.writing || d.Err() != nil {
		return
	}
	s := d.n.syncer
	var err error
	if d.full {
		err = s.append()
	} else {
		s.items = s.box.Swap(s.items)
		err = s.write()
	}
	d.full = errors.As(err, new(*wal.FullError))
	d.writing = !d.full
	if err != nil && !d.full {
		d.n.fail(err)
	}
}

// Sync makes durable what Write has written and lets go what waited for it.
func (d *Driver) Sync() {
	if !d.writing || d.Err() != nil {
		return
	}
	s := d.n.syncer
	err := s.sync()
	if err == nil {
		err = s.release()
	}
	if err != nil {
		d.n.fail(err)
		return
	}
	d.writing = false
}

// Flush is the background sync of the fsync policy interval. Its error ends the node when the next record is written.
func (d *Driver) Flush() {
	if d.Err() == nil {
		_ = d.n.wal.Flush() // the log keeps it and gives it to everybody who comes after
	}
}

// Group is the node's group, for ProposeBlock, which does not wait. For queries see Ask.
func (d *GroupDriver) Group() *Group { return d.g }

// Status is the core's state.
func (d *GroupDriver) Status() paxos.Status { return d.g.loop.core.Status() }

// Turn is one turn of the loop; tick: a unit of time has passed.
func (d *GroupDriver) Turn(tick bool) {
	if d.d.Err() == nil {
		d.g.loop.turn(tick)
	}
}

// Gone tells the node what a transport sees when a peer's process ends; it need not be true.
func (d *Driver) Gone(id wire.NodeID) { d.n.peerGone(id) }

// Lease is the lease as it is published: Until is of DriverConfig.Clock.
func (d *GroupDriver) Lease() paxos.Lease {
	s := &d.g.lease
	return paxos.Lease{Ballot: wire.Ballot(s.ballot.Load()), Until: s.until.Load(), From: wire.Slot(s.from.Load())}
}

// LeaseReads is how many queries were answered by lease.
func (d *GroupDriver) LeaseReads() uint64 { return d.g.count.leaseReads.Load() }

// TurnDue says whether the loop has something to do.
func (d *GroupDriver) TurnDue() bool {
	items, _ := d.g.mailbox.Len()
	return items > 0
}

// Overlooked says that something waits which the next turn would propose, and that no turn is due but the next tick's.
func (d *GroupDriver) Overlooked() bool {
	l := d.g.loop
	return l.waits() && l.held == nil && !d.g.overloaded() && !d.TurnDue()
}

// Deadline is the time at which a turn is due although nothing has come: a block has waited long enough for company.
func (d *GroupDriver) Deadline() (nanos int64, ok bool) { return d.g.loop.deadline() }

// ApplyDue says whether the applier has something to do.
func (d *GroupDriver) ApplyDue() bool {
	items, _ := d.g.applier.box.Len()
	return items+len(d.items) > 0
}

// Apply does the applier's next item.
func (d *GroupDriver) Apply() {
	a := d.g.applier
	if len(d.items) == 0 {
		d.items = a.box.Swap(nil)
	}
	if len(d.items) == 0 || d.d.Err() != nil {
		return
	}
	it := d.items[0]
	d.items = d.items[1:]
	if it.kind == applyChosen && it.chosen.Slot > a.applied {
		d.d.c.Chosen(d.g.id, it.chosen.Slot, it.chosen.Ballot, it.chosen.Value)
	}
	a.take(&it)
	if len(d.items) == 0 && a.g.wantApplied.Swap(false) {
		a.g.nudge()
	}
}

// applyAll does all the applier has to do. The receiver waits for it.
func (d *GroupDriver) applyAll() {
	for d.ApplyDue() && d.d.Err() == nil {
		d.Apply()
	}
}

// ReceiveDue says whether a piece of a snapshot waits. While a snapshot is being written it has to go on waiting.
func (d *GroupDriver) ReceiveDue() bool {
	items, _ := d.g.receiver.box.Len()
	return items > 0 && len(d.g.snapBusy) == 0
}

// Receive takes the pieces of a snapshot that have arrived.
func (d *GroupDriver) Receive() {
	if !d.ReceiveDue() {
		return
	}
	for _, f := range d.g.receiver.box.Swap(nil) {
		if d.d.Err() == nil && len(d.g.snapBusy) == 0 {
			d.g.receiver.piece(f)
		}
		f.Release()
	}
}

// JobDue says whether a snapshot is to be written.
func (d *GroupDriver) JobDue() bool { return len(d.jobs) > 0 }

// Job writes a snapshot, the view of which was taken when it became due.
func (d *GroupDriver) Job() {
	if len(d.jobs) == 0 || d.d.Err() != nil {
		return
	}
	job := d.jobs[0]
	d.jobs = d.jobs[1:]
	job()
}

// Transfers is the number of snapshots being sent.
func (d *GroupDriver) Transfers() int { return len(d.transfers) }

// TransferDue says whether a snapshot being sent has something to do but for retries.
func (d *GroupDriver) TransferDue() bool {
	for _, x := range d.transfers {
		if x.sender == nil || len(x.acks) > 0 {
			return true
		}
	}
	return false
}

// Transfer does what the transfers have to do; retry: TransferRetry has passed since the last time.
func (d *GroupDriver) Transfer(retry bool) {
	kept := d.transfers[:0]
	for _, x := range d.transfers {
		if over, err := d.transfer(x, retry); over {
			d.g.transfers.finish(x, err)
		} else {
			kept = append(kept, x)
		}
	}
	clear(d.transfers[len(kept):])
	d.transfers = kept
}

func (d *GroupDriver) transfer(x *transfer, retry bool) (over bool, err error) {
	t := d.g.transfers
	if x.sender == nil {
		if err := t.open(x); err != nil {
			return true, err
		}
	}
	for len(x.acks) > 0 {
		if err := t.acked(x, <-x.acks); err != nil {
			return true, err
		}
	}
	if retry {
		if err := t.retry(x); err != nil {
			return true, err
		}
	}
	if err := t.push(x); err != nil {
		return true, err
	}
	return x.sender.Done(), nil
}

// Digest is what replicas that have applied the same slots agree on.
type Digest struct {
	Applied  wire.Slot
	State    uint64 // StateMachine's hash; 0: it has none
	Sessions uint64 // hash of the session table, kept replies included
	Commands uint64
}

// Digest sums up the applied state.
func (d *GroupDriver) Digest() Digest {
	a := d.g.applier
	g := Digest{Applied: a.applied, Sessions: a.sessions.digest(), Commands: a.sessions.commands}
	if h, ok := a.sm.(Hasher); ok {
		g.State = h.StateHash()
	}
	return g
}

// digest is a hash (FNV-1a, by words) of everything in the table that a snapshot holds.
func (t *sessionTable) digest() uint64 {
	h := uint64(14695981039346656037)
	add := func(v uint64) { h = (h ^ v) * 1099511628211 }
	for s := t.oldest; s != nil; s = s.newer {
		add(uint64(s.id))
		add(uint64(s.acked))
		for i := range s.count {
			b := s.at(i)
			add(uint64(b.first))
			add(uint64(b.slot))
			add(uint64(b.index)<<32 | uint64(b.count))
			add(uint64(b.state))
			if b.results != nil {
				add(uint64(crc32.Checksum(b.results.Bytes(), wire.Castagnoli)))
			}
		}
	}
	return h
}

// Ask asks the state machine as Group.Query and Group.QueryStale do, without waiting: fn is called once, by a later step
// or at once. What a points to dies when fn returns.
func (d *GroupDriver) Ask(req []byte, mode wire.QueryMode, fn func(a *wire.Answer)) {
	d.g.ask(&query{req: append([]byte(nil), req...), to: answerFunc(fn)}, mode)
}

type answerFunc func(a *wire.Answer)

func (f answerFunc) answered(a *wire.Answer, _ string) { f(a) }

// Close ends the node in the order of Node.supervise, without syncing anything if the disk is dead. Everybody who waits is
// told, and every buffer released.
func (d *Driver) Close() error {
	n := d.n
	n.stop(nil)
	var errs []error
	for _, g := range d.groups {
		errs = append(errs, g.close())
	}
	for _, w := range n.syncer.items {
		if w != nil {
			n.syncer.drop(w)
		}
	}
	for _, w := range n.syncer.box.Close() {
		n.syncer.drop(w)
	}
	errs = append(errs, n.net.Close(), n.wal.Close())
	return errors.Join(errs...)
}

func (d *GroupDriver) close() error {
	g := d.g
	g.loop.shutdown()
	for i := range d.items {
		g.applier.drop(&d.items[i])
	}
	d.items = nil
	for _, b := range g.applier.waiting {
		b.fail(g, wire.StatusClosed)
	}
	g.applier.sessions.release()
	for _, f := range g.receiver.box.Close() {
		f.Release()
	}
	err := g.receiver.parts.Close()
	for _, x := range d.transfers {
		g.transfers.finish(x, errStopping)
	}
	for _, job := range d.jobs {
		job()
	}
	return err
}

// ChangeMembers asks for a change as Group.ChangeMembers does; done is called once, by a later step, unless an error is
// returned.
func (d *GroupDriver) ChangeMembers(ch paxos.Change, done func(error)) error {
	return d.g.changeMembers(ch, done)
}

// Memberships is what the replica has learned of configurations.
func (d *GroupDriver) Memberships() paxos.Memberships { return d.g.loop.core.Memberships() }
