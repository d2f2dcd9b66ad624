package conform_test

import (
	"bytes"
	"maps"
	"slices"
	"testing"

	"github.com/paxbench/paxbench/engine/paxos"
	"github.com/paxbench/paxbench/engine/paxos/conform"
	"github.com/paxbench/paxbench/engine/paxos/single"
	"github.com/paxbench/paxbench/wire"
)

// The engine's modes, and single-decree Paxos, under the suite. Both speak in frames: frames is the net and the disks.

const engineCluster = wire.ClusterID(0xc0)

type packet struct {
	from, to int
	frame    []byte
}

type gated struct {
	packet
	gate wire.LSN
}

// frames is a net of frames, and what the suite sees of it.
type frames struct {
	net  []packet
	hand func(p packet)
	fast bool              // ballots with an even counter are fast
	tags map[uint64]string // of values seen
}

func (f *frames) Deliver(i int) {
	p := f.net[i]
	f.Drop(i)
	f.hand(p)
}
func (f *frames) Drop(i int)   { f.net = slices.Delete(f.net, i, i+1) }
func (f *frames) Repeat(i int) { f.hand(f.net[i]) }

var kinds = map[wire.Kind]conform.Kind{
	wire.KindPrepare: conform.Prepare, wire.KindPromise: conform.Promise, wire.KindReject: conform.Reject, wire.KindAccept: conform.Accept,
	wire.KindAccepted: conform.Accepted, wire.KindFastAccepted: conform.Accepted,
}

// decoded calls fn with a frame's message.
func decoded(frame []byte, fn func(m *wire.Message)) {
	f := wire.GetCopy(frame)
	defer f.Release()
	var m wire.Message
	if err := wire.DecodeMessage(f, &m); err != nil {
		panic(err)
	}
	fn(&m)
}

func (f *frames) Net() (all []conform.Message) {
	for _, p := range f.net {
		decoded(p.frame, func(m *wire.Message) {
			c := conform.Message{From: p.from, To: p.to, Kind: conform.Other, Slot: int(m.Slot), Round: uint64(m.Ballot)}
			if k, ok := kinds[m.Kind]; ok {
				c.Kind = k
			}
			c.Fast = f.fast && m.Ballot.Counter()&1 == 0
			switch m.Kind {
			case wire.KindAccept:
				c.Value = valueText(m.Value)
			case wire.KindAccepted, wire.KindFastAccepted:
				c.Last = int(m.Slot) + int(m.Count) - 1
				c.Value = f.tags[m.Tag] // of a run, the first slot's
			}
			all = append(all, c)
		})
	}
	return all
}

func valueText(b wire.Batch) string {
	if b.IsNoop() {
		return conform.Noop
	}
	return string(single.Text(b))
}

// records is a disk: frames of records, of which the first synced survive.
type records struct {
	all    [][]byte
	synced int
}

func (d *records) replay(fn func(*wire.Record) error) error {
	for _, p := range d.all {
		f := wire.GetCopy(p)
		var rec wire.Record
		err := wire.DecodeRecord(f, &rec)
		if err == nil {
			err = fn(&rec)
		}
		f.Release()
		if err != nil {
			return err
		}
	}
	return nil
}

// member is one replica of the engine.
type member struct {
	id      int
	r       *paxos.Replica // nil: down
	disk    records
	base    int // records on the disk before this life
	waiting []gated
	learned map[int]string
	want    string // to propose when it leads
}

// engine is a cluster of replicas.
type engine struct {
	frames
	c     paxos.Config
	nodes []*member

	electing int // only this node's questions before phase 1 reach anybody; 0: everybody's
}

func newEngine(n int, c paxos.Config) *engine {
	c.Cluster, c.Group, c.Seed = engineCluster, 1, 3
	for id := 1; id <= n; id++ {
		c.Nodes = append(c.Nodes, wire.NodeID(id))
	}
	e := &engine{c: c}
	e.hand = func(p packet) {
		if nd := e.nodes[p.to-1]; nd.r != nil {
			decoded(p.frame, nd.r.Step)
			e.collect(nd)
		}
	}
	for id := 1; id <= n; id++ {
		e.nodes = append(e.nodes, &member{id: id})
		e.Restart(id)
	}
	return e
}

