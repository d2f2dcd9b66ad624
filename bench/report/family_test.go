package report

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/paxbench/paxbench/bench/result"
)

// What can go wrong: a row of the family's tables shows another record's numbers, an order that nobody finds anything in, or numbers of a
// run that lost something; the message delays are those of the time without slow links.
func TestFamilyTables(t *testing.T) {
	var runs []Run
	add := func(name string, change func(r *result.Result)) {
		r := closed()
		r.Throughput.Ops, r.Throughput.OpsPerSec = 1000, 500
		change(r)
		runs = append(runs, Run{"family-" + name, r})
	}
	for _, conflict := range []string{"50", "0", "2", "10"} {
		add("one-multi-3-"+conflict, func(r *result.Result) {
			r.Cost.Messages, r.Cost.Fsyncs, r.Takeovers = 5, 3, &result.Takeovers{Prepared: 0}
		})
		add("one-basic-3-"+conflict, func(r *result.Result) {
			r.Cost.Messages, r.Cost.Fsyncs, r.Instances = 11, 6, &result.Instances{Ballots: 1500, Duels: 250, Won: 1000}
		})
		add("load-basic-3-"+conflict, func(r *result.Result) { r.Throughput.OpsPerSec = 12345 })
	}
	add("one-fast-3-0", func(r *result.Result) { r.Cost.Messages, r.Instances = 7, &result.Instances{Won: 1000, Fast: 1000} })
	add("delay-multi-3", func(r *result.Result) {
		r.Faults = []result.Fault{{Kind: "slow-link", Params: "latency=20ms", At: 0, Healed: 3e9}}
		r.Intervals = nil
		for at := int64(0); at < 35e8; at += 1e8 {
			p50 := int64(41e6)
			if at >= 3e9 {
				p50 = 1e6
			}
			r.Intervals = append(r.Intervals, result.Interval{Start: at, Length: 1e8, Ops: 4, P50: p50})
		}
	})
	add("loss-multi-3", func(r *result.Result) {
		r.Faults = []result.Fault{{Kind: "kill", Target: "leader", Unavailable: 310e6, LongestGap: 320e6, Recovered: result.Never}}
		r.Takeovers = &result.Takeovers{Won: 1, Prepared: 1, Reproposed: 4, Holes: 2, FillNanos: 3e6}
	})
	add("learn-basic-all", func(r *result.Result) {
		r.Config.Nodes = 5
		r.Nodes = []result.Node{{Learn: result.Latency{P50: 3e6}}, {Learn: result.Latency{P50: 2e6}}, {Learn: result.Latency{P50: 9e6}}}
	})
	add("one-basic-5-0", func(r *result.Result) { r.Safety.Verdict, r.Safety.Lost = result.Violated, 1 })
	text, err := Family("before\n"+familyBegin+"OLDER\n"+familyEnd+"after\n", runs)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`\| 3 \| multi \| 0% \| 2\.0 \| 5 \| 3 \| 0 \| 0 \|`,
		`\| 3 \| basic \| 10% \| - \| 11 \| 6 \| 1\.5 \| 0\.25 \| .* \| 12,345 \|`,
		`\| 3 \| fast \| 0% \| - \| 7 \|`,
		`\| 5 \| basic \| 0% \| - \| safety violated`,
		`multi takes 45% of basic's messages, 50% of its fsyncs`,
		`\| 3 \| multi \| 310 ms \| 320 ms \| never \| 0 \| 0 \| 4 \| 2 \| 3\.00 ms \| 0 \|`,
		`\| basic \| 5 \| all \| .* \| 2\.00 ms \| 9\.00 ms \|`,
	} {
		if !regexp.MustCompile(want).MatchString(text) {
			t.Errorf("%s is not in\n%s", want, text)
		}
	}
	last := -1
	for _, row := range []string{"| 3 | basic | 0% ", "| 3 | basic | 2% ", "| 3 | basic | 10% ", "| 3 | basic | 50% ", "| 3 | multi | 0% ", "| 3 | fast | 0% ", "| 5 | basic | 0% "} {
		at := strings.Index(text, row)
		if at <= last {
			t.Errorf("%q is out of order", row)
		}
		last = at
	}
	if strings.Contains(text, "OLDER") || !strings.HasPrefix(text, "before\n") || !strings.HasSuffix(text, "after\n") {
		t.Error("what is around the marks is changed, or what was between them stays")
	}
	if document, _ := Benchmarks(runs, Peers{}, "results"); strings.Contains(document, "family-") {
		t.Error("BENCHMARKS.md has them too")
	}
	if _, err := Family("no marks", runs); err == nil {
		t.Error("a document without marks")
	}
	if empty, err := Family(familyBegin+familyEnd, nil); err != nil || !strings.Contains(empty, "ONLY=family") {
		t.Errorf("%v\n%s", err, empty)
	}
}

// What can go wrong: the matrix lacks a record that the tables want, and nobody sees that a cell is empty.
func TestFamilyMatrix(t *testing.T) {
	text, err := os.ReadFile("../../results/matrix.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, nodes := range []int{3, 5} {
		for _, mode := range familyOrder {
			want := []string{fmt.Sprintf("delay-%s-%d", mode, nodes), fmt.Sprintf("loss-%s-%d", mode, nodes)}
			for _, conflict := range []int{0, 2, 10, 50} {
				want = append(want, fmt.Sprintf("one-%s-%d-%d", mode, nodes, conflict), fmt.Sprintf("load-%s-%d-%d", mode, nodes, conflict))
			}
			for _, name := range want {
				line := regexp.MustCompile(fmt.Sprintf(`(?m)^%s%s .*--mode %s --nodes %d `, familyPrefix, name, mode, nodes))
				if !line.Match(text) {
					t.Errorf("there is no %s", name)
				}
			}
		}
	}
}
