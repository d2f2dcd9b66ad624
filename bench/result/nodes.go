package result

import "fmt"

// Node is what one node of the cluster used and held while the load was measured, over all of its processes if it was
// restarted. In an in-process cluster the processor time, heap and collections are those of the whole process.
type Node struct {
	Node         int    `json:"node"`
	Auxiliary    bool   `json:"auxiliary,omitempty"` // an acceptor only, which executes nothing
	CPU          int64  `json:"cpu_ns"`
	Restarts     uint64 `json:"restarts,omitempty"` // processes that it had, beyond one: each applies again what its log holds
	Commands     uint64 `json:"commands"`           // executed
	Slots        uint64 `json:"slots,omitempty"`    // applied, no-ops included
	Fsyncs       uint64 `json:"fsyncs"`
	WALBytes     uint64 `json:"wal_bytes"`
	Elections    uint64 `json:"elections"`     // leaderships won
	Snapshots    uint64 `json:"snapshots"`     // written
	SnapInstalls uint64 `json:"snap_installs"` // received from another node: it lagged too far for the log
	GCCount      uint64 `json:"gc_count"`
	HeapBytesMax uint64 `json:"heap_bytes_max"` // objects, garbage included
	DiskBytesMax int64  `json:"disk_bytes_max"` // of the data directory, preallocation included

	// Learn is from a vote to learning the slot, over the last of the node's processes.
	Learn Latency `json:"learn_ns"`

	// Samples show whether what must stay bounded does.
	Samples []NodeSample `json:"samples,omitempty"`
}

// NodeSample is a reading of one node; without heap and collections, the node did not answer.
type NodeSample struct {
	At        int64  `json:"at_ns"`
	HeapBytes uint64 `json:"heap_bytes"`
	GCCount   uint64 `json:"gc_count"` // since the node's process started
	DiskBytes int64  `json:"disk_bytes"`
	Slots     uint64 `json:"slots,omitempty"` // applied since the node's process started
	Leads     bool   `json:"leads,omitempty"` // it took itself for the leader
}

// nodes writes what each node used and held.
func (t *text) nodes(r *Result) {
	head, rows := r.nodeRows()
	if len(rows) == 0 {
		return
	}
	t.head("NODES", "while the load was measured")
	g := &grid{}
	g.add(append([]string{""}, head...)...)
	for _, row := range rows {
		g.add(row...)
	}
	t.table(g)
}

// nodeRows is the cells of the nodes' table.
func (r *Result) nodeRows() (head []string, rows [][]string) {
	for _, n := range r.Nodes {
		cores := "-"
		if r.Throughput.Window > 0 {
			cores = significant(float64(n.CPU)/float64(r.Throughput.Window)) + " cores"
		}
		name := fmt.Sprintf("node %d", n.Node)
		if n.Auxiliary {
			name += " (auxiliary)"
		}
		rows = append(rows, []string{name, cores, Count(float64(n.Commands)), Count(float64(n.Fsyncs)), Bytes(float64(n.WALBytes)),
			Bytes(float64(n.HeapBytesMax)), Count(float64(n.GCCount)), Bytes(float64(n.DiskBytesMax)), Count(float64(n.Elections))})
	}
	return []string{"cpu", "commands", "fsyncs", "log written", "heap max", "collections", "disk max", "elections won"}, rows
}
