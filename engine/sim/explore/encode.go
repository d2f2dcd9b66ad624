package explore

import (
	"encoding/binary"
	"fmt"
	"reflect"

	"github.com/paxbench/paxbench/engine/paxos"
	"github.com/paxbench/paxbench/wire"
)

// The canonical form of a replica: two replicas with the same form do the same for ever after, given the same inputs. It is made
// by walking the replica's fields with reflection, and every field counts unless the list below names it. So a field that
// somebody adds to the core is part of the state from its first day: at worst the search tells states apart that are the same,
// which costs time; it never takes two for one that are not. The plain design, a method of the core that lists what counts,
// fails the other way round.

// leftOut are the fields that cannot matter, each with its reason.
var leftOut = map[string]string{
	"Replica.c":          "the same for ever",
	"Replica.self":       "the same for ever",
	"Replica.nodes":      "the same for ever: no scope changes the membership",
	"Replica.configs":    "the same for ever",
	"Replica.members":    "the same for ever",
	"Replica.addrs":      "the same for ever",
	"Replica.proposed":   "no scope changes the membership",
	"Replica.joining":    "no scope changes the membership",
	"Replica.changing":   "no scope changes the membership",
	"Replica.met":        "no scope changes the membership",
	"Replica.removed":    "no scope changes the membership",
	"Replica.settled":    "no scope changes the membership",
	"Replica.settleMark": "no scope changes the membership",
	"Replica.lateAsked":  "no scope changes the membership",
	"Replica.pending":    "no scope goes beyond the first slots",
	"Replica.remembered": "of contacts that do not come",
	"Replica.order":      "scratch",
	"peer.chosen":        "among independent instances, where the membership is changed, and for Fetches in fast rounds: no scope has any of these",
	"peer.heard":         "as peer.chosen",
	"peer.learned":       "no scope changes the membership",
	"Replica.ignored":    "a counter for people",
	"Replica.stale":      "a counter for people",
	"Replica.resent":     "a counter for people",
	"Replica.jump":       "a budget of a million ballots, refilled each tick: out of reach of any scope",

	// Time. What ticks bring about happens when the search says so, and never else: lateTicks are out of reach, and a
	// campaign ticks until the election starts, whenever that is. node.tick holds the search to it.
	"Replica.now":        "time",
	"Replica.moved":      "time: compared with StallTicks only, which are out of reach",
	"Replica.deadline":   "time: a campaign ticks until it has passed",
	"Replica.heard":      "time: compared when a probe is answered; see quiet",
	"Replica.rng":        "draws deadlines only",
	"Replica.beat":       "time: HeartbeatTicks is 1, so each tick is late enough",
	"peer.seen":          "time: a leader resigns in a campaign, which ticks until it does",
	"promiseParts.asked": "time: compared with RetransmitTicks only, which are out of reach",
	"fetchState.since":   "time: the action fetch ticks until the follower asks",
	"fetchState.stuck":   "time: since which slot since counts",
	"fetchState.sent":    "time: compared with RetransmitTicks only, which are out of reach",
	"fetchState.size":    "bounds a Fetch to four slots or more, which is all a scope has",

	"entry.sum":   "follows from the values learned, which are the same everywhere, or the search ends",
	"Replica.sum": "as entry.sum",

	"fast.spare":      "tallies for reuse",
	"fast.stats":      "counters for people",
	"fast.led":        "time: see fresh",
	"fast.asked":      "time: of reads, which no scope with fast rounds has",
	"fast.kept":       "the sum of what is there",
	"offer.at":        "time: compared with RetransmitTicks only, which are out of reach",
	"settling.at":     "time: compared with RetransmitTicks only, which are out of reach",
	"settling.began":  "a counter for people begins with it",
	"settling.frames": "what found has views into",

	"slotLog.bytes":  "the sum of what is there",
	"Output.LastLSN": "for the caller",
}

// special are the fields whose memory layout says more than they mean.
var special map[string]func(*encoder, reflect.Value, reflect.Value)

func init() { // not where it is declared: the functions look it up
	special = map[string]func(*encoder, reflect.Value, reflect.Value){
		"entry.frame":     (*encoder).valueOf,  // what is voted for; the frame around it is not sent again (RetransmitTicks)
		"entry.sent":      (*encoder).fresh,    //
		"offer.frame":     (*encoder).valueOf,  // as entry.frame
		"slotLog.ring":    (*encoder).ring,     // the slots held, wherever they lie
		"ownRecords.q":    (*encoder).queue,    // what was popped is gone
		"ownRecords.head": (*encoder).nothing,  //
		"slotLog.count":   (*encoder).contents, // empty entries at the end are as good as none
	}
}

