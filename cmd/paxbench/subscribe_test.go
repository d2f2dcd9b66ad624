package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/paxbench/paxbench/bench/cluster"
	"github.com/paxbench/paxbench/engine/client"
	"github.com/paxbench/paxbench/engine/kv"
	"github.com/paxbench/paxbench/wire"
)

// delivered is a line of subscribe.
type delivered struct {
	Slot    wire.Slot
	Session wire.SessionID
	Seq     wire.Seq
	Command []byte
}

// listener is a subscriber, a process of its own.
type listener struct {
	t    *testing.T
	cmd  *exec.Cmd
	pipe *bufio.Reader
	errs bytes.Buffer
	got  []delivered
}

// listen starts one.
func listen(t *testing.T, addr string, from wire.Slot) *listener {
	t.Helper()
	l := &listener{t: t, cmd: exec.Command(program, "subscribe", "--node", addr, "--cluster-id", "7", "--from", strconv.Itoa(int(from)), "--format", "json")}
	out, err := l.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	l.pipe, l.cmd.Stderr = bufio.NewReaderSize(out, 16), &l.errs
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		l.cmd.Process.Kill()
		l.cmd.Wait()
	})
	return l
}

// next reads a line; false: the subscriber has ended.
func (l *listener) next() bool {
	l.t.Helper()
	line, err := l.pipe.ReadBytes('\n')
	if err == io.EOF {
		return false
	}
	var d delivered
	if err == nil {
		err = json.Unmarshal(line, &d)
	}
	if err != nil {
		l.t.Fatalf("%v in %q\n%s", err, line, l.errs.String())
	}
	l.got = append(l.got, d)
	return true
}

// until reads to the message with this command.
func (l *listener) until(command string) {
	l.t.Helper()
	over := time.AfterFunc(60*time.Second, func() { l.cmd.Process.Kill() })
	defer over.Stop()
	for l.next() {
		if strings.Contains(string(l.got[len(l.got)-1].Command), command) {
			return
		}
	}
	l.t.Fatalf("%q was not delivered; %d messages were\n%s", command, len(l.got), l.errs.String())
}

// What can go wrong: processes that listen to different nodes are told different orders, across the loss of a leader and a restart; one that
// does not read is queued for, or loses something; one that goes on after a restart misses a message or gets one twice; one that asks
// for what is gone gets something else.
func TestBroadcastToProcesses(t *testing.T) {
	t.Parallel()
	addrs := freeAddrs(t, 3)
	peers := fmt.Sprintf("1=%s,2=%s,3=%s", addrs[0], addrs[1], addrs[2])
	dirs, servers := make([]string, 3), make([]*server, 3)
	for i := range addrs {
		dirs[i] = filepath.Join(t.TempDir(), "data")
		servers[i] = startServer(t, serveArgs(i+1, dirs[i], peers, "--bootstrap")...)
	}
	load := func(ops, size, seed int) {
		t.Helper()
		code, out, errs := spawn(t, "load", "--targets", strings.Join(addrs, ","), "--cluster-id", "7", "--clients", "3", "--inflight", "32", "--keys", "50",
			"--value-size", strconv.Itoa(size), "--warmup", "0", "--ops", strconv.Itoa(ops), "--seed", strconv.Itoa(seed), "--format", "json", "-q")
		decode(t, code, out, errs)
	}
	all := make([]*listener, 3)
	for i, addr := range addrs {
		all[i] = listen(t, addr, 1)
	}
	// The third is not read for a while. Its pipe holds 64 KiB, what it was given at a time 1 MiB at most: of 4 MiB and more the rest is
	// where it belongs, in the log.
	load(4000, 1024, 1)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	put := func(key string) {
		t.Helper()
		c, err := client.Dial(ctx, client.Config{Addrs: addrs, Cluster: 7})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Do(ctx, kv.AppendPut(nil, []byte(key), nil)); err != nil {
			t.Fatal(err)
		}
	}
	put("first-part")
	for _, l := range all[:2] {
		l.until("first-part")
	}

	id, err := cluster.Nodes{Cluster: 7, Addrs: addrs}.Leader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	leader := int(id) - 1
	servers[leader].cmd.Process.Kill()
	servers[leader].cmd.Wait()
	// Who listened to it ends, with an error that says so, and goes on from where it was when the node is back.
	gone := all[leader]
	for gone.next() {
	}
	if err := gone.cmd.Wait(); err == nil || gone.errs.Len() == 0 {
		t.Errorf("the subscriber of a dead node ended with %v, %q", err, gone.errs.String())
	}
	put("second-part")
	servers[leader] = startServer(t, serveArgs(leader+1, dirs[leader], peers)...)
	// The last slot may have been cut short by the end: it is asked for again.
	last := gone.got[len(gone.got)-1].Slot
	for len(gone.got) > 0 && gone.got[len(gone.got)-1].Slot == last {
		gone.got = gone.got[:len(gone.got)-1]
	}
	again := listen(t, addrs[leader], last)
	again.got = gone.got
	all[leader] = again
	load(500, 64, 2)
	put("third-part")
	for _, l := range all {
		l.until("third-part")
	}

	if len(all[0].got) < 4500 {
		t.Fatalf("%d messages were delivered", len(all[0].got))
	}
	seen := map[[2]uint64]bool{}
	for k, d := range all[0].got {
		if id := [2]uint64{uint64(d.Session), uint64(d.Seq)}; seen[id] {
			t.Fatalf("message %d of session %d was delivered twice", d.Seq, d.Session)
		} else {
			seen[id] = true
		}
		if k > 0 && d.Slot < all[0].got[k-1].Slot {
			t.Fatalf("slot %d was delivered after slot %d", d.Slot, all[0].got[k-1].Slot)
		}
	}
	for i, l := range all[1:] {
		if len(l.got) != len(all[0].got) {
			t.Fatalf("node %d delivered %d messages, node 1 %d", i+2, len(l.got), len(all[0].got))
		}
		for k, d := range l.got {
			if e := all[0].got[k]; d.Slot != e.Slot || d.Session != e.Session || d.Seq != e.Seq || !bytes.Equal(d.Command, e.Command) {
				t.Fatalf("message %d is %d/%d in slot %d at node %d, and %d/%d in slot %d at node 1", k, d.Session, d.Seq, d.Slot, i+2, e.Session, e.Seq, e.Slot)
			}
		}
	}
}
