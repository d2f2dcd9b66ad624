package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"

	"github.com/paxbench/paxbench/bench/peers/peer"
)

// A node is a process with one replica, or with all of them. It is this program again, told by the environment what to
// be; requests come on its standard input, one JSON value each, and are answered in order on file descriptor 3. (Not on
// standard output: libraries print there.) It ends when its standard input does, so no child outlives its parent.

const (
	nodeVariable  = "PAXBENCH_PEERS_NODE" // set: this process is a node, and this is its nodeConfig
	replyFD       = 3
	repliesClosed = 3 // exit code
)

type nodeConfig struct {
	Engine string   `json:"engine"`
	IDs    []int    `json:"ids"`
	Addrs  []string `json:"addrs"`
	Dir    string   `json:"dir"`
	Fsync  bool     `json:"fsync"`
	Fast   bool     `json:"fast,omitempty"` // elections, see peer.Config

	Profile string `json:"profile,omitempty"` // file for a CPU profile of the process's life
}

type request struct {
	Op   string     `json:"op"` // state, counters, load, probe, probed, stop
	Load *peer.Load `json:"load,omitempty"`
	Base uint64     `json:"base,omitempty"` // number of the load's, or the prober's, first operation
	Rate float64    `json:"rate,omitempty"` // the prober's
}

type reply struct {
	Error    string         `json:"error,omitempty"`
	Replicas []replicaState `json:"replicas,omitempty"`
	Counters *counters      `json:"counters,omitempty"`
	Result   *peer.Result   `json:"result,omitempty"`
	Probed   *peer.Probed   `json:"probed,omitempty"`
}

type replicaState struct {
	ID    int  `json:"id"`
	Leads bool `json:"leads"`
	peer.State
}

type node struct {
	config   nodeConfig
	replicas []peer.Replica // of config.IDs
	prober   *peer.Prober
}

// nodeMain is main in a node's process.
func nodeMain(text string) int {
	replies := os.NewFile(replyFD, "replies")
	out := json.NewEncoder(replies)
	n := &node{}
	err := json.Unmarshal([]byte(text), &n.config)
	if err == nil {
		err = n.open()
	}
	if err != nil {
		out.Encode(reply{Error: err.Error()})
		return 1
	}
	if n.config.Profile != "" {
		f, err := os.Create(n.config.Profile)
		if err == nil {
			err = pprof.StartCPUProfile(f)
		}
		if err != nil {
			out.Encode(reply{Error: err.Error()})
			return 1
		}
		defer pprof.StopCPUProfile()
	}
	if out.Encode(reply{}) != nil { // ready
		return repliesClosed
	}
	requests := make(chan request)
	go func() {
		in := json.NewDecoder(os.Stdin)
		for {
			var r request
			if err := in.Decode(&r); err != nil {
				if !errors.Is(err, io.EOF) {
					fmt.Fprintf(os.Stderr, "node: requests: %v\n", err)
				}
				os.Exit(0) // the parent is gone, whatever is going on here
			}
			requests <- r
		}
	}()
	for r := range requests {
		a, err := n.answer(r)
		if err != nil {
			a.Error = err.Error()
		}
		if out.Encode(a) != nil {
			return repliesClosed
		}
		if r.Op == "stop" {
			return 0
		}
	}
	return 0
}

func (n *node) open() error {
	e, err := findEngine(n.config.Engine)
	if err != nil {
		return err
	}
	for _, id := range n.config.IDs {
		dir := fmt.Sprintf("%s/%d", n.config.Dir, id)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		r, err := e.Open(peer.Config{ID: id, Addrs: n.config.Addrs, Dir: dir, Fsync: n.config.Fsync, Fast: n.config.Fast})
		if err != nil {
			return err
		}
		n.replicas = append(n.replicas, r)
	}
	return nil
}

func (n *node) answer(r request) (a reply, err error) {
	switch r.Op {
	case "state":
		for i, replica := range n.replicas {
			st, err := replica.State()
			if err != nil {
				return a, err
			}
			a.Replicas = append(a.Replicas, replicaState{ID: n.config.IDs[i], Leads: replica.Leads(), State: st})
		}
		return a, nil
	case "counters":
		c := readCounters()
		a.Counters = &c
		return a, nil
	case "load":
		for _, replica := range n.replicas {
			if replica.Leads() {
				// Every engine begins a load with the same heap: what it allocated itself.
				runtime.GC()
				result, err := peer.Run(replica, *r.Load, r.Base)
				a.Result = &result
				return a, err
			}
		}
		return a, errors.New("no leader in this process")
	case "probe":
		n.prober = peer.Probe(n.replicas[0], r.Rate, r.Base)
		return a, nil
	case "probed":
		if n.prober == nil {
			return a, errors.New("no prober")
		}
		p := n.prober.Read()
		a.Probed = &p
		return a, nil
	case "stop":
		for _, replica := range n.replicas {
			err = errors.Join(err, replica.Close())
		}
		return a, err
	}
	return a, fmt.Errorf("no operation %q", r.Op)
}

func idList(ids []int) string {
	var parts []string
	for _, id := range ids {
		parts = append(parts, strconv.Itoa(id))
	}
	return strings.Join(parts, ",")
}
