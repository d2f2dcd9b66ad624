// Package node is a process with one replica of an engine, or with all of them: what package main starts, and the programs of
// engines that cannot be in the same binary as the others.
//
// A node is told by the environment what to be; requests come on its standard input, one JSON value each, and are answered
// in order on file descriptor 3. (Not on standard output: libraries print there.) It ends when its standard input does, so no
// child outlives its parent.
package node

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

// How a node is told what to be, and where it answers.
const (
	Variable      = "PAXBENCH_PEERS_NODE" // set: this process is a node, and this is its Config
	ReplyFD       = 3
	repliesClosed = 3 // exit code
)

// Config says what a node is.
type Config struct {
	Engine string   `json:"engine"`
	IDs    []int    `json:"ids"`
	Addrs  []string `json:"addrs"`
	Dir    string   `json:"dir"`
	Fsync  bool     `json:"fsync"`
	Fast   bool     `json:"fast,omitempty"` // elections, see peer.Config

	Profile string `json:"profile,omitempty"` // file for a CPU profile of the process's life
}

// Request is what a node is asked.
type Request struct {
	Op   string     `json:"op"` // state, counters, load, window, probe, probed, stop
	Load *peer.Load `json:"load,omitempty"`
	Base uint64     `json:"base,omitempty"` // number of the load's, or the prober's, first operation
	Rate float64    `json:"rate,omitempty"` // the prober's

	Window int `json:"window,omitempty"` // of the op window; 0: adapting
}

// Reply is its answer; the first one, unasked, says that it is ready.
type Reply struct {
	Error    string         `json:"error,omitempty"`
	Replicas []ReplicaState `json:"replicas,omitempty"`
	Counters *Counters      `json:"counters,omitempty"`
	Result   *peer.Result   `json:"result,omitempty"`
	Probed   *peer.Probed   `json:"probed,omitempty"`
	Procs    int            `json:"gomaxprocs,omitempty"` // of counters: processor threads on which the process runs Go code
}

// ReplicaState is what one of a node's replicas has applied.
type ReplicaState struct {
	ID    int  `json:"id"`
	Leads bool `json:"leads"`
	peer.State
}

type node struct {
	config   Config
	replicas []peer.Replica // of config.IDs
	prober   *peer.Prober
}

// Main is main in a node's process.
// find gives an engine by its name.
func Main(text string, find func(name string) (peer.Engine, error)) int {
	replies := os.NewFile(ReplyFD, "replies")
	out := json.NewEncoder(replies)
	n := &node{}
	err := json.Unmarshal([]byte(text), &n.config)
	if err == nil {
		err = n.open(find)
	}
	if err != nil {
		out.Encode(Reply{Error: err.Error()})
		return 1
	}
	if n.config.Profile != "" {
		f, err := os.Create(n.config.Profile)
		if err == nil {
			err = pprof.StartCPUProfile(f)
		}
		if err != nil {
			out.Encode(Reply{Error: err.Error()})
			return 1
		}
		defer pprof.StopCPUProfile()
	}
	if out.Encode(Reply{}) != nil { // ready
		return repliesClosed
	}
	requests := make(chan Request)
	go func() {
		in := json.NewDecoder(os.Stdin)
		for {
			var r Request
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

func (n *node) open(find func(string) (peer.Engine, error)) error {
	e, err := find(n.config.Engine)
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

func (n *node) answer(r Request) (a Reply, err error) {
	switch r.Op {
	case "state":
		for i, replica := range n.replicas {
			st, err := replica.State()
			if err != nil {
				return a, err
			}
			a.Replicas = append(a.Replicas, ReplicaState{ID: n.config.IDs[i], Leads: replica.Leads(), State: st})
		}
		return a, nil
	case "counters":
		c := readCounters()
		a.Counters, a.Procs = &c, runtime.GOMAXPROCS(0)
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
	case "window":
		for _, replica := range n.replicas {
			w, ok := replica.(interface{ SetWindow(int) })
			if !ok {
				return a, fmt.Errorf("%s has no window to set", n.config.Engine)
			}
			w.SetWindow(r.Window)
		}
		return a, nil
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

// IDList writes ids with commas between them.
func IDList(ids []int) string {
	var parts []string
	for _, id := range ids {
		parts = append(parts, strconv.Itoa(id))
	}
	return strings.Join(parts, ",")
}
