package cluster

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/paxbench/paxbench/bench/disk"
	"github.com/paxbench/paxbench/bench/proxy"
	"github.com/paxbench/paxbench/wire"
)

// A fault read wrongly is another experiment than the one reported.
func TestParseFault(t *testing.T) {
	for spec, want := range map[string]Fault{
		"kill:leader@10s+5s":       {Kind: Kill, Target: "leader", At: 10 * time.Second, For: 5 * time.Second},
		"kill@10s+5s":              {Kind: Kill, Target: "leader", At: 10 * time.Second, For: 5 * time.Second},
		"pause:follower@0s+250ms":  {Kind: Pause, Target: "follower", For: 250 * time.Millisecond},
		"kill:node2@1m+1s":         {Kind: Kill, Target: "node2", At: time.Minute, For: time.Second},
		"kill:2@1m+1s":             {Kind: Kill, Target: "node2", At: time.Minute, For: time.Second},
		"kill:node3/1/3@1m+1s":     {Kind: Kill, Target: "node1/node3", At: time.Minute, For: time.Second},
		"kill:all@1s+1s":           {Kind: Kill, Target: "all", At: time.Second, For: time.Second},
		"power@1s+1s":              {Kind: Power, At: time.Second, For: time.Second},
		"restart:follower@1s":      {Kind: Restart, Target: "follower", At: time.Second},
		"rolling@1s+9s":            {Kind: Rolling, Target: "all", At: time.Second, For: 9 * time.Second},
		"partition:minority@1s+1s": {Kind: Partition, Target: "minority", Params: Params{How: proxy.Hold}, At: time.Second, For: time.Second},
		"partition:how=swallow,clients=yes@1s+1s": {Kind: Partition, Target: "leader", Params: Params{How: proxy.Swallow, Clients: true},
			At: time.Second, For: time.Second},
		"asym:2:dir=in@1s+1s": {Kind: Asym, Target: "node2", Params: Params{How: proxy.Hold, Dir: "in"}, At: time.Second, For: time.Second},
		"slow-link:latency=5ms,jitter=2ms,bandwidth=1MiB,reset=1s@1s+1s": {Kind: SlowLink, Target: "all",
			Params: Params{Latency: 5 * time.Millisecond, Jitter: 2 * time.Millisecond, Bandwidth: 1 << 20, Reset: time.Second}, At: time.Second, For: time.Second},
		"slow-fsync:all:latency=7ms@1s+1s": {Kind: SlowFsync, Target: "all", Params: Params{Latency: 7 * time.Millisecond}, At: time.Second, For: time.Second},
		"disk-full:full=grow@1s+1s":        {Kind: DiskFull, Target: "leader", Params: Params{Full: disk.FullGrow}, At: time.Second, For: time.Second},
		"overload:x=2.5@1s+1s":             {Kind: Overload, Params: Params{Factor: 2.5}, At: time.Second, For: time.Second},
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
		"":                                 `unknown kind ""`,
		"kill":                             "no '@'",
		"explode:leader@1s":                `unknown kind "explode"; there are kill, power,`,
		"kill:leader":                      "no '@'",
		"kill:king@1s+1s":                  `unknown target "king"; there are leader, follower`,
		"kill:node0@1s+1s":                 "unknown target",
		"kill:leader@10s":                  "heals",
		"kill:leader@10+5s":                `bad time "10"`,
		"kill:leader@-1s+5s":               "bad time",
		"kill:leader@1s+0s":                "bad duration",
		"kill:leader@1s+x":                 `bad duration "x"`,
		"kill:leader:how=hold@1s+1s":       `kill takes no parameter "how"`,
		"kill:leader:x=1:more@1s+1s":       `kill takes no parameter "x"`,
		"power:leader@1s+1s":               `power takes no target`,
		"partition:leader:hwo=hold@1s+1s":  `unknown parameter "hwo" of partition; there are how, clients`,
		"partition:leader:how=cut@1s+1s":   "parameter how=cut: there are hold, swallow, refuse",
		"partition:leader:clients@1s+1s":   `parameter "clients": no '='`,
		"partition:leader:how=hold:x@1s+1": `"x" is too much`,
		"slow-link@1s+1s":                  "what is slow?",
		"slow-link:latency=5@1s+1s":        "with a unit",
		"slow-link:bandwidth=fast@1s+1s":   "bandwidth=fast",
		"overload:x=-1@1s+1s":              "above 0",
		"overload:x=NaN@1s+1s":             "above 0",
		"disk-full:full=half@1s+1s":        "there are write, grow",
	} {
		if _, err := ParseFault(spec); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), faultForm) {
			t.Errorf("%q: error %v, want one with %q and the form", spec, err, want)
		}
	}
}

// A kind that the help does not name, or names with defaults that cannot be read back, is one nobody can use.
func TestFaultHelp(t *testing.T) {
	var b strings.Builder
	if err := WriteFaultHelp(&b, 100); err != nil {
		t.Fatal(err)
	}
	for _, k := range kinds {
		if !strings.Contains(b.String(), "  "+string(k.name)) {
			t.Errorf("%s is not explained", k.name)
		}
		if k.heal == nil && k.strike != nil || k.strike == nil && k.during == nil && k.name != Overload {
			t.Errorf("%s does nothing, or for ever", k.name)
		}
		f := Fault{Kind: k.name, Target: k.target, Params: k.defaults, At: 1, For: 1}
		if k.check != nil { // it has no defaults
			f.Params.Latency = time.Millisecond
		}
		if again, err := ParseFault(f.String()); err != nil || again != f {
			t.Errorf("%s: %+v, %v", f, again, err)
		}
		for _, p := range k.params {
			if !strings.Contains(b.String(), p+"=") {
				t.Errorf("%s of %s is not explained", p, k.name)
			}
		}
	}
	for _, line := range strings.Split(b.String(), "\n") {
		if len(line) > 100 {
			t.Errorf("a line of %d characters: %s", len(line), line)
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
		{parse("kill:node1/node4@5s+5s"), 3, 20 * time.Second, "no node 4"},
		{parse("partition@5s+5s"), 1, 20 * time.Second, "nobody to be cut off from"},
		{parse("partition:all@5s+5s"), 3, 20 * time.Second, "nobody to be cut off from"},
		{parse("asym:1/2/3@5s+5s"), 3, 20 * time.Second, "nobody to be cut off from"},
		{parse("partition:minority@5s+5s"), 2, 20 * time.Second, "no minority"},
		{parse("partition:half@5s+5s"), 2, 20 * time.Second, ""},
		{parse("restart@19s"), 1, 20 * time.Second, ""},
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
	if got := (Fault{Target: "node1/node3"}).victims(2, 3, nil); !slices.Equal(got, []wire.NodeID{1, 3}) {
		t.Errorf("node1/node3: %v", got)
	}
	if got := (Fault{Target: TargetFollowers}).victims(2, 3, nil); !slices.Equal(got, []wire.NodeID{1, 3}) {
		t.Errorf("followers: %v", got)
	}
	for nodes, want := range map[int][2]int{3: {1, 1}, 4: {1, 2}, 5: {2, 2}, 6: {2, 3}} {
		for i, target := range []string{TargetMinority, TargetHalf} {
			got := Fault{Target: target}.victims(2, nodes, rand.New(rand.NewPCG(1, 1)))
			sorted := slices.Compact(slices.Sorted(slices.Values(got)))
			if len(sorted) != want[i] || got[0] != 2 {
				t.Errorf("%s of %d: %v", target, nodes, got)
			}
		}
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
