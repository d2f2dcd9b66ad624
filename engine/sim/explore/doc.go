// Package explore visits every state that a small cluster of the real core can reach: 3 nodes, a few elections, values, slots and
// crashes, and a network that loses, repeats and reorders as it likes. What runs is engine/paxos.Replica, not a model of it.
//
//	paxbench sim --explore list          the scopes
//	paxbench sim --explore takeover      one of them
//	make explore                         the large ones
//
// # What is enumerated
//
//	messages   each one that was sent can be delivered at any time, in any order, any number of times, or never
//	disk       what was recorded becomes durable at any time, any prefix of it; messages wait for it as the core says
//	crash      at any time, with any prefix of what was not durable surviving; then a restart from those records
//	election   started by any node that may, at any time, also by a leader and against a working one
//	values     proposed by any leader, at any time, one after the other
//	turns      optionally several messages taken before the output is
//	more       optionally heartbeats at any time, Fetches, the probe before elections, reads
//	fast       in scopes of mode fast, values are sent to the acceptors by any node in an open round, and its coordinator settles what is
//	           open at any time, early or late
//
// After each step S1, S2, S3, S4, S5, S7, S10 (FAULTS.md, section 2) are checked, that whoever is counted in a tally has made durable
// what he is counted for (T), that nobody becomes suspect whose disk has lost nothing (S15), that a leader leaves no hole (L), and that the core does not stop itself (BUG). A state without a next
// step is played on with real ticks and no losses: something new must be chosen and learned everywhere (END).
//
// # How
//
// A step is one node's. It depends on that node's state and on what it takes, on nothing else. So the states of a node are numbered, each
// step of each is worked out once with a real replica, and a state of the cluster is three numbers: a key of 64 bits which is exact,
// so that no two states are taken for one. The network is what the nodes have sent, and so a part of their states. A replica in
// a given state is made by giving a fresh one the inputs that first led there (space.materialize says why it is not copied). Two
// replicas are in the same state if all their fields are equal but those that encode.go names, with its reasons. The search is
// breadth-first, so what is found is found by a shortest way, and printed in the form of a story of engine/paxos/testdata (trace.go).
//
// # Recorded
//
// By paxbench sim --explore SCOPE --explore-ends 300 (full: 1000), GOMAXPROCS=1 on a busy 2-core machine. States and depth are the
// same everywhere for one version of the core; these are of the one that first had suspect replicas. MiB are those of the set of
// states; what is known of single nodes comes on top and is not bounded.
//
//	takeover    64,453 states     244,765 transitions  depth 24   1.7 s  exhausted
//	one        376,430 states   1,848,541 transitions  depth 28   3.2 s  exhausted
//	watermark  445,260 states   1,334,742 transitions  depth 35   6.9 s  exhausted
//	full    53,426,521 states 314,325,143 transitions  depth 37   319 s  exhausted, 1,124 MiB
//	collide    463,332 states   2,469,796 transitions  depth 30   2.0 s  exhausted
//	fast    15,954,039 states  98,512,979 transitions  depth 33    64 s  exhausted, 320 MiB
//
// Those two are of mode fast, and of a later version, in which a replica remembers more of its peers (takeover has 113,246 states there). The
// scope successor was stopped, in a version between, after 25,168,527 states at depth 30 (556 MiB), with no new states of single nodes for
// a long while; rival is larger than memory and there for the mistakes that it finds.
//
// # What is not enumerated
//
// Mode basic; fast rounds of more than three nodes, where a majority and the fast rule differ, and reads in them; suspect replicas and healing; snapshots, trimming and their installation; more than 3 nodes; promises in several parts; repetition by the core itself after
// RetransmitTicks (the network repeats anyway) and stalled disks; damage to what was durable; the shell around the core. Scopes are
// bounded by elections, values, slots and crashes; an Accept for a slot above the bound is lost. There is no symmetry to
// use: ballots order the nodes, and the two that propose differ from the one that does not.
//
// # Where things are
//
//	scope.go   what the bounds are       space.go   the states of single nodes      encode.go  what a state is
//	node.go    a replica and its disk    search.go  the states of the cluster       message.go names for messages, records, values
//	input.go   what can happen to it     check.go   properties                      live.go    END
//	setup.go   where a scope begins      set.go     the states met                  trace.go   stories
//	fast.go    what is different in scopes of mode fast
package explore
