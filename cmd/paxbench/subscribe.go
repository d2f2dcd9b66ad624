package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/paxbench/paxbench/engine/client"
	"github.com/paxbench/paxbench/wire"
	"github.com/spf13/cobra"
)

// subscribeConfig are the flags of subscribe.
type subscribeConfig struct {
	node       string
	clusterID  uint64
	group      uint32
	from       uint64
	count      uint64
	format     string
	configFile string
	printOnly  bool
}

func newSubscribe(a *app) *cobra.Command {
	c := &subscribeConfig{format: "text"}
	cmd := &cobra.Command{
		Use:   "subscribe",
		Short: "What a node delivers, message by message, in the one order that all nodes have",
		Long: `subscribe prints the messages of a group's log as one node applies them, from any slot that it still holds: atomic
broadcast, for processes outside of the cluster. Every node prints the same, across changes of leader. Nothing is queued for a
reader that is slow: the node is asked for more when what it gave has been written.

A line is the slot, the session, the sequence number and the command (quoted), or the same as JSON. Go on after an end with --from the
last slot + 1: the slot of the last line may have been cut short, so print it anew, or compare session and sequence number.`,
		Example: `  paxbench subscribe --node 127.0.0.1:7002 --cluster-id 7
  paxbench subscribe --node 127.0.0.1:7003 --cluster-id 7 --from 4711 --count 100 --format json`,
		Args: cobra.NoArgs,
	}
	fs := cmd.Flags()
	fs.StringVar(&c.node, "node", "", "the node to listen to, host:port")
	fs.Var(&parsed[uint64]{kind: "id", value: &c.clusterID, parse: parseClusterID}, "cluster-id", "the cluster's id")
	fs.Uint32Var(&c.group, "group", 1, "the group")
	fs.Uint64Var(&c.from, "from", 1, "slot to begin with")
	fs.Uint64Var(&c.count, "count", 0, "end after so many messages; 0: never")
	fs.Var(&choice{value: &c.format, choices: []string{"text", "json"}}, "format", "of a line")
	configFlags(cmd, a, &c.configFile, &c.printOnly, func() error {
		if c.node == "" || c.clusterID == 0 {
			return usagef("subscribe needs --node host:port and --cluster-id")
		}
		return a.subscribe(c)
	})
	return cmd
}

func (a *app) subscribe(c *subscribeConfig) error {
	a.begin()
	ctx, stop, release := a.signals()
	defer release()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	n, err := client.DialNode(ctx, c.node, wire.ClusterID(c.clusterID), wire.GroupID(c.group))
	if err != nil {
		return runError(err)
	}
	defer n.Close()
	out := bufio.NewWriter(a.out)
	left := c.count
	for d, err := range n.Subscribe(ctx, wire.Slot(c.from)) {
		if isClosed(stop) {
			return errors.Join(out.Flush(), &codeError{code: exitInterrupted})
		}
		if err != nil {
			return errors.Join(out.Flush(), runError(err))
		}
		for _, m := range d.Messages {
			if err := c.line(out, d.Slot, &m); err != nil {
				return runError(err)
			}
			if left--; left == 0 {
				return out.Flush()
			}
		}
		// Each slot is shown when it is there; to a pipe that nobody reads this waits, and asks for nothing meanwhile.
		if err := out.Flush(); err != nil {
			return runError(err)
		}
	}
	return out.Flush()
}

func (c *subscribeConfig) line(w *bufio.Writer, s wire.Slot, m *client.Message) error {
	if c.format == "json" {
		return json.NewEncoder(w).Encode(struct {
			Slot wire.Slot `json:"slot"`
			*client.Message
		}{s, m})
	}
	_, err := fmt.Fprintf(w, "%d %d %d %s\n", s, m.Session, m.Seq, strconv.Quote(string(m.Command)))
	return err
}
