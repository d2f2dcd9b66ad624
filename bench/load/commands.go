package load

import (
	"math/rand/v2"
)

// commands makes the commands of one client, in a sequence that only the seed and the client's number decide: how
// they are cut into blocks, and when they are sent, has no part in it. One goroutine owns it.
type commands struct {
	client int
	sm     SM
	values *Values
	reads  float64
	rng    *rand.PCG
	keys   sampler

	number uint64 // of the next write
	readN  uint64 // reads drawn so far

	// The current command. Valid from next to the call of next after it.
	bytes []byte // the command of the log, or the query's request
	key   uint32
	read  bool
	stamp Stamp // writes
	inLog bool  // goes into a block

	readsInLog bool
	held       bool // next has nothing to do: the current command has not been issued yet
}

func newCommands(c *Config, client int) commands {
	rng := rand.NewPCG(c.Seed, uint64(c.Series)<<33|uint64(client))
	return commands{
		client: client, number: uint64(c.Series) << seriesBits, sm: c.SM, values: &c.Values, reads: c.Reads, rng: rng,
		keys: newSampler(c.Dist, c.Keys, rng), readsInLog: c.ReadMode == ReadLog,
	}
}

// next makes the next command, unless the current one was held.
func (g *commands) next() {
	if g.held {
		g.held = false
		return
	}
	if g.sm == Null {
		g.stamp, g.inLog = NewStamp(g.client, g.number), true
		g.number++
		g.bytes = g.values.Append(g.bytes[:0], g.stamp)
		return
	}
	g.key = g.keys.next()
	g.read = g.reads > 0 && float(g.rng.Uint64()) < g.reads
	if g.read {
		g.readN++
		g.inLog = g.readsInLog
		g.bytes = appendRead(g.bytes[:0], g.key, g.inLog)
		return
	}
	g.stamp, g.inLog = NewStamp(g.client, g.number), true
	g.number++
	g.bytes = appendWrite(g.bytes[:0], g.key, g.values, g.stamp)
}

// hold keeps the current command for the next call of next: there was no room for it.
func (g *commands) hold() { g.held = true }

// KeySize is the size in bytes of a key.
const KeySize = 9

// AppendKey appends the name of key number i: "k" and eight hexadecimal digits.
func AppendKey(dst []byte, i uint32) []byte {
	const digits = "0123456789abcdef"
	return append(dst, 'k',
		digits[i>>28], digits[i>>24&15], digits[i>>20&15], digits[i>>16&15],
		digits[i>>12&15], digits[i>>8&15], digits[i>>4&15], digits[i&15])
}

// ParseKey is the number of the key of this name. ok is false for a name that AppendKey does not give.
func ParseKey(key []byte) (i uint32, ok bool) {
	if len(key) != KeySize || key[0] != 'k' {
		return 0, false
	}
	for _, c := range key[1:] {
		switch {
		case c >= '0' && c <= '9':
			i = i<<4 | uint32(c-'0')
		case c >= 'a' && c <= 'f':
			i = i<<4 | uint32(c-'a'+10)
		default:
			return 0, false
		}
	}
	return i, true
}
