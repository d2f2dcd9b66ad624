// Package judge checks histories for linearizability, in two ways that share the meaning of a single operation (model.go, held
// against package kv by a test) and nothing else.
//
// BySlot trusts the slots that replies carry and checks everything that follows from them, in O(n) once the calls are sorted:
//
//   - order: what was sent after a reply had arrived has a later place in the log, and a linearizable query reads at a slot not
//     before any that was known when it was sent. A stale query may read at any slot before it was answered; what it was told
//     must be the state at that slot.
//   - once: no place and no (session, sequence number) is acknowledged twice.
//   - results: the operations on a key, executed one after the other in the order of their places, give the results that the
//     clients were told. A version that is missing between two of them must be explained by an operation of unknown outcome
//     that was sent before it could be seen; each explains one.
//
// ByKey trusts no slot. It gives each key's operations to porcupine (Anish Athalye; the algorithm of Wing and Gong with
// Lowe's cache), which looks for any order that agrees with real time and with the results. The search is exponential in the
// worst case. What keeps it linear here are the versions in the results: a key's operations are cut into windows of
// consecutive versions, which in every linearization are consecutive pieces of it; that real time does not contradict the order
// of the pieces is checked apart. An operation of unknown outcome takes part only where a version is missing: anywhere else
// there is no room for its effect. There is always a time limit, and what was not decided by then is called so.
//
// Both are sound: what they report is a violation. What they cannot see: of keys that were not sampled only the order and the
// once, and a violation that lies wholly behind the end of the recording of operations (history.Tail.Cut).
package judge
