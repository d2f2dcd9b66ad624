package cluster

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/paxbench/paxbench/bench/disk"
	"github.com/paxbench/paxbench/bench/proxy"
)

// FaultKind is what is done.
type FaultKind string

// The kinds of faults; kinds explains them.
const (
	Kill       FaultKind = "kill"
	Power      FaultKind = "power"
	Pause      FaultKind = "pause"
	Restart    FaultKind = "restart"
	Rolling    FaultKind = "rolling"
	Partition  FaultKind = "partition"
	Asym       FaultKind = "asym"
	Clients    FaultKind = "clients"
	SlowLink   FaultKind = "slow-link"
	SlowFsync  FaultKind = "slow-fsync"
	StallFsync FaultKind = "stall-fsync"
	FailFsync  FaultKind = "fail-fsync"
	DiskFull   FaultKind = "disk-full"
	Overload   FaultKind = "overload"
)

// need is what a cluster or load must have for a kind.
type need uint8

const (
	needNothing need = iota
	needNetwork      // links through proxies
	needDisk         // children that take orders for their disks
)

// kind is how a kind of fault is written and carried out.
type kind struct {
	name     FaultKind
	words    string
	target   string // the default one; "": it takes none
	rest     bool   // there must be nodes that are not hit
	params   []string
	defaults Params
	check    func(*Params) error
	need     need
	instant  bool // +duration may be left out: it lasts as long as it takes

	strike func(*incident) error
	during func(*incident) error // until the heal is due; nil: nothing is done
	heal   func(*incident) error
}

// kinds is filled in by init: the table and the functions in it name each other.
var kinds []kind

func init() {
	kinds = []kind{
		{name: Kill, target: TargetLeader, strike: (*incident).kill, heal: (*incident).start,
			words: "SIGKILL: the process is gone at once, its memory with it; heals by a restart on the same data. What the process had written is still in the kernel's cache, so this does not show whether it was on the disk."},
		{name: Power, strike: (*incident).kill, heal: (*incident).start,
			words: "SIGKILL of all nodes at once; heals by a restart of all. Everything must come back from the files. It is not a power loss: the kernel keeps what was written and not synced, which a power loss would take. The simulator (paxbench sim) takes it."},
		{name: Pause, target: TargetLeader, strike: (*incident).pause, heal: (*incident).resume,
			words: "SIGSTOP: the process keeps memory, sockets and what it believes of the time, and does nothing; heals by SIGCONT."},
		{name: Restart, target: TargetLeader, instant: true, strike: (*incident).stop, heal: (*incident).start,
			words: "SIGTERM, an orderly end; heals by a new start, without a duration at once."},
		{name: Rolling, target: TargetAll, during: (*incident).roll, heal: (*incident).start,
			words: "orderly restarts of the target's nodes one after the other, the leader last, spread over the duration; the next one begins when the one before has caught up."},
		{name: Partition, target: TargetLeader, rest: true, params: []string{"how", "clients"}, defaults: Params{How: proxy.Hold}, need: needNetwork,
			strike: (*incident).partition, heal: (*incident).mend,
			words: "the target's nodes on one side, the others on the other, nothing in between. Clients reach both sides unless clients=yes cuts them off from the target."},
		{name: Asym, target: TargetLeader, rest: true, params: []string{"dir", "how", "clients"}, defaults: Params{How: proxy.Hold, Dir: dirOut}, need: needNetwork,
			strike: (*incident).asym, heal: (*incident).mend,
			words: "one direction only: what the target sends to the other nodes is lost (dir=out), or what they send to it (dir=in)."},
		{name: Clients, target: TargetLeader, params: []string{"dir", "how"}, defaults: Params{How: proxy.Hold, Dir: dirBoth}, need: needNetwork,
			strike: (*incident).isolate, heal: (*incident).mend,
			words: "the target is cut off from the clients only; the nodes hear each other."},
		{name: SlowLink, target: TargetAll, params: []string{"latency", "jitter", "bandwidth", "reset", "clients"}, check: someLink, need: needNetwork,
			strike: (*incident).slowLink, during: (*incident).loseLinks, heal: (*incident).mend,
			words: "all links between the target and other nodes, each way: latency and jitter are added to what is sent, bandwidth bounds it, reset loses connections now and then."},
		{name: SlowFsync, target: TargetLeader, params: []string{"latency"}, defaults: Params{Latency: 20 * time.Millisecond}, need: needDisk,
			strike: (*incident).breakDisk, heal: (*incident).mendDisk, words: "each fsync of the target takes longer."},
		{name: StallFsync, target: TargetLeader, need: needDisk, strike: (*incident).breakDisk, heal: (*incident).mendDisk,
			words: "no fsync of the target ends before the heal: a disk that hangs. The process lives on."},
		{name: FailFsync, target: TargetLeader, need: needDisk, strike: (*incident).breakDisk, heal: (*incident).mendDisk,
			words: "fsyncs of the target fail with EIO. A node that cannot know what is on its disk must end, with a message; it is started again at the heal."},
		{name: DiskFull, target: TargetLeader, params: []string{"full"}, defaults: Params{Full: disk.FullWrite}, need: needDisk,
			strike: (*incident).breakDisk, heal: (*incident).mendDisk,
			words: "writes of the target fail with ENOSPC. The node refuses writes, keeps what it has, and goes on when there is room."},
		{name: Overload, params: []string{"x"}, defaults: Params{Factor: 2},
			words: "the open loop sends x times its rate. Nothing else is wrong."},
	}
}

