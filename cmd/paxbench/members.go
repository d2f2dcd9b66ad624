package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/paxbench/paxbench/bench/cluster"
	"github.com/paxbench/paxbench/engine"
	"github.com/paxbench/paxbench/engine/client"
	"github.com/paxbench/paxbench/wire"
	"github.com/spf13/cobra"
)

// membersConfig are the flags of members.
type membersConfig struct {
	targets    []string
	clusterID  uint64
	group      uint32
	timeout    time.Duration
	format     string
	configFile string
	printOnly  bool

	change string // "add N=HOST:PORT" or "remove N"; empty: list
}

// Outcomes of a change. A refusal is of the first kind.
const (
	outcomeNotDone = "not done"
	outcomeUnknown = "unknown"
	outcomeDone    = "done"
)

// membersAnswer is the JSON of members. Of a list it has no change and no outcome.
type membersAnswer struct {
	SchemaVersion  int                 `json:"schema_version"`
	Change         string              `json:"change,omitempty"`
	Outcome        string              `json:"outcome,omitempty"` // "done", "not done", "unknown"
	Error          string              `json:"error,omitempty"`
	Node           wire.NodeID         `json:"node"`           // that answered; 0: none did
	Leader         wire.NodeID         `json:"leader"`         // that it follows; 0: none
	Configurations []engine.Membership `json:"configurations"` // that of the next slot, and one that will follow it, if a change is chosen
}

const (
	membersAskLimit = 2 * time.Second       // to reach one node and hear whom it takes for the leader
	membersPause    = 50 * time.Millisecond // before the leader is looked for again
)

func newMembers(a *app) *cobra.Command {
	c := &membersConfig{format: "text", timeout: time.Minute}
	cmd := &cobra.Command{
		Use:   "members [list] | add N=HOST:PORT | remove N",
		Short: "Who the members of a running cluster are; add one, remove one",
		Long: `members prints the members of a group as the leader knows them, adds a node to them, or removes one, while the cluster works. A change
is done when it is in force and a quorum of the new members has everything that was decided before.

To add a node, start it with an id above all that were ever used and an empty directory, 'paxbench serve --join --bootstrap' (see
serve --help), then 'members add' it, with the address where members and clients reach it. It is fed what the others have, snapshot
included, and votes when it has caught up. To remove one, the leader included, 'members remove' it, then stop its process. To replace
a dead node, add the new one and remove the old one. An id is never used again: a node that lost its directory comes back under a new one.

Any node may be named in --targets: the leader is found from it. While there is none, or another change is under way, a change is asked
for again until --timeout. If a change fails, the message says whether it is certainly not done or may be done; what may be done is never asked again:
'members list' shows it. Only mode multi with --learn one can change its members. With several groups each has members of its own.

Exit codes: 0 done, 1 not done or not known, 2 usage, 130 interrupted.`,
		Example: `  paxbench members --targets 127.0.0.1:7001,127.0.0.1:7002 --cluster-id 7
  paxbench members add 4=127.0.0.1:7004 --targets 127.0.0.1:7001,127.0.0.1:7002 --cluster-id 7
  paxbench members remove 3 --targets 127.0.0.1:7001,127.0.0.1:7002 --cluster-id 7`,
		Args: func(_ *cobra.Command, args []string) (err error) {
			c.change, err = parseMembersArgs(args)
			return err
		},
	}
	fs := cmd.Flags()
	fs.Var(&parsed[[]string]{kind: "addresses", value: &c.targets, parse: parseTargets}, "targets", "nodes of the cluster, not all need answer: host:port,host:port,...")
	fs.Var(&parsed[uint64]{kind: "id", value: &c.clusterID, parse: parseClusterID}, "cluster-id", "the cluster's id")
	fs.Uint32Var(&c.group, "group", 1, "the group")
	fs.DurationVar(&c.timeout, "timeout", c.timeout, "how long to look for a leader and to wait for a change to be in force")
	fs.Var(&choice{value: &c.format, choices: []string{"text", "json"}}, "format", "text or json")
	configFlags(cmd, a, &c.configFile, &c.printOnly, func() error {
		switch {
		case len(c.targets) == 0:
			return usagef("members needs --targets: nodes of the cluster, host:port,host:port,...")
		case c.clusterID == 0:
			return usagef("members needs --cluster-id: the number that all nodes of the cluster share")
		case c.timeout <= 0:
			return usagef("--timeout %s: it must be above 0s", c.timeout)
		}
		return a.members(c)
	})
	return cmd
}

