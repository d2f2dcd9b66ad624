// Package conform is a conformance suite for implementations of Paxos: schedules and what must come of them, as data (cases/),
// played against any implementation that lets the suite move its messages (Cluster). It depends on nothing but the standard library.
//
//	for _, c := range conform.Cases() {
//		if err := conform.Run(c, newCluster); err != nil { ... }
//	}
//
// A case is a story with one classic mistake in mind (its header says which, and where the rule is from), so that the name of the
// case that fails says what is wrong. Besides what a case expects the suite checks, after every step: agreement, that what was
// learned stays and was proposed, one value for each slot and round, or, in a fast round, one vote of each node, and that votes told were asked for.
//
// FastCases are of Fast Paxos, and for implementations of that.
//
// Package toy is a small implementation with every one of these mistakes on a switch; the suite is tested against it, against the
// engine's modes and against single-decree Paxos of package single.
package conform

import (
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// Kind is what a message is for, as far as the suite can tell implementations' messages apart.
type Kind string

// The kinds. A message that serves two purposes has the kind of the earlier.
const (
	Prepare  Kind = "prepare"  // phase 1a
	Promise  Kind = "promise"  // phase 1b, granted
	Reject   Kind = "reject"   // phase 1b or 2b, refused
	Accept   Kind = "accept"   // phase 2a
	Accepted Kind = "accepted" // phase 2b, granted
	Other    Kind = "other"    // whatever else: heartbeats, news of what was chosen
)

// Noop is the value of a slot that was filled with nothing. The suite never proposes it.
const Noop = "no-op"

// Message is what the suite sees of a message on the net.
type Message struct {
	From, To int
	Kind     Kind
	Slot     int    // Accept, Accepted; of an implementation of one decree: always the same
	Last     int    // Accepted: the last of a run of slots from Slot on; 0: Slot alone
	Round    uint64 // Accept, Accepted: the ballot, as a number that no other round has
	Fast     bool   // Accept, Accepted: of a fast round, in which a slot may have several values
	Value    string // Accept; Accepted of a fast round
}

// Cluster is an implementation under test: nodes 1 to n, an empty net, empty disks. Nothing happens in it but what the suite
// asks for. A node talks to itself without the net. A message whose sender must wait for the disk is not on the net before Sync.
type Cluster interface {
	// Propose has a node begin a round for a value, or, if it need not (a leader), propose it at once. Whatever the
	// implementation does before phase 1 (elections' questions) goes on inside.
	Propose(node int, value string)
	// Again has a node whose round met a higher one begin another, for the same value.
	Again(node int)
	// Net is what is on the net, oldest first. Deliver, Drop and Repeat name a message by its position there; Repeat delivers and
	// leaves it on the net. What is for a node that is down vanishes when delivered.
	Net() []Message
	Deliver(i int)
	Drop(i int)
	Repeat(i int)
	// Sync makes durable what a node has written. An implementation without a disk does nothing.
	Sync(node int)
	// Crash ends a node; what it has not synced is lost. Restart brings it back from its disk.
	Crash(node int)
	Restart(node int)
	// Time passes everywhere: as long as it takes to repeat what was not answered.
	Time()
	// Learned is what a node that is up has learned since its start, by slot.
	Learned(node int) map[int]string
	Close()
}

// Case is one story.
type Case struct {
	Name  string   // of its file
	About string   // its comment: what can go wrong, and the rule's source
	Tags  []string // what not every implementation has: see Case.Needs
	Nodes int
	steps []step
}

// Needs says whether the case is only for implementations with a feature: "disk" (Sync, Crash and Restart mean something).
func (c *Case) Needs(tag string) bool { return slices.Contains(c.Tags, tag) }

type step struct {
	line  int
	words []string
}

//go:embed cases/*.txt cases/fast/*.txt
var files embed.FS

// Cases are those of Paxos, by name.
func Cases() []*Case { return mustLoad("cases") }

// FastCases are those of Fast Paxos. There node 1 has opened a fast round to begin with; Propose sends a value straight to the acceptors, in
// the round that is open or, if none is, in the next one; Again has a node become the coordinator of a new round; Time, that of those who
// are up, is enough for a coordinator to settle what is open.
func FastCases() []*Case { return mustLoad("cases/fast") }

func mustLoad(dir string) []*Case {
	all, err := Load(files, dir)
	if err != nil {
		panic("BUG: conform: " + err.Error())
	}
	return all
}

// Load reads the cases of a directory: one file each, named *.txt, of lines
//
//	# a comment: those above the first command say what the case is about
//	needs TAG
//	nodes N                           first command; nodes 1 to N
//	propose NODE VALUE                see Cluster
//	again NODE
//	deliver MESSAGES                  every message that matches now; one at least
//	offer MESSAGES                    the same; none will do
//	repeat N MESSAGES                 deliver each N times and leave it
//	drop MESSAGES                     if there are any
//	sync NODE|all
//	crash NODE, restart NODE
//	wait                              let time pass
//	settle                            deliver and sync everything, let time pass, until nothing changes any more
//	expect MESSAGES                   one at least is on the net
//	expect no MESSAGES
//	expect learned NODE|all VALUE     of nodes that are up
//	expect learned NODE|all nothing   no value; no-ops do not count
//	expect learned NODE|all something any value
//
// where MESSAGES is KIND [from NODE] [to NODE] [of VALUE], or any instead of a kind.
func Load(fsys fs.FS, dir string) ([]*Case, error) {
	names, err := fs.Glob(fsys, dir+"/*.txt")
	if err != nil {
		return nil, err
	}
	var all []*Case
	for _, name := range names {
		text, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, err
		}
		base := name[strings.LastIndexByte(name, '/')+1:]
		c, err := Parse(strings.TrimSuffix(base, ".txt"), string(text))
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// Parse reads one case.
func Parse(name, text string) (*Case, error) {
	c := &Case{Name: name}
	for i, line := range strings.Split(text, "\n") {
		comment, isComment := strings.CutPrefix(line, "#")
		words := strings.Fields(line)
		switch {
		case isComment:
			if c.Nodes == 0 {
				c.About = strings.TrimSpace(c.About + " " + strings.TrimSpace(comment))
			}
		case len(words) == 0:
		case words[0] == "needs" && len(words) == 2:
			c.Tags = append(c.Tags, words[1])
		case words[0] == "nodes" && len(words) == 2 && c.Nodes == 0:
			n, err := number(words[1], 64)
			if err != nil {
				return nil, fmt.Errorf("conform: %s:%d: %w", name, i+1, err)
			}
			c.Nodes = n
		default:
			s := step{i + 1, words}
			if err := c.check(&s); err != nil {
				return nil, fmt.Errorf("conform: %s:%d: %q: %w", name, i+1, line, err)
			}
			c.steps = append(c.steps, s)
		}
	}
	if len(c.steps) == 0 || c.About == "" {
		return nil, fmt.Errorf("conform: %s: a case has a comment that says what it is about, and steps", name)
	}
	return c, nil
}

func number(word string, most int) (n int, err error) {
	if _, err := fmt.Sscanf(word, "%d", &n); err != nil || n < 1 || n > most || fmt.Sprint(n) != word {
		return 0, fmt.Errorf("%q: need a number from 1 to %d", word, most)
	}
	return n, nil
}

// check finds what is wrong with a step before it is played.
func (c *Case) check(s *step) error {
	if c.Nodes == 0 {
		return fmt.Errorf("nodes comes first")
	}
	node := func(i int, orAll bool) error {
		if orAll && s.words[i] == "all" {
			return nil
		}
		_, err := number(s.words[i], c.Nodes)
		return err
	}
	w := s.words
	switch {
	case len(w) == 3 && w[0] == "propose":
		return node(1, false)
	case len(w) == 2 && (w[0] == "again" || w[0] == "crash" || w[0] == "restart"):
		return node(1, false)
	case len(w) == 2 && w[0] == "sync":
		return node(1, true)
	case len(w) == 1 && (w[0] == "settle" || w[0] == "wait"):
		return nil
	case len(w) == 4 && w[0] == "expect" && w[1] == "learned":
		return node(2, true)
	case len(w) > 2 && w[0] == "repeat":
		if _, err := number(w[1], 100); err != nil {
			return err
		}
		_, err := c.parsePattern(w[2:])
		return err
	case len(w) > 2 && w[0] == "expect" && w[1] == "no":
		_, err := c.parsePattern(w[2:])
		return err
	case len(w) > 1 && (w[0] == "deliver" || w[0] == "offer" || w[0] == "drop" || w[0] == "expect"):
		_, err := c.parsePattern(w[1:])
		return err
	}
	return fmt.Errorf("no such command")
}

// pattern matches messages; zero fields match all.
type pattern struct {
	kind     Kind
	from, to int
	value    string
}

func (c *Case) parsePattern(words []string) (p pattern, err error) {
	switch p.kind = Kind(words[0]); p.kind {
	case "any":
		p.kind = ""
	case Prepare, Promise, Reject, Accept, Accepted, Other:
	default:
		return p, fmt.Errorf("no kind of message: %q", words[0])
	}
	for w := words[1:]; len(w) > 0; w = w[2:] {
		if len(w) == 1 {
			return p, fmt.Errorf("%q of what?", w[0])
		}
		switch w[0] {
		case "from":
			p.from, err = number(w[1], c.Nodes)
		case "to":
			p.to, err = number(w[1], c.Nodes)
		case "of":
			p.value = w[1]
		default:
			err = fmt.Errorf("%q: need from, to or of", w[0])
		}
		if err != nil {
			return p, err
		}
	}
	return p, nil
}

func (p *pattern) matches(m *Message) bool {
	return (p.kind == "" || p.kind == m.Kind) && (p.from == 0 || p.from == m.From) && (p.to == 0 || p.to == m.To) &&
		(p.value == "" || p.value == m.Value)
}
