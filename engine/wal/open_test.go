package wal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/paxbench/paxbench/engine/wal/vfs"
	"github.com/paxbench/paxbench/wire"
)

// TestOpenRefuses: a directory that is absent, empty, somebody else's, half gone or already a log. Starting over in any
// of them would make a node forget its votes; each is refused with an error that says what is wrong.
func TestOpenRefuses(t *testing.T) {
	made := vfs.NewMem()
	smallLog(t, memConfig(made), 100, 3)
	empty := vfs.NewMem()
	if err := empty.MkdirAll(testDir); err != nil {
		t.Fatal(err)
	}
	without := func(name string) *vfs.Mem {
		m := made.Clone()
		if err := m.Remove(filepath.Join(testDir, name)); err != nil {
			t.Fatal(err)
		}
		return m
	}
	bad := made.Clone()
	bad.Corrupt(filepath.Join(testDir, identityName), func(p []byte) []byte { p[len(p)-3] ^= 1; return p })
	newer := made.Clone()
	newer.Corrupt(filepath.Join(testDir, identityName), func(p []byte) []byte {
		return []byte(strings.Replace(string(p), "paxbench-log 2", "paxbench-log 3", 1))
	})
	var ident *IdentityError
	var corrupt *CorruptError
	var version *VersionError
	tests := []struct {
		name   string
		m      *vfs.Mem
		change func(*Config)
		is     error
		as     any
	}{
		{name: "absent", m: vfs.NewMem(), is: ErrNotBootstrapped},
		{name: "empty", m: empty, is: ErrNotBootstrapped},
		{name: "bootstrap over a log", m: made, change: func(c *Config) { c.Bootstrap = true }, is: ErrHistory},
		{name: "bootstrap over segments", m: without(identityName), change: func(c *Config) { c.Bootstrap = true }, is: ErrHistory},
		{name: "identity lost", m: without(identityName), as: &ident},
		{name: "segments lost", m: without(segmentName(1)), as: &corrupt},
		{name: "other cluster", m: made, change: func(c *Config) { c.Cluster++ }, as: &ident},
		{name: "other node", m: made, change: func(c *Config) { c.Node = 2 }, as: &ident},
		{name: "other members", m: made, change: func(c *Config) { c.Members = []wire.NodeID{1, 2} }, as: &ident},
		{name: "identity damaged", m: bad, as: &corrupt},
		{name: "identity of the next version", m: newer, as: &version},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := memConfig(test.m.Clone())
			if test.change != nil {
				test.change(&c)
			}
			l, err := Open(c)
			if err == nil {
				l.Close()
				t.Fatal("it opened")
			}
			if test.is != nil && !errors.Is(err, test.is) || test.as != nil && !errors.As(err, test.as) {
				t.Errorf("error %v", err)
			}
			if !strings.Contains(err.Error(), testDir) {
				t.Errorf("the message does not name the directory: %v", err)
			}
		})
	}
}

// TestIdentityEveryBit: any bit of the identity file flipped is noticed; none makes another node's identity of it.
func TestIdentityEveryBit(t *testing.T) {
	id := Identity{Cluster: testCluster, Node: 1, Members: testMembers}
	p := id.encode()
	if got, err := decodeIdentity("x", p); err != nil || got.check(&Config{Cluster: testCluster, Node: 1, Members: testMembers}) != nil {
		t.Fatalf("decoded %+v, %v", got, err)
	}
	for i := range p {
		for bit := range 8 {
			p[i] ^= 1 << bit
			if got, err := decodeIdentity("x", p); err == nil {
				t.Errorf("bit %d of byte %d flipped: %+v", bit, i, got)
			}
			p[i] ^= 1 << bit
		}
	}
}

