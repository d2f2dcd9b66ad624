package paxos

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/paxbench/paxbench/wire"
)

// What can go wrong: the protocol does something else than its story says, and no invariant notices. Each file under
// testdata tells one story, command by command, with every message and record it causes; a change of behaviour shows up as a
// change of a story, to be read in review like code. Run with -rewrite to write down what the code does now.
//
//	cluster nodes=N [window=W] [promise-bytes=B] [log-bytes=B] [ahead-bytes=B] [promise-total=B]    N replicas, nothing on the net
//	        [aux=(I,...)] [suspect=TICKS] [alpha=A] [mode=M] [backoff=B] [learn=L] [p1=N] [p2=N] [lease=UNITS] [drift=UNITS]
//	tick node=I [count=K]                           K ticks of node I
//	gone node=I peer=J                              node I hears that J's process is gone
//	elect node=I [verbose]                          the others silent, I ticks until it probes; then settle
//	propose node=I values=(a,b,...)                 one slot for each
//	sync node=I [records=K]                         K records (all) durable; what waited for them leaves
//	deliver|drop|repeat [from=I] [to=J] [kind=K] [slot=S] [count=N] [last]  frames that match, oldest (or newest) first
//	settle                                          deliver and sync until the net is empty; prints only what was chosen
//	isolate node=I / heal                           frames to and from I vanish / no more
//	split side=(I,...)                              frames between these nodes and the others vanish, until heal
//	read node=I                                     a linearizable read
//	lease node=I / resign node=I                    what its lease is worth now, after a look at the clock / it gives up leading
//	clock node=I by=K                               K units pass at node I without a tick: it stands still (each tick is a unit)
//	crash node=I [keep=K] / restart node=I          K un-synced records survive
//	... asks                                        (of restart) the others are not yet asked what they have seen of it: else they have answered
//	rot node=I [lose=K]                             of a node that is down: its last K records are gone, and it knows
//	rollback node=I lose=K / vouch node=I           the same, but it does not know / an operator says that it has lost nothing
//	snap node=I / install from=I to=J               snapshot and trim / copy the snapshot
//	join                                            the next node, which is no member, comes up with an empty disk
//	change node=I add=J|remove=J                    node I is asked to change the membership
//	run ticks=K                                     K times: a tick of each node, then settle
//	members                                         what each replica knows of configurations
//	spoil node=I slot=S                             the value that node I holds in slot S is another from now on: damaged memory
//	... stops                                       (of any command) a node stops, and says why
//	net / status                                    what is on the net / each replica in a line
func TestTraces(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		tr := &trace{}
		defer func() {
			if tr.c != nil {
				tr.c.close()
			}
		}()
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			tr.out.Reset()
			tr.runOrStop(t, d)
			if tr.out.Len() == 0 {
				return "ok\n"
			}
			return squeeze(tr.out.String())
		})
	})
}

// squeeze writes a run of repetitions of one to four lines once, with its count: heartbeats would hide the story.
func squeeze(s string) string {
	lines := strings.Split(strings.TrimSuffix(s, "\n"), "\n")
	var b strings.Builder
	for i := 0; i < len(lines); {
		best, times := 1, 1
		for period := 1; period <= 4; period++ {
			n := 1
			for i+(n+1)*period <= len(lines) && slices.Equal(lines[i:i+period], lines[i+n*period:i+(n+1)*period]) {
				n++
			}
			if n > 1 && n*period > best*times {
				best, times = period, n
			}
		}
		for k := range best {
			b.WriteString(lines[i+k])
			if times > 1 {
				fmt.Fprintf(&b, " (x%d)", times)
			}
			b.WriteByte('\n')
		}
		i += best * times
	}
	return b.String()
}

type trace struct {
	c     *simCluster
	out   strings.Builder
	quiet bool
}

// runOrStop is run, and where a story says so, a node that stops.
func (tr *trace) runOrStop(t *testing.T, d *datadriven.TestData) {
	if d.HasArg("stops") {
		defer func() { fmt.Fprintf(&tr.out, "stops: %v\n", recover()) }()
	}
	tr.run(t, d)
}

