package cluster

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/paxbench/paxbench/wire"
)

// A fault read wrongly is another experiment than the one reported.
func TestParseFault(t *testing.T) {
	for spec, want := range map[string]Fault{
		"kill:leader@10s+5s":      {Kind: Kill, Target: "leader", At: 10 * time.Second, For: 5 * time.Second},
		"pause:follower@0s+250ms": {Kind: Pause, Target: "follower", For: 250 * time.Millisecond},
		"kill:node2@1m+1s":        {Kind: Kill, Target: "node2", Node: 2, At: time.Minute, For: time.Second},
		"kill:2@1m+1s":            {Kind: Kill, Target: "node2", Node: 2, At: time.Minute, For: time.Second},
		"kill:all@1s+1s":          {Kind: Kill, Target: "all", At: time.Second, For: time.Second},
	} {
		got, err := ParseFault(spec)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", spec, got, err)
			continue
		}
		if again, err := ParseFault(got.String()); err != nil || again != got {
			t.Errorf("%s is printed as %s, which is %+v, %v", spec, got, again, err)
		}
	}
	for spec, want := range map[string]string{
		"":                   "no ':'",
		"kill":               "no ':'",
		"explode:leader@1s":  `unknown kind "explode"`,
		"kill:leader":        "no '@'",
		"kill:king@1s+1s":    `unknown target "king"`,
		"kill:node0@1s+1s":   "unknown target",
		"kill:leader@10s":    "heals",
		"kill:leader@10+5s":  `bad time "10"`,
		"kill:leader@-1s+5s": "bad time",
		"kill:leader@1s+0s":  "bad duration",
		"kill:leader@1s+x":   `bad duration "x"`,
	} {
		if _, err := ParseFault(spec); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), faultForm) {
			t.Errorf("%q: error %v, want one with %q and the form", spec, err, want)
		}
	}
}

// A schedule that cannot be run must be refused before the cluster is started, with the way out.
func TestCheckFaults(t *testing.T) {
	parse := func(specs ...string) []Fault {
		var fs []Fault
		for _, s := range specs {
			f, err := ParseFault(s)
			if err != nil {
				t.Fatal(err)
			}
			fs = append(fs, f)
		}
		return fs
	}
	for _, c := range []struct {
		faults []Fault
		nodes  int
		run    time.Duration
		want   string
	}{
		{parse("kill:leader@5s+5s"), 3, 20 * time.Second, ""},
		{parse("kill:leader@5s+5s"), 1, 20 * time.Second, ""},
		{parse("pause:2@11s+1s", "kill:leader@5s+5s"), 3, 20 * time.Second, ""},
		{parse("kill:leader@5s+5s"), 3, 0, ""},
		{parse("kill:4@5s+5s"), 3, 20 * time.Second, "no node 4"},
		{parse("kill:follower@5s+5s"), 1, 20 * time.Second, "no follower"},
		{parse("kill:leader@5s+5s"), 3, 10 * time.Second, "use --duration"},
		{parse("kill:leader@15s+5s"), 3, 10 * time.Second, "the run ends at 10s"},
		{parse("kill:leader@5s+5s", "pause:2@8s+1s"), 3, 20 * time.Second, "overlap"},
		{parse("pause:2@8s+1s", "kill:leader@5s+5s"), 3, 20 * time.Second, "overlap"},
	} {
		err := CheckFaults(c.faults, c.nodes, c.run)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%v on %d nodes in %s: %v, want %q", c.faults, c.nodes, c.run, err, c.want)
		}
	}
}

// The draw of a follower must never hit the leader, must reach every follower, and must be the same for the same seed.
func TestVictims(t *testing.T) {
	f := Fault{Kind: Kill, Target: TargetFollower}
	hit := map[wire.NodeID]bool{}
	for seed := range uint64(50) {
		for leader := wire.NodeID(1); leader <= 3; leader++ {
			got := f.victims(leader, 3, rand.New(rand.NewPCG(seed, 1)))
			again := f.victims(leader, 3, rand.New(rand.NewPCG(seed, 1)))
			if len(got) != 1 || got[0] == leader || got[0] < 1 || got[0] > 3 || got[0] != again[0] {
				t.Fatalf("seed %d, leader %d: %v, again %v", seed, leader, got, again)
			}
			hit[got[0]] = true
		}
	}
	if len(hit) != 3 {
		t.Errorf("only %v were ever drawn", hit)
	}
	if got := (Fault{Target: TargetAll}).victims(2, 3, nil); len(got) != 3 {
		t.Errorf("all: %v", got)
	}
	if got := (Fault{Target: TargetLeader}).victims(2, 3, nil); len(got) != 1 || got[0] != 2 {
		t.Errorf("leader: %v", got)
	}
	if got := (Fault{Target: "node3", Node: 3}).victims(2, 3, nil); len(got) != 1 || got[0] != 3 {
		t.Errorf("node3: %v", got)
	}
}

// Peers read wrongly join the wrong cluster.
func TestPeers(t *testing.T) {
	peers, err := ParsePeers("2=127.0.0.1:7002, 1=localhost:7001")
	if err != nil || len(peers) != 2 || peers[1] != "localhost:7001" {
		t.Fatalf("%v, %v", peers, err)
	}
	if got := FormatPeers(peers); got != "1=localhost:7001,2=127.0.0.1:7002" {
		t.Errorf("printed as %s", got)
	}
	for text, want := range map[string]string{
		"":                       "no '='",
		"1":                      "no '='",
		"0=a:1":                  "from 1",
		"x=a:1":                  "from 1",
		"1=a":                    "host:port",
		"1=a:http":               "must be a number",
		"1=a:70000":              "must be a number",
		"1=a:1,1=b:2":            "twice",
		"1=127.0.0.1:7001,2=b:0": "must be a number",
	} {
		if _, err := ParsePeers(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
	}
}
