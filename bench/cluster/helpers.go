package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// Helpers are processes of our own binary other than replicas, on ports of their own, for probes. They die with us as
// replicas do, and keep the same Ready protocol.
type Helpers struct {
	spawner *spawner
	ports   []*Port
	running []*process
}

// StartHelpers starts one process per port with the arguments that args gives for number i, from 0, when all addresses
// are known; it returns when all are ready. binary is as in Config, their logs go to dir.
func StartHelpers(ctx context.Context, binary, dir string, n int, args func(i int, addrs []string) []string) (*Helpers, error) {
	if binary == "" {
		binary = SelfBinary
	}
	h := &Helpers{spawner: newSpawner(), running: make([]*process, n)}
	for range n {
		port, err := ReservePort()
		if err != nil {
			return nil, errors.Join(err, h.Close())
		}
		h.ports = append(h.ports, port)
	}
	errs := make([]error, n)
	for i := range n {
		log := filepath.Join(dir, fmt.Sprintf("helper%d.log", i+1))
		h.running[i], errs[i] = startProcess(h.spawner, fmt.Sprintf("helper %d", i+1), binary, args(i, h.Addrs()), ChildEnv(os.Environ()), log, func(*process) {})
	}
	var wait sync.WaitGroup
	for i, p := range h.running {
		if p != nil {
			wait.Go(func() { _, errs[i] = p.waitReady(ctx, readyLimit) })
		}
	}
	wait.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

// Addrs are the addresses reserved for the helpers.
func (h *Helpers) Addrs() []string {
	addrs := make([]string, len(h.ports))
	for i, port := range h.ports {
		addrs[i] = port.Addr
	}
	return addrs
}

// Close ends the helpers without warning.
func (h *Helpers) Close() error {
	var errs []error
	for _, p := range h.running {
		if p != nil {
			errs = append(errs, p.kill())
		}
	}
	h.spawner.stop()
	for _, port := range h.ports {
		port.Release()
	}
	return errors.Join(errs...)
}