func (e *engine) Restart(id int) {
	nd := e.nodes[id-1]
	st := paxos.NewState(0)
	if err := nd.disk.replay(st.Load); err != nil {
		panic(err)
	}
	c := e.c
	c.Self, c.Fresh = wire.NodeID(id), true // disks keep what was durable: nobody has anything to tell a node that starts
	nd.r, nd.base, nd.disk.synced, nd.waiting, nd.learned, nd.want = paxos.New(c, st), len(nd.disk.all), len(nd.disk.all), nil, map[int]string{}, ""
	e.collect(nd)
}

func (e *engine) Crash(id int) {
	nd := e.nodes[id-1]
	nd.r.Close()
	nd.r, nd.waiting = nil, nil
	nd.disk.all = nd.disk.all[:nd.disk.synced]
}

// collect takes what a replica wants done, and proposes what waits for it to lead. The output is copied first: what goes on here may
// come back to the replica.
func (e *engine) collect(nd *member) {
	out := nd.r.Output()
	for _, rec := range out.Records {
		nd.disk.all = append(nd.disk.all, bytes.Clone(rec.Frame.Bytes()))
		rec.Frame.Release()
	}
	var now []packet
	for _, m := range out.Messages {
		p := packet{nd.id, int(m.To), bytes.Clone(m.Frame.Bytes())}
		m.Frame.Release()
		if m.Gate != 0 {
			nd.waiting = append(nd.waiting, gated{p, m.Gate})
		} else {
			now = append(now, p)
		}
	}
	applied := wire.Slot(0)
	for _, c := range out.Chosen {
		nd.learned[int(c.Slot)] = valueText(c.Value)
		applied = c.Slot
		c.Frame.Release()
	}
	for _, p := range now {
		e.emit(p)
	}
	if applied > 0 {
		nd.r.Applied(applied)
		e.collect(nd)
	}
	if st := nd.r.Status(); nd.want != "" && (st.Role == paxos.Leader || st.Taking) {
		e.take(nd)
	}
}

// emit puts a message on the net. What comes before phase 1 asks nobody to remember anything, and is answered at once.
func (e *engine) emit(p packet) {
	switch wire.Kind(p.frame[5]) {
	case wire.KindProbe:
		if e.electing == 0 || e.electing == p.from {
			e.hand(p)
		}
	case wire.KindProbeAck:
		e.hand(p)
	default:
		e.net = append(e.net, p)
	}
}

func (e *engine) take(nd *member) {
	v := single.Value([]byte(nd.want))
	f := wire.NewAccept(len(v.Bytes()))
	f.Append(v.Bytes())
	text := nd.want
	nd.want = ""
	if _, o := nd.r.Propose(f); o != paxos.Taken {
		panic("the proposal is not taken: " + o.String())
	}
	if e.fast {
		e.tags[wire.TrustedValue(f).Tag()] = text
	}
	e.collect(nd)
}

func (e *engine) Propose(id int, value string) {
	nd := e.nodes[id-1]
	nd.want = value
	switch e.c.Mode {
	case paxos.ModeFast:
		e.collect(nd) // takes it if a round is open here
		return
	case paxos.ModeMulti:
		if nd.r.Status().Role != paxos.Leader {
			e.elect(nd)
			return
		}
	default:
		e.hearAll(nd)
	}
	e.take(nd)
}

// silence is how many ticks a follower hears nothing without asking for an election itself.
const silence = 28

// elect makes a replica prepare: the others hear nothing until it asks.
func (e *engine) elect(nd *member) {
	e.electing = nd.id
	defer func() { e.electing = 0 }()
	for _, other := range e.nodes {
		for i := 0; other != nd && other.r != nil && other.r.Status().Role == paxos.Follower && i < silence; i++ {
			e.tick(other)
		}
	}
	ballot := nd.r.Status().Promised
	for i := 0; nd.r.Status().Role != paxos.Preparing || nd.r.Status().Promised == ballot; i++ {
		if i > 1000 {
			panic("it does not prepare")
		}
		e.tick(nd)
	}
}

