// Command peers runs the same work on this repository's engine and on its peers, side by side, and compares.
//
//	go run . run [flags]          measure; the record goes to --output, the table to standard output
//	go run . failover [flags]     kill leaders and see for how long nothing is acknowledged
//	go run . curve [flags]        this engine over loads, with the window it chooses and with fixed ones
//	go run . table RECORD...      the table of recorded runs
//	go run . engines              what there is, and how it is configured
//
// README.md says what is measured and what is unfair about it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/paxbench/paxbench/bench/peers/node"
)

// Exit codes, as paxbench's.
const (
	exitError   = 1
	exitUsage   = 2
	exitInvalid = 5 // a side did not do what it acknowledged
)

func main() {
	if text := os.Getenv(node.Variable); text != "" {
		os.Exit(node.Main(text, findEngine))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command(ctx, os.Args[1:])
	stop()
	removeRaft37()
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return
	case errors.Is(err, errUsage):
		fmt.Fprintf(os.Stderr, "peers: %v\n", err)
		os.Exit(exitUsage)
	case errors.Is(err, errInvalid):
		fmt.Fprintf(os.Stderr, "peers: %v\n", err)
		os.Exit(exitInvalid)
	}
	fmt.Fprintf(os.Stderr, "peers: %v\n", err)
	os.Exit(exitError)
}

var errUsage = errors.New("usage: go run . run [flags] | failover [flags] | curve [flags] | table RECORD... | engines")

func command(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errUsage
	}
	switch args[0] {
	case "run":
		return runCommand(ctx, args[1:])
	case "failover":
		return failoverCommand(ctx, args[1:])
	case "curve":
		return curveCommand(ctx, args[1:])
	case "table":
		return tableCommand(args[1:])
	case "engines":
		for _, e := range engines() {
			d, err := describe(e, 0)
			if err != nil {
				return err
			}
			fmt.Printf("%-16s %s %s\n    %s\n", d.Name, d.Module, d.Version, d.Settings)
		}
		return nil
	}
	return fmt.Errorf("%w: no command %q", errUsage, args[0])
}