func someLink(p *Params) error {
	if p.Latency == 0 && p.Jitter == 0 && p.Bandwidth == 0 && p.Reset == 0 {
		return fmt.Errorf("what is slow? give latency=5ms, jitter=, bandwidth=1MiB or reset=500ms")
	}
	return nil
}

// kindOf is nil if there is none.
func kindOf(name FaultKind) *kind {
	i := slices.IndexFunc(kinds, func(k kind) bool { return k.name == name })
	if i < 0 {
		return nil
	}
	return &kinds[i]
}

func kindNames() []string {
	var names []string
	for _, k := range kinds {
		names = append(names, string(k.name))
	}
	return names
}

// WriteFaultHelp explains all kinds, targets and parameters, in lines of up to width characters.
func WriteFaultHelp(w io.Writer, width int) error {
	var b strings.Builder
	item := func(name, words string) {
		const indent = 4
		fmt.Fprintf(&b, "  %s\n", name)
		line := ""
		for _, word := range strings.Fields(words) {
			if line != "" && indent+len(line)+1+len(word) > width {
				fmt.Fprintf(&b, "%*s%s\n", indent, "", line)
				line = ""
			}
			line = strings.TrimSpace(line + " " + word)
		}
		fmt.Fprintf(&b, "%*s%s\n", indent, "", line)
	}
	b.WriteString("Kinds, with the target and parameters they have if none are given:\n")
	for _, k := range kinds {
		item(k.usage(), k.words)
	}
	b.WriteString("\nTargets:\n")
	for _, t := range targets {
		item(t.name, t.words)
	}
	item("node2, node1/node3", "these")
	b.WriteString("\nParameters:\n")
	for _, p := range params {
		var of []string
		for _, k := range kinds {
			if slices.Contains(k.params, p.name) {
				of = append(of, string(k.name))
			}
		}
		item(p.name+"=", p.words+". Of "+strings.Join(of, ", ")+".")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// usage is the kind with its defaults.
func (k *kind) usage() string {
	f := Fault{Kind: k.name, Target: k.target, Params: k.defaults}
	text := f.What() + "@at+duration"
	if k.instant {
		text = f.What() + "@at[+duration]"
	}
	var more []string
	for _, p := range k.params {
		if !strings.Contains(k.defaults.String(), p+"=") {
			more = append(more, p)
		}
	}
	if more != nil {
		text += "   (also " + strings.Join(more, ", ") + ")"
	}
	return text
}