// TestConfigFaults: every fault of a configuration is named, all at once.
func TestConfigFaults(t *testing.T) {
	_, err := Open(Config{SegmentBytes: -1, SparesMax: -1, Policy: Policy{Mode: Interval}, Bootstrap: true, Members: nil})
	if err == nil {
		t.Fatal("it opened")
	}
	for _, want := range []string{"directory", "node id", "segment size", "spare", "interval", "members"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
	for _, members := range [][]wire.NodeID{{2, 3}, {1, 1}, {0, 1}} {
		if _, err := Open(Config{Dir: testDir, FS: vfs.NewMem(), Node: 1, Members: members}); err == nil || errors.Is(err, ErrNotBootstrapped) {
			t.Errorf("members %v: %v", members, err)
		}
	}
}

// TestParsePolicy: a policy that is misread would promise durability that is not there.
func TestParsePolicy(t *testing.T) {
	for in, want := range map[string]string{"always": "always", "": "always", "never": "never", "interval=10ms": "interval=10ms", "interval=1m": "interval=1m0s"} {
		p, err := ParsePolicy(in)
		if err != nil || p.String() != want {
			t.Errorf("%q: %v, %v", in, p, err)
		}
		if back, err := ParsePolicy(p.String()); err != nil || back != p {
			t.Errorf("%q does not come back: %v, %v", in, back, err)
		}
	}
	for _, in := range []string{"Always", "interval", "interval=", "interval=10", "interval=-1s", "interval=0s", "none"} {
		if p, err := ParsePolicy(in); err == nil {
			t.Errorf("%q is %v", in, p)
		}
	}
}

// TestCrashDuringBootstrap: whatever a crash leaves of a bootstrap, either the log exists, and opens, or a second
// bootstrap makes it. A directory stuck between the two could be neither used nor made.
func TestCrashDuringBootstrap(t *testing.T) {
	for at := 1; ; at++ {
		m := vfs.NewMem()
		m.CrashAt(at)
		c := memConfig(m)
		c.Bootstrap = true
		l, err := Open(c)
		if err == nil {
			l.Close()
			return
		}
		if !errors.Is(err, vfs.ErrCrashed) {
			t.Fatal(err)
		}
		for _, loss := range vfs.Losses() {
			for seed := range uint64(4) {
				after := m.Clone()
				after.PowerLoss(loss, seed)
				if at == 1 { // a directory is durable when MkdirAll returns; this one never returned
					if err := after.MkdirAll(testDir); err != nil {
						t.Fatal(err)
					}
				}
				bootOrOpen(t, after, fmt.Sprintf("crash at operation %d, %v, seed %d", at, loss, seed))
			}
		}
		m.Reboot()
		bootOrOpen(t, m, fmt.Sprintf("process crash at operation %d", at))
	}
}

func bootOrOpen(t *testing.T, m *vfs.Mem, what string) {
	t.Helper()
	_, _, err := openReplay(memConfig(m.Clone()))
	if err == nil {
		return
	}
	var ident *IdentityError
	if !errors.Is(err, ErrNotBootstrapped) && !errors.As(err, &ident) {
		t.Fatalf("%s: open: %v", what, err)
	}
	l := bootstrapped(t, memConfig(m))
	appendVotes(t, l, 10, 1)
	mustSync(t, l)
	l.Close()
	if _, r, err := openReplay(memConfig(m)); err != nil || len(r.votes) != 1 {
		t.Fatalf("%s: after the second bootstrap: %+v, %v", what, r, err)
	}
}

// TestInUse: two logs on one directory would write over each other's groups. On the real file system, with the real
// lock, the second is refused and told by whom; after Close the directory is free.
func TestInUse(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "wal")
	c := Config{Dir: dir, Cluster: testCluster, Node: 1, Members: testMembers, SegmentBytes: 1 << 16}
	l := bootstrapped(t, c)
	_, err := Open(c)
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("second open: %v", err)
	}
	appendVotes(t, l, 50, 1, 2)
	mustSync(t, l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l, r, err := openReplay(c)
	if err != nil || len(r.votes) != 2 {
		t.Fatalf("after close: %+v, %v", r, err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := l.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
	if _, err := l.Append(nil); !errors.Is(err, ErrClosed) {
		t.Errorf("append after close: %v", err)
	}
}
