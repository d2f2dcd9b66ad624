package wire

import "hash/crc32"

// ChainLength is after how many slots the chain of sums begins anew: with slot 1, ChainLength+1, ...
const ChainLength = 1024

// ChainCRC goes on with the chain of sums of the values chosen in a group, over slot s, whose value stands in the sealed Accept or
// Learn frame f: a sum of all values from the chain's beginning at or before s, in their order. It is never 0. Two replicas
// that have learned the same have the same.
//
// The value is not read again: the frame's CRC, less what stands before the value, is the value's (see UpdateFrameCRC).
func ChainCRC(chain uint32, s Slot, f *Buffer) uint32 {
	if s%ChainLength == 1 {
		chain = 0
	}
	// As if the values' sums stood one behind the other: without bytes of them, which crc32.Update would move to the heap.
	if chain = shiftCRC(^chain, 4) ^ valueCRC(f.Bytes()); chain == 0 {
		chain = 1
	}
	return chain
}

// valueCRC is the CRC of what follows the fixed part of a sealed frame.
func valueCRC(frame []byte) uint32 {
	value := frame[AcceptHeadroom:]
	if len(value) < shiftMin {
		return crc32.Checksum(value, Castagnoli)
	}
	before := crc32.Update(crc32.Checksum(frame[:HeaderSize-4], Castagnoli), Castagnoli, frame[HeaderSize:AcceptHeadroom])
	return shiftCRC(before, len(value)) ^ le.Uint32(frame[HeaderSize-4:])
}