// idle says in which roles a field is not looked at before it is set anew (Reductions.Stale). startPrepare sets what a candidate
// needs and lead what a leader needs, and stepDown leaves both as they are. The tallies in the slots are a leader's: lead
// proposes, and so resets the tally, in every slot above the chosen prefix, and a chosen slot counts no more votes.
//
// Whom a follower follows, and at which ballot, decides whom it asks for what it missed and how it answers a probe, and nothing
// else; so without Fetches and Probes it does not count.
var idle = map[string]func(paxos.Role) bool{
	"Replica.leader": following, "Replica.ballot": following, "Replica.fetch": always,
	"Replica.prepFrom": notPreparing, "Replica.prepLSN": notPreparing, "Replica.grants": notAsking, "peer.promise": notPreparing,
	"Replica.next": notLeading, "Replica.barrier": notLeading, "Replica.own": notLeading, "Replica.round": notLeading,
	"peer.round": notLeading, "entry.votes": notLeading,
}

// everybodys are the fields of that list which are not idle in fast rounds: a follower knows by its leader whether it may propose, and it
// counts votes, its own among them.
var everybodys = map[string]bool{
	"Replica.leader": true, "Replica.ballot": true, "Replica.own": true, "Replica.round": true, "peer.round": true, "entry.votes": true,
}

func always(paxos.Role) bool         { return true }
func following(r paxos.Role) bool    { return r == paxos.Follower }
func notPreparing(r paxos.Role) bool { return r != paxos.Preparing }
func notAsking(r paxos.Role) bool    { return r != paxos.Preparing && r != paxos.Probing }
func notLeading(r paxos.Role) bool   { return r != paxos.Leader }

// encoder makes canonical forms.
type encoder struct {
	words   *vocabulary
	drop    bool   // Reductions.Stale
	asks    bool   // there are Fetches or Probes
	fast    bool   // mode fast
	led     uint64 // Replica.fast.led
	buf     []byte
	role    paxos.Role
	durable uint64
	plans   map[reflect.Type][]fieldPlan
	met     map[string]bool // fields named in the lists above that were met
}

// fieldPlan is what to do with a field of a struct.
type fieldPlan struct {
	index   int
	idle    func(paxos.Role) bool
	special func(*encoder, reflect.Value, reflect.Value)
}

func newEncoder(c *Scope, v *vocabulary, r Reductions) *encoder {
	return &encoder{words: v, drop: r.Stale, asks: c.Fetches || c.Probes, fast: c.Fast, plans: map[reflect.Type][]fieldPlan{}, met: map[string]bool{}}
}

// replica appends the canonical form of r.
func (e *encoder) replica(buf []byte, r *paxos.Replica) []byte {
	v := reflect.ValueOf(r).Elem()
	e.buf, e.role, e.durable = buf, r.Status().Role, v.FieldByName("durable").Uint()
	if e.fast {
		e.led = v.FieldByName("fast").Elem().FieldByName("led").Uint()
	}
	e.value(v)
	return e.buf
}

func (e *encoder) plan(t reflect.Type) []fieldPlan {
	if p, ok := e.plans[t]; ok {
		return p
	}
	p := make([]fieldPlan, 0, t.NumField())
	for i := range t.NumField() {
		name := t.Name() + "." + t.Field(i).Name
		if _, out := leftOut[name]; out {
			e.met[name] = true
			continue
		}
		f := fieldPlan{index: i, special: special[name]}
		if e.drop && !(e.fast && everybodys[name]) {
			f.idle = idle[name]
		}
		if e.asks && (name == "Replica.leader" || name == "Replica.ballot" || name == "Replica.fetch") {
			f.idle = nil
		}
		if idle[name] != nil || f.special != nil {
			e.met[name] = true
		}
		p = append(p, f)
	}
	e.plans[t] = p
	return p
}

var (
	bufferType = reflect.TypeFor[*wire.Buffer]()
	lsnType    = reflect.TypeFor[wire.LSN]()
)

func (e *encoder) number(n uint64) { e.buf = binary.AppendUvarint(e.buf, n) }

