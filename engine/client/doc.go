// Package client talks to a cluster: it finds the leader, gathers concurrent commands into blocks, and retries with
// the same session and sequence numbers until there is an answer, so that a command is executed once or its fate is
// called unknown.
//
// # Blocks
//
// Commands given to Go and Do are appended to the one open block. The block is sent when fewer than Pipeline blocks are
// under way, or when it is full; while the pipeline is busy the next block grows, so blocks are as large as the load
// makes them and nobody waits for a timer. NewBlock and Submit bypass this for callers that have their commands
// together already. A block's bytes are written once and never cut again after they were first sent.
//
// The commands of a block are executed in order. Blocks that are under way at the same time may be executed in any
// order (one is turned away and retried, the next is not): who needs an order waits for the reply.
//
// # Exactly once
//
// Opening a client opens a session through the log. Every block carries the session and its commands' sequence
// numbers, assigned when it is first sent; the replicas execute a block once and keep its reply until the client says
// that it has it. A block is retried after a redirect, a lost connection, a full queue or a leader's silence, byte for
// byte the same. Errors come in two sorts, never mixed:
//
//   - certainly not done, and it never will be: ErrBusy, ErrClosed, ErrTimeout, ErrTooLarge, ErrInvalid,
//     ErrSessionGone, ErrDiskFull (with ErrTimeout), or the context's error from Dial and Query;
//   - may be done, or may yet be: errors.Is(err, ErrUnknown).
//
// A session ends when the cluster evicts it (too many sessions since it was last used). Blocks that certainly were not
// executed move to a new session; those that might have been end with ErrUnknown and ErrSessionGone, and are never
// executed again.
//
// # Overload
//
// Every attempt carries how long it may wait at the leader: three quarters of the time that its block, or query, has left. What
// waits longer is refused before it is proposed (ErrTimeout: certainly not done), so that a leader never works for
// somebody who has gone. How many blocks may be under way follows how long replies take (admission.go): an eighth of
// Timeout is what a client means to wait for one. The others wait here, and what would come too late is given up
// here. A block that is given up after it was sent counts as under way until its reply comes: the leader is not done with it.
//
// # Finding the leader
//
// A client keeps one connection, to the node that it takes for the leader. It looks for another when the connection
// ends (at once), when the node answers that it does not lead (it says who does), and when the node is silent for
// AttemptTimeout with requests under way: then it asks all nodes who leads, the silent one included, over connections
// that are kept while it looks, every few milliseconds first and more slowly later. A node that is merely slow answers
// the question, and keeps its client.
//
// # Callbacks
//
// Done, BlockDone and the functions behind them run on the client's own goroutines, usually the connection's reader:
// while one runs, no other reply is read. They must not block and must not call Close; they may call Go, Submit and
// GoQuery, and commands that a run of callbacks adds leave together. What a result points to dies when the callback
// returns. Each is called exactly once unless the call that took it returned an error.
package client
