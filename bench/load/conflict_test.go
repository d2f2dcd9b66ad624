package load

import (
	"context"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// counted is a target that notes when blocks were submitted, and of how many operations.
type counted struct {
	Target
	mu     sync.Mutex
	blocks []int
	at     []time.Time
}

func (c *counted) Submit(b Block, done Completion) error {
	c.mu.Lock()
	c.blocks, c.at = append(c.blocks, len(b.(*fakeBlock).commands)), append(c.at, time.Now())
	c.mu.Unlock()
	return c.Target.Submit(b, done)
}

func (c *counted) ops() (n int) {
	for _, b := range c.blocks {
		n += b
	}
	return n
}

// What can go wrong: the share of operations that have a rival is another than was asked for; rivals submit at another time than those they
// rival, other sizes, or at 0% at all; the load does not end.
func TestConflictShare(t *testing.T) {
	for _, share := range []float64{0, 0.02, 0.1, 0.5, 1} {
		targets := make([]*counted, 4)
		var out *Result
		c := Config{Clients: 4, Inflight: 40, Blocks: 4, Duration: 20 * time.Second, Conflict: Conflict{true, share}, Seed: 5}
		synctest.Test(t, func(t *testing.T) {
			cluster := newFakeCluster(Null, time.Millisecond)
			c.SM, c.timers, c.Workers, c.Interval = Null, true, 2, time.Second
			var on []Target
			for i, tg := range cluster.targets(c.Clients) {
				targets[i] = &counted{Target: tg}
				on = append(on, targets[i])
			}
			var err error
			if out, err = Run(context.Background(), c.withDefaults(), on); err != nil {
				t.Fatal(err)
			}
		})
		total, contended := 0, 0
		for pair := range 2 {
			steady, rival := targets[2*pair], targets[2*pair+1]
			total += steady.ops() + rival.ops()
			contended += 2 * rival.ops()
			at := map[time.Time]int{}
			for k, when := range steady.at {
				at[when] += steady.blocks[k]
			}
			for k, when := range rival.at {
				if at[when] < rival.blocks[k] {
					t.Fatalf("%g: a rival's block of %d operations at a moment at which the steady client submitted %d", share, rival.blocks[k], at[when])
				}
			}
		}
		if got := float64(contended) / float64(total); math.Abs(got-share) > 0.01 {
			t.Errorf("%g of the operations were to have a rival, %.4f had", share, got)
		}
		if reasons, _ := out.Judge(Limits{}); len(reasons) > 0 {
			t.Errorf("%g: a run that did what it was asked for is called invalid: %q", share, reasons)
		}
		if out.Ops == 0 || out.Partial {
			t.Errorf("%g: %d operations, partial %v", share, out.Ops, out.Partial)
		}
	}
}

// What can go wrong: two clients of a pair are at the same node, or steady ones at different nodes.
func TestConflictNodes(t *testing.T) {
	c := Config{Conflict: Conflict{On: true}}
	for i, want := range []int{0, 1, 0, 2, 0, 1} {
		if got := c.FirstNode(i, 3); got != want {
			t.Errorf("client %d of 3 nodes is at node %d, want %d", i, got, want)
		}
	}
	if c = (Config{OneNode: true}); c.FirstNode(5, 3) != 0 {
		t.Error("one node")
	}
	if c = (Config{}); c.FirstNode(5, 3) != 2 {
		t.Error("spread")
	}
}

func TestConflictSettings(t *testing.T) {
	for _, text := range []string{"off", "0%", "2%", "12.5%", "100%"} {
		if c, err := ParseConflict(text); err != nil || c.String() != text {
			t.Errorf("%q: %v %v", text, c, err)
		}
	}
	for _, text := range []string{"", "5", "-1%", "101%", "x%", "NaN%"} {
		if _, err := ParseConflict(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
	fine := Config{Clients: 2, Conflict: Conflict{On: true}, Values: Values{Sizes: FixedSize(16)}}
	if err := fine.Validate(); err != nil {
		t.Error(err)
	}
	for what, spoil := range map[string]func(*Config){
		"rate": func(c *Config) { c.Rate = 100 }, "odd": func(c *Config) { c.Clients = 3 }, "ops": func(c *Config) { c.Ops = 10 },
		"call": func(c *Config) { c.API = APICall }, "one node": func(c *Config) { c.OneNode = true },
	} {
		c := fine
		if spoil(&c); c.Validate() == nil {
			t.Errorf("%s: taken", what)
		}
	}
}
