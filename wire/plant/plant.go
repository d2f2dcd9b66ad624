// Package plant names the bugs that can be planted into the engine, to see whether the simulator finds them. A harness that
// never found anything proves nothing.
//
// In a build without the tag "planted" Is is the constant false, so that the compiler leaves nothing of a plant in the
// program. With the tag, Choose selects one bug for the whole process:
//
//	go test -tags planted ./engine/sim -run Planted      or: make planted
//
// A program with one bug for good, to see what a whole run says of it, is built with its name:
//
//	go build -tags planted -ldflags "-X 'github.com/paxbench/paxbench/wire/plant.preset=slow apply'" ./cmd/paxbench
//
// To add one: a name here, an `if plant.Is(plant.Name)` where the mistake would be made, nothing else.
//
// # Which mistake is which bug, and who finds it
//
// FAULTS.md, section 3. "sim" is the schedules of engine/sim, "explore" every state of engine/sim/explore, "core" the schedules and
// stories of engine/paxos, "conform" the suite of engine/paxos/conform; the others are tests of the package named.
//
//	Accepted sent before fsync ends              AckBeforeSync                              sim, explore, conform
//	promise not persisted                        PromiseNotRecorded, SlotPromiseNotRecorded sim, explore; core
//	ack covers records queued after the sync     AckCoversLaterWork                         sim
//	Accept that does not raise the promise       AcceptKeepsPromise                         sim, explore, conform
//	< for <= on ballots                          EqualBallotRefused                         sim
//	a node's reply counted twice                 VotesCountedTwice, FastVotesTwice          sim, explore, core, conform; explore, core, conform
//	ballot reused after restart                  BallotNotRecorded, LeftOutBallotsReused    sim, explore; core
//	tie without node id                          TieWithoutNode                             sim, explore, conform
//	new leader skips gap slots                   GapsSkipped                                sim, explore
//	commit over holes                            AnnouncedBeyondPrefix                      sim, explore
//	learns beyond the verified prefix            LearnsOtherBallots                         sim, explore
//	reply too early, or another's result         ReplyBeforeChosen, RepliesSwapped          sim
//	partial batch applied, then crash            BatchAppliedAgain                          sim
//	dedup table missing from the snapshot        SessionsNotInSnapshot                      sim
//	dedup checked at propose only                RepeatExecuted (none is checked there)     sim
//	lease counted from receive time              LeaseFromReceipt                           sim, core
//	lease without drift                          LeaseWithoutDrift                          core
//	new leader serves reads too early            ReadBeforeBarrier, LeaseBeforeBarrier      sim, explore; sim, core
//	log trimmed past the durable snapshot        TrimBeforeSnapshot                         sim
//	snapshot renamed without fsync               RenameBeforeSync                           sim, snapshot
//	install races apply, stale snapshot          StaleSnapshotInstalled                     sim
//	install lowers the promise                   InstallForgetsPromise                      sim
//	zero length = end of file                    ZeroIsEnd                                  wal
//	a repair without the sum of the group        RepairUnproven                             wal
//	fsync error retried                          SyncRetried                                sim, wal
//	wiped acceptor votes as new                  EmptyDirectoryVotes, RejoinVotes           sim, wal; wal
//	the same of a damaged log, an older copy     SuspectVotes; BackAtOnce, VoteNoPromise    sim, core; core
//	configuration active at proposal             ConfigAtProposal                           core
//	today's quorum for an old slot               TodaysQuorum                               core
//	configuration missing from the snapshot      MembersNotInSnapshot                       core
//	map iteration, time.Now, chance in apply     MapOrderInApply, ClockInApply, RandomInApply  sim
//	heartbeat independent of the disk            StalledDiskLeads                           sim
//	allocation from a length on the wire         LengthBelieved                             transport
//	promises carried over into the next round    PromisesCarriedOver                        sim, explore, conform
//	ballot read again when the write ends        BallotReadLate                             sim, explore
//
// Beyond that list, of auxiliary acceptors: AuxiliaryCounted, AuxiliaryVotesIgnored, HeldByOneMain; sim, core. One of our own, which cost an
// open loop half of its latency: RoomUnnoticed; sim.
package plant

// Bug is a mistake that somebody has made in an engine of this kind (FAULTS.md, section 3).
type Bug int