// value appends v. Record numbers count from the last durable one: how many there were before cannot matter.
func (e *encoder) value(v reflect.Value) {
	switch v.Kind() {
	case reflect.Bool:
		if v.Bool() {
			e.number(1)
		} else {
			e.number(0)
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n := v.Uint()
		if v.Type() == lsnType {
			n = max(n, e.durable) - e.durable
		}
		e.number(n)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		e.buf = binary.AppendVarint(e.buf, v.Int())
	case reflect.String:
		e.number(uint64(v.Len()))
		e.buf = append(e.buf, v.String()...)
	case reflect.Slice, reflect.Array:
		e.number(uint64(v.Len()))
		for i := range v.Len() {
			e.value(v.Index(i))
		}
	case reflect.Pointer:
		switch {
		case v.IsNil():
			e.number(0)
		case v.Type() == bufferType:
			b := bufferBytes(v)
			e.number(uint64(len(b)))
			e.buf = append(e.buf, b...)
		default:
			e.number(1)
			e.value(v.Elem())
		}
	case reflect.Struct:
		e.fields(v)
	default:
		panic(fmt.Sprintf("BUG: explore: the core holds a %v: say what it means in encode.go", v.Type()))
	}
}

func (e *encoder) fields(v reflect.Value) {
	for _, f := range e.plan(v.Type()) {
		switch {
		case f.idle != nil && f.idle(e.role):
		case f.special != nil:
			f.special(e, v, v.Field(f.index))
		default:
			e.value(v.Field(f.index))
		}
	}
}

func bufferBytes(v reflect.Value) []byte { return v.Elem().FieldByName("b").Bytes() }

func (e *encoder) nothing(_, _ reflect.Value) {}

func (e *encoder) valueOf(_, frame reflect.Value) {
	if frame.IsNil() {
		e.number(0)
		return
	}
	e.number(uint64(e.words.value(viewValue(bufferBytes(frame)))))
}

// viewValue is the batch in an Accept or Learn frame.
func viewValue(frame []byte) wire.Batch {
	b, err := wire.ParseBatch(frame[wire.AcceptHeadroom:])
	if err != nil {
		panic("BUG: explore: " + err.Error())
	}
	return b
}

// fresh stands for the tick at which a slot was last heard of. RetransmitTicks, with which it is compared, are out of reach; but the coordinator
// of a fast round settles a slot after holeTicks, which have passed at the next tick unless they count from it only.
func (e *encoder) fresh(_, sent reflect.Value) {
	if e.fast {
		if s := sent.Uint(); s == 0 || s < e.led {
			e.number(1)
		} else {
			e.number(0)
		}
	}
}

func (e *encoder) contents(log, _ reflect.Value) { e.number(uint64(held(log))) }

// held is the number of slots in a log, without the empty ones at its end.
func held(log reflect.Value) int {
	n := int(log.FieldByName("count").Int())
	for n > 0 && entryAt(log, n-1).IsZero() {
		n--
	}
	return n
}

// entryAt is the i-th entry from the base of a log.
func entryAt(log reflect.Value, i int) reflect.Value {
	ring, base := log.FieldByName("ring"), log.FieldByName("base").Uint()
	return ring.Index(int(base+uint64(i)) & (ring.Len() - 1))
}

func (e *encoder) ring(log, _ reflect.Value) {
	for i := range held(log) {
		e.value(entryAt(log, i))
	}
}

// queue appends the own records that are waited for. One that is queued again says nothing new when it is its turn: a repeated Accept queues
// the vote once more.
func (e *encoder) queue(own, q reflect.Value) {
	head := int(own.FieldByName("head").Int())
	same := func(a, b reflect.Value) bool {
		for _, f := range []string{"slot", "ballot", "tag"} {
			if a.FieldByName(f).Uint() != b.FieldByName(f).Uint() {
				return false
			}
		}
		return a.FieldByName("promise").Bool() == b.FieldByName("promise").Bool()
	}
	for i := head; i < q.Len(); i++ {
		again := false
		for k := head; k < i && !again; k++ {
			again = same(q.Index(k), q.Index(i))
		}
		if !again {
			e.number(1)
			e.value(q.Index(i))
		}
	}
	e.number(0)
}

// entryView is what the properties need to know of a slot in a replica.
type entryView struct {
	slot   wire.Slot
	ballot wire.Ballot // of the vote
	value  valueID
	counts wire.Ballot // the ballot of voters
	voters uint64
	told   bool // by others that it is chosen: voters is everybody
	chosen bool
}

// entries reads the slots that a replica holds a value for.
func entries(v *vocabulary, r *paxos.Replica) (list []entryView) {
	log := reflect.ValueOf(r).Elem().FieldByName("log")
	base := wire.Slot(log.FieldByName("base").Uint())
	for i := range held(log) {
		e := entryAt(log, i)
		frame := e.FieldByName("frame")
		if frame.IsNil() {
			continue
		}
		votes := e.FieldByName("votes")
		list = append(list, entryView{
			slot: base + wire.Slot(i), ballot: wire.Ballot(e.FieldByName("ballot").Uint()),
			value: v.value(viewValue(bufferBytes(frame))), voters: votes.FieldByName("nodes").Uint(),
			counts: wire.Ballot(votes.FieldByName("ballot").Uint()), told: e.FieldByName("told").Bool(),
			chosen: e.FieldByName("chosen").Bool(),
		})
	}
	return list
}

// grants reads the tally of promises.
func grants(r *paxos.Replica) (b wire.Ballot, nodes uint64) {
	g := reflect.ValueOf(r).Elem().FieldByName("grants")
	return wire.Ballot(g.FieldByName("ballot").Uint()), g.FieldByName("nodes").Uint()
}

// nextSlot reads where a leader will propose next.
func nextSlot(r *paxos.Replica) wire.Slot {
	return wire.Slot(reflect.ValueOf(r).Elem().FieldByName("next").Uint())
}

// quiet says whether a replica would grant a probe as far as its leader's silence goes: what the times in it amount to.
func quiet(r *paxos.Replica) bool {
	v := reflect.ValueOf(r).Elem()
	return v.FieldByName("now").Uint()-v.FieldByName("heard").Uint()+2 >= electionTicks
}
