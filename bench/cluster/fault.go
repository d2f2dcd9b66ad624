package cluster

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/paxbench/paxbench/bench/load"
)

// Fault is one entry of a timeline of faults: what is done to whom, when, and for how long.
type Fault struct {
	Kind FaultKind
	// Target says which nodes, as Targets describes them; "" for kinds that have none.
	Target string
	Params Params
	// At is when it strikes, counted from the end of warm-up.
	At time.Duration
	// For is how long it lasts: it is healed at At+For. 0: as long as it takes.
	For time.Duration
}

const faultForm = "kind[:target][:name=value,...]@at+duration, as in kill:leader@10s+5s; 'paxbench help faults' lists all"

// String gives the fault in the form ParseFault reads.
func (f Fault) String() string {
	text := f.What() + "@" + f.At.String()
	if f.For > 0 {
		text += "+" + f.For.String()
	}
	return text
}

// What is the fault without its time.
func (f Fault) What() string {
	text := string(f.Kind)
	if f.Target != "" {
		text += ":" + f.Target
	}
	if params := f.Params.String(); params != "" {
		text += ":" + params
	}
	return text
}

// ParseFault reads kind[:target][:name=value,...]@at[+duration]. The errors say which part is wrong and what would be right.
func ParseFault(spec string) (Fault, error) {
	f, err := parseFault(spec)
	if err != nil {
		return Fault{}, fmt.Errorf("fault %q: %w (the form is %s)", spec, err, faultForm)
	}
	return f, nil
}

func parseFault(spec string) (f Fault, err error) {
	what, when, timed := strings.Cut(spec, "@")
	parts := strings.Split(what, ":")
	k := kindOf(FaultKind(parts[0]))
	if k == nil {
		return f, fmt.Errorf("unknown kind %q; there are %s", parts[0], strings.Join(kindNames(), ", "))
	}
	f.Kind, f.Target, f.Params = k.name, k.target, k.defaults
	parts = parts[1:]
	if len(parts) > 0 && !strings.Contains(parts[0], "=") {
		if f.Target, err = k.parseTarget(parts[0]); err != nil {
			return f, err
		}
		parts = parts[1:]
	}
	if len(parts) > 0 {
		if err := k.parseParams(&f.Params, parts[0]); err != nil {
			return f, err
		}
		parts = parts[1:]
	}
	if len(parts) > 0 {
		return f, fmt.Errorf("%q is too much: after the kind come a target and parameters", parts[0])
	}
	if k.check != nil {
		if err := k.check(&f.Params); err != nil {
			return f, err
		}
	}
	if !timed {
		return f, fmt.Errorf("no '@' and time")
	}
	return f, f.parseTime(k, when)
}

func (f *Fault) parseTime(k *kind, when string) error {
	at, length, lasts := strings.Cut(when, "+")
	var err error
	if f.At, err = time.ParseDuration(at); err != nil || f.At < 0 {
		return fmt.Errorf("bad time %q; give it with a unit, as in 10s", at)
	}
	switch {
	case !lasts && k.instant:
		return nil
	case !lasts:
		return fmt.Errorf("no '+duration' after the time: every fault heals within the run")
	}
	if f.For, err = time.ParseDuration(length); err != nil || f.For <= 0 {
		return fmt.Errorf("bad duration %q; give it with a unit, as in 5s", length)
	}
	return nil
}

// CheckFaults says whether a schedule can be run on so many nodes within a measured time of length run (0: not
// known, as with a count of operations). Faults strike one at a time: an overlap is refused, because the unavailability after
// a fault could not be laid at any one's door.
func CheckFaults(faults []Fault, nodes int, run time.Duration) error {
	sorted := Sorted(faults)
	for i, f := range sorted {
		if err := f.checkTarget(nodes); err != nil {
			return fmt.Errorf("fault %s: %w", f, err)
		}
		if run > 0 && f.At+f.For >= run {
			return fmt.Errorf("fault %s: it would heal %s after warm-up but the run ends at %s; use --duration %s or more",
				f, f.At+f.For, run, f.At+f.For+5*time.Second)
		}
		if i > 0 {
			before := sorted[i-1]
			if before.At+before.For > f.At {
				return fmt.Errorf("faults %s and %s overlap; they run one at a time: start the second at %s or later",
					before, f, before.At+before.For)
			}
		}
	}
	return nil
}

// Sorted gives the faults in the order in which they strike; the input is left alone.
func Sorted(faults []Fault) []Fault {
	sorted := append([]Fault(nil), faults...)
	sort.SliceStable(sorted, func(i, j int) bool { return sorted[i].At < sorted[j].At })
	return sorted
}

// NeedNetwork says whether some of the faults are of the network: the cluster must be started with one that can be broken.
func NeedNetwork(faults []Fault) bool { return anyNeeds(faults, needNetwork) }

// NeedDisk is NeedNetwork for the disks.
func NeedDisk(faults []Fault) bool { return anyNeeds(faults, needDisk) }

// Bursts are the bursts of load among the faults: the load carries them out. They need an open loop.
func Bursts(faults []Fault) []load.Burst {
	var bursts []load.Burst
	for _, f := range Sorted(faults) {
		if f.Kind == Overload {
			bursts = append(bursts, load.Burst{At: f.At, For: f.For, Factor: f.Params.Factor})
		}
	}
	return bursts
}

func anyNeeds(faults []Fault, n need) bool {
	return slices.ContainsFunc(faults, func(f Fault) bool { k := kindOf(f.Kind); return k != nil && k.need == n })
}
