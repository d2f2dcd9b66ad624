package main

import (
	"fmt"
	"strings"

	"github.com/paxbench/paxbench/bench"
	"github.com/paxbench/paxbench/bench/cluster"
	"github.com/paxbench/paxbench/bench/load"
	"github.com/spf13/cobra"
)

func newLoad(a *app) *cobra.Command {
	c := &runConfig{Config: bench.DefaultConfig()}
	c.Name, c.Cluster = "load", bench.Remote
	machine := "kv"
	cmd := &cobra.Command{
		Use:   "load",
		Short: "The same load against a running cluster",
		Long: `load drives a cluster that runs already and reads every acknowledged write back from every one of its replicas. Nobody
else should write the load's keys (k00000000, k00000001, ...) meanwhile: the audit would count their writes as doubled.`,
		Example: `  paxbench load --targets 127.0.0.1:7001,127.0.0.1:7002,127.0.0.1:7003 --cluster-id 7`,
		Args:    cobra.NoArgs,
	}
	fs := cmd.Flags()
	fs.Var(&parsed[[]string]{kind: "addresses", value: &c.Targets, parse: parseTargets}, "targets", "all nodes of the cluster: host:port,host:port,...")
	fs.Var(&parsed[uint64]{kind: "id", value: &c.ClusterID, parse: parseClusterID}, "cluster-id", "the cluster's id")
	fs.Var(&choice{value: &machine, choices: []string{"kv", "null"}}, "sm", "the state machine that the nodes were started with")
	loadFlags(fs, &c.Load)
	generatorsFlag(fs, &c.Config)
	sloFlag(fs, &c.Config)
	historyFlag(fs, &c.Config)
	outputFlags(fs, &c.output)
	fs.StringVar(&c.ProfileDir, "profile", "", "write a processor profile of the generator into this directory")
	configFlags(cmd, a, &c.configFile, &c.printOnly, func() error {
		c.Load.SM, _ = load.ParseSM(machine) // the flag's choices are those of ParseSM
		if c.Load.Ops > 0 && !fs.Changed("duration") {
			c.Load.Duration = 0 // a default must not cut short what was asked for
		}
		if c.Nodes = len(c.Targets); c.Nodes == 0 {
			return usagef("load needs --targets: the addresses of all nodes, host:port,host:port,...")
		}
		return a.measure(c)
	})
	return cmd
}

func parseTargets(text string) ([]string, error) {
	targets := strings.Split(text, ",")
	seen := map[string]bool{}
	for i, addr := range targets {
		targets[i] = strings.TrimSpace(addr)
		if err := cluster.CheckAddr(targets[i]); err != nil {
			return nil, err
		}
		if seen[targets[i]] {
			return nil, fmt.Errorf("%s stands twice", targets[i])
		}
		seen[targets[i]] = true
	}
	return targets, nil
}
