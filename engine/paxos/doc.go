// Package paxos is the pure core of the engine: one replica of one group of Paxos, as a function of its inputs.
//
// # What it is
//
// A Replica is acceptor, proposer and learner over one log of slots. It has no clock, no goroutine, no lock, no socket and
// no file: time comes in as Tick, messages as Step, finished writes as Durable, and what is to be done goes out as Output.
// Two replicas fed the same calls do the same things, which is what lets a test or a simulator try any schedule and
// replay it from a seed. It is not safe for concurrent use: one goroutine owns it. Every call is bounded work.
//
// # How a slot is chosen
//
//	proposer (leader of ballot b)              acceptor
//	Propose: record own vote, Accept(b,s,v) ->  b >= promised? record the vote,
//	                                            and once it is durable
//	counted: by ballot, by node         <-  Accepted(b,s)
//	a quorum at one ballot: chosen
//	chosen prefix grows: Output.Chosen      ->  learns from the watermark on the next Accept or Heartbeat
//
// The leader's own vote takes the same gate: it counts when its record is durable (ownRecords). Slots are chosen in any
// order and delivered in slot order.
//
// # How a leader is made
//
// Silence for ElectionTicks makes a follower ask whether an election could succeed (Probe). A quorum of grants lets it
// record a new ballot and, once that is durable, send one Prepare for every slot above its chosen prefix (Paxos Made
// Simple, section 3). Each acceptor records the higher promise and then reports its votes, in parts if they are many.
// From a quorum of whole promises the new leader learns what is known to be chosen, proposes again the highest-ballot vote
// of every other slot (P2c; higherVote), fills holes with no-ops, and opens the log with a no-op of its own, the barrier,
// before which it serves no read.
//
// # Independent instances
//
// In ModeBasic there is no leader: any node proposes, and each slot runs both phases on ballots that bind that slot alone
// (wire.ScopeSlot). Acceptor, log, learner and the choice of the value are the same; promisedIn is the one place where the two
// kinds of promises meet. A proposer takes the first slot in which it knows of nobody (freeSlot). Two may take the same: one
// meets the other's higher ballot (a duel: Config.Backoff) or its vote, and its value goes to a later slot (displace), but not
// before it is certain that it cannot be chosen where it was. Slots left open are finished by others (finishHoles). Beacons
// take the place of a leader's heartbeats.
//
// A ballot of one slot says nothing of others, so there is no watermark to learn from: who counts a quorum of votes tells
// those who do not (Config.Learn, announce), by slot and ballot. Reads ask a quorum how far it has voted (readSlot).
//
// # Changing the members
//
// A change of the membership is the value of a slot (wire.BatchMembers), one node more or one less. The configuration that
// it makes decides the slots from Config.Alpha after it on (The Part-Time Parliament, section 3.3.7, where alpha is 3; Paxos
// Made Simple, section 3). So who decides a slot is part of the log, the same for everybody who has learned the slots up to
// alpha before it, and nothing is proposed in a slot of which that is not known: alpha is at least the window.
//
// Each slot is an instance of Paxos with the acceptors of its own configuration (configOf), and is safe for that reason:
//
//   - A vote in a slot counts if its node is in the slot's configuration, and the quorum is of that one.
//   - A leader has promises of a quorum of every configuration whose slots it proposes in. Phase 1 ends when it has them of all
//     that it knows and of all that it finds among the votes, chosen or not, because slots of those may have been decided
//     (findChanges). A change of its own it proposes only when it has them of what that makes (driveChange). By then nobody can
//     have voted in those slots at a lower ballot: who proposes there has learned the change.
//   - A read is confirmed by a quorum of votes in each of these configurations, and the leader keeps its place with such
//     quorums only.
//   - A change is made from a configuration that it names. If that is not the newest one, or not in force yet, when the change is
//     chosen, it changes nothing, everywhere (Memberships.After). So of two leaders' changes one is made.
//   - Quorums of a configuration meet those of the next: checked with the sizes of both (Quorums.adjacent).
//   - A change begins when the one before has settled (change.go): what former members decided is held by a quorum of those of
//     today.
//   - The id of a node that was a member is given to nobody else.
//
// Configurations are recovered from the log, like all that is chosen, and from snapshots, which have to carry them
// (Memberships). A node that joins knows none (Config.Join): it is fed like any that is behind, counts for nothing, and leads
// when the slots that it would propose in are decided by configurations it has learned. A node that was away hears of
// leaders that it does not know from Members messages; they decide nothing. One that was removed is told so by the same, when it asks
// for a leadership, and tries no more; it still votes in slots that it decides. A leader that removes itself stays until that has
// settled, without counting itself.
//
// Together with: quorums of other sizes, checked for each new number of nodes. Not with: independent instances and learners other
// than one (refused by ChangeMembers), and healing: where the membership was changed a suspect node stays suspect, and is
// replaced (mayHeal).
//
// # Fast rounds
//
// In ModeFast (Lamport, Fast Paxos, 2006) the leader, or coordinator, runs phase 1 once for all slots as in ModeMulti, finishes what
// it finds, and then says: from this slot on any node's value may be voted for (Any). A proposer on any node sends its value
// straight to the acceptors, in the slot after all that it knows to be used; each votes for the first value that comes. A fast
// quorum of equal votes chooses it: two message delays after the proposal, on any node.
//
//	proposer (any node)                        acceptor
//	record own vote, Accept(f,s,v), any     ->  f >= promised, no vote in s at f? record the vote,
//	                                            and once it is durable
//	counted: by ballot, value, node         <-  FastAccepted(f,s,tag of v), to the coordinator as well
//	a fast quorum for one value: chosen     ->  who does not count is told (FastChosen)
//
// Two who take the same slot collide: acceptors vote for what comes first to each. The coordinator sees it, or sees that a slot has been
// open for HoleTicks, or that too few nodes answer for a fast quorum, and settles the slot with a classic round at the next
// ballot, c(f), which is its own as well (settle.go). The value that loses goes to another slot, once that slot is learned
// (displaceFast).
//
//	coordinator                                acceptor
//	a quorum has voted in s at f, or, if it
//	has not: Prepare(c(f),s), s alone       ->  promise c(f) in s, report the vote there
//	chooseFast: Accept(c(f),s,v), slot      ->  vote, as in every mode; Accepted, a classic quorum chooses
//
// Invariants, on which the choice of a value rests:
//
//   - F1. A ballot is fast (even counter) or classic (odd), and so is every vote, which carries its ballot: in messages, in records, in
//     promises. Nobody owns a ballot between f and c(f) (pairOwner). A promise of f is one for all slots; c(f) counts
//     in single slots only.
//   - F2. An acceptor votes once in a slot at a fast ballot, for its whole life: the vote is durable before it is told, and whoever may
//     have forgotten one promises more than f before it votes again (heal).
//   - F3. Values are offered at f in those slots only in which phase 1 of f found nothing (openRounds). So below f nothing can be chosen
//     there, and votes at f bind nobody by P2c; a slot in which it found something, or a hole below, gets one value at
//     c(f), and phase 1 of f serves as that of c(f): nothing is voted for at f there.
//   - F4. c(f) proposes at most one value in a slot, chosen from the votes of a promise quorum none of which votes at f in that slot any
//     more: who has voted at f has voted there for good (F2), and nothing lies between f and c(f), so that its vote is its
//     promise (Fast Paxos, section 3.2, coordinated recovery); who has not, promises.
//   - F5. Of a quorum Q's votes those at the highest ballot count. If it is classic they are equal. If it is fast, a value can have been
//     chosen only if those who voted for it in Q and all nodes outside of Q make a fast quorum; any two fast quorums
//     and Q share a node, so at most one can; it must be proposed, and if there is none any may be (section 3.1, O4 and
//     Quorum Requirement; chooseFast, the one place). n nodes: 2*fast + p1 > 2n; with majorities fast is three quarters, rounded up.
//   - F6. A learned value replaces a vote only by what is chosen, so that reporting it as a vote at its ballot can only support the
//     choice that F5 must make.
//   - F7. A vote at f says nothing of what the leader knows: watermarks teach by votes at c(f) only (announces), and a read asks a quorum
//     how far it has voted (askVoted). That a quorum still follows a leader, which is what confirms a read elsewhere, does
//     not mean that it has heard of everything chosen.
//   - F8. Values are told apart by their tags: proposer, and a count from a random start.
//
// A healing node X (suspect.go) with votes at fast ballots: what may have been chosen with a vote that X forgot has, among the healing
// quorum H, the votes of all but X and those outside of H; F5 with H in place of Q finds it, as H is large enough (healQuorum), and
// X adopts it and nothing else.
//
// # Leases
//
// A leader that enough followers have granted a lease (Config.Lease) knows for a while that nobody else can have had anything chosen,
// and answers reads without asking: lease.go says how and why it is safe, Lease how to use it. It rides on the heartbeats. Package
// lease is the general algorithm, PaxosLease, which needs neither ballots on a disk nor a leader, and holds what the two share.
//
// # Auxiliary acceptors
//
// Some nodes may be acceptors and nothing else (Config.Auxiliary), who are asked for votes only while another node does not answer (Lamport
// and Massa, Cheap Paxos, 2004). Promises, votes and quorums are as ever; what is special is that they keep no state, and forget votes
// when every other node holds what was chosen. auxiliary.go says how and why that is safe.
//
// # What keeps it safe
//
//   - An answer names the ballot of the moment its record was made, and leaves when that record is durable
//     (Outgoing.Gate). ackRun holds the ballot for votes told together.
//   - A tally belongs to one ballot and is a set of nodes.
//   - A vote raises the promise; a record of a vote is a record of the promise.
//   - A follower learns from an announcement only what it voted for at the announcer's ballot (advance).
//   - A vote so far up that it cannot be held is never left out of a recovery: the candidate gives up instead (collect).
//   - A replica that may have forgotten something takes no part until others have told it what that may be, and what it said
//     before counts no more (suspect.go).
//   - A replica that starts on a log asks the others first whether they have seen more of it than is there (back.go).
//   - Heartbeats carry the sum of the values learned; a replica that has learned others stops (chain.go).
//   - Two values in a chosen slot, or at one ballot in a slot, stop the node (mustEqual).
//
// # Where to look
//
//	replica.go   the type, its inputs and outputs      acceptor.go  promises and votes
//	proposer.go  phase 1, phase 2, repeats             learner.go   chosen prefix, catching up
//	election.go  ticks, probe, heartbeats, resigning   read.go      linearizable reads
//	seat.go      an acceptor's rules for one slot      single/      one decree: the roles as small types
//	conform/     a suite for any implementation        conform/toy/ one with every classic mistake
//	quorum.go    tallies and the choice of a value     state.go     recovery from records
//	lease.go     the leader's lease                    lease/       PaxosLease
//	suspect.go   damaged disks, healing, incarnations  basic.go     independent instances: proposer
//	back.go      older copies of a directory
//	members.go   who decides which slot                change.go    the leader's part in a change
//	auxiliary.go acceptors without a state             beacon.go    the same: who is alive, holes
//	log.go       slots in a ring
//	fast.go      fast rounds: ballots, proposer        fastvote.go  the same: acceptor, learner
//	settle.go    the same: coordinator                 chosen.go    word of what was chosen
//	testdata/    the protocols' stories, message by message
//
// TestTraces tells the stories; TestRandomSchedules tries thousands of random schedules with crashes, loss, repetition and
// reordering against agreement, durability, linearizability of reads, and progress once the faults stop.
package paxos
