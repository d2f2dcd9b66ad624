// Package batching holds the two queues that turn many small things into few large ones.
//
// Mailbox is the only way state crosses from one goroutine to another: many producers, one consumer, which takes
// everything there is in one swap. A consumer that falls behind finds more in the next swap, so the cost of a
// wake-up is shared by more items the busier the system is.
//
// Batcher collects clients' blocks at the leader and concatenates them into batches, one batch for each slot. It has
// no clock, no goroutine and no lock; the loop that owns it passes the time in. Its rule is natural batching:
//
//	nothing in flight                 send at once, whatever there is (lowest latency when idle)
//	room in the window, Delay = 0     send at once
//	room in the window, Delay > 0     send when bytes, commands or blocks suffice, or the oldest block waited Delay
//	no room in the window             never; the queue grows, and so does the next batch
//
// The bytes of a block are copied exactly once, from the frame they arrived in to the Accept frame that goes to every
// peer and into the log. Nothing here looks at a command.
package batching
