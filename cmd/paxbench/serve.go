package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"syscall"

	"github.com/paxbench/paxbench/bench/cluster"
	"github.com/paxbench/paxbench/bench/disk"
	"github.com/paxbench/paxbench/engine/wal"
	"github.com/paxbench/paxbench/wire"
	"github.com/spf13/cobra"
)

// serveConfig are the flags of serve.
type serveConfig struct {
	node       uint32
	clusterID  uint64
	listen     string
	peers      map[wire.NodeID]string
	peerAddrs  map[wire.NodeID]string
	dir        string
	bootstrap  bool
	acceptTorn bool
	rejoin     bool
	join       bool
	settings   cluster.Settings
	procs      int
	ready      string
	logFormat  string
	pprof      string
	withParent bool
	withDisk   bool
	configFile string
	printOnly  bool
}

func newServe(a *app) *cobra.Command {
	c := &serveConfig{ready: "text", logFormat: "text"}
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run one replica of a cluster",
		Long: `serve runs one replica until it is told to end (SIGTERM, SIGINT). Once it listens it prints one line on standard
output; its log goes to standard error.

The first start of a node needs --bootstrap, which gives an empty data directory its identity. Never use it again: a
replica that lost its directory has forgotten its votes, and its place must not be taken by an empty one.

If the end of the log is not whole, the replica may have forgotten a vote. A cluster of one refuses to start. In a larger one
the replica is suspect: it says so in its log and its status, serves what is chosen, and votes again when a majority of the
others has told it what it may have forgotten. Only if so many are suspect that they cannot heal each other, as after a power
loss of all, somebody has to decide: --accept-torn-tail says that nothing acknowledged was lost.

A replica whose log is lost or refused, or is known to be an older copy, comes back with --rejoin, once: a log that cannot be
started from is put aside (*.lost), and the replica is suspect until a majority of the others has healed it. It takes three
replicas at least, and the others must have their logs.

A node that was not among the founders of its cluster runs with --join, always, and its first time with --bootstrap as well: it is fed what
the others have, and votes when 'paxbench members add' has made it a member. Its id is above all that were ever used. Its --peers are itself and
some members, from which it hears first; later ones, and their addresses, it learns from the log, and --peers stays as it was, on every node. Where
members have changed a replica without its log is replaced by a new one, which joins: --rejoin is for the founders of a cluster that has only them.`,
		Example: `  paxbench serve --node 1 --cluster-id 7 --peers 1=127.0.0.1:7001,2=127.0.0.1:7002,3=127.0.0.1:7003 \
    --data-dir data/1 --bootstrap
  paxbench serve --node 4 --cluster-id 7 --peers 1=127.0.0.1:7001,2=127.0.0.1:7002,4=127.0.0.1:7004 \
    --data-dir data/4 --join --bootstrap`,
		Args: cobra.NoArgs,
	}
	fs := cmd.Flags()
	fs.Uint32Var(&c.node, "node", 0, "this node's id, from 1")
	fs.Var(&parsed[uint64]{kind: "id", value: &c.clusterID, parse: parseClusterID}, "cluster-id", "the cluster's id, the same on all nodes")
	fs.StringVar(&c.listen, "listen", "", "address to listen on (default: this node's in --peers)")
	fs.Var(&parsed[map[wire.NodeID]string]{kind: "peers", value: &c.peers, parse: cluster.ParsePeers}, "peers",
		"the founding nodes of the cluster, this one included: 1=host:port,2=host:port,...; with --join, see above")
	fs.Var(&parsed[map[wire.NodeID]string]{kind: "peers", value: &c.peerAddrs, parse: cluster.ParsePeers}, "peer-addrs",
		"where this node reaches other nodes, if elsewhere than clients do, in the form of --peers")
	fs.StringVar(&c.dir, "data-dir", "", "this node's directory: its log, snapshots and identity")
	fs.BoolVar(&c.acceptTorn, "accept-torn-tail", false, "the end of the log, if it is not whole, was torn by a power loss and never acknowledged: cut it, and vote")
	fs.BoolVar(&c.rejoin, "rejoin", false, "the log is lost, refused or an older copy: come back without a vote, and get it from a majority of the others")
	fs.BoolVar(&c.bootstrap, "bootstrap", false, "first start of this node: give the empty data directory its identity")
	fs.BoolVar(&c.join, "join", false, "this node was not among the founding ones: 'paxbench members add' makes it a member. For all its life")
	fs.Var(&procsFlag{value: &c.procs, words: func() string { return cluster.ProcsOf(c.procs).String() }}, "procs",
		"processor threads (GOMAXPROCS) that this node runs Go code on; 0: the runtime's choice, GOMAXPROCS of the environment or all cores")
	engineFlags(fs, &c.settings)
	fs.Var(&choice{value: &c.ready, choices: []string{"text", "json"}}, "ready", "form of the line printed once the node listens")
	fs.Var(&choice{value: &c.logFormat, choices: []string{"text", "json"}}, "log-format", "form of the log")
	fs.StringVar(&c.pprof, "pprof", "", "serve profiles over HTTP at this address (keep it on loopback)")
	fs.BoolVar(&c.withParent, "with-parent", false, "end when standard input is closed")
	fs.MarkHidden("with-parent")
	fs.BoolVar(&c.withDisk, "with-disk-control", false, "take orders for what is wrong with the disk on standard input, and answer on standard output")
	fs.MarkHidden("with-disk-control")
	configFlags(cmd, a, &c.configFile, &c.printOnly, func() error { return serve(a, c) })
	return cmd
}