func (tr *trace) run(t *testing.T, d *datadriven.TestData) {
	arg := func(name string, def int) int {
		v := def
		d.MaybeScanArgs(t, name, &v)
		return v
	}
	var nd *testNode
	if d.HasArg("node") {
		nd = tr.c.node(wire.NodeID(arg("node", 0)))
	}
	switch d.Cmd {
	case "cluster":
		tr.c = newTestCluster(t, arg("nodes", 3), Config{
			Window: arg("window", 4), Alpha: arg("alpha", 0), PromiseBytes: arg("promise-bytes", 0), LogBytesMax: int64(arg("log-bytes", 0)),
			AheadBytesMax: int64(arg("ahead-bytes", 0)), PromiseTotalMax: int64(arg("promise-total", 0)), Seed: 1,
			Mode: Mode(name(d, "mode", modeNames[:])), Backoff: Backoff(name(d, "backoff", backoffNames[:])), Learn: learnArg(d),
			Auxiliary: nodesArg(t, d, "aux"), SuspectTicks: arg("suspect", 0),
			Quorums: Quorums{arg("p1", 0), arg("p2", 0), arg("fast", 0)}, Lease: int64(arg("lease", 0)), LeaseDrift: int64(arg("drift", 0)),
		})
		tr.c.trace = tr
	case "tick":
		for range arg("count", 1) {
			tr.c.tick(nd)
		}
	case "gone":
		nd.r.PeerGone(wire.NodeID(arg("peer", 0)))
		tr.c.collect(nd)
	case "elect":
		tr.quiet = !d.HasArg("verbose")
		tr.elect(t, nd)
		tr.quiet = false
	case "propose":
		tr.propose(d, nd)
	case "sync":
		tr.c.sync(nd, arg("records", 1<<30))
	case "deliver", "drop", "repeat":
		tr.pick(t, d, arg)
	case "settle":
		tr.quiet = true
		tr.settle()
		tr.quiet = false
	case "isolate":
		tr.c.isolated = nd.id
	case "heal":
		tr.c.isolated, tr.c.side = 0, nil
	case "split":
		tr.c.side = map[wire.NodeID]bool{}
		for _, id := range nodesArg(t, d, "side") {
			tr.c.side[id] = true
		}
	case "read":
		tr.c.read(nd)
	case "clock":
		nd.clock += int64(arg("by", 1))
	case "resign":
		nd.r.Resign("it is told to")
		tr.c.collect(nd)
	case "lease":
		tr.lease(nd)
	case "crash":
		tr.c.crash(nd, arg("keep", 0))
	case "restart":
		tr.c.told = !d.HasArg("asks")
		tr.c.start(nd)
		tr.c.told = false
	case "rot":
		tr.c.rot(nd, arg("lose", 1))
	case "rollback":
		tr.c.rot(nd, arg("lose", 1))
		nd.suspect = ""
	case "vouch":
		nd.suspect, nd.vouched = "", true
	case "spoil":
		s := wire.Slot(arg("slot", 0))
		e := nd.r.log.get(s)
		f := testAccept("spoilt")
		wire.SealAccept(f, testCluster, 1, e.ballot.Node(), e.ballot, s, 0)
		nd.r.log.put(e, f, e.ballot)
	case "snap":
		tr.c.snap(nd)
	case "install":
		tr.c.install(tr.c.node(wire.NodeID(arg("from", 0))), tr.c.node(wire.NodeID(arg("to", 0))))
	case "join":
		tr.c.join()
	case "change":
		o, err := tr.c.change(nd, Change{Add: wire.Member{Node: wire.NodeID(arg("add", 0))}, Remove: wire.NodeID(arg("remove", 0))})
		if err != nil {
			fmt.Fprintln(&tr.out, err)
		} else {
			fmt.Fprintln(&tr.out, o)
		}
	case "run":
		tr.quiet = true
		for range arg("ticks", 1) {
			for _, nd := range tr.c.nodes {
				if nd.r != nil {
					tr.c.tick(nd)
				}
			}
			tr.settle()
		}
		tr.quiet = false
	case "members":
		for _, nd := range tr.c.nodes {
			if nd.r != nil {
				fmt.Fprintf(&tr.out, "%d:", nd.id)
				for i, m := range nd.r.Memberships() {
					fmt.Fprintf(&tr.out, "%s %v", []string{"", ";"}[min(i, 1)], m)
				}
				tr.out.WriteByte('\n')
			}
		}
	case "net":
		for _, p := range tr.c.net {
			fmt.Fprintf(&tr.out, "%d->%d %s\n", p.from, p.to, describe(p.frame))
		}
	case "status":
		tr.status()
	default:
		t.Fatalf("unknown command %q", d.Cmd)
	}
}

