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
	c, dirs, servers, peers := startThree(t)
	load := c.load
	load()
	for _, i := range []int{1, 2} {
		servers[i].cmd.Process.Kill()
		servers[i].cmd.Wait()
	}
	damageEnd(t, dirs[1])
	if code, out, errs := spawn(t, "wal", "verify", dirs[1]); !strings.Contains(out, "suspect") {
		t.Errorf("wal verify of the damaged log: exit %d\n%s%s", code, out, errs)
	}

	status := func() string { return c.role(1) }
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

// What can go wrong, with real processes and files: a node whose log is damaged in the middle, or gone, starts all the same; or does
// not, and nothing is said of what to do; or comes back as told, and votes on an empty log. It must be refused, the way out
// must be named and work, and it must not vote before both others have told it what it may have forgotten.
func TestServeRejoin(t *testing.T) {
	t.Parallel()
	c, dirs, servers, peers := startThree(t)
	c.load()
	// A second process on the directory of one that runs (FAULTS.md F26), also one that would put its log aside.
	for _, flag := range []string{"--with-parent=false", "--rejoin"} {
		code, out, errs := spawn(t, serveArgs(2, dirs[1], peers, "--listen", freeAddrs(t, 1)[0], flag)...)
		if code == 0 || !strings.Contains(errs, fmt.Sprintf("in use by process %d", servers[1].cmd.Process.Pid)) {
			t.Errorf("two processes on one directory, %s: exit %d\n%s%s", flag, code, out, errs)
		}
	}
	for what, ruin := range map[string]func(){
		"damaged": func() { damageMiddle(t, dirs[1]) },
		"gone": func() {
			if err := os.RemoveAll(dirs[1]); err != nil {
				t.Fatal(err)
			}
		},
	} {
		for _, i := range []int{1, 2} {
			servers[i].cmd.Process.Kill()
			servers[i].cmd.Wait()
		}
		ruin()
		code, out, errs := spawn(t, serveArgs(2, dirs[1], peers)...)
		if code == 0 || !strings.Contains(errs, "--rejoin") || !strings.Contains(errs, filepath.Join(dirs[1], "wal")) ||
			what == "damaged" && !strings.Contains(errs, "offset") {
			t.Fatalf("%s: refused with exit %d:\n%s%s", what, code, out, errs)
		}
		servers[1] = startServer(t, serveArgs(2, dirs[1], peers, "--rejoin")...)
		for range 20 {
			if role := c.role(1); role != "suspect" {
				t.Fatalf("%s: with one of two others up its role is %s", what, role)
			}
			time.Sleep(10 * time.Millisecond)
		}
		servers[2] = startServer(t, serveArgs(3, dirs[2], peers)...)
		for deadline := time.Now().Add(30 * time.Second); c.role(1) == "suspect"; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: not healed:\n%s", what, servers[1].log)
			}
		}
		c.load()
		servers[1].end(t)
		servers[1] = startServer(t, serveArgs(2, dirs[1], peers)...) // it needs no word any more
		c.load()
	}
	for _, s := range servers {
		s.end(t)
	}
	if code, out, errs := spawn(t, "wal", "verify", dirs[1]); code != 0 || strings.Contains(out, "suspect") {
		t.Errorf("wal verify of the healed: exit %d\n%s%s", code, out, errs)
	}
}

// suspectCluster is three servers under load.
type suspectCluster struct {
	t     *testing.T
	addrs []string
	nodes cluster.Nodes
}

// load drives and audits them.
func (c *suspectCluster) load() {
	c.t.Helper()
	code, out, errs := spawn(c.t, "load", "--targets", strings.Join(c.addrs, ","), "--cluster-id", "7", "--clients", "2", "--rate", "500",
		"--keys", "50", "--warmup", "100ms", "--duration", "500ms", "--format", "json", "-q")
	if r := decode(c.t, code, out, errs); r.Safety.Replicas != 3 {
		c.t.Errorf("%+v", r.Safety)
	}
}

func (c *suspectCluster) role(i int) string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	s, err := c.nodes.Status(ctx, i)
	if err != nil {
		c.t.Fatal(err)
	}
	return s.Role
}

// damageEnd flips a bit in the last record of the log in a node's data directory.
func damageEnd(t *testing.T, dir string) {
	t.Helper()
	damage(t, dir, func(all []place) place { return all[len(all)-1] })
}

// damageMiddle flips one in a record with many behind it.
func damageMiddle(t *testing.T, dir string) {
	t.Helper()
	damage(t, dir, func(all []place) place { return all[len(all)/2] })
}

// place is where a record stands.
type place struct {
	name   string
	offset int64
}

func damage(t *testing.T, dir string, which func(all []place) place) {
	t.Helper()
	var all []place
	_, err := wal.Inspect(filepath.Join(dir, "wal"), func(e *wal.Entry) error {
		all = append(all, place{e.File, e.Offset})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	at := which(all)
	name, offset := at.name, at.offset
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	offset += wire.HeaderSize
	if _, err := f.ReadAt(b, offset); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1
	if _, err := f.WriteAt(b, offset); err != nil {
		t.Fatal(err)
	}
}

// startThree starts a new cluster of three processes; peers is their --peers.
func startThree(t *testing.T) (c *suspectCluster, dirs []string, servers []*server, peers string) {
	addrs := freeAddrs(t, 3)
	peers = fmt.Sprintf("1=%s,2=%s,3=%s", addrs[0], addrs[1], addrs[2])
	dirs, servers = make([]string, 3), make([]*server, 3)
	for i := range addrs {
		dirs[i] = filepath.Join(t.TempDir(), "data")
		servers[i] = startServer(t, serveArgs(i+1, dirs[i], peers, "--bootstrap")...)
	}
	return &suspectCluster{t: t, addrs: addrs, nodes: cluster.Nodes{Cluster: 7, Addrs: addrs}}, dirs, servers, peers
}