// parseMembersArgs gives the change that is asked for; "": none, a list is.
func parseMembersArgs(args []string) (string, error) {
	if len(args) == 0 || len(args) == 1 && args[0] == "list" {
		return "", nil
	}
	switch {
	case args[0] == "list":
		return "", usagef("members list takes nothing more: %q", args[1])
	case args[0] == "add" && len(args) == 2:
		peers, err := cluster.ParsePeers(args[1])
		if err != nil {
			return "", usagef("members add: %v", err)
		}
		if len(peers) != 1 {
			return "", usagef("members add %s: one node at a time", args[1])
		}
		return "add " + cluster.FormatPeers(peers), nil
	case args[0] == "remove" && len(args) == 2:
		n, err := strconv.ParseUint(args[1], 10, 32)
		if err != nil || n == 0 {
			return "", usagef("members remove %s: node ids are whole numbers from 1", args[1])
		}
		return "remove " + strconv.FormatUint(n, 10), nil
	case args[0] == "add":
		return "", usagef("members add takes one node, N=HOST:PORT")
	case args[0] == "remove":
		return "", usagef("members remove takes one node id")
	}
	return "", usagef("members: unknown operation %q%s", args[0], didYouMean(args[0], []string{"list", "add", "remove"}))
}

func (a *app) members(c *membersConfig) error {
	a.begin()
	signals, release := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer release()
	ctx, cancel := context.WithTimeout(signals, c.timeout)
	defer cancel()
	answer, err := c.ask(ctx)
	if c.format == "json" {
		e := json.NewEncoder(a.out)
		e.SetIndent("", " ")
		if err := e.Encode(answer); err != nil {
			return err
		}
	} else if err == nil {
		if err := answer.text(a.out); err != nil {
			return err
		}
	}
	if err != nil && signals.Err() != nil {
		return &codeError{exitInterrupted, fmt.Errorf("interrupted: %w", err)}
	}
	return err
}

// ask does what is asked for. A change is asked for again only while it is certain that nothing was done.
func (c *membersConfig) ask(ctx context.Context) (*membersAnswer, error) {
	var why error
	for {
		answer, again, err := c.attempt(ctx)
		if err == nil || !again {
			return answer, c.explain(answer, err)
		}
		if ctx.Err() == nil || why == nil {
			why = err // the errors of an attempt that was cut short say only that
		}
		select {
		case <-time.After(membersPause):
		case <-ctx.Done():
			return answer, c.explain(answer, fmt.Errorf("given up: %w", why))
		}
	}
}

// attempt finds the leader and asks it once. again: nothing was done, and it may be otherwise soon.
func (c *membersConfig) attempt(ctx context.Context) (answer *membersAnswer, again bool, err error) {
	answer = &membersAnswer{SchemaVersion: 1, Change: c.change}
	if c.change != "" {
		answer.Outcome = outcomeNotDone
	}
	node, w, err := c.leader(ctx)
	if err != nil {
		return answer, c.change != "", err
	}
	defer node.Close()
	answer.Node = w.Node
	body, err := node.Admin(ctx, strings.TrimSpace("members "+c.change))
	switch {
	case errors.Is(err, client.ErrNotLeader), errors.Is(err, client.ErrBusy):
		return answer, true, refusal(body, err)
	case errors.Is(err, client.ErrInvalid), errors.Is(err, client.ErrTooLarge):
		return answer, false, refusal(body, err)
	case err == nil:
		if err = json.Unmarshal(body, answer); err != nil {
			err = fmt.Errorf("node %d answers %.100q: %w", w.Node, body, err)
		}
	default:
		err = refusal(body, err)
	}
	if c.change != "" {
		answer.Outcome = outcomeDone
		if err != nil {
			answer.Outcome = outcomeUnknown
		}
	}
	return answer, false, err
}

