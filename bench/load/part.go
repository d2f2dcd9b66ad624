package load

import (
	"bytes"
	"cmp"
	"encoding/gob"
	"fmt"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// A load that is too much for one process is made by several. Each drives a Part of the clients, on the same clock, and
// what it measured comes back as Pulses, while it runs, and as a Share at the end. Gather makes of them the Result that
// one process would have had: histograms are added bucket by bucket, and nothing is taken of percentiles.

// Part is the clients First to First+Clients-1 of all of Config.Clients. The zero value is all of them.
type Part struct{ First, Clients int }

// Own is how many clients this process drives.
func (c *Config) Own() int {
	if c.Part.Clients > 0 {
		return c.Part.Clients
	}
	return c.Clients
}

// Parts divides the clients among n processes; none is left without one.
func (c Config) Parts(n int) []Part {
	c = c.withDefaults()
	n = min(max(n, 1), c.Clients)
	parts := make([]Part, n)
	first := 0
	for i := range parts {
		own := int(share(uint64(c.Clients), n, i))
		parts[i] = Part{first, own}
		first += own
	}
	return parts
}

// Packed is a histogram in its compressed form, without loss. Empty: none.
type Packed []byte

// Pack packs a histogram.
func Pack(h *hdrhistogram.Histogram) Packed {
	if h == nil {
		return nil
	}
	b, err := h.EncodeV2()
	if err != nil {
		panic("BUG: load: histogram: " + err.Error())
	}
	return b
}

// unpackInto adds what was packed.
func (p Packed) unpackInto(h *hdrhistogram.Histogram) error {
	if len(p) == 0 {
		return nil
	}
	from, err := hdrhistogram.Decode(p)
	if err != nil {
		return fmt.Errorf("load: histogram of a generator: %w", err)
	}
	if dropped := h.Merge(from); dropped != 0 {
		return fmt.Errorf("load: histogram of a generator: %d samples out of range", dropped)
	}
	return nil
}

// Pulse is an interval of one part.
type Pulse struct {
	Interval Interval
	Backlog  uint64
	Response Packed
}

// Share is what one part measured: a Result in a form that goes through a pipe, without what its pulses have said.
type Share struct {
	Partial  bool
	Window   time.Duration
	Ops      uint64
	Failed   uint64
	Unknown  uint64
	Unsent   uint64
	Expired  uint64
	OutRange uint64
	Refused  uint64

	Response, Service, Lag, Reads, OwnLag Packed

	Timeline    Timeline
	Ledger      []byte
	Outstanding float64
	BacklogPeak uint64
	BacklogEnd  uint64
	Errors      []ErrorCount
	CPU         time.Duration // of the process, in the window
	Cores       int           // that it may use at most
}

// Share is the result of a part, to be sent.
func (r *Result) Share(cpu time.Duration, cores int) (*Share, error) {
	ledger, err := r.Ledger.pack()
	if err != nil {
		return nil, err
	}
	return &Share{
		Partial: r.Partial, Window: r.Window, Ops: r.Ops, Failed: r.Failed, Unknown: r.Unknown, Unsent: r.Unsent, Expired: r.Expired,
		OutRange: r.OutOfRange, Refused: r.Refused,
		Response: Pack(r.Response), Service: Pack(r.Service), Lag: Pack(r.Lag), Reads: Pack(r.Reads), OwnLag: Pack(r.OwnLag),
		Timeline: *r.Timeline, Ledger: ledger, Outstanding: r.OutstandingMean, BacklogPeak: r.BacklogPeak, BacklogEnd: r.BacklogEnd,
		Errors: r.Errors, CPU: cpu, Cores: cores,
	}, nil
}

// Generator is how one of several processes fared.
type Generator struct {
	Clients int
	Ops     uint64
	CPU     time.Duration // in the window
	Cores   int           // that it could use
	OwnLag  int64         // p99, nanoseconds
}

// Gather collects what the parts of a load say. It is not safe for concurrent use.
type Gather struct {
	config Config
	parts  []Part
	open   []gathered // intervals that not all parts have told of, by their start
	out    *Result

	stretches stretches
	peak      uint64 // of the backlog
}

type gathered struct {
	interval Interval
	backlog  uint64
	response *hdrhistogram.Histogram
	told     int
}

// NewGather begins to collect. Config.Progress is called for each interval that all parts have told of.
func NewGather(c Config, parts []Part, started time.Time) *Gather {
	c = c.withDefaults()
	return &Gather{
		config: c, parts: parts,
		out: &Result{
			Config: c, Started: started, Response: NewHistogram(), Service: NewHistogram(), Lag: NewHistogram(), Reads: NewHistogram(), OwnLag: NewHistogram(),
		},
	}
}

// Pulse takes an interval of a part. Those of one part come in order.
func (g *Gather) Pulse(p *Pulse) error {
	i, found := slices.BinarySearchFunc(g.open, p.Interval.Start, func(o gathered, start int64) int { return cmp.Compare(o.interval.Start, start) })
	if !found {
		g.open = slices.Insert(g.open, i, gathered{interval: Interval{Start: p.Interval.Start}, response: NewHistogram()})
	}
	o := &g.open[i]
	o.told++
	o.backlog += p.Backlog
	a, b := &o.interval, &p.Interval
	a.Length = max(a.Length, b.Length) // the last one of a part may be short
	a.Ops, a.Failed, a.Unknown = a.Ops+b.Ops, a.Failed+b.Failed, a.Unknown+b.Unknown
	a.Outstanding, a.Waiting = a.Outstanding+b.Outstanding, a.Waiting+b.Waiting
	if err := p.Response.unpackInto(o.response); err != nil {
		return err
	}
	for len(g.open) > 0 && g.open[0].told == len(g.parts) {
		g.settle()
	}
	return nil
}

// settle ends the earliest interval.
func (g *Gather) settle() {
	o := g.open[0]
	g.open = g.open[1:]
	i := o.interval
	i.describe(o.response)
	g.peak = max(g.peak, o.backlog)
	if i.Start >= 0 {
		g.out.Intervals = append(g.out.Intervals, i)
		g.stretches.add(i, o.response)
	}
	if g.config.Progress != nil {
		g.config.Progress(i)
	}
}

// End makes the result of the shares of all parts, in their order.
func (g *Gather) End(shares []*Share) (*Result, error) {
	for len(g.open) > 0 { // not all parts drain equally long
		g.settle()
	}
	out := g.out
	errs := map[string]uint64{}
	for i, s := range shares {
		if err := g.add(i, s); err != nil {
			return nil, err
		}
		for _, e := range s.Errors {
			errs[e.Text] += e.Count
		}
	}
	out.Errors = sortErrors(errs)
	out.Stretches, out.BacklogPeak = g.stretches.done, max(g.peak, out.BacklogEnd)
	if out.Window > 0 {
		out.OpsPerSecond = float64(out.Ops) / out.Window.Seconds()
	}
	return out, nil
}

func (g *Gather) add(i int, s *Share) error {
	out := g.out
	out.Partial = out.Partial || s.Partial
	out.Window = max(out.Window, s.Window)
	out.Ops, out.Failed, out.Unknown, out.Unsent, out.Expired = out.Ops+s.Ops, out.Failed+s.Failed, out.Unknown+s.Unknown, out.Unsent+s.Unsent, out.Expired+s.Expired
	out.OutOfRange, out.Refused = out.OutOfRange+s.OutRange, out.Refused+s.Refused
	out.OutstandingMean, out.BacklogEnd = out.OutstandingMean+s.Outstanding, out.BacklogEnd+s.BacklogEnd
	for _, h := range []struct {
		packed Packed
		into   *hdrhistogram.Histogram
	}{{s.Response, out.Response}, {s.Service, out.Service}, {s.Lag, out.Lag}, {s.Reads, out.Reads}, {s.OwnLag, out.OwnLag}} {
		if err := h.packed.unpackInto(h.into); err != nil {
			return err
		}
	}
	own := NewHistogram()
	if err := s.OwnLag.unpackInto(own); err != nil {
		return err
	}
	out.Generators = append(out.Generators, Generator{Clients: g.parts[i].Clients, Ops: s.Ops, CPU: s.CPU, Cores: s.Cores, OwnLag: own.ValueAtQuantile(99)})
	if out.Timeline == nil {
		t := s.Timeline
		out.Timeline = &t
	} else {
		out.Timeline.add(&s.Timeline)
	}
	ledger, err := unpackLedger(s.Ledger, &g.config)
	if err != nil {
		return err
	}
	if out.Ledger == nil {
		out.Ledger = ledger
		return nil
	}
	return out.Ledger.Merge(ledger)
}

// add adds another timeline on the same clock, of the same width.
func (t *Timeline) add(o *Timeline) {
	for len(t.Done) < len(o.Done) {
		t.Done, t.First = append(t.Done, 0), append(t.First, NoSuccess)
	}
	for i := range o.Done {
		t.Done[i] += o.Done[i]
		t.First[i] = min(t.First[i], o.First[i])
	}
}

// packedLedger is a Ledger as it goes through a pipe: of keys, only those that were written.
type packedLedger struct {
	Acked, Failed, Unknown, Untold, Overflow uint64
	OpenSum                                  int
	Sessions                                 []packedSession
	Keys                                     []packedKey
	Faults                                   []string
}

type packedSession struct {
	ID, Count, Sum uint64
	Acked, Open    []uint64 // first and count of each run
}

type packedKey struct {
	Key   uint32
	Acked uint32
	Place uint64
	Stamp Stamp
	Open  []Stamp
}

func (l *Ledger) pack() ([]byte, error) {
	p := packedLedger{Acked: l.Acked, Failed: l.Failed, Unknown: l.Unknown, Untold: l.Untold, Overflow: l.overflow, OpenSum: l.openSum, Faults: l.faults}
	flat := func(runs []seqRange) (out []uint64) {
		for _, r := range runs {
			out = append(out, r.first, r.count)
		}
		return out
	}
	for id, s := range l.sessions {
		p.Sessions = append(p.Sessions, packedSession{id, s.count, s.sum, flat(s.acked), flat(s.open)})
	}
	for k := range l.keys {
		e, open := &l.keys[k], l.open[uint32(k)]
		if e.acked > 0 || len(open) > 0 {
			p.Keys = append(p.Keys, packedKey{uint32(k), e.acked, e.place, e.stamp, open})
		}
	}
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(&p); err != nil {
		return nil, fmt.Errorf("load: ledger: %w", err)
	}
	return b.Bytes(), nil
}

func unpackLedger(text []byte, c *Config) (*Ledger, error) {
	var p packedLedger
	if err := gob.NewDecoder(bytes.NewReader(text)).Decode(&p); err != nil {
		return nil, fmt.Errorf("load: ledger of a generator: %w", err)
	}
	l := NewLedger(c.SM, c.Values, c.Keys)
	l.Acked, l.Failed, l.Unknown, l.Untold, l.overflow, l.openSum, l.faults = p.Acked, p.Failed, p.Unknown, p.Untold, p.Overflow, p.OpenSum, p.Faults
	runs := func(flat []uint64) (out []seqRange) {
		for i := 0; i+1 < len(flat); i += 2 {
			out = append(out, seqRange{flat[i], flat[i+1]})
		}
		return out
	}
	for _, s := range p.Sessions {
		l.sessions[s.ID] = &sessionAccount{count: s.Count, sum: s.Sum, acked: runs(s.Acked), open: runs(s.Open)}
	}
	for _, k := range p.Keys {
		if uint64(k.Key) >= uint64(len(l.keys)) {
			return nil, fmt.Errorf("load: ledger of a generator: key %d of %d", k.Key, len(l.keys))
		}
		l.keys[k.Key] = keyAccount{place: k.Place, stamp: k.Stamp, acked: k.Acked}
		if len(k.Open) > 0 {
			l.open[k.Key] = k.Open
		}
	}
	return l, nil
}
