package batching

import "sync"

// Mailbox is a queue with many producers and one consumer, bounded by items and by bytes. The consumer takes all
// items at once by exchanging its empty slice for the full one ("swap queue"), so that the lock is held for a few
// instructions however many items there are, and two backing arrays are reused for ever: no allocation once they
// have grown to their working size, which itemsMax bounds.
//
// A channel of the same capacity was the plain design. It costs a lock and possibly a wake-up per item on both
// sides, cannot be bounded by bytes, and holds its full capacity in memory from the start.
//
// Put, PutUrgent, Len and Close may be called from any goroutine; Wait and Swap from the consumer only.
type Mailbox[T any] struct {
	itemsMax int
	bytesMax int
	wake     chan struct{}

	mu     sync.Mutex
	queue  []T
	bytes  int // of what is in queue, as told to Put
	closed bool
}

// NewMailbox returns a mailbox that takes up to itemsMax items of together up to bytesMax bytes. Both must be
// positive. An item that exceeds bytesMax by itself is taken by an empty mailbox, because it could never be taken
// otherwise: the true bound is max(bytesMax, the largest item).
func NewMailbox[T any](itemsMax, bytesMax int) *Mailbox[T] {
	if itemsMax <= 0 || bytesMax <= 0 {
		panic("BUG: batching: mailbox without bounds")
	}
	return &Mailbox[T]{itemsMax: itemsMax, bytesMax: bytesMax, wake: make(chan struct{}, 1)}
}

// Put adds v, which takes that many bytes, and wakes the consumer. false: the mailbox is full or closed, and v was
// not taken. It never blocks.
func (m *Mailbox[T]) Put(v T, bytes int) bool {
	m.mu.Lock()
	n := len(m.queue)
	if m.closed || n >= m.itemsMax || n > 0 && m.bytes+bytes > m.bytesMax {
		m.mu.Unlock()
		return false
	}
	m.queue = append(m.queue, v)
	m.bytes += bytes
	m.mu.Unlock()
	if n == 0 {
		m.signal()
	}
	return true
}

// PutUrgent adds v whatever the bounds say, at the end like Put. It is for ticks, completions and control, of which
// the caller knows that there are few. false: the mailbox is closed, and v was not taken.
func (m *Mailbox[T]) PutUrgent(v T) bool {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return false
	}
	n := len(m.queue)
	m.queue = append(m.queue, v)
	m.mu.Unlock()
	if n == 0 {
		m.signal()
	}
	return true
}

// signal leaves one token in wake. Invariant: while the queue is not empty, either the token is in the channel or the
// consumer has received it and not swapped yet. Only the Put that finds the queue empty signals, because
//
//  1. Swap empties the queue under the lock, so the next Put after it finds it empty and signals;
//  2. a token that is already there makes the consumer swap later than this Put.
func (m *Mailbox[T]) signal() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// Wait returns a channel that yields when something may be there. After receiving from it the consumer must call
// Swap; what Swap returns may be empty, when an earlier Swap already took what the signal was for.
func (m *Mailbox[T]) Wait() <-chan struct{} { return m.wake }

// Swap takes all items, in the order in which they were put. spare, the slice of an earlier Swap that the consumer is
// done with (or nil), becomes the next backing array; its items are cleared so that nothing is kept alive by it.
func (m *Mailbox[T]) Swap(spare []T) []T {
	clear(spare)
	spare = spare[:0]
	m.mu.Lock()
	if len(m.queue) == 0 {
		m.mu.Unlock()
		return spare
	}
	items := m.queue
	m.queue, m.bytes = spare, 0
	m.mu.Unlock()
	return items
}

// Close makes every later Put fail and returns what was left, for the caller to release. It wakes the consumer.
// A second Close returns nil.
func (m *Mailbox[T]) Close() []T {
	m.mu.Lock()
	left := m.queue
	m.queue, m.bytes, m.closed = nil, 0, true
	m.mu.Unlock()
	m.signal()
	return left
}

// Closed says whether Close was called.
func (m *Mailbox[T]) Closed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.closed
}

// Len is the number of items that wait and their bytes as told to Put.
func (m *Mailbox[T]) Len() (items, bytes int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.queue), m.bytes
}