// elect lets the others fall silent for as long as they may without probing themselves, and nd until it probes.
func (tr *trace) elect(t testing.TB, nd *testNode) {
	for _, other := range tr.c.nodes {
		for i := 0; other != nd && other.r != nil && other.r.role == Follower && i < 28; i++ {
			tr.c.tick(other)
		}
	}
	for i := 0; nd.r.role == Follower; i++ {
		if i > 1000 {
			t.Fatalf("node %d never probes", nd.id)
		}
		tr.c.tick(nd)
	}
	tr.settle()
}

func (tr *trace) lease(nd *testNode) {
	switch l, now := nd.r.Lease(), nd.now(tr.c); {
	case l.Ballot == 0:
		fmt.Fprintf(&tr.out, "none\n")
	case now >= l.Until:
		fmt.Fprintf(&tr.out, "over since %d, it is %d\n", l.Until, now)
	case l.Until == math.MaxInt64:
		fmt.Fprintf(&tr.out, "held at %v as long as it leads, reads from slot %d on\n", l.Ballot, l.From)
	default:
		fmt.Fprintf(&tr.out, "held at %v until %d, it is %d; reads from slot %d on\n", l.Ballot, l.Until, now, l.From)
	}
	if to, until := nd.r.lease.grant.Holder(nd.now(tr.c)); to != 0 {
		fmt.Fprintf(&tr.out, "granted to node %d until %d\n", to, until)
	}
}

func (tr *trace) propose(d *datadriven.TestData, nd *testNode) {
	for _, v := range values(d, "values") {
		if s, o := tr.c.propose(nd, v); o == Taken {
			fmt.Fprintf(&tr.out, "slot %d: %s\n", s, v)
		} else {
			fmt.Fprintf(&tr.out, "%s: %v\n", v, o)
		}
	}
}

// values returns the values of an argument.
func values(d *datadriven.TestData, key string) []string {
	for _, a := range d.CmdArgs {
		if a.Key == key {
			return a.Vals
		}
	}
	return nil
}

// nodesArg returns the nodes of an argument.
func nodesArg(t *testing.T, d *datadriven.TestData, key string) (nodes []wire.NodeID) {
	for _, v := range values(d, key) {
		id, err := strconv.Atoi(v)
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, wire.NodeID(id))
	}
	return nodes
}

// name returns which of the names an argument has; 0 without it.
func name(d *datadriven.TestData, key string, names []string) int {
	for _, v := range values(d, key) {
		if i := slices.Index(names, v); i >= 0 {
			return i
		}
		panic(fmt.Sprintf("%s %q is none of %v", key, v, names))
	}
	return 0
}

// learnArg returns the learning strategy: one, all, or the size of a set.
func learnArg(d *datadriven.TestData) Learn {
	v := values(d, "learn")
	if len(v) == 0 {
		return LearnOne
	}
	l, err := ParseLearn(v[0])
	if err != nil {
		panic(err)
	}
	return l
}

