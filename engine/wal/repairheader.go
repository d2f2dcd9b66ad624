package wal

import (
	"hash/crc32"

	"github.com/paxbench/paxbench/wire"
)

// mendHeader makes a segment's header anew. fault is what is wrong with it, and is returned if that cannot be done.
//
//	cluster, node, id    the identity and the file's name
//	members              the opening group's first record
//	first LSN, oldest    the opening group's header
//	CRC of the seal      the segment before; 0 in segment 1
//	salt                 see below
//
// What proves it: the opening group's header holds the CRC of all of it, and its own CRC, which covers that one, starts from the seed: the
// CRC of cluster, node, id and salt. A CRC can be run backwards, so the header gives the seed away, and the records behind it,
// whose CRC starts from the seed as well, say whether it is right. Of the salt's 64 bits the seed tells 32, and nothing else in the file
// depends on the others. So a salt that can be read no more, not even with one bit turned, is replaced by one with the same seed: the one
// thing here that need not be what it was. All that is read or written with it is.
func (r *repair) mendHeader(i int, fault error) (h segmentHeader, err error) {
	s := r.segs[i]
	p := s.p
	if len(p) < segmentHeaderSize+groupHeaderSize {
		return h, fault
	}
	open := p[segmentHeaderSize:]
	length, crc := le.Uint32(open[44:]), le.Uint32(open[60:])
	if le.Uint32(open) != groupMagic || le.Uint64(open[8:]) != s.id || int64(length) > int64(len(open))-groupHeaderSize {
		return h, fault
	}
	seed := unwindCRC(crc, open[:groupHeaderSize-4])
	var first groupHeader
	body := open[groupHeaderSize : groupHeaderSize+length]
	if !first.decode(open, s.id, seed) || crc32.Update(seed, wire.Castagnoli, body) != first.Body || r.own(body) == 0 {
		return h, fault
	}
	members, err := wire.ParseMembers(body[:r.own(body)])
	if err != nil {
		return h, fault
	}
	h = segmentHeader{Cluster: r.who.Cluster, Node: r.who.Node, Members: members, ID: s.id, Size: int64(len(p)), First: first.First, Oldest: first.Oldest}
	h.Salt = saltOf(&h, le.Uint64(p[64:]), seed)
	for _, h.Size = range []int64{int64(len(p)), int64(le.Uint64(p[40:]))} {
		for _, h.Prev = range r.prevSeals(i, h.Oldest) {
			head := h.encode()
			if h.CRC != first.Prev || h.seed() != seed {
				continue
			}
			if h, err = decodeSegmentHeader(s.name, head); err != nil {
				return h, fault
			}
			copy(p, head)
			s.dirty = true
			r.rep.Places = append(r.rep.Places, RepairedPlace{File: s.name, Bytes: segmentHeaderSize})
			return h, nil
		}
	}
	return h, fault
}

// prevSeals lists what the CRC of the seal of the segment before i may be.
func (r *repair) prevSeals(i int, oldest uint64) (all []uint32) {
	s := r.segs[i]
	if s.id == 1 {
		return []uint32{0}
	}
	there := le.Uint32(s.p[72:])
	all = append(all, there)
	for bit := range 32 {
		all = append(all, there^1<<bit)
	}
	if i > 0 && r.segs[i-1].err == nil {
		before := r.segs[i-1]
		seal := sealOf(before.id, before.next, oldest, before.chain)
		seal.encode(make([]byte, groupHeaderSize), before.header.seed())
		all = append(all, seal.CRC)
	}
	return all
}

// saltOf is the salt with this seed: the one that is there, with at most one bit turned, or else any.
func saltOf(h *segmentHeader, there uint64, seed uint32) uint64 {
	try := *h
	for bit := range 65 {
		if try.Salt = there; bit > 0 {
			try.Salt ^= 1 << (bit - 1)
		}
		if try.seed() == seed {
			return try.Salt
		}
	}
	// The last four bytes that a CRC covers decide it: four bytes b from state x come to what four zeros from x^b come to.
	try.Salt = 0
	zeros := make([]byte, 4)
	at := ^unwindCRC(try.seed(), zeros)
	want := ^unwindCRC(seed, zeros)
	return uint64(at^want) << 32
}

// unwindCRC returns c with crc32.Update(c, Castagnoli, p) == crc.
func unwindCRC(crc uint32, p []byte) uint32 {
	crc = ^crc
	for i := len(p) - 1; i >= 0; i-- {
		k := unwind[crc>>24]
		crc = (crc^wire.Castagnoli[k])<<8 | uint32(k^p[i])
	}
	return ^crc
}

// unwind[b] is the index of the entry in the CRC table whose highest byte is b: there is one of each.
var unwind = func() (t [256]byte) {
	for i, v := range wire.Castagnoli {
		t[v>>24] = byte(i)
	}
	return t
}()
