package kv

import (
	"hash/crc32"

	"github.com/paxbench/paxbench/engine"
	"github.com/paxbench/paxbench/wire"
)

// chain is the hash over everything applied: chain(n) depends on chain(n-1), the slot, the blocks and their results.
//
// Two CRCs of different polynomials, mixed: both run in hardware at about 10 GB/s, so hashing 16-byte commands costs
// a few nanoseconds each. It finds replicas that went apart by error; it does not stand against somebody who wants a
// collision.
type chain uint64

func (c *chain) add(s wire.Slot, p []byte) {
	h := uint64(crc32.Checksum(p, wire.Castagnoli))<<32 | uint64(crc32.ChecksumIEEE(p))
	x := mix(uint64(*c) ^ h)
	*c = chain(mix(x + uint64(s)*0x9E3779B97F4A7C15 + uint64(len(p))))
}

// addRun adds a run and its results.
func (c *chain) addRun(s wire.Slot, b wire.Batch, out *engine.Replies) {
	c.add(s, b.Payload())
	for i := range b.BlockCount() {
		results, _ := out.Block(i)
		c.add(s, results)
	}
}

// mix is the finalizer of SplitMix64 (Steele, Lea, Flood 2014): a bijection in which every bit depends on every bit.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
	x = (x ^ x>>27) * 0x94D049BB133111EB
	return x ^ x>>31
}
