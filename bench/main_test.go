package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/paxbench/paxbench/bench/load"
)

// program is the binary that clusters in these tests are started from, without the race detector.
var program string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "paxbench-test-*")
	if err != nil {
		panic(err)
	}
	program = filepath.Join(dir, "paxbench")
	if out, err := exec.Command("go", "build", "-o", program, "../cmd/paxbench").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// quick is a small run: a thousand writes on three real processes, at a rate that leaves room for other tests.
func quick(t *testing.T) Config {
	c := DefaultConfig()
	c.Binary, c.DataDir, c.AllowMemory, c.NoProbe = program, t.TempDir(), true, true
	c.Log = t.Logf
	c.Engine.SegmentBytes = 1 << 20
	c.Load = load.Config{
		Clients: 2, Inflight: 64, Rate: 2000, Keys: 200, Seed: 1, Warmup: 200 * time.Millisecond, Duration: 600 * time.Millisecond,
		Values: load.Values{Sizes: load.FixedSize(16), Ratio: 1},
	}
	return c
}
