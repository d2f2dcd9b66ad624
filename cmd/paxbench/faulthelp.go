package main

import (
	"strings"

	"github.com/paxbench/paxbench/bench/cluster"
	"github.com/spf13/cobra"
)

// helpWidth is the width of help texts.
const helpWidth = 120

// newFaultHelp is a topic of help: a command that does nothing.
func newFaultHelp() *cobra.Command {
	var b strings.Builder
	b.WriteString(`A fault is kind[:target][:name=value,...]@at+duration, several make a timeline:

  --fault kill:leader@5s+3s --fault slow-link:all:latency=5ms,jitter=2ms@12s+5s --fault disk-full:node2@20s+3s

It strikes at a time counted from the end of warm-up and is healed a duration later. Which node a role means is decided
when it strikes; draws come from --seed. For each fault the report says, for the cut and for the heal, how long nothing was
acknowledged and when the rate was back to 95%, how many operations failed or are of unknown outcome, and by how much it
lengthened the waits of all operations together (extra latency). Lost writes are looked for in all replicas at the end.

`)
	_ = cluster.WriteFaultHelp(&b, helpWidth) // into memory: it cannot fail
	return &cobra.Command{Use: "faults", Short: "What --fault can do: kinds, targets, parameters", Long: b.String()}
}
