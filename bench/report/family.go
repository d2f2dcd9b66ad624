package report

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/paxbench/paxbench/bench/result"
)

// The tables of engine/PAXOS.md: the modes side by side, made of the records whose names begin with family-:
//
//	family-one-MODE-NODES-CONFLICT   one command at a time of each node: exact costs, latency
//	family-load-MODE-NODES-CONFLICT  many: throughput
//	family-delay-MODE-NODES          one node's, over links that take so long that nothing else counts: message delays
//	family-loss-MODE-NODES           an open loop through the loss of the leader
//	family-learn-MODE-STRATEGY       learning strategies, one command at a time
const (
	familyPrefix = "family-"
	familyBegin  = "<!-- family:begin (made by make report) -->\n"
	familyEnd    = "<!-- family:end -->\n"
)

// Family returns the document with the tables between its two marks. Without records there is a line that says so.
func Family(document string, runs []Run) (string, error) {
	head, rest, ok := strings.Cut(document, familyBegin)
	_, tail, ended := strings.Cut(rest, familyEnd)
	if !ok || !ended {
		return "", fmt.Errorf("report: the document lacks the lines %q and %q", strings.TrimSpace(familyBegin), strings.TrimSpace(familyEnd))
	}
	all := map[string]*result.Result{}
	var invalid []string
	for _, run := range runs {
		if name, ok := strings.CutPrefix(run.Name, familyPrefix); ok {
			all[name] = run.Result.Shown()
			if run.Result.Validity.Verdict == result.Invalid {
				invalid = append(invalid, run.Name)
			}
		}
	}
	var b strings.Builder
	b.WriteString(head + familyBegin + "\n")
	if len(all) == 0 {
		b.WriteString("Nothing is recorded yet: `make results ONLY=family` records it, `make report` puts it here.\n\n")
	} else {
		familyModes(&b, all)
		familyLoss(&b, all)
		familyLearn(&b, all)
		if len(invalid) > 0 {
			fmt.Fprintf(&b, "Invalid as measurements, for reasons that the records name: %s.\n\n", strings.Join(invalid, ", "))
		}
	}
	b.WriteString(familyEnd + tail)
	return b.String(), nil
}

var familyOrder = []string{"basic", "multi", "fast"}

// named are the records of a kind, as the parts of their names behind it, in the order of nodes, mode, conflict.
func named(all map[string]*result.Result, kind string, parts int) (names [][]string) {
	for name := range all {
		if rest, ok := strings.CutPrefix(name, kind+"-"); ok && strings.Count(rest, "-") == parts-1 {
			names = append(names, strings.Split(rest, "-"))
		}
	}
	number := func(s string) (n int) {
		fmt.Sscan(s, &n) // 0 if it is none
		return n
	}
	sort.Slice(names, func(i, j int) bool {
		a, b := names[i], names[j]
		for _, k := range []int{1, 0, 2} {
			if k >= parts || a[k] == b[k] {
				continue
			}
			if k == 0 {
				return slices.Index(familyOrder, a[k]) < slices.Index(familyOrder, b[k])
			}
			if x, y := number(a[k]), number(b[k]); x != y {
				return x < y
			}
			return a[k] < b[k]
		}
		return false
	})
	return names
}

// familyModes is the modes side by side.
func familyModes(b *strings.Builder, all map[string]*result.Result) {
	names := named(all, "one", 3)
	if len(names) == 0 {
		return
	}
	b.WriteString("**Modes side by side.** Costs and latency: one command at a time of each node that proposes, each a slot. Throughput: 8 clients with 64 commands outstanding. Null state machine,\n" +
		"fsync always, processes of one machine. Messages are all frames that nodes send, the reply to the client among them; fsyncs are those of all nodes; ballots are rounds begun\n" +
		"for that slot. Message delays: the response time over links of 20 ms (basic: 10 ms, so that no slot seems left open), in links, from the node that the client asks and back to it (several under way); multi's clients ask the leader, and from any other node it takes two more, there and back.\n" +
		"Conflicts: the share of commands that two nodes propose at the same time (`--conflict`).\n\n")
	b.WriteString("| nodes | mode | conflicts | message delays | messages | fsyncs | ballots | collisions | p50 | p99 | under load: operations/s | p50 | p99 |\n" +
		"| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	for _, n := range names {
		r := all["one-"+strings.Join(n, "-")]
		cells := []string{n[1], n[0], n[2] + "%"}
		delays := "-"
		if n[2] == "0" {
			delays = messageDelays(all["delay-"+n[0]+"-"+n[1]])
		}
		cells = append(cells, delays)
		if r.Voided {
			cells = append(cells, "safety violated", "", "", "", "", "")
		} else {
			cells = append(cells, three(r.Cost.Messages), three(r.Cost.Fsyncs), perCommand(r, ballots(r)), perCommand(r, collisions(r)),
				result.Duration(r.Latency.Response.P50), result.Duration(r.Latency.Response.P99))
		}
		if l := all["load-"+strings.Join(n, "-")]; l != nil && !l.Voided {
			cells = append(cells, result.Count(l.Throughput.OpsPerSec), result.Duration(l.Latency.Response.P50), result.Duration(l.Latency.Response.P99))
		} else {
			cells = append(cells, "-", "-", "-")
		}
		fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | "))
	}
	b.WriteString("\n")
	familyVerdict(b, all)
}

func ballots(r *result.Result) (n uint64) {
	if r.Instances != nil {
		n += r.Instances.Ballots
	}
	if r.Takeovers != nil {
		n += r.Takeovers.Prepared
	}
	return n
}

func collisions(r *result.Result) uint64 {
	if r.Instances == nil {
		return 0
	}
	return r.Instances.Collisions + r.Instances.Duels
}

