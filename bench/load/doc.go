// Package load makes the load of a benchmark and measures it.
//
// Run drives a set of targets, one per client: in a closed loop each keeps a number of operations under way, in an open
// loop operations are due at times that do not depend on the target. It returns histograms, a series of intervals, a
// fine-grained timeline for the unavailability after faults, and a ledger for the safety audit. A target is a client of
// the engine (Dial), or anything else that implements Target.
//
// # What is measured
//
//	due          when the schedule wants the operation: start + i/rate, or after exponential gaps; closed loop: when
//	             it is sent
//	sent         when it is handed to the target
//	acknowledged when the target completes it
//
//	response = acknowledged - due     what a user sees
//	service  = acknowledged - sent    what the target admits to
//	lag      = sent - due
//
// A load that waits for a stalled target before it asks again does not see the stall: it took one bad sample where a
// user population would have had thousands (Gil Tene's coordinated omission). Here an operation that could not be sent
// in time keeps the time it was due. Nothing is corrected afterwards, and nothing that was due is left out: what was
// still not sent when the drain ended is counted (Result.Unsent) and makes the run invalid.
//
// A part of the lag is the generator's own: it had room to send and was late (Result.OwnLag). If that is large, the
// result says more about the generator than about the target; Result.Judge decides.
//
// Operations end in one of three ways that are never mixed: acknowledged, certainly not done, or of unknown outcome.
// Only the first has a latency.
//
// # What it costs
//
// The generator shares the machine with what it measures. So its work per command is to write the command's bytes; clock
// readings, histograms, the ledger's lock and the exchange with the target come once per block (in an open loop each
// operation is recorded, because each was due at its own time), and nothing is allocated. Waiting is done by the kernel,
// not by spinning. Against a target that does nothing (NewDiscard) it makes tens of millions of commands per second.
//
// # Goroutines
//
//	worker      one per core. Owns its clients, their flights (submissions) and its recorder. Never waits for a target.
//	control     Run's caller: time, intervals, cancellation, the end of the drain.
//	completions any goroutine of a target: stamps the flight and puts it in the worker's inbox, without a lock.
//
// # Several processes
//
// A load that one process cannot make is made by several: each runs a Part of the clients, on a common clock, and tells its
// intervals as Pulses and its result as a Share; Gather makes one Result of them. Histograms are added bucket by bucket, so
// that the result is what one recorder would have. The validity verdict looks at each process's own lag and processor
// time.
//
// # Reproducibility
//
// A seed fixes what is sent and when it is due: client w draws from rand.NewPCG(seed, w), and a value is a function of the
// seed and the number of its write. It does not fix the timing of anything else.
package load
