package engine

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/paxbench/paxbench/engine/paxos"
	"github.com/paxbench/paxbench/wire"
)

// adminMembers is the JSON of the operation "members" and of its refusals.
type adminMembers struct {
	Leader         wire.NodeID
	Configurations []Membership
	Error          string
}

// members asks for an operation, over a connection.
func (c *rawClient) members(op string) (a adminMembers, s wire.Status) {
	c.t.Helper()
	s = c.control(wire.KindAdmin, wire.KindAdminReply, 1, op, &a)
	return a, s
}

// What can go wrong: a client's change is refused and done, or done and refused; a refusal does not say which kind it is, so that a
// tool asks again what must not be asked again; or the answer comes before the change is in force.
func TestMembersAdmin(t *testing.T) {
	patient := func(cfg *Config) { cfg.ElectionTicks = 100 } // a leader whose disk stalls cannot say what became of a change
	c := newCluster(t, 3, true, patient)
	c.propose("a")
	leader := c.leader()
	cl := dialRaw(t, leader.Addr().String())
	a, s := cl.members("members")
	if s != wire.StatusOK || a.Leader != leader.c.Node || len(a.Configurations) != 1 || len(a.Configurations[0].Members) != 3 ||
		a.Configurations[0].From != 1 || a.Configurations[0].Members[2] != c.members[2] {
		t.Errorf("members: %v %+v", s, a)
	}
	for op, says := range map[string]string{
		"members replace 2":            "need add",
		"members add":                  "need add",
		"members add 4":                "ID=HOST:PORT",
		"members add four=127.0.0.1:1": "node id",
		"members add 0=127.0.0.1:1":    "node id",
		"members add 4=nowhere":        "address",
		"members add 2=127.0.0.1:1":    "member already",
		"members remove x":             "node id",
		"members remove 9":             "not a member",
	} {
		if a, s := cl.members(op); s != wire.StatusInvalid || !strings.Contains(a.Error, says) || a.Configurations != nil {
			t.Errorf("%s: %v %+v", op, s, a)
		}
	}
	follower := c.followers(leader)[0]
	if a, s := dialRaw(t, follower.Addr().String()).members("members remove 1"); s != wire.StatusNotLeader || a.Error == "" {
		t.Errorf("asked of a follower: %v %+v", s, a)
	}

	// Adding: the answer says what is in force, and the new node knows it too.
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	founders := c.members
	c.members = map[wire.NodeID]string{1: founders[1], 2: founders[2], 3: founders[3], 4: ln.Addr().String()}
	c.config = func(cfg *Config) { patient(cfg); cfg.Join = true }
	if _, err := c.open(4, true, ln); err != nil {
		t.Fatal(err)
	}
	four := fmt.Sprintf("members add 4=%s", ln.Addr())
	if a, s = cl.members(four); s != wire.StatusOK || len(a.Configurations) != 1 || len(a.Configurations[0].Members) != 4 || a.Configurations[0].Slot == 0 {
		t.Fatalf("%s: %v %+v", four, s, a)
	}
	if a, s := cl.members(four); s != wire.StatusInvalid || !strings.Contains(a.Error, "member already") {
		t.Errorf("added twice: %v %+v", s, a)
	}
	// The leader removes itself: it answers when that is in force, and then leads no more.
	if a, s = cl.members(fmt.Sprintf("members remove %d", leader.c.Node)); s != wire.StatusOK || a.Configurations[0].Members[leader.c.Node] != "" || len(a.Configurations[0].Members) != 3 {
		t.Fatalf("the leader removed: %v %+v", s, a)
	}
	eventually(t, "the removed leader leads no more", func() bool { return leader.Group(1).Status().Role != "leader" })
	eventually(t, "another leads", func() bool {
		for id, n := range c.nodes {
			if id != leader.c.Node && n.Group(1).Status().Role == "leader" {
				return true
			}
		}
		return false
	})
	c.stop(leader.c.Node)
	c.propose("b")
	c.equal(1)
}

// What can go wrong: in a mode whose members are fixed the operation does something, or is called busy, so that it is asked for ever.
func TestMembersAdminModes(t *testing.T) {
	for _, mode := range []paxos.Mode{paxos.ModeBasic, paxos.ModeFast} {
		t.Run(mode.String(), func(t *testing.T) { // a cluster at a time: each counts the buffers that are left
			c := newCluster(t, 3, true, func(cfg *Config) { cfg.Mode = mode })
			for _, n := range c.nodes {
				a, s := dialRaw(t, n.Addr().String()).members("members remove 3")
				if s != wire.StatusInvalid || !strings.Contains(a.Error, fmt.Sprintf("mode %v has a fixed membership", mode)) {
					t.Errorf("%v: %v %+v", mode, s, a)
				}
			}
		})
	}
}
