// Package engine runs replicated state machines: a Node is one process of a cluster, a Group one replicated log on it.
//
// Commands reach a group as blocks of commands with consecutive sequence numbers (wire.Block). The leader concatenates
// blocks into the value of one slot, a quorum of nodes has it on the disk, every node applies it in slot order, and the
// leader answers each block. Nothing between the client and Apply looks at a single command. The protocol is
// engine/paxos; this package gives it goroutines, a disk (engine/wal), a network (engine/transport), snapshots
// (engine/snapshot), exactly-once sessions, and clients.
//
// # Guarantees
//
//   - A command that was answered is on the disks of a quorum and is never lost while a quorum keeps its disks (with
//     wal.Always; other fsync policies promise less, see wal.Mode).
//   - All replicas apply the same commands in the same order.
//   - A command of a session is executed exactly once however often its block is sent, also across changes of the
//     leader, restarts and snapshots, as long as the session lives. Without a session it is executed at most once per
//     proposal.
//   - Query is linearizable: a quorum confirms the leader before the state is read. QueryLease is too, by the leader's lease, if clocks
//     run apart by no more than Config.LeaseDrift.
//   - An answer names its epoch (wire.Reply), which does not fall from one answer to a later question.
//   - Errors other than ErrUnknown mean that the command was certainly not executed.
//   - A node whose disk fails stops for good: Wait returns, waiters are told, nothing is retried.
//
// # Goroutines
//
//	loop       one per group   owns paxos.Replica and the batcher; waits for its mailbox only
//	syncer     one per node    owns the log: one write and one fdatasync for all groups, then sends what waited for it
//	applier    one per group   owns the state machine and the sessions; answers clients
//	receiver   one per group   puts together snapshots that peers send
//	on demand                  one per snapshot being written, one per peer being sent one
//
// State crosses between them by mailboxes and by atomics that one side writes. Callbacks (Completion, StateMachine) run
// on the applier or the loop: they must not block, and must not call Status, Close, or a blocking Propose or Query of
// the same node. ARCHITECTURE.md follows a command through the files.
//
// # Start
//
// Config.Bootstrap makes a new node; every later start is without it. A node with an empty directory refuses to start
// otherwise: having forgotten its votes it could contradict them.
package engine