// settle delivers and syncs, without ticks, until nothing moves.
func (tr *trace) settle() {
	for moved := true; moved; {
		moved = len(tr.c.net) > 0
		for len(tr.c.net) > 0 {
			tr.c.deliver(0)
		}
		for _, nd := range tr.c.nodes {
			if nd.r != nil && nd.synced < len(nd.disk) {
				tr.c.sync(nd, 1<<30)
				moved = true
			}
		}
	}
}

// pick applies deliver, drop or repeat to the frames that match.
func (tr *trace) pick(t *testing.T, d *datadriven.TestData, arg func(string, int) int) {
	from, to, slot, count := arg("from", 0), arg("to", 0), arg("slot", 0), arg("count", 1<<30)
	kind := ""
	d.MaybeScanArgs(t, "kind", &kind)
	match := func(p packet) bool {
		f := wire.GetCopy(p.frame)
		defer f.Release()
		m := mustDecode(f)
		return (from == 0 || p.from == wire.NodeID(from)) && (to == 0 || p.to == wire.NodeID(to)) &&
			(slot == 0 || m.Slot == wire.Slot(slot)) && (kind == "" || m.Kind.String() == kind)
	}
	var chosen []packet
	var rest []packet
	for _, p := range tr.c.net {
		if match(p) {
			chosen = append(chosen, p)
		} else {
			rest = append(rest, p)
		}
	}
	if d.HasArg("last") {
		n := max(0, len(chosen)-count)
		rest, chosen = append(rest, chosen[:n]...), chosen[n:]
	} else if len(chosen) > count {
		rest, chosen = append(rest, chosen[count:]...), chosen[:count]
	}
	if len(chosen) == 0 {
		fmt.Fprintf(&tr.out, "nothing matches\n")
	}
	if d.Cmd != "repeat" {
		tr.c.net = rest
	}
	for _, p := range chosen {
		if d.Cmd == "drop" {
			fmt.Fprintf(&tr.out, "lost: %d->%d %s\n", p.from, p.to, describe(p.frame))
			continue
		}
		fmt.Fprintf(&tr.out, "%d->%d %s\n", p.from, p.to, describe(p.frame))
		tr.c.hand(p)
	}
}

func (tr *trace) status() {
	for _, nd := range tr.c.nodes {
		if nd.r == nil {
			fmt.Fprintf(&tr.out, "%d: down, %d records\n", nd.id, len(nd.disk))
			continue
		}
		st := nd.r.Status()
		if st.Suspect != "" {
			fmt.Fprintf(&tr.out, "%d: suspect (%s), %d of %d have answered, promised %v, chosen %d, last %d\n",
				nd.id, st.Suspect, st.Healing, st.HealQuorum, st.Promised, st.Chosen, st.Last)
			continue
		}
		if tr.c.cfg.Mode == ModeBasic {
			b := st.Basic
			fmt.Fprintf(&tr.out, "%d: %v, chosen %d, trimmed %d, last %d, in flight %d; rounds %d, duels %d, won %d, displaced %d, holes %d\n",
				nd.id, st.Role, st.Chosen, st.Trimmed, st.Last, st.InFlight, b.Rounds, b.Duels, b.Won, b.Displaced, b.Holes)
			continue
		}
		if tr.c.cfg.Mode == ModeFast {
			f := st.Fast
			fmt.Fprintf(&tr.out, "%d: %v of %v, leader %d, taking %v, promised %v, chosen %d, trimmed %d, last %d, in flight %d; fast %d, won %d, displaced %d, collisions %d, recovered %d, prepared %d, holes %d\n",
				nd.id, st.Role, st.Ballot, st.Leader, st.Taking, st.Promised, st.Chosen, st.Trimmed, st.Last, st.InFlight,
				f.Fast, f.Won, f.Displaced, f.Collisions, f.Recovered, f.Prepared, f.Holes)
			continue
		}
		fmt.Fprintf(&tr.out, "%d: %v of %v, leader %d, promised %v, chosen %d, trimmed %d, last %d, in flight %d\n",
			nd.id, st.Role, st.Ballot, st.Leader, st.Promised, st.Chosen, st.Trimmed, st.Last, st.InFlight)
	}
}