func (c *serveConfig) check() error {
	switch {
	case c.node == 0:
		return usagef("serve needs --node: this node's id, from 1")
	case c.clusterID == 0:
		return usagef("serve needs --cluster-id: a number that all nodes of the cluster share")
	case len(c.peers) == 0:
		return usagef("serve needs --peers: all nodes as 1=host:port,2=host:port,...")
	case c.peers[wire.NodeID(c.node)] == "":
		return usagef("--node %d is not among --peers %s", c.node, cluster.FormatPeers(c.peers))
	case c.rejoin && (c.bootstrap || c.acceptTorn):
		return usagef("--rejoin says that the log is lost: it goes neither with --bootstrap, a first start, nor with --accept-torn-tail, which says that nothing is")
	case c.rejoin && len(c.peers) < 3:
		return usagef("--rejoin takes a cluster of three at least: a majority of the others has to give the vote back")
	case c.join:
		if err := c.checkJoin(); err != nil {
			return err
		}
	}
	switch {
	case c.withDisk && !c.withParent:
		return usagef("--with-disk-control goes with --with-parent")
	case c.dir == "":
		return usagef("serve needs --data-dir: a directory for this node alone")
	}
	if c.listen == "" {
		c.listen = c.peers[wire.NodeID(c.node)]
	}
	if err := cluster.CheckAddr(c.listen); err != nil {
		return usagef("--listen: %v", err)
	}
	if c.pprof != "" {
		if err := cluster.CheckAddr(c.pprof); err != nil {
			return usagef("--pprof: %v", err)
		}
	}
	return nil
}

// checkJoin refuses what a node that joins cannot be started with.
func (c *serveConfig) checkJoin() error {
	last := slices.Max(slices.Collect(maps.Keys(c.peers)))
	switch {
	case c.rejoin:
		return usagef("--rejoin gives founders their vote back; a node with --join is replaced: %s", c.replaced())
	case c.settings.Mode != "multi" || c.settings.Learn != "one":
		return usagef("--join: in mode %s with --learn %s the members are fixed; the cluster has to run with --mode multi --learn one", c.settings.Mode, c.settings.Learn)
	case len(c.peers) < 2:
		return usagef("--join needs in --peers, beside this node, a member at least from which it hears: 1=host:port,%d=host:port", c.node)
	case len(c.settings.AuxiliaryNodes()) > 0:
		return usagef("--join: in a cluster with --auxiliary nodes the members are fixed")
	case c.bootstrap && wire.NodeID(c.node) != last:
		return usagef("--join --bootstrap: node %d is not above node %d of --peers; ids are never used again, so a new node has one above all that were used", c.node, last)
	}
	return nil
}

