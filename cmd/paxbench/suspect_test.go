package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/paxbench/paxbench/bench/cluster"
	"github.com/paxbench/paxbench/engine/wal"
	"github.com/paxbench/paxbench/wire"
)

// What can go wrong, with real processes and files: a node is killed, the last group of its log is damaged, and it votes on without
// it. An operator must see it (wal verify, the log), it must be suspect while one other node is gone, be healed by itself
// when both are there, and nothing that was acknowledged may be missing afterwards.
func TestServeSuspect(t *testing.T) {
	t.Parallel()
	addrs := freeAddrs(t, 3)
	peers := fmt.Sprintf("1=%s,2=%s,3=%s", addrs[0], addrs[1], addrs[2])
	dirs, servers := make([]string, 3), make([]*server, 3)
	for i := range addrs {
		dirs[i] = filepath.Join(t.TempDir(), "data")
		servers[i] = startServer(t, serveArgs(i+1, dirs[i], peers, "--bootstrap")...)
	}
	load := func() {
		t.Helper()
		code, out, errs := spawn(t, "load", "--targets", strings.Join(addrs, ","), "--cluster-id", "7", "--clients", "2", "--rate", "500",
			"--keys", "50", "--warmup", "100ms", "--duration", "500ms", "--format", "json", "-q")
		if r := decode(t, code, out, errs); r.Safety.Replicas != 3 {
			t.Errorf("%+v", r.Safety)
		}
	}
	load()
	for _, i := range []int{1, 2} {
		servers[i].cmd.Process.Kill()
		servers[i].cmd.Wait()
	}
	damageEnd(t, dirs[1])
	if code, out, errs := spawn(t, "wal", "verify", dirs[1]); !strings.Contains(out, "suspect") {
		t.Errorf("wal verify of the damaged log: exit %d\n%s%s", code, out, errs)
	}

	nodes := cluster.Nodes{Cluster: 7, Addrs: addrs}
	status := func() (role string) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		s, err := nodes.Status(ctx, 1)
		if err != nil {
			t.Fatal(err)
		}
		return s.Role
	}
	servers[1] = startServer(t, serveArgs(2, dirs[1], peers)...)
	for range 20 {
		if role := status(); role != "suspect" {
			t.Fatalf("with one of two others up its role is %s", role)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if code, out, errs := spawn(t, "wal", "verify", dirs[1]); !strings.Contains(out, "suspect: its log ended at LSN") {
		t.Errorf("wal verify of the suspect: exit %d\n%s%s", code, out, errs)
	}
	servers[2] = startServer(t, serveArgs(3, dirs[2], peers)...)
	for deadline := time.Now().Add(30 * time.Second); status() == "suspect"; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not healed:\n%s", servers[1].log)
		}
	}
	load()
	for _, s := range servers {
		s.end(t)
	}
	if log := servers[1].log.String(); !strings.Contains(log, "does not vote until") || !strings.Contains(log, "healed") {
		t.Errorf("its log does not say what happened:\n%s", log)
	}
	if code, out, errs := spawn(t, "wal", "verify", dirs[1]); code != 0 || strings.Contains(out, "suspect") {
		t.Errorf("wal verify of the healed: exit %d\n%s%s", code, out, errs)
	}
}

// damageEnd flips a bit in the last record of the log in a node's data directory.
func damageEnd(t *testing.T, dir string) {
	t.Helper()
	name, offset := "", int64(0)
	_, err := wal.Inspect(filepath.Join(dir, "wal"), func(e *wal.Entry) error {
		name, offset = e.File, e.Offset
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	at := offset + wire.HeaderSize
	if _, err := f.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
}
