package explore

import (
	"reflect"
	"strings"
	"testing"

	"github.com/paxbench/paxbench/engine/paxos"
	"github.com/paxbench/paxbench/wire"
)

// What can go wrong: some order of messages, losses, repetitions, syncs and crashes, which no seed happened to draw, makes two nodes
// disagree, or leads to where nothing can be chosen any more. Here all orders there are in the small scopes are played. And:
// a scope that is exhausted without a takeover, a vote found, a hole or a restart shows nothing, so they are counted.
func TestScopes(t *testing.T) {
	before := wire.Outstanding()
	seen := map[string]uint64{}
	scopes := []string{"one", "takeover", "watermark", "gap", "collide"}
	if raceEnabled {
		scopes = scopes[:1]
	}
	for _, name := range scopes {
		t.Run(name, func(t *testing.T) {
			c, err := Find(name)
			if err != nil {
				t.Fatal(err)
			}
			r := Run(Options{Scope: c, Ends: 300})
			t.Log(r)
			if r.Violation != nil {
				t.Fatalf("%v\n%s", r.Violation, strings.Join(r.Trace, "\n"))
			}
			if !r.Exhausted || r.Ends == 0 {
				t.Errorf("exhausted: %v %s, %d ends", r.Exhausted, r.Why, r.Ends)
			}
			for what, n := range r.Counts {
				seen[what] += n
			}
		})
	}
	for _, what := range []string{
		"elections won", "elections won with votes found", "holes filled", "leaderships lost", "slots learned",
		"restarts with a durable ballot", "restarts with durable votes", "restarts that lost records",
		"states with two candidates or leaders",
		"collisions", "slots settled late", "slots promised alone", "values displaced",
	} {
		if seen[what] == 0 && !raceEnabled {
			t.Errorf("there was not one of: %s", what)
		}
	}
	if left := wire.Outstanding() - before; left != 0 {
		t.Errorf("%d buffers were never released", left)
	}
}

// What can go wrong: a reduction drops states that matter. Without it the same scope must come to the same verdict, by visiting no
// fewer states. (TestPlanted has the other half: with all reductions on, the mistakes are found.)
func TestReductions(t *testing.T) {
	crashes := 1
	if raceEnabled {
		crashes = 0
	}
	t.Run("multi", func(t *testing.T) {
		reductions(t, Scope{Nodes: 3, Campaigns: []int{0, 1}, Values: []int{1}, Slots: 2, Crashes: crashes, Repeats: Any, Led: true})
	})
	t.Run("fast", func(t *testing.T) {
		reductions(t, Scope{Nodes: 3, Values: []int{1}, Slots: 2, Crashes: crashes, Repeats: Any, Led: true, Fast: true})
	})
}

func reductions(t *testing.T, c Scope) {
	all := Run(Options{Scope: c, Ends: -1})
	for what, r := range map[string]Reductions{
		"unread fields": {Stale: true, Sync: true}, "stale fields": {Unread: true, Sync: true}, "disks finish": {Unread: true, Stale: true},
	} {
		less := Run(Options{Scope: c, Ends: -1, Reductions: &r})
		t.Logf("all %d states, without %s %d", all.States, what, less.States)
		if all.Violation != nil || less.Violation != nil || !all.Exhausted || !less.Exhausted {
			t.Errorf("without %s: %v, %s; with it %v, %s", what, less.Violation, less.Why, all.Violation, all.Why)
		}
		if less.States < all.States {
			t.Errorf("without %s there are fewer states: %d, with it %d", what, less.States, all.States)
		}
	}
}

// What can go wrong: the core renames a field, and what encode.go says of the old one no longer applies, or quietly applies to
// nothing. Every name there must be one that the walk meets.
func TestFieldsAreMet(t *testing.T) {
	c := Scope{Nodes: 3}
	v := newVocabulary(&c, AllReductions, nil)
	e := newEncoder(&c, v, AllReductions)
	for _, typ := range coreTypes(reflect.TypeFor[paxos.Replica](), map[reflect.Type]bool{}) {
		e.plan(typ)
	}
	for name := range leftOut {
		if !e.met[name] {
			t.Errorf("%s is left out, and is no field of the core", name)
		}
	}
	for name := range idle {
		if !e.met[name] {
			t.Errorf("%s is idle in some role, and is no field of the core", name)
		}
	}
	for name := range special {
		if !e.met[name] {
			t.Errorf("%s is treated in a special way, and is no field of the core", name)
		}
	}
}

// coreTypes lists the structs of the core that hang together with t.
func coreTypes(t reflect.Type, seen map[reflect.Type]bool) (list []reflect.Type) {
	if seen[t] {
		return nil
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Slice, reflect.Array, reflect.Pointer:
		return coreTypes(t.Elem(), seen)
	case reflect.Struct:
		if !strings.HasSuffix(t.PkgPath(), "engine/paxos") {
			return nil
		}
		list = append(list, t)
		for i := range t.NumField() {
			list = append(list, coreTypes(t.Field(i).Type, seen)...)
		}
	}
	return list
}

// What can go wrong: the same scope explored twice gives different numbers, so that a finding does not come back.
func TestRepeats(t *testing.T) {
	c, err := Find("takeover")
	if err != nil {
		t.Fatal(err)
	}
	a, b := Run(Options{Scope: c, Ends: -1}), Run(Options{Scope: c, Ends: -1})
	if a.States != b.States || a.Transitions != b.Transitions || a.NodeStates != b.NodeStates || !reflect.DeepEqual(a.Counts, b.Counts) {
		t.Errorf("first %v\nthen %v", a, b)
	}
}

// What can go wrong: the core begins to read a field that message.go blanks as unread, as it once did with the slot in heartbeats.
// Wherever a message arrives in the scope, one with something else in those fields must do the same.
func TestBlankedFieldsAreUnread(t *testing.T) {
	c, err := Find("takeover")
	if err != nil {
		t.Fatal(err)
	}
	s := &search{o: &Options{Scope: c, Ends: -1, BytesMax: 1 << 30}, rep: &Report{}, holds: map[[nodesMost]uint32]bool{}}
	s.s = newSpace(&c, AllReductions, nil)
	defer s.s.close()
	s.set.init()
	s.set.add(0, 0)
	s.walk()
	tried := 0
	for i := range s.s.taken {
		for k := range s.s.taken[i] {
			at, id := nodeState(k>>32), msgID(k&0xffffffff>>1)
			m := s.s.v.messages[id].m
			switch m.Kind {
			case wire.KindPrepare, wire.KindAccepted:
				m.Chosen = 1
			case wire.KindReject:
				m.Chosen, m.Slot = 1, 2
			default:
				continue
			}
			tried++
			f := m.Encode(clusterID)
			n, other := s.s.materialize(i, at), s.s.materialize(i, at)
			n.take(input{op: opDeliver, arg: uint16(id)})
			if err := wire.DecodeMessage(f, &m); err != nil {
				t.Fatal(err)
			}
			other.r.Step(&m)
			other.collect()
			if string(n.encode(s.s.enc, s.s.disks[i])) != string(other.encode(s.s.enc, s.s.disks[i])) {
				t.Errorf("node %d: %s does something else with another chosen prefix or slot in it", i+1, m.Text(payload))
			}
			f.Release()
			n.close()
			other.close()
		}
	}
	if tried == 0 {
		t.Error("no such message arrived")
	}
	t.Logf("%d arrivals", tried)
}