func perCommand(r *result.Result, n uint64) string {
	if r.Throughput.Ops == 0 {
		return "-"
	}
	return three(float64(n) / float64(r.Throughput.Ops))
}

// messageDelays is the median response while links were slow, in their latency.
func messageDelays(r *result.Result) string {
	if r == nil || r.Voided {
		return "-"
	}
	for i := range r.Faults {
		f := &r.Faults[i]
		_, text, _ := strings.Cut(f.Params, "latency=")
		text, _, _ = strings.Cut(text, ",")
		link, err := time.ParseDuration(text)
		if f.Kind != "slow-link" || err != nil || link <= 0 {
			continue
		}
		var took []int64
		for _, v := range r.Intervals {
			if v.Ops > 0 && v.Start >= f.At+int64(10*link) && v.Start+v.Length <= f.Healed {
				took = append(took, v.P50)
			}
		}
		if len(took) > 0 {
			slices.Sort(took)
			return fmt.Sprintf("%.1f", float64(took[len(took)/2])/float64(link))
		}
	}
	return "-"
}

// familyVerdict says in words what the numbers say of multi against the others, whichever way it is.
func familyVerdict(b *strings.Builder, all map[string]*result.Result) {
	for _, nodes := range []string{"3", "5"} {
		one := func(mode, conflict string) *result.Result {
			r := all["one-"+mode+"-"+nodes+"-"+conflict]
			if r == nil || r.Voided || r.Latency.Response.P50 == 0 {
				return nil
			}
			return r
		}
		basic, multi, fast := one("basic", "0"), one("multi", "0"), one("fast", "0")
		if basic != nil && multi != nil {
			fmt.Fprintf(b, "- %s nodes, no conflicts: multi takes %s of basic's messages, %s of its fsyncs and %s of its median time.\n", nodes,
				share(multi.Cost.Messages, basic.Cost.Messages), share(multi.Cost.Fsyncs, basic.Cost.Fsyncs), share(float64(multi.Latency.Response.P50), float64(basic.Latency.Response.P50)))
		}
		if fast != nil && multi != nil {
			ratio := float64(fast.Latency.Response.P50) / float64(multi.Latency.Response.P50)
			word := "fast is the faster one in time"
			if ratio >= 1 {
				word = "fast does not beat multi in time here, whose clients ask the leader: on one machine a message is cheap, and a fast quorum waits for one fsync more than a majority does"
			}
			fmt.Fprintf(b, "- %s nodes, no conflicts: fast's median is %.2f of multi's; %s.\n", nodes, ratio, word)
		}
	}
	b.WriteString("\n")
}

func share(a, b float64) string {
	if b == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f%%", 100*a/b)
}

// familyLoss is what the loss of a leader does to each mode. In basic there is none: a node that proposes is killed.
func familyLoss(b *strings.Builder, all map[string]*result.Result) {
	names := named(all, "loss", 2)
	if len(names) == 0 {
		return
	}
	b.WriteString("**The loss of the leader** (in basic, of a node that proposes), killed and started again. Unavailable: until what was due after the loss is acknowledged. Without a leader the clients of the\n" +
		"other nodes do not notice, but for slots that the dead node left open.\n\n" +
		"| nodes | mode | unavailable | longest gap | back to 95% | failed | of unknown outcome | slots finished | holes | time to fill | lost |\n" +
		"| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	for _, n := range names {
		r := all["loss-"+strings.Join(n, "-")]
		cells := []string{n[1], n[0]}
		if r.Voided || len(r.Faults) == 0 {
			cells = append(cells, "-", "-", "-", "-", "-", "-", "-", "-")
		} else {
			f := &r.Faults[0]
			finished, holes, fill := uint64(0), uint64(0), int64(0)
			if t := r.Takeovers; t != nil {
				finished, holes, fill = t.Reproposed, t.Holes, int64(t.FillNanos/max(t.Won, 1))
			}
			if i := r.Instances; i != nil && i.Holes > 0 {
				holes, fill = holes+i.Holes, max(fill, int64(i.HoleNanos/i.Holes))
			}
			cells = append(cells, never(f.Unavailable), never(f.LongestGap), never(f.Recovered), fmt.Sprint(r.Throughput.Failed), fmt.Sprint(r.Throughput.Unknown),
				fmt.Sprint(finished), fmt.Sprint(holes), result.Duration(fill))
		}
		fmt.Fprintf(b, "| %s | %d |\n", strings.Join(cells, " | "), r.Safety.Lost)
	}
	b.WriteString("\n")
}

func never(d int64) string {
	if d == result.Never {
		return "never"
	}
	return result.Duration(d)
}

// familyLearn is the learning strategies side by side.
func familyLearn(b *strings.Builder, all map[string]*result.Result) {
	names := named(all, "learn", 2)
	if len(names) == 0 {
		return
	}
	b.WriteString("**Learning** (`--learn`), one command at a time. The delay is from a node's vote until it has learned the slot, fsync included, as medians: at the node that learns first, and at the last.\n\n" +
		"| mode | nodes | who is told of votes | messages for a command | first learner | last learner | response p50 |\n| --- | ---: | --- | ---: | ---: | ---: | ---: |\n")
	for _, n := range names {
		r := all["learn-"+strings.Join(n, "-")]
		first, last := int64(0), int64(0)
		for _, node := range r.Nodes {
			if p := node.Learn.P50; p > 0 {
				if first == 0 || p < first {
					first = p
				}
				last = max(last, p)
			}
		}
		fmt.Fprintf(b, "| %s | %d | %s | %s | %s | %s | %s |\n", n[0], r.Config.Nodes, n[1], three(r.Cost.Messages), result.Duration(first), result.Duration(last), result.Duration(r.Latency.Response.P50))
	}
	b.WriteString("\n")
}