// The bugs.
const (
	None Bug = iota
	AckBeforeSync
	PromiseNotRecorded
	AckCoversLaterWork
	AcceptKeepsPromise
	TieWithoutNode
	VotesCountedTwice
	BallotNotRecorded
	PromisesCarriedOver
	GapsSkipped
	AnnouncedBeyondPrefix
	LearnsOtherBallots
	ReplyBeforeChosen
	RepliesSwapped
	SessionsNotInSnapshot
	RepeatExecuted
	ReadBeforeBarrier
	ReadUnconfirmed
	TrimBeforeSnapshot
	RenameBeforeSync
	InstallForgetsPromise
	SyncRetried
	EmptyDirectoryVotes
	BallotReadLate
	RandomInApply
	StalledDiskLeads
	LowestVoteWins
	BarrierOverVotes
	TornTailAlways
	WriteLost
	TransferAcksIgnored
	SessionsUnbounded
	SuspectVotes
	HealCountsSelf
	ExpiredProposed
	LeaseFromReceipt
	LeaseBeforeBarrier
	LeaseNotRechecked
	GrantForgotten
	EqualBallotRefused
	ClockInApply
	MapOrderInApply
	BatchAppliedAgain
	StaleSnapshotInstalled
	AuxiliaryCounted
	AuxiliaryVotesIgnored
	HeldByOneMain
	RoomUnnoticed
	simulated

	// Those below take a fault that the simulator's disks do not have, or one at the very operation, and are found by the
	// enumerations of engine/wal and engine/snapshot.
	ZeroIsEnd
	SegmentNameNotSynced
	SegmentReusedEarly
	RecoveredNotSynced
	TailNotWiped
	SnapshotNameNotSynced
	PartKeptUnsynced
	TrimMarkForgotten
	RottenSnapshotKept
	RejoinVotes
	RepairUnproven

	// This one is found by the test of engine/transport.
	LengthBelieved

	// Those below are found by the schedules and stories of engine/paxos.
	IncarnationIgnored
	LeaseWithoutDrift // in the simulator it takes clocks at their bounds and an election at the very end of a lease
	LeftOutBallotsReused
	BackAtOnce
	VoteNoPromise
	// Those below are of modes other than multi.
	SlotPromiseNotRecorded
	SlotBallotsAnnounce
	ChosenTakenForAnyVote
	TrimmedSlotAcked
	PromiseWithoutVote
	QuorumsApart
	// Those below are of changes of the membership.
	ConfigAtProposal
	TodaysQuorum
	MembersNotInSnapshot
	ChangeUncovered
	// Those below are of fast rounds.
	FastMajority
	FastQuorumSmall
	FastVotesTwice
	AnyBeforePromises
	FastReadByAcks
	bugs
)

var names = [bugs]string{
	"none", "ack before sync", "promise not recorded", "ack covers work after the sync began", "accept does not raise the promise",
	"tie without node id", "votes counted twice", "own ballot not recorded", "promises carried over", "gaps skipped",
	"announced beyond the prefix", "learns votes of other ballots", "reply before chosen", "replies swapped", "sessions not in the snapshot",
	"repeat executed", "read before the barrier", "read unconfirmed", "log trimmed before the snapshot", "snapshot renamed before sync",
	"install forgets the promise", "failed sync retried", "emptied directory votes", "ballot read when the write ends", "random number in apply",
	"stalled disk leads", "lowest vote wins", "new leader proposes over votes", "bad group in the middle taken for the end",
	"write lost", "acks of a snapshot ignored", "sessions unbounded",
	"suspect votes", "healing counts the healed", "expired block proposed",
	"lease counted from receive time", "lease before the barrier", "lease not re-checked after a pause", "grant forgotten at restart",
	"ballot refused that equals the promise", "wall clock in apply", "order of a map in apply", "batch applied before a crash applied again",
	"stale snapshot installed",
	"auxiliary counted that was not asked", "auxiliary's votes ignored in phase 1", "auxiliary forgets what a main node lacks",
	"room in the window unnoticed until the next tick",
	"", "zeros taken for the end of the log", "segment's name not synced", "segment reused before the trim is durable",
	"recovered records not made durable", "torn tail not wiped", "snapshot's name not synced",
	"received part kept after a failed sync", "segments given up by a mark that found no room", "rotten snapshot never replaced", "rejoined node votes",
	"repair takes what fits by its length",
	"memory given for a length on the wire",
	"incarnation ignored", "lease without drift", "ballots left out by a healed node are used after a restart",
	"restarted node votes before others have told what they saw of it", "vote is no promise to who asks what was seen",
	"promise for one slot not recorded", "watermark taken with a ballot of one slot", "word of a choice taken for a vote at another ballot",
	"vote told for a slot that was trimmed", "refused vote raises the promise",
	"quorums that need not intersect",
	"configuration active at proposal", "today's quorum for an old slot", "configuration not in the snapshot",
	"change proposed without promises of the new members",
	"fast value by a majority of all nodes", "fast quorum is a majority", "two votes at one fast ballot", "any-message before the promises", "fast read confirmed by acks alone",
}

// SlowApply spends a tenth more processor time, in a busy wait after Apply. Nothing it does is wrong, so it is none of All:
// it is what `make compare-demo` shows to be found by a comparison of builds.
const SlowApply = bugs

const slowApply = "slow apply"

func (b Bug) String() string {
	if b == SlowApply {
		return slowApply
	}
	return names[b]
}

// All lists the bugs that the simulator must find.
func All() (all []Bug) {
	for b := None + 1; b < simulated; b++ {
		all = append(all, b)
	}
	return all
}