// hearAll has a replica without a leader hear that the others are there; without, it takes no proposals.
func (e *engine) hearAll(nd *member) {
	for i := 0; nd.r.Status().Role != paxos.Proposer; i++ {
		if i > 100 {
			panic("it does not take proposals")
		}
		for _, other := range e.nodes {
			before := len(e.net)
			if other.r != nil {
				e.tick(other)
			}
			for k := before; k < len(e.net); {
				if p := e.net[k]; p.to == nd.id && wire.Kind(p.frame[5]) == wire.KindHeartbeat {
					e.Deliver(k)
				} else {
					k++
				}
			}
		}
	}
}

func (e *engine) Again(id int) {
	nd := e.nodes[id-1]
	if e.c.Mode != paxos.ModeBasic {
		e.elect(nd)
		return
	}
	rounds := nd.r.Status().Basic.Rounds
	for i := 0; nd.r.Status().Basic.Rounds == rounds; i++ {
		if i > 1000 {
			panic("it does not begin again")
		}
		e.tick(nd)
	}
}

func (e *engine) tick(nd *member) {
	nd.r.Tick()
	e.collect(nd)
}

func (e *engine) Sync(id int) {
	nd := e.nodes[id-1]
	for nd.disk.synced < len(nd.disk.all) {
		nd.disk.synced = len(nd.disk.all)
		lsn := wire.LSN(nd.disk.synced - nd.base)
		waiting := nd.waiting
		nd.waiting = nil
		for _, g := range waiting {
			if g.gate <= lsn {
				e.emit(g.packet)
			} else {
				nd.waiting = append(nd.waiting, g)
			}
		}
		nd.r.Durable(lsn)
		e.collect(nd)
	}
}

func (e *engine) Time() {
	for range 5 {
		for _, nd := range e.nodes {
			if nd.r != nil {
				e.tick(nd)
			}
		}
	}
}

func (e *engine) Learned(id int) map[int]string { return maps.Clone(e.nodes[id-1].learned) }

func (e *engine) Close() {
	for _, nd := range e.nodes {
		if nd.r != nil {
			nd.r.Close()
		}
	}
}

// decree is a cluster of single-decree nodes.
type decree struct {
	frames
	c       single.Config
	nodes   []*single.Node // nil: down
	disks   []records
	waiting [][]packet
	want    []string
}

func newDecree(n int) *decree {
	d := &decree{
		c:     single.Config{Cluster: engineCluster, Group: 1},
		nodes: make([]*single.Node, n), disks: make([]records, n), waiting: make([][]packet, n), want: make([]string, n),
	}
	for id := 1; id <= n; id++ {
		d.c.Acceptors = append(d.c.Acceptors, wire.NodeID(id))
	}
	d.hand = func(p packet) {
		if nd := d.nodes[p.to-1]; nd != nil {
			decoded(p.frame, func(m *wire.Message) { d.do(p.to, nd.Step(m)) })
		}
	}
	for id := 1; id <= n; id++ {
		d.Restart(id)
	}
	return d
}

// do writes the records; messages wait for them, and those that need none go at once.
func (d *decree) do(id int, o single.Out) {
	disk := &d.disks[id-1]
	for _, rec := range o.Records {
		disk.all = append(disk.all, bytes.Clone(rec.Frame.Bytes()))
		rec.Frame.Release()
	}
	wait := disk.synced < len(disk.all) // what the node will write because of its own messages holds up none of these
	for _, s := range o.Messages {
		p := packet{id, int(s.To), bytes.Clone(s.Frame.Bytes())}
		s.Frame.Release()
		if wait {
			d.waiting[id-1] = append(d.waiting[id-1], p)
		} else {
			d.emit(p)
		}
	}
}

func (d *decree) emit(p packet) {
	if p.from == p.to {
		d.hand(p)
		return
	}
	d.net = append(d.net, p)
}

func (d *decree) Sync(id int) {
	disk := &d.disks[id-1]
	for disk.synced < len(disk.all) || len(d.waiting[id-1]) > 0 {
		disk.synced = len(disk.all)
		waiting := d.waiting[id-1]
		d.waiting[id-1] = nil
		for _, p := range waiting {
			d.emit(p)
		}
	}
}

func (d *decree) Propose(id int, value string) {
	d.want[id-1] = value
	d.Again(id)
}

func (d *decree) Again(id int) {
	o, err := d.nodes[id-1].Proposer.Propose(single.Value([]byte(d.want[id-1])))
	if err != nil {
		panic(err)
	}
	d.do(id, o)
}

