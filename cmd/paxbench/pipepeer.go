package main

import (
	"io"
	"os"

	"github.com/paxbench/paxbench/bench"
	"github.com/paxbench/paxbench/bench/cluster"
	"github.com/paxbench/paxbench/bench/env"
	"github.com/paxbench/paxbench/wire"
	"github.com/spf13/cobra"
)

// newPipePeer is a follower of the bare replicated pipe: `paxbench probe` and `paxbench run` start it for themselves. It
// ends with its standard input.
func newPipePeer(a *app) *cobra.Command {
	c := &env.PipeConfig{}
	var node uint32
	var clusterID uint64
	cmd := &cobra.Command{Use: bench.PipePeerCommand, Hidden: true, Args: cobra.NoArgs}
	fs := cmd.Flags()
	fs.Uint32Var(&node, "node", 0, "")
	fs.Var(&parsed[uint64]{kind: "id", value: &clusterID, parse: parseClusterID}, "cluster-id", "")
	fs.StringVar(&c.Listen, "listen", "", "")
	fs.Var(&parsed[map[wire.NodeID]string]{kind: "peers", value: &c.Peers, parse: cluster.ParsePeers}, "peers", "")
	fs.StringVar(&c.Dir, "data-dir", "", "")
	cmd.RunE = func(*cobra.Command, []string) error {
		a.begin()
		c.Node, c.Cluster = wire.NodeID(node), wire.ClusterID(clusterID)
		n, err := env.OpenPipe(*c)
		if err != nil {
			return err
		}
		if err := printReady(a.out, "json", cluster.Ready{Ready: true, Node: node, Addr: n.Addr(), PID: os.Getpid()}); err != nil {
			return err
		}
		io.Copy(io.Discard, a.in)
		return n.Close()
	}
	return cmd
}
