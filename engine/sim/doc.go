// Package sim plays whole clusters in one goroutine, from one seed: a schedule. What runs is the engine's own code, the core,
// the log, the snapshots and their transfer, sessions, batcher, applier and the kv state machine, driven step by step through
// engine.Driver. Clock, network and disks are simulated; clients are too, with sessions, several blocks under way, and
// retries to any node. After the faults a random quorum is left alone and has to get things done.
//
// # Where things are
//
//	world.go    events, virtual time, trace         oracle.go   what must hold after every event
//	knobs.go    what is drawn from the seed         model.go    what the chosen slots mean: the reference
//	proc.go     a node: process and disk            live.go     the end: progress, equality, final state
//	replica.go  a group's member on a node          trace.go    what a line of the trace says
//	net.go      frames under way                    nemesis.go  faults
//	disk.go     the disk, and its witness           batch.go    many seeds, on several processors
//	client.go   the users                               history.go  what they were told, judged as real runs are
//	suspect.go  disks that forget, and what is chosen then      lost.go     disks that rot, directories that are gone
//	lease.go    leaders' leases in true time                    beyond.go   more losses than can be survived
//	members.go  nodes that come and go                auxiliary.go  acceptors without a state
//
// # How a fault is injected
//
// The network's (loss, repetition, delay, damage) are rolled for each frame in net.go, with rates from the knobs; damaged
// frames meet the CRC check that the transport makes. Everything else is an entry in the list faults of nemesis.go: a
// weight, and a function that does it to a node. Weights are drawn for each schedule, zero among them, so that
// some schedules have one kind of fault only. Crashes inside file operations, failed syncs and full disks come from package
// vfs, which also decides what a power loss leaves (un-synced writes: none, all, a prefix, some sectors, garbage). To add a
// fault, add a line there and a counter; if no batch may be without it, add the counter to Vital.
//
// Every fault stays within what the protocol promises to survive. Disks may lose what was synced (the end of a log damaged, a sector
// of a log or a snapshot decayed under a running node, a directory gone), but never so many at a time that the others could not heal
// them, and nobody votes without his log: the node is suspect, or is refused, and then its operator does what the message says
// (serve --rejoin). If it was a power loss that tore the end of a log, an operator may come and say so. Some damage is tried on a
// copy of the disk as well: the node must refuse to start, or do without what is damaged.
//
// Faults last for 0.5 to 4 s of virtual time, mostly short: many short schedules find more in an hour than few long ones. Then
// nothing new breaks, but some nodes are gone for good, or alive with a disk that finishes nothing any more, or sometimes all are
// there and only some links are up. What was under way arrives (in half of the schedules with busy clients), and the L properties begin.
//
// With Options.Beyond a schedule ends with more than that (beyond.go): then nothing is chosen any more, nothing chosen is
// contradicted, and who has lost something says so.
//
// # Which fault is injected where
//
// FAULTS.md, section 1. "sim" is a schedule of this package, "wal" and "snapshot" the enumerations of these packages, "port" the tests of
// engine/transport against strangers, "processes" those of cmd/paxbench and bench with real processes and files.
//
//	F1 F2    loss, order, repeats, late replays, damage       sim; port (BadFrames)
//	F3 F4    partitions, partial connectivity                 sim (also in the end: L2); processes (partition)
//	F5 F6    clogged links, RST, reconnect storm              sim (clogged link); port (ReconnectStorm, PeerThatNeverReads)
//	F7 F8    skew, drift, jumps                               sim (every clock is its own; clock jumps)
//	F9 F10   pauses, slow machines                            sim; processes (pause)
//	F11 F12  crash at every operation, what power loss leaves wal, snapshot (each one); sim (at random)
//	F13      process crash, then power loss                   wal (power lost after recovery), snapshot; sim
//	F14      fsync error, once                                wal, snapshot; sim; processes (fail-fsync)
//	F15      EIO, short write, ENOSPC, EMFILE                 wal, snapshot (each operation); sim (full disk, snapshots fail); processes
//	F16-F19  unreadable, flipped, zeroed, stale, misdirected  wal, snapshot (each bit and sector); sim (decayed sector, damaged log)
//	F20 F32  lost file, lost directory, another node's        wal (each file); sim (directory gone, emptied); processes (ServeRejoin)
//	F21      directory rolled back                            core (testdata/20_rollback, 31_back, 32_back_promise, 33_back_vote, planted); not in sim
//	F22      disk stall                                       sim (disk stall, stalled for ever: L4); processes (stall-fsync)
//	F23      power loss of all                                sim
//	F24      other damage on every node                       sim --beyond: refused; wal (Repair); processes (ServeRepair): repaired
//	F25      the same slot damaged on every node              sim --beyond: refused or suspect, nothing is chosen
//	F26      two processes on a directory                     wal (InUse); processes (ServeRejoin)
//	F27      snapshots cut, corrupt, stale, interrupted       snapshot; sim (damaged snapshot, decayed sector); engine (Rotten)
//	F28      late retries, also to others and after snapshots sim (clients)
//	F31      another version                                  wal, wire, snapshot: refused, both versions named
//	F33-F39  strangers on the port                            port (GarbageOnThePort, LyingLength, Slowloris, IdleFlood, ClientThatNeverReads)
//	F40      senseless content                                sim (senseless frame); wire (fuzz targets, refuse_test)
//
// # How a property is checked
//
// The names are those of FAULTS.md, section 2. The oracle believes nobody. Between code and disk stands a witness
// (diskFS) which sees records being written and files being synced. From it the oracle knows which votes are durable,
// and a quorum of them at one ballot is what "chosen" means here. Every frame that leaves a node, every slot that is
// applied and every reply is held against that:
//
//	S1 S2 S4  one value for a slot; one for a ballot; no other at a higher ballot      vote, round
//	          in fast rounds: by value, with fast quorums; S2 is one vote of each
//	          acceptor at a fast ballot in a slot, and one value for a tag               durable, tag
//	S3        Promise, Prepare, Accepted, SnapAck, reply: on the sender's disk before   sent, replied
//	S5        promises, on disk and in memory, only grow; no ballot is used twice        durable, compare, promised
//	S6        every quorum's disks hold what is chosen; no trim past a snapshot          holders, durable
//	S7        nobody says, learns or applies more than the true chosen prefix             sent, delivered
//	S8 S14    equal state and sessions at equal slots, also when it came by snapshot      applied
//	S9        once, where and with the result that the reference says, also for retries    replied
//	S10       a reply, or a linearizable read, is of a slot behind all known done before    replied, answered
//	S11       at the end every node's state is the reference's                                compareState
//	S12       in true time one lease at most, nobody elected beside it, no state behind it       oneLease, alone
//	epoch     an answer is of no earlier leadership than one that was there before the question  inEpoch
//	S13       a slot's votes are counted by the configuration that decides it, which follows      vote, decides, changeChosen
//	          from the values chosen before; quorums of neighbours meet; what is done is in force
//	S15       a restarted node has all that was durable, or says why not                        compare, notStarted
//	S16       a seed gives one trace                                                              Batch
//	S17       each queue, buffer and table within its exact bound (GroupDriver.Usage); files   bounded, files
//	S18       senseless frames change nothing                                                       senseless
//	L1 L4     something is chosen within 4 election timeouts, also beside a stalled disk    progress, abdicates
//	L2        the same within 12 when only a star or a chain of links is up                  partial, progress
//	L3        few ballots are used once the faults are over                                  duels
//	L5 L6     every request ends, every node catches up                                      equal, replies
//	L7        transfers end when everybody has caught up; nobody is taught when nothing new is chosen   ends
//	L8        a change under way ends, and one that is asked for is made                      changesEnd, changesWork
//	L9        when all nodes are there again auxiliary ones hold no votes, and are asked for none    released
//	L10       nothing waits for the clock that could be proposed                                     turn
//	BUG       the code found its own invariant broken, or a node failed without a fault
//
// Under the fsync policies interval and never what is written counts as durable, and the machines keep their power: a process
// that crashes must lose nothing all the same.
//
// After each restart the synced image, read from a copy that has lost everything else, is compared with what the witness
// remembers: this checks the witness too. To add a property, call world.fail where it can first be seen to be broken.
//
// # How to debug a seed
//
//	paxbench sim --seed 4711 --trace             every event, then the violation
//	go test ./engine/sim -run Schedules -v -sim.seed=4711
//
// A violation names property, event, node and slot; the events before it are printed with it. A seed means something for
// one version of this package and of the engine only: any change of either draws other numbers. So keep what a
// seed has found as a trace test of the core or a test of the package with its knobs fixed (contend_test.go, stall_test.go), not as a seed.
//
// # Many seeds
//
//	paxbench sim --seeds 1000000 --findings 10       go on after violations
//
// Every 5 s a line says how far it is, with schedules a second, the heap, which must stay flat, and a schedule that has taken a minute.
// Each 10,000 schedules must have seen everything in Vital, and one in a hundred is played twice (S16). An interrupted
// batch prints the command that goes on. BenchmarkSchedule measures how fast it is; run it with GOMAXPROCS=1.
//
// # Does it see?
//
// With the build tag planted one known mistake at a time is put into the engine (package wire/plant), and the test Planted
// demands that it is found: make planted.
//
// make planted prints a table: bug, property, seed, event, schedules, and whether a continuous property found it. Which mistake of
// FAULTS.md, section 3, is which bug, and who finds it, stands in package wire/plant.
//
// # What is not here
//
// Auxiliary nodes: in a quarter of the schedules with a leader, drawn apart from all else, and not with Beyond. They have no state to compare (S11 demands
// that), forget what each main node holds (S6 demands that), and one link or a star of links is not all that is left at the end (L2): an
// auxiliary node in the middle leaves the main ones apart.
//
// Where members change, no disk loses what was durable, nobody is lost for ever, an operator vouches for every torn log, and all are
// connected in the end: a suspect node of a changed membership is replaced, not healed. Clocks that run further apart than leases
// allow for (F8, outside the promise). Power loss under interval and never. Clients are modelled, not package client: it has goroutines.
// Directories are not rolled back to older copies (engine/paxos/back.go says what is promised): whether it is found depends on who was told
// what and can be heard, which the oracle does not follow. Nodes that start do wait here. Damage that each node has elsewhere (F24) is refused here; that it can be repaired is shown by engine/wal. Short writes and every single place of a crash are
// enumerated by engine/wal.
// Single steps of a goroutine are atomic: what happens inside one of Turn, Apply or Job is interrupted by crashes at file
// operations only. Frames are replayed seconds later, not minutes: that is how long a schedule lasts.
package sim
