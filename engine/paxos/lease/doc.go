// Package lease is PaxosLease (Trencseni, Gazso, Reinhardt, PaxosLease: diskless Paxos for leases, 2012): a lease that at most one node
// holds at a time, agreed on by a majority, without a disk and without clocks that show the same time. And what it shares with the
// leader's lease of package paxos: Grant, End, Until and Drift.
//
// # The algorithm
//
// Two phases of single-decree Paxos, whose acceptors forget: what they accepted when it is over, everything when they restart.
//
//	asker, with ballot b                              acceptor
//	Prepare(b)                                    ->  b lower than promised? Reject
//	                                              <-  Promise(b): who owns it here, if anybody
//	a majority says nobody, or the asker:
//	its time begins; Propose(b, owner, span)      ->  b lower than promised? Reject
//	                                              <-  Accepted(b); forgotten after span by its own clock
//	a majority has accepted: owner until its time is up: span less drift from the sending of Propose
//
// Only who asks may be proposed. An owner renews by asking again before the end, with a higher ballot: what the acceptors hold for it
// is no obstacle to itself. Release ends what acceptors hold before its time.
//
// A Member is a function of its inputs, as the core is: Tick tells the time, Step a message, Output says what to send (KindLease
// frames of package wire, so any transport of the engine carries them). Nothing may be called concurrently.
//
// # Why one owner
//
// As in Paxos: let P own it by ballot b and Q by a higher ballot q. The majority that accepted b and the one that promised q share a
// node Z. If Z promised q first it refused b. If it accepted b first it told Q of P, unless its span was over: P's end came before,
// for P's clock was started earlier and stops by drift earlier (End). This needs Z to remember, both its promise and what it accepted,
// for as long as P may count on either.
//
// # Restarts, and a flaw of the published algorithm
//
// A restarted acceptor has forgotten. The paper (section 4) has it wait for M, longer than every lease, before it takes part again. That
// is enough for what it had accepted, and not for what it had promised:
//
//  1. P sends Prepare(7). A and B promise, nobody owns it. Their answers to P are slow.
//  2. A restarts, forgets, waits M, takes part.
//  3. Q sends Prepare(5), which A and C promise: Q owns it by A and C.
//  4. P's promises arrive. It proposes at ballot 7: B, and A as well, which has no promise above 5, accept. P owns it too.
//
// The published asker measures its time from Propose, so that nothing bounds how old the promises may be that it counts. Here
// it counts promises only for the time of one lease from the sending of Prepare, by its own clock, and then gives the round up;
// and a restarted node waits for two leases: one for the promise, one for what may be accepted by it. In true time the round and the
// lease that it wins take 2(span-drift)/(1-r) at most, for a slow clock, and the wait 2*span/(1+r) at least, for a fast one,
// which is no shorter by the choice of drift (Drift).
//
// Late messages. A Propose or a Prepare that arrives late makes an acceptor promise or accept what nobody counts on any more: others
// wait for a span, and nothing is wrong. A Promise or an Accepted that arrives late counts nothing: its round is over. Those of an
// earlier life of the asker, which may have used the same ballot, because a counter without a disk starts over,
// carry another Life, a random number drawn at the start. A late Release names its ballot.
//
// # What it shares with the leader's lease
//
// The leader's lease does not run this algorithm. Leadership has prepared a ballot already, durably, so that a lease needs the second
// phase only, and that rides on the heartbeats: no message more. Equal are the acceptor's side (Grant: held for one node, ended by a
// clock, released by ballot, waited out after a restart) and the arithmetic of clocks (End, Drift). The flaw above cannot occur
// there: the promise of a ballot is on the disk. A restarted follower waits for one lease.
package lease