// The cluster's collect tells the trace what a replica put out.

func (tr *trace) record(nd *testNode, rec *wire.Record) {
	if tr.quiet {
		return
	}
	switch rec.Kind {
	case wire.KindRecPromise:
		fmt.Fprintf(&tr.out, "  %d: records promise %v%s%s\n", nd.id, rec.Ballot, inSlot(rec.Slot), wire.LivesText(rec.Incarnations))
	default:
		fmt.Fprintf(&tr.out, "  %d: records %v slot %d at %v: %s\n", nd.id, rec.Kind, rec.Slot, rec.Ballot, payload(wire.TrustedValue(rec.Frame)))
	}
}

func (tr *trace) message(nd *testNode, to wire.NodeID, frame []byte, gated bool) {
	if tr.quiet {
		return
	}
	wait := ""
	if gated {
		wait = " (waits for the disk)"
	}
	fmt.Fprintf(&tr.out, "  %d: to %d %s%s\n", nd.id, to, describe(frame), wait)
}

func (tr *trace) chosen(nd *testNode, ch *Chosen) {
	fmt.Fprintf(&tr.out, "  %d: chosen slot %d at %v: %s\n", nd.id, ch.Slot, ch.Ballot, payload(ch.Value))
}

func (tr *trace) event(nd *testNode, e *Event) {
	fmt.Fprintf(&tr.out, "  %d: %v", nd.id, e.Kind)
	if e.Ballot != 0 {
		fmt.Fprintf(&tr.out, " at %v", e.Ballot)
	}
	switch e.Kind {
	case EventLeading:
		fmt.Fprintf(&tr.out, ", barrier slot %d, %d reproposed, %d holes", e.Slot, e.Reproposed, e.Holes)
	case EventLost, EventResting:
		fmt.Fprintf(&tr.out, ": %s", e.Reason)
	case EventFollowing:
		fmt.Fprintf(&tr.out, ", leader %d", e.Peer)
	case EventSuspect, EventCannotHeal:
		fmt.Fprintf(&tr.out, ": %s", e.Reason)
	case EventPeerBehind:
		fmt.Fprintf(&tr.out, ": node %d asks for slot %d", e.Peer, e.Slot)
	case EventContact:
		fmt.Fprintf(&tr.out, ": node %d", e.Peer)
	case EventChanging:
		fmt.Fprintf(&tr.out, "%s", inSlot(e.Slot))
	case EventEngaged, EventReleased:
		fmt.Fprintf(&tr.out, ", from slot %d on", e.Slot)
	case EventForgot:
		fmt.Fprintf(&tr.out, " up to slot %d", e.Slot)
	case EventMembers, EventInForce, EventRemoved:
		fmt.Fprintf(&tr.out, "%s, from slot %d on", inSlot(e.Slot), e.To)
	case EventChangeFailed:
		fmt.Fprintf(&tr.out, "%s: %s", inSlot(e.Slot), e.Reason)
	case EventDuel, EventFinishing, EventCollision:
		fmt.Fprintf(&tr.out, "%s", inSlot(e.Slot))
	case EventDisplaced:
		fmt.Fprintf(&tr.out, "%s, goes to slot %d", inSlot(e.Slot), e.To)
	}
	tr.out.WriteByte('\n')
}

func (tr *trace) read(nd *testNode, rd ReadReady) {
	if rd.OK {
		fmt.Fprintf(&tr.out, "  %d: read %d may be answered at slot %d\n", nd.id, rd.Token, rd.Slot)
	} else {
		fmt.Fprintf(&tr.out, "  %d: read %d failed\n", nd.id, rd.Token)
	}
}

func inSlot(s wire.Slot) string {
	if s == 0 {
		return ""
	}
	return fmt.Sprintf(" in slot %d", s)
}

// describe prints a frame in a line.
func describe(frame []byte) string {
	f := wire.GetCopy(frame)
	defer f.Release()
	m := mustDecode(f)
	return m.Text(payload)
}