func serve(a *app, c *serveConfig) error {
	if err := c.check(); err != nil {
		return err
	}
	logger := newLogger(a.err, c.logFormat)
	slog.SetDefault(logger)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)
	a.begin()
	if c.procs > 0 {
		runtime.GOMAXPROCS(c.procs)
	}
	nc := cluster.NodeConfig{
		Node: wire.NodeID(c.node), Cluster: wire.ClusterID(c.clusterID), Listen: c.listen, Peers: c.peers, PeerAddrs: c.peerAddrs,
		Dir: c.dir, Bootstrap: c.bootstrap, AcceptTornTail: c.acceptTorn, Rejoin: c.rejoin, Join: c.join, Settings: c.settings,
	}
	if c.withDisk {
		nc.Disk = disk.New()
	}
	orphaned := c.parent(a, nc.Disk, logger)
	node, err := nc.Open(logger)
	if err != nil {
		return explainOpen(err, c)
	}
	ready := cluster.Ready{Ready: true, Node: c.node, Addr: node.Addr().String(), PID: os.Getpid()}
	if c.pprof != "" {
		stop, addr, err := servePprof(c.pprof)
		if err != nil {
			return errors.Join(err, node.Close())
		}
		defer stop()
		ready.Pprof = addr
	}
	if err := printReady(a.out, c.ready, ready); err != nil {
		return errors.Join(err, node.Close())
	}
	failed := make(chan error, 1)
	go func() { failed <- node.Wait() }()
	select {
	case sig := <-signals:
		logger.Info("stopping", "node", c.node, "signal", sig.String())
	case <-orphaned:
		logger.Info("stopping: the parent is gone", "node", c.node)
	case err := <-failed:
		return errors.Join(fmt.Errorf("node %d failed: %w", c.node, err), node.Close())
	}
	return node.Close()
}

// parent takes the parent's orders for the disk, if there may be any. The channel is closed when the parent is gone.
func (c *serveConfig) parent(a *app, d *disk.Disk, logger *slog.Logger) <-chan struct{} {
	orphaned := make(chan struct{})
	if !c.withParent {
		return orphaned
	}
	go func() {
		defer close(orphaned)
		if d != nil {
			if err := d.Serve(a.in, a.out); err != nil {
				logger.Error("orders for the disk", "node", c.node, "err", err)
			}
		}
		io.Copy(io.Discard, a.in)
	}()
	return orphaned
}

func newLogger(w io.Writer, format string) *slog.Logger {
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, nil))
	}
	return slog.New(slog.NewTextHandler(w, nil))
}

func printReady(w io.Writer, format string, r cluster.Ready) error {
	if format == "json" {
		return json.NewEncoder(w).Encode(r)
	}
	_, err := fmt.Fprintf(w, "ready: node %d listens on %s, process %d\n", r.Node, r.Addr, r.PID)
	return err
}

// servePprof serves the profiles on a mux of its own: importing the package also puts them on the default one, which
// nothing serves.
func servePprof(addr string) (stop func(), at string, err error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, "", fmt.Errorf("--pprof: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	server := &http.Server{Handler: mux}
	go server.Serve(l)
	return func() { server.Shutdown(context.Background()) }, l.Addr().String(), nil
}

// explainOpen adds the way out to what the engine says about a directory or an address.
func explainOpen(err error, c *serveConfig) error {
	var identity *wal.IdentityError
	var corrupt *wal.CorruptError
	var torn *wal.TornError
	hint := ""
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		hint = "another process listens there: stop it, or give this node another address in --peers on every node"
	case errors.Is(err, wal.ErrInUse):
		hint = "stop the other process, or check --node and --data-dir"
	case errors.Is(err, wal.ErrNotBootstrapped) && c.join:
		hint = "if this node has never run, start it once with --bootstrap as well; if it has, its data is gone: " + c.replaced()
	case errors.Is(err, wal.ErrNotBootstrapped):
		hint = "if this node has never run, start it once with --bootstrap; if it has, its data is gone: start it once with --rejoin"
	case errors.Is(err, wal.ErrHistory):
		hint = "leave out --bootstrap: the node has run before"
	case errors.As(err, &identity):
		hint = "check --node, --cluster-id, --peers, --mode, --quorum, --auxiliary, --join and --data-dir"
	case errors.As(err, &torn):
		hint = "if this follows a power loss, start once with --accept-torn-tail"
	case errors.As(err, &corrupt) && c.join:
		hint = fmt.Sprintf("'paxbench wal verify %s' shows what is damaged; the node must not run on it: mend it with the logs of the others ('paxbench wal repair'), or %s", c.dir, c.replaced())
	case errors.As(err, &corrupt):
		hint = fmt.Sprintf("'paxbench wal verify %s' shows what is damaged; the node must not run on it: mend it with the logs of the others ('paxbench wal repair %s"+
			" --from DIR --from DIR'), or start it once with --rejoin", c.dir, c.dir)
	default:
		return err
	}
	return fmt.Errorf("%w\n  %s", err, hint)
}

// replaced is the way out for a node that has lost its votes where members have changed.
func (c *serveConfig) replaced() string {
	return fmt.Sprintf("remove it ('paxbench members remove %d') and add a new node, with an empty directory and an id above all that were used", c.node)
}
