package load

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// Conflict makes clients of different nodes propose at the same time, in a closed loop. Clients come in pairs: the steady one of each
// pair is at the first node; its rival, at one of the others in turn, is silent until the steady one submits a block and the
// draw says so: then it submits a block of the same size at the same moment. Share is the share of all operations that are in such pairs of
// blocks, 0 to 1: at 0 one node proposes everything, at 1 every block has a rival.
//
// Where every node takes proposals (basic, fast), both go for the first slot that their node knows to be free, which is the same unless one has
// heard of the other's: that is the conflict. Where a leader orders everything there is none.
type Conflict struct {
	On    bool
	Share float64
}

// ConflictHelp explains --conflict.
const ConflictHelp = "off, or the share of operations that two nodes propose at the same time, as in 10%: clients come in pairs, the steady one at the first node, its rival at another in turn; " +
	"for so many operations both submit a block of the same size at the same moment, the others are the steady one's alone (closed loop; an even number of --clients)"

// ParseConflict reads the value of --conflict.
func ParseConflict(s string) (Conflict, error) {
	if s == "off" {
		return Conflict{}, nil
	}
	if number, ok := strings.CutSuffix(s, "%"); ok {
		if p, err := strconv.ParseFloat(number, 64); err == nil && p >= 0 && p <= 100 {
			return Conflict{true, p / 100}, nil
		}
	}
	return Conflict{}, wrong("conflict", s, "want off, or a share from 0%% to 100%%")
}

// String is the form that ParseConflict reads.
func (c Conflict) String() string {
	if !c.On {
		return "off"
	}
	return strconv.FormatFloat(100*c.Share, 'g', -1, 64) + "%"
}

// perBlock is the probability that a steady client's block has a rival's beside it: with q of them, 2q of 1+q blocks are in pairs.
func (c Conflict) perBlock() float64 { return c.Share / (2 - c.Share) }

// FirstNode is the node, from 0, that client number i asks first, of n nodes.
func (c *Config) FirstNode(i, n int) int {
	switch {
	case c.Conflict.On && n > 1 && i%2 == 1:
		return 1 + i/2%(n-1)
	case c.Conflict.On || c.OneNode:
		return 0
	}
	return i % n
}

// conflictStream keeps these draws apart from those of keys and values.
const conflictStream = 1 << 50

// pair joins a steady client to its rival.
func (d *driver) pair(rival *driver) {
	c := d.worker.run.config
	d.rival, d.rng = rival, rand.New(rand.NewPCG(c.Seed, conflictStream|uint64(d.number)))
	rival.rivals, rival.credit = true, 0
}

// challenge is called when a steady client has submitted a block of n operations.
func (d *driver) challenge(n int, now int64) {
	if d.rival != nil && d.rng.Float64() < d.worker.run.config.Conflict.perBlock() {
		d.rival.credit += n
		d.rival.issueClosed(now)
	}
}

// check joins what is wrong with a load that has conflicts.
func (c *Config) checkConflict() error {
	if !c.Conflict.On {
		return nil
	}
	for _, bad := range []struct {
		is   bool
		text string
	}{
		{c.Rate > 0, "it is for a closed loop: leave out --rate"},
		{c.Clients%2 == 1, "clients come in pairs: give an even number of --clients"},
		{c.Ops > 0, "give --duration, not --ops"},
		{c.API == APICall, "blocks are what is submitted at the same time: --api block"},
		{c.Part.Clients > 0, "a pair is of one process: leave out --generators"},
		{c.OneNode, "--one-node leaves no other node for the rivals"},
	} {
		if bad.is {
			return wrong("conflict", c.Conflict, "%s", bad.text)
		}
	}
	return nil
}

// seats says which clients a worker has.
func (c *Config) seats(number, workers, clients int) (mine []int) {
	step := 1
	if c.Conflict.On {
		step = 2 // a pair is of one goroutine: its blocks leave together
	}
	for i := number * step; i < clients; i += workers * step {
		for k := range step {
			mine = append(mine, i+k)
		}
	}
	return slices.Clip(mine)
}

var _ fmt.Stringer = Conflict{}
