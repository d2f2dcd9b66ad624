package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/paxbench/paxbench/bench"
)

// signals watches for ^C (and SIGTERM). The first closes stop: the load ends, the checks run, and what there is gets
// reported. The second ends ctx: everything is killed at once. release gives the signals back.
func (a *app) signals() (ctx context.Context, stop <-chan struct{}, release func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	stopping := make(chan struct{})
	caught := make(chan os.Signal, 2)
	signal.Notify(caught, os.Interrupt, syscall.SIGTERM)
	over := make(chan struct{})
	go func() {
		select {
		case sig := <-caught:
			a.warnf("%s: ending the load; checks and report follow. Once more ends everything at once.", sig)
			close(stopping)
		case <-over:
			return
		}
		select {
		case <-caught:
			cancel(bench.ErrInterrupted)
		case <-over:
		}
	}()
	return ctx, stopping, func() {
		signal.Stop(caught)
		close(over)
		cancel(nil)
	}
}
