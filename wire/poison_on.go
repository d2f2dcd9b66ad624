//go:build invariants

package wire

// invariants turns on the costly checks: buffers that nobody holds are poisoned, the content of a released buffer
// cannot be asked for, and a shared buffer cannot be written to.
const invariants = true

// poison overwrites a released buffer, so that a view kept beyond its buffer's life shows up as nonsense (a bad
// CRC, a bad length) at once rather than as another message's bytes much later.
func poison(b *Buffer) {
	p := b.b[:cap(b.b)]
	for i := range p {
		p[i] = poisonByte
	}
}

const poisonByte = 0xdb
