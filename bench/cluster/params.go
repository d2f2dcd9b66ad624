package cluster

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/paxbench/paxbench/bench/disk"
	"github.com/paxbench/paxbench/bench/load"
	"github.com/paxbench/paxbench/bench/proxy"
)

// Params are what a fault can be told besides its target; each kind has some of them. Zero: not given.
type Params struct {
	How       proxy.Cut     // of a cut link: what becomes of the bytes
	Dir       string        // of a cut link: "in", "out" or "both", as the target sees it
	Clients   bool          // the links between the target and the clients as well
	Latency   time.Duration // of a link one way, or of an fsync
	Jitter    time.Duration
	Bandwidth int64         // bytes per second each way
	Reset     time.Duration // mean time between two resets of a link's connections
	Full      disk.Full
	Factor    float64 // of the rate
}

// param is one of them as text.
type param struct {
	name  string
	words string
	get   func(*Params) string // "": not given
	set   func(*Params, string) error
}

// Directions.
const (
	dirIn   = "in"
	dirOut  = "out"
	dirBoth = "both"
)

var params = []param{
	{"how", "hold (bytes wait and come late, as TCP has it when packets are lost), swallow (a black hole: bytes vanish, the connection is reset at the heal) or refuse (connections are reset)",
		func(p *Params) string {
			if p.How == proxy.Open {
				return ""
			}
			return p.How.String()
		},
		func(p *Params, v string) error {
			for _, c := range []proxy.Cut{proxy.Hold, proxy.Swallow, proxy.Refuse} {
				if v == c.String() {
					p.How = c
					return nil
				}
			}
			return oneOf("hold", "swallow", "refuse")
		}},
	{"dir", "which direction dies, as the target sees it: in, out or both",
		func(p *Params) string { return p.Dir },
		func(p *Params, v string) error {
			if v != dirIn && v != dirOut && v != dirBoth {
				return oneOf(dirIn, dirOut, dirBoth)
			}
			p.Dir = v
			return nil
		}},
	{"clients", "yes: the links between the target and the clients too",
		func(p *Params) string { return map[bool]string{true: "yes"}[p.Clients] },
		func(p *Params, v string) error {
			if v != "yes" && v != "no" {
				return oneOf("yes", "no")
			}
			p.Clients = v == "yes"
			return nil
		}},
	{"latency", "added, as in 5ms", durationGet(func(p *Params) *time.Duration { return &p.Latency }), durationSet(func(p *Params) *time.Duration { return &p.Latency })},
	{"jitter", "up to so much more, as in 2ms", durationGet(func(p *Params) *time.Duration { return &p.Jitter }), durationSet(func(p *Params) *time.Duration { return &p.Jitter })},
	{"bandwidth", "bytes per second each way, as in 1MiB",
		func(p *Params) string {
			if p.Bandwidth == 0 {
				return ""
			}
			return load.FormatBytes(p.Bandwidth)
		},
		func(p *Params, v string) error {
			n, err := load.ParseBytes("", v)
			if err == nil && n <= 0 {
				err = fmt.Errorf("it must be above 0")
			}
			p.Bandwidth = n
			return err
		}},
	{"reset", "mean time between losses of a connection, as in 500ms", durationGet(func(p *Params) *time.Duration { return &p.Reset }), durationSet(func(p *Params) *time.Duration { return &p.Reset })},
	{"full", "write (nothing can be written) or grow (nothing new; preallocated space still can)",
		func(p *Params) string { return string(p.Full) },
		func(p *Params, v string) error {
			if f := disk.Full(v); f == disk.FullWrite || f == disk.FullGrow {
				p.Full = f
				return nil
			}
			return oneOf(string(disk.FullWrite), string(disk.FullGrow))
		}},
	{"x", "factor of the rate, as in 2",
		func(p *Params) string {
			if p.Factor == 0 {
				return ""
			}
			return strconv.FormatFloat(p.Factor, 'g', -1, 64)
		},
		func(p *Params, v string) error {
			x, err := strconv.ParseFloat(v, 64)
			if err != nil || !(x > 0) || math.IsInf(x, 1) {
				return fmt.Errorf("it takes a number above 0")
			}
			p.Factor = x
			return nil
		}},
}

func oneOf(words ...string) error { return fmt.Errorf("there are %s", strings.Join(words, ", ")) }

func durationGet(of func(*Params) *time.Duration) func(*Params) string {
	return func(p *Params) string {
		if d := *of(p); d != 0 {
			return d.String()
		}
		return ""
	}
}

func durationSet(of func(*Params) *time.Duration) func(*Params, string) error {
	return func(p *Params, v string) error {
		d, err := time.ParseDuration(v)
		if err != nil || d <= 0 {
			return fmt.Errorf("it takes a duration with a unit, as in 5ms")
		}
		*of(p) = d
		return nil
	}
}

// String is the form that parseParams reads; "" if nothing is given.
func (p *Params) String() string {
	var given []string
	for _, d := range params {
		if v := d.get(p); v != "" {
			given = append(given, d.name+"="+v)
		}
	}
	return strings.Join(given, ",")
}

func (k *kind) parseParams(p *Params, text string) error {
	for _, pair := range strings.Split(text, ",") {
		name, value, ok := strings.Cut(pair, "=")
		if !ok {
			return fmt.Errorf("parameter %q: no '='", pair)
		}
		i := slices.IndexFunc(params, func(d param) bool { return d.name == name })
		if i < 0 || !slices.Contains(k.params, name) {
			if len(k.params) == 0 {
				return fmt.Errorf("%s takes no parameter %q", k.name, name)
			}
			return fmt.Errorf("unknown parameter %q of %s; there are %s", name, k.name, strings.Join(k.params, ", "))
		}
		if err := params[i].set(p, value); err != nil {
			return fmt.Errorf("parameter %s=%s: %w", name, value, err)
		}
	}
	return nil
}