// explain says of a failed change which kind of failure it is.
func (c *membersConfig) explain(answer *membersAnswer, err error) error {
	if err == nil {
		return nil
	}
	answer.Error = err.Error()
	switch answer.Outcome {
	case "":
		return fmt.Errorf("members: %w", err)
	case outcomeUnknown:
		return fmt.Errorf("members %s: it MAY BE DONE, or may yet be: %w\n  'paxbench members list' shows whether it is", c.change, err)
	}
	return fmt.Errorf("members %s: certainly not done: %w", c.change, err)
}

// refusal is what a node says of a refusal, without its wrapping; err if it says nothing.
func refusal(body []byte, err error) error {
	var said struct{ Error string }
	if json.Unmarshal(body, &said) == nil && said.Error != "" {
		return errors.New(said.Error)
	}
	return err
}

// leader connects to the node that says that it leads. Nodes that the targets name are asked as well, the one taken for the
// leader first: none of the targets may be a member any more. Where nobody leads it is the first that answers: it shows what it
// knows, and refuses changes, saying why.
func (c *membersConfig) leader(ctx context.Context) (*client.Node, client.Welcome, error) {
	var errs []error
	asked := map[string]bool{}
	some := ""
	for queue := slices.Clone(c.targets); len(queue) > 0; {
		addr := queue[0]
		queue = queue[1:]
		if asked[addr] {
			continue
		}
		asked[addr] = true
		node, w, err := c.welcome(ctx, addr)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if w.Leader == w.Node {
			return node, w, nil
		}
		node.Close()
		if some == "" {
			some = addr
		}
		if at := w.Members[w.Leader]; at != "" {
			queue = append([]string{at}, queue...)
		}
		for _, id := range slices.Sorted(maps.Keys(w.Members)) {
			queue = append(queue, w.Members[id])
		}
	}
	if some != "" {
		return c.welcome(ctx, some)
	}
	return nil, client.Welcome{}, fmt.Errorf("no target answers as a node of cluster %d; check --targets and --cluster-id, and that the nodes run:\n%w",
		c.clusterID, errors.Join(errs...))
}

func (c *membersConfig) welcome(ctx context.Context, addr string) (*client.Node, client.Welcome, error) {
	ctx, cancel := context.WithTimeout(ctx, membersAskLimit)
	defer cancel()
	node, err := client.DialNode(ctx, addr, wire.ClusterID(c.clusterID), wire.GroupID(c.group))
	if err != nil {
		return nil, client.Welcome{}, err
	}
	w, err := node.Welcome(ctx)
	if err != nil {
		node.Close()
		return nil, client.Welcome{}, err
	}
	return node, w, nil
}

// text prints the members, one a line, of each configuration.
func (m *membersAnswer) text(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if m.Change != "" {
		fmt.Fprintf(t, "%s: done\n", m.Change)
	}
	if m.Node != m.Leader {
		fmt.Fprintf(t, "no leader was found; this is what node %d knows\n", m.Node)
	}
	for i, c := range m.Configurations {
		state := "in force"
		if i > 0 {
			state = "chosen, not in force yet"
		}
		if len(c.Members) == 0 {
			fmt.Fprintln(t, "it joins, and does not know the members yet")
			continue
		}
		from := "since the founding"
		if c.Slot != 0 {
			from = fmt.Sprintf("for slots from %d on, chosen in slot %d", c.From, c.Slot)
		}
		fmt.Fprintf(t, "%d members, %s, %s\n", len(c.Members), state, from)
		for _, id := range slices.Sorted(maps.Keys(c.Members)) {
			role := ""
			if id == m.Leader {
				role = "\tleader"
			}
			fmt.Fprintf(t, "  node %d\t%s%s\n", id, c.Members[id], role)
		}
	}
	return t.Flush()
}