func (d *decree) Crash(id int) {
	d.nodes[id-1].Close()
	d.nodes[id-1], d.waiting[id-1] = nil, nil
	d.disks[id-1].all = d.disks[id-1].all[:d.disks[id-1].synced]
}

func (d *decree) Restart(id int) {
	st, err := single.Recover(1, d.disks[id-1].replay)
	if err != nil {
		panic(err)
	}
	c := d.c
	c.Self = wire.NodeID(id)
	d.nodes[id-1] = single.NewNode(c, st)
}

func (d *decree) Time() {
	for i, nd := range d.nodes {
		if nd == nil {
			continue
		}
		d.do(i+1, nd.Proposer.Repeat())
		if _, ok := nd.Learner.Chosen(); !ok {
			d.do(i+1, nd.Learner.Ask())
		}
	}
}

func (d *decree) Learned(id int) map[int]string {
	if v, ok := d.nodes[id-1].Learner.Chosen(); ok {
		return map[int]string{int(single.Slot): valueText(v)}
	}
	return nil
}

func (d *decree) Close() {
	for _, nd := range d.nodes {
		if nd != nil {
			nd.Close()
		}
	}
}

// newFast is a cluster of mode fast, where node 1 has opened the round and nothing is under way.
func newFast(n int, learn paxos.Learn) *engine {
	e := newEngine(n, paxos.Config{Mode: paxos.ModeFast, Learn: learn, HoleTicks: 3})
	e.fast, e.tags = true, map[uint64]string{}
	e.elect(e.nodes[0])
	idle := func() bool {
		for _, nd := range e.nodes {
			if st := nd.r.Status(); !st.Taking || st.Chosen != e.nodes[0].r.Status().Last {
				return false
			}
		}
		return true
	}
	for i := 0; !idle(); i++ {
		if i > 100 {
			panic("no round is opened")
		}
		e.quiet()
		e.Time()
	}
	e.quiet()
	return e
}

// quiet delivers and syncs until nothing is on the net.
func (e *engine) quiet() {
	for {
		for _, nd := range e.nodes {
			e.Sync(nd.id)
		}
		if len(e.net) == 0 {
			return
		}
		e.Deliver(0)
	}
}

// What can go wrong: fast rounds of the engine do what the suite knows to be a mistake.
func TestFastConforms(t *testing.T) {
	for name, learn := range map[string]paxos.Learn{"one": paxos.LearnOne, "all": paxos.LearnAll, "set2": 2} {
		for _, c := range conform.FastCases() {
			t.Run(name+"/"+c.Name, func(t *testing.T) {
				before := wire.Outstanding()
				if err := conform.Run(c, func(n int) conform.Cluster { return newFast(n, learn) }); err != nil {
					t.Fatal(err)
				}
				if n := wire.Outstanding(); n != before {
					t.Errorf("%d buffers were not released", n-before)
				}
			})
		}
	}
}

// What can go wrong: a mode of the engine, or the small types, do what the suite knows to be a mistake.
func TestEngineConforms(t *testing.T) {
	for name, open := range map[string]func(n int) conform.Cluster{
		"single":    func(n int) conform.Cluster { return newDecree(n) },
		"multi":     func(n int) conform.Cluster { return newEngine(n, paxos.Config{}) },
		"multi/all": func(n int) conform.Cluster { return newEngine(n, paxos.Config{Learn: paxos.LearnAll}) },
		"multi/set": func(n int) conform.Cluster { return newEngine(n, paxos.Config{Learn: 2}) },
		"basic":     func(n int) conform.Cluster { return newEngine(n, paxos.Config{Mode: paxos.ModeBasic}) },
		"basic/all": func(n int) conform.Cluster {
			return newEngine(n, paxos.Config{Mode: paxos.ModeBasic, Learn: paxos.LearnAll})
		},
		"basic/set2": func(n int) conform.Cluster { return newEngine(n, paxos.Config{Mode: paxos.ModeBasic, Learn: 2}) },
	} {
		for _, c := range conform.Cases() {
			t.Run(name+"/"+c.Name, func(t *testing.T) {
				before := wire.Outstanding()
				if err := conform.Run(c, open); err != nil {
					t.Fatal(err)
				}
				if n := wire.Outstanding(); n != before {
					t.Errorf("%d buffers were not released", n-before)
				}
			})
		}
	}
}
