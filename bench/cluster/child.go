package cluster

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/paxbench/paxbench/bench/disk"
	"golang.org/x/sys/unix"
)

// child is an incarnation that is a process.
type child struct{ p *process }

// startChild runs `paxbench serve` for the member and waits until it listens. The caller holds m.mu.
func startChild(ctx context.Context, m *Member, nc NodeConfig) (runner, error) {
	args := append([]string{"serve", "--ready", "json", "--with-parent"}, nc.Args()...)
	if m.cluster.config.Disks {
		args = append(args, "--with-disk-control")
	}
	if m.cluster.config.Pprof {
		args = append(args, "--pprof", "127.0.0.1:0")
	}
	name := fmt.Sprintf("node %d", m.node)
	p, err := startProcess(m.cluster.spawner, name, m.cluster.config.Binary, args, WithProcs(ChildEnv(os.Environ()), m.cluster.config.Procs), logPath(m), func(p *process) {
		if p.unasked() {
			m.cluster.fail(p.death())
		}
	})
	if err != nil {
		return nil, err
	}
	ready, err := p.waitReady(ctx, readyLimit)
	if err != nil {
		p.kill()
		return nil, err
	}
	m.pprof = ready.Pprof
	return child{p}, nil
}

// ChildEnv leaves out the settings in our environment: they are for us, and a child gets its own as flags.
func ChildEnv(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(entry string) bool { return strings.HasPrefix(entry, "PAXBENCH_") })
}

func (c child) kill() error                    { return c.p.kill() }
func (c child) stop(limit time.Duration) error { return c.p.stop(limit) }
func (c child) pause() error                   { return c.p.signal(unix.SIGSTOP, false) }
func (c child) resume() error                  { return c.p.signal(unix.SIGCONT, false) }
func (c child) cpu() time.Duration             { return c.p.cpu() }

func (c child) setDisk(ctx context.Context, d disk.Conditions, mayEnd bool) (disk.Counts, error) {
	return c.p.setDisk(ctx, d, mayEnd)
}

func (c child) exited(ctx context.Context, limit time.Duration) string {
	return c.p.lastWords(ctx, limit)
}
