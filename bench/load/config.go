package load

import (
	"errors"
	"math"
	"time"

	"github.com/paxbench/paxbench/engine/history"
	"github.com/paxbench/paxbench/wire"
)

// Config describes a load. The zero value of a field means its default.
type Config struct {
	Clients int  // targets; default 4
	OneNode bool // they all ask the same node first

	Conflict Conflict // of blocks that two nodes propose at the same time

	// Inflight is how many commands a client has outstanding, default 1024. A closed loop keeps exactly so many
	// under way. An open loop has at most so many under way: what is due beyond it waits in the generator, and the
	// wait is part of the response time.
	Inflight int

	// Rate is operations per second over all clients; 0: closed loop.
	Rate    float64
	Arrival Arrival

	// Bursts multiply the rate of an open loop for a while, in ascending order and apart from one another.
	Bursts []Burst

	// Patience bounds how long an operation of an open loop that is due waits in the generator for room: then it is
	// given up, certainly not done, and counted (Result.Expired). Users do the same. Targets should wait as long for an
	// answer. 0: it waits for the end of the drain.
	Patience time.Duration

	// Warmup comes before measuring starts, Duration is how long measuring lasts (default 10 s unless Ops is set).
	Warmup   time.Duration
	Duration time.Duration

	// Settle, if set, is by how much the warm-up may be longer, until the rate has settled: measuring begins then, or at the
	// end of it all the same, which the result says. It is for a load that one process makes, and for Duration.
	Settle time.Duration

	// Ops ends the load after so many measured operations; 0: no such end. With a Duration, whichever comes first.
	Ops uint64

	Values   Values   // of puts, and the commands themselves for Null; Values.Seed is set from Seed
	Keys     int      // number of keys, default 100,000; KV only
	Dist     Dist     // how keys are drawn
	Reads    float64  // share of operations that are reads, 0 to 1; KV only
	ReadMode ReadMode // how they are served
	SM       SM
	API      API

	// Seed fixes every choice of the load - keys, values, reads or writes, arrival times - but not the timing.
	// Client w draws from rand.NewPCG(Seed, w).
	Seed uint64

	// Part is what of the load this process makes, if it is one of several (Gather). All of them are given the same
	// Config but for this, and the same Begin, the moment at which the load starts.
	Part  Part
	Begin time.Time

	// Pulse, if set, is told each interval, warm-up included, in a form that goes through a pipe. From one goroutine.
	Pulse func(*Pulse) `json:"-"`

	// Series numbers the loads of one seed on one cluster, from 0: each continues with other commands, and a value still
	// tells its write. Their ledgers can be merged.
	Series int

	// Blocks bounds the blocks a client has under way, at most 128. Default 4 in a closed loop, whose Inflight is
	// cut into so many blocks, and 64 in an open loop, whose blocks hold whatever is due; there it bounds what is
	// under way just as Inflight does.
	Blocks int

	// BlockCommands bounds the commands of a block, default 4096.
	BlockCommands int

	// Workers is how many goroutines drive the clients; default GOMAXPROCS, at most Clients.
	Workers int

	// Interval is the length of one entry of Result.Intervals; default 100 ms, or Duration/600 if that is more.
	Interval time.Duration

	// Drain is how long Run waits for outcomes after the last operation was issued, default 10 s; then targets with
	// something outstanding are closed.
	Drain time.Duration

	// BacklogMax is how many operations that are due may be without outcome, sent or not, before an open loop is
	// called saturated: default 30 s worth of Rate, at least 10,000. The load goes on, and nothing is left out.
	BacklogMax uint64

	// Progress, if set, is called at the end of each interval, warm-up included, from one goroutine.
	Progress func(Interval) `json:"-"`

	// Started, if set, is called once from Run's goroutine, when the load starts: with the moment, yet to come if
	// there is a warm-up, that all times of the Result count from.
	Started func(measuring time.Time) `json:"-"`

	// History, if set, is told of every submission that may have had an effect, and in full of the operations on
	// HistoryKeys of the keys (KV): those that the clients draw first, so that popular keys are among them. At least
	// Keys: on all. Its times count from the end of the warm-up. The caller closes it after Run.
	History     *history.Writer `json:"-"`
	HistoryKeys int

	// Abort, if set and closed, ends Run at once; what is under way counts as unknown.
	Abort <-chan struct{} `json:"-"`

	timers bool // tests in virtual time: alarms by package time, not by the kernel
}

// Burst is a stretch of the measuring window with another rate.
type Burst struct {
	At     time.Duration // from the start of measuring
	For    time.Duration
	Factor float64 // of Config.Rate
}

const (
	// KeysMax bounds Config.Keys: the ledger of a KV load takes 24 bytes per key, 384 MiB at the bound.
	KeysMax = 1 << 24

	inflightMax = 1 << 22
	blocksMax   = wire.SessionBlocksMax / 2 // the session window also holds blocks whose reply is not acknowledged yet
	queriesMax  = 1 << 10
)

