package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/paxbench/paxbench/bench/disk"
	"github.com/paxbench/paxbench/engine"
	"golang.org/x/sys/unix"
)

// inProcess is an incarnation that lives in this process.
type inProcess struct {
	node *engine.Node
	log  *os.File
}

func startInProcess(m *Member, nc NodeConfig) (runner, error) {
	log, err := os.OpenFile(logPath(m), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("cluster: log of node %d: %w", m.node, err)
	}
	node, err := openAgain(nc, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		log.Close()
		return nil, fmt.Errorf("cluster: start node %d: %w", m.node, err)
	}
	go func() {
		if err := node.Wait(); err != nil { // nil: closed by us
			m.cluster.fail(fmt.Errorf("cluster: node %d failed: %w", m.node, err))
		}
	}()
	return inProcess{node, log}, nil
}

// openAgain opens the node, and waits where its port is still taken: a process that we are just starting has every socket of
// ours from its fork to its exec, the closed listener of this node's last life too.
func openAgain(nc NodeConfig, log *slog.Logger) (*engine.Node, error) {
	for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		node, err := nc.Open(log)
		if !errors.Is(err, unix.EADDRINUSE) || time.Since(begin) > portLimit {
			return node, err
		}
	}
}

// portLimit is how long a port may be taken by what is left of a last life.
const portLimit = 5 * time.Second

// kill of a node in this process is an ordinary close: it serves Cluster.Close and Cluster.Kill, not faults.
func (r inProcess) kill() error {
	defer r.log.Close()
	return r.node.Close()
}

func (r inProcess) stop(time.Duration) error { return r.kill() }
func (inProcess) pause() error               { return ErrNeedsProcess }
func (inProcess) resume() error              { return ErrNeedsProcess }

func (inProcess) setDisk(context.Context, disk.Conditions, bool) (disk.Counts, error) {
	return disk.Counts{}, ErrNeedsProcess
}

func (inProcess) exited(context.Context, time.Duration) string { return "" }

// cpu is 0: what the nodes use cannot be told from what the rest of the process uses.
func (inProcess) cpu() time.Duration { return 0 }

// logPath is the file that a node's log goes to. It stands beside the data directory, not in it: that is the
// engine's alone.
func logPath(m *Member) string {
	return filepath.Join(filepath.Dir(m.dir), fmt.Sprintf("node%d.log", m.node))
}
