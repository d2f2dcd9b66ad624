package explore

import (
	"fmt"
	"strings"

	"github.com/paxbench/paxbench/wire"
)

// Scope says what is enumerated: everything that can happen within these bounds.
type Scope struct {
	Name  string
	About string
	Long  bool // minutes and more: not for go test

	Nodes     int
	Campaigns []int     // how often node 1, 2, ... may start an election; the others never do
	Values    []int     // how many values node 1, 2, ... may propose: while it leads, or in fast rounds while one is open
	Slots     wire.Slot // Accepts for slots above are lost; a leader's barrier takes the first free slot
	Crashes   int       // crashes, each with its restart, in all
	Repeats   int       // a node takes messages again up to so often; Any: without limit
	Turn      int       // messages that a node may take before it puts out what they cause; 0 is 1
	Reads     int       // linearizable reads that each node which may campaign may ask for
	Led       bool      // begins with node 1 leading, slot 1 chosen and learned by all, and nothing on the net
	Beats     Beats     // which heartbeats arrive
	Fetches   bool      // followers that miss chosen slots ask for them
	Probes    bool      // the probe before an election is played; else it is granted (see doc.go)
	Fast      bool      // mode fast, else multi; the coordinator may settle what is open at any time
}

// Beats says which heartbeats can arrive.
type Beats uint8

const (
	BeatElected Beats = iota // the one that a new leader sends at once
	BeatNever                // none: all are lost
	BeatAlways               // leaders send more at any time
)

// Any says that a message, once sent, can be delivered at any time and any number of times.
const Any = -1

// Scopes lists the named scopes, small ones first.
func Scopes() []Scope {
	return []Scope{
		{Name: "one", About: "one proposer, one election, one crash: the disk's side of it",
			Nodes: 3, Campaigns: []int{1}, Values: []int{1}, Slots: 2, Crashes: 1, Repeats: Any},
		{Name: "elections", About: "two proposers and one crash around one slot: promises, ballots, votes found",
			Nodes: 3, Campaigns: []int{1, 1}, Slots: 1, Crashes: 1, Repeats: Any},
		{Name: "turns", About: "one message after the other before anything is put out",
			Nodes: 3, Campaigns: []int{1, 1}, Slots: 1, Repeats: 0, Turn: 2, Beats: BeatNever},
		{Name: "probes", About: "the probe before an election is played, not granted",
			Nodes: 3, Campaigns: []int{1, 1}, Slots: 1, Repeats: Any, Probes: true},
		{Name: "reads", About: "reads at an old and a new leader",
			Nodes: 3, Campaigns: []int{0, 1}, Values: []int{1}, Slots: 2, Repeats: Any, Led: true, Reads: 1},
		{Name: "fetch", About: "a follower that missed what was chosen asks for it",
			Nodes: 3, Campaigns: []int{1}, Values: []int{1}, Slots: 2, Repeats: Any, Beats: BeatAlways, Fetches: true},
		{Name: "takeover", About: "a leader with a value under way, another that takes over, and a crash",
			Nodes: 3, Campaigns: []int{0, 1}, Values: []int{1, 1}, Slots: 2, Repeats: Any, Crashes: 1, Led: true},
		{Name: "watermark", About: "an old vote, and word from a new leader that its slot is chosen",
			Nodes: 3, Campaigns: []int{0, 1}, Values: []int{1}, Slots: 2, Repeats: Any, Led: true, Beats: BeatAlways},
		{Name: "gap", About: "two values in flight when another takes over: a hole below a vote",
			Nodes: 3, Campaigns: []int{0, 1}, Values: []int{2}, Slots: 3, Repeats: Any, Led: true},
		{Name: "collide", About: "a fast round: two nodes offer values for one slot, and the coordinator settles it",
			Nodes: 3, Values: []int{1, 1}, Slots: 2, Repeats: Any, Led: true, Fast: true},
		{Name: "back", About: "the first leader takes over again: votes at several ballots in a slot",
			Nodes: 3, Campaigns: []int{1, 1}, Values: []int{1, 1}, Slots: 2, Repeats: Any, Led: true, Long: true},
		{Name: "contest", About: "two proposers from nothing, one contested slot, no crash",
			Nodes: 3, Campaigns: []int{1, 1}, Values: []int{1}, Slots: 2, Repeats: Any, Long: true},
		{Name: "full", About: "two proposers, two slots, loss, repetition, any order, and a crash at any moment",
			Nodes: 3, Campaigns: []int{0, 1}, Values: []int{2, 1}, Slots: 3, Crashes: 1, Repeats: Any, Led: true, Long: true},
		{Name: "fast", About: "a fast round: two values collide, are settled, and a crash at any moment",
			Nodes: 3, Values: []int{1, 1}, Slots: 2, Crashes: 1, Repeats: Any, Led: true, Fast: true, Long: true},
		{Name: "successor", About: "a fast round with a value in flight, and another coordinator that takes over",
			Nodes: 3, Campaigns: []int{0, 1}, Values: []int{1}, Slots: 2, Repeats: Any, Led: true, Fast: true, Beats: BeatNever, Long: true},
		{Name: "rival", About: "the same with two values: larger than memory, but what is wrong lies near its beginning",
			Nodes: 3, Campaigns: []int{0, 1}, Values: []int{1, 0, 1}, Slots: 2, Repeats: Any, Led: true, Fast: true, Beats: BeatNever, Long: true},
	}
}

// Find returns the scope of that name.
func Find(name string) (Scope, error) {
	var names []string
	for _, s := range Scopes() {
		if s.Name == name {
			return s, nil
		}
		names = append(names, s.Name)
	}
	return Scope{}, fmt.Errorf("explore: no scope is called %q; there are %s", name, strings.Join(names, ", "))
}

func (s *Scope) String() string {
	repeats := "any number of"
	if s.Repeats != Any {
		repeats = fmt.Sprint(s.Repeats)
	}
	text := fmt.Sprintf("%d nodes, elections %v, values %v, %d slots, %d crashes, %s repeats", s.Nodes, s.Campaigns, s.Values, s.Slots, s.Crashes, repeats)
	for _, more := range []struct {
		on   bool
		what string
	}{
		{s.Fast, "mode fast"}, {s.Led, "node 1 leads"}, {s.Turn > 1, fmt.Sprintf("turns of %d", s.Turn)}, {s.Reads > 0, fmt.Sprintf("%d reads", s.Reads)},
		{s.Beats == BeatAlways, "heartbeats at any time"}, {s.Beats == BeatNever, "heartbeats lost"}, {s.Fetches, "fetches"}, {s.Probes, "probes"},
	} {
		if more.on {
			text += ", " + more.what
		}
	}
	return text
}

// of is the bound for node index i in a list that may be shorter than the nodes.
func of(list []int, i int) int {
	if i < len(list) {
		return list[i]
	}
	return 0
}

// Reductions are what the search leaves out because it cannot matter. Each can be switched off, to see on a small scope
// that the verdict stays: TestReductions. Why each is sound stands where it is made.
type Reductions struct {
	Unread bool // message fields that no receiver looks at are blanked, messages that nobody acts upon dropped: message.go
	Stale  bool // fields of a replica that its role does not use are not part of its state: encode.go
	Sync   bool // once no crash is left, a follower's disk finishes at once: search.go
}

// AllReductions is what Options means by its zero value.
var AllReductions = Reductions{Unread: true, Stale: true, Sync: true}