// withDefaults fills in the zero fields.
func (c Config) withDefaults() Config {
	setDefault(&c.Clients, 4)
	setDefault(&c.Inflight, 1024)
	if c.Duration == 0 && c.Ops == 0 {
		c.Duration = 10 * time.Second
	}
	setDefault(&c.Keys, 100_000)
	setDefault(&c.BlockCommands, 4096)
	if c.Blocks == 0 {
		c.Blocks = 4
		if c.Rate > 0 {
			c.Blocks = 64
		}
	}
	setDefault(&c.Interval, max(100*time.Millisecond, (c.Duration/600).Round(100*time.Millisecond)))
	setDefault(&c.Drain, 10*time.Second)
	setDefault(&c.BacklogMax, uint64(max(30*c.Rate, 10_000)))
	c.Values.Seed = c.Seed
	return c
}

func setDefault[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// Validate reports everything that is wrong with the settings, each fault with its flag and a way out. Run calls it.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	check := func(ok bool, flag string, given any, want string, args ...any) {
		if !ok {
			errs = append(errs, wrong(flag, given, want, args...))
		}
	}
	check(c.Clients >= 1 && c.Clients <= ClientsMax, "clients", c.Clients, "want 1 to %d", ClientsMax)
	check(c.Inflight >= 1 && c.Inflight <= inflightMax, "inflight", c.Inflight, "want 1 to %d operations per client", inflightMax)
	check(c.Rate >= 0 && c.Rate <= 1e9 && !math.IsNaN(c.Rate), "rate", c.Rate, "want operations per second, or 0 for a closed loop")
	check(len(c.Bursts) == 0 || c.Rate > 0, "rate", c.Rate, "bursts multiply the rate of an open loop: give one")
	for i, b := range c.Bursts {
		apart := i == 0 || b.At >= c.Bursts[i-1].At+c.Bursts[i-1].For
		check(b.At >= 0 && b.For > 0 && apart && b.Factor > 0 && b.Factor <= 1000, "burst", b, "want ascending times of the window that do not overlap, and a factor above 0, at most 1000")
	}
	check(c.Settle >= 0, "settle", c.Settle, "want a duration such as 20s, or 0")
	check(c.Settle == 0 || c.Ops == 0 && len(c.Bursts) == 0 && c.Part.Clients == 0, "settle", c.Settle, "it goes with --duration, and neither with --ops, bursts nor --generators")
	check(c.Patience >= 0, "patience", c.Patience, "want a duration such as 1s, or 0 for no bound")
	check(c.Warmup >= 0, "warmup", c.Warmup, "want a duration such as 2s, or 0")
	check(c.Duration >= 0, "duration", c.Duration, "want a duration such as 10s")
	check(c.Keys >= 1 && c.Keys <= KeysMax, "keys", c.Keys, "want 1 to %d: the record of acknowledged writes takes memory per key", KeysMax)
	check(c.Reads >= 0 && c.Reads <= 1, "reads", c.Reads, "want a share from 0 (writes only) to 1 (reads only)")
	check(c.Reads == 0 || c.SM == KV, "reads", c.Reads, "the null state machine has nothing to read: add --sm kv or leave out --reads")
	check(c.HistoryKeys >= 0, "history-keys", c.HistoryKeys, "want a number of keys, or 0")
	check(c.Values.Ratio >= 0 && c.Values.Ratio <= 1, "value-ratio", c.Values.Ratio, "want the share that does not compress, above 0 and at most 1")
	size := c.Values.Sizes.Max()
	check(size >= 1 && size <= ValueBytesMax, "value-size", size, "a value has 1 to %d bytes", ValueBytesMax)
	check(c.Blocks >= 1 && c.Blocks <= blocksMax, "blocks", c.Blocks, "want 1 to %d blocks per client", blocksMax)
	check(c.BlockCommands >= 1 && c.BlockCommands <= wire.BlockCommandsMax, "block-commands", c.BlockCommands, "want 1 to %d", wire.BlockCommandsMax)
	check(c.Interval >= time.Millisecond, "interval", c.Interval, "want at least 1ms")
	check(c.Drain > 0, "drain", c.Drain, "want a duration such as 10s")
	check(c.Part.First >= 0 && c.Part.First+c.Own() <= c.Clients, "generators", c.Part, "the part is not one of %d clients", c.Clients)
	check(c.Series >= 0 && c.Series < seriesMax, "series", c.Series, "want 0 to %d", seriesMax-1)
	check(c.Workers >= 0, "workers", c.Workers, "want a number of goroutines, or 0 for one per core")
	errs = append(errs, c.checkConflict())
	return errors.Join(errs...)
}

// blockSize is how many commands a client puts into one block. In a closed loop Inflight is cut into equal parts, and
// no block is larger than such a part: if blocks could grow to whatever completions arrived together, they would run
// into one another until one single block is under way, and the pipeline behind it would stand idle.
func (c *Config) blockSize() int {
	if c.Rate > 0 {
		return min(c.BlockCommands, c.Inflight)
	}
	return min((c.Inflight+c.Blocks-1)/c.Blocks, c.BlockCommands)
}

// blockLimit is how many blocks a client may have under way: Blocks, or more if Inflight does not fit otherwise.
func (c *Config) blockLimit() int {
	if c.Rate > 0 {
		return c.Blocks
	}
	perBlock := max(wire.BlockBytesMax/(c.Values.Sizes.Max()+32), 1)
	perBlock = min(perBlock, c.blockSize())
	return min(max(c.Blocks, (c.Inflight+perBlock-1)/perBlock), blocksMax)
}
