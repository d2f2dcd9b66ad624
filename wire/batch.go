package wire

import (
	"fmt"

	"github.com/klauspost/compress/s2"
)

// BatchHeaderSize is the size in bytes of a batch's header.
const BatchHeaderSize = 16

// Kinds of batches.
const (
	BatchNoop    = 0 // fills a gap; no blocks
	BatchBlocks  = 1
	BatchTagged  = 2 // blocks, and a tag that no other proposal has
	BatchMembers = 3 // a change of the membership; no blocks
)

// Compressions of a batch's payload.
const (
	CompressNone = 0
	CompressS2   = 1
)

// Batch is the value of one slot, or a run of its blocks, as a view: it shares the memory it was parsed from.
// The zero Batch is no batch (IsZero).
type Batch struct {
	enc        []byte // header and payload; nil for a run
	payload    []byte // blocks back to back, or their s2 form
	blocks     uint32
	commands   uint32
	kind       uint8
	compressed bool
}

// TagSize is the size in bytes of a tag, which stands behind the blocks of a tagged batch.
const TagSize = 8

// TagNodeShift is where in a tag the proposer's number begins; below it is a count.
const TagNodeShift = 56

// TagBatch tags the batch of blocks in the Accept frame f, which is not yet sealed. Where any node proposes, two may propose the
// same bytes for the same slot, on behalf of two clients; with a tag that is not 0 each can tell whether the value that was
// chosen is its own.
func TagBatch(f *Buffer, tag uint64) {
	if p := f.Bytes()[AcceptHeadroom:]; p[0] != BatchBlocks || tag == 0 {
		panic(fmt.Sprintf("BUG: wire: tag %d for a batch of kind %d", tag, p[0]))
	}
	le.PutUint64(f.Extend(TagSize), tag)
	f.Bytes()[AcceptHeadroom] = BatchTagged
}

// PutBatchHeader writes a batch's header into the first BatchHeaderSize bytes of p. raw is the payload's size
// before compression, stored the size it takes, both without the header.
func PutBatchHeader(p []byte, kind, compression uint8, blocks, commands, raw, stored int) {
	_ = p[BatchHeaderSize-1]
	if uint(blocks) > BatchBlocksMax || uint(commands) > BatchBytesMax || uint(raw) > BatchBytesMax || uint(stored) > uint(raw) {
		panic(fmt.Sprintf("BUG: wire: batch of %d blocks, %d commands, %d bytes in %d", blocks, commands, raw, stored))
	}
	p[0], p[1] = kind, compression
	le.PutUint16(p[2:], uint16(blocks))
	le.PutUint32(p[4:], uint32(commands))
	le.PutUint32(p[8:], uint32(raw))
	le.PutUint32(p[12:], uint32(stored))
}

// AppendNoop appends the batch that fills a gap.
func AppendNoop(dst []byte) []byte {
	var h [BatchHeaderSize]byte
	PutBatchHeader(h[:], BatchNoop, CompressNone, 0, 0, 0, 0)
	return append(dst, h[:]...)
}

// ParseBatch decodes the batch that is the whole of p. Headers, limits and, when not compressed, the run of blocks
// are checked; the work is per block, never per command.
func ParseBatch(p []byte) (Batch, error) {
	if len(p) < BatchHeaderSize || p[0] == BatchTagged && len(p) < BatchHeaderSize+TagSize {
		return Batch{}, fmt.Errorf("%w: batch header cut short", ErrFormat)
	}
	b := viewBatch(p)
	raw, stored := int64(le.Uint32(p[8:])), int64(le.Uint32(p[12:]))
	if stored != int64(len(b.payload)) {
		return Batch{}, fmt.Errorf("%w: batch says %d bytes, has %d", ErrFormat, stored, len(b.payload))
	}
	if raw > BatchBytesMax {
		return Batch{}, fmt.Errorf("%w: batch of %d bytes exceeds the limit %d", ErrFormat, raw, BatchBytesMax)
	}
	// Every block takes its header and every command a byte, so the counts are bounded by bytes that are there, or,
	// compressed, by the raw size, which is what may be allocated.
	if int64(b.blocks)*BlockHeaderSize+int64(b.commands) > raw {
		return Batch{}, fmt.Errorf("%w: %d blocks and %d commands in %d bytes", ErrFormat, b.blocks, b.commands, raw)
	}
	var err error
	switch compression := p[1]; {
	case b.kind == BatchNoop:
		if compression != CompressNone || raw != 0 || stored != 0 {
			err = fmt.Errorf("%w: no-op batch with content", ErrFormat)
		}
	case b.kind == BatchMembers:
		if compression != CompressNone || raw != stored {
			err = fmt.Errorf("%w: change of the membership of %d bytes in %d", ErrFormat, raw, stored)
		} else {
			err = b.checkChange()
		}
	case b.kind != BatchBlocks && b.kind != BatchTagged || b.blocks == 0 || b.kind == BatchTagged && b.Tag() == 0:
		err = fmt.Errorf("%w: batch of kind %d with %d blocks", ErrFormat, b.kind, b.blocks)
	case compression == CompressNone:
		if raw != stored {
			err = fmt.Errorf("%w: plain batch of %d bytes stored in %d", ErrFormat, raw, stored)
		} else {
			err = b.checkBlocks()
		}
	case compression == CompressS2:
		if n, e := s2.DecodedLen(b.payload); e != nil || int64(n) != raw || stored >= raw {
			err = fmt.Errorf("%w: compressed batch of %d bytes does not say %d bytes", ErrFormat, stored, raw)
		}
	default:
		err = fmt.Errorf("%w: batch compression %d", ErrFormat, compression)
	}
	if err != nil {
		return Batch{}, err
	}
	return b, nil
}

// viewBatch is the batch in p by its header, unchecked.
func viewBatch(p []byte) Batch {
	p = p[:len(p):len(p)]
	end := len(p)
	if p[0] == BatchTagged {
		end -= TagSize
	}
	return Batch{
		enc: p, payload: p[BatchHeaderSize:end:end], kind: p[0], compressed: p[1] != CompressNone,
		blocks: uint32(le.Uint16(p[2:])), commands: le.Uint32(p[4:]),
	}
}

// checkBlocks verifies that the payload is exactly the promised blocks with the promised commands in all. The sum of
// the commands cannot overflow: there are no more than bytes.
func (b Batch) checkBlocks() error {
	rest, commands := b.payload, uint32(0)
	for range b.blocks {
		blk, n, err := ParseBlock(rest)
		if err != nil {
			return err
		}
		commands += uint32(blk.Count())
		rest = rest[n:]
	}
	if len(rest) != 0 || commands != b.commands {
		return fmt.Errorf("%w: batch header disagrees with its blocks", ErrFormat)
	}
	return nil
}

// IsZero says that this is no batch at all.
func (b Batch) IsZero() bool { return b.enc == nil && b.payload == nil && b.kind == 0 }

// IsNoop says whether the batch fills a gap and carries nothing.
func (b Batch) IsNoop() bool { return b.kind == BatchNoop }

// Tag is the batch's tag; 0: it has none.
func (b Batch) Tag() uint64 {
	if b.kind != BatchTagged || b.enc == nil {
		return 0
	}
	return le.Uint64(b.enc[len(b.enc)-TagSize:])
}

// Compressed says whether Plain must be called before Blocks.
func (b Batch) Compressed() bool { return b.compressed }

// BlockCount is the number of blocks.
func (b Batch) BlockCount() int { return int(b.blocks) }

// Commands is the number of commands in all blocks.
func (b Batch) Commands() int { return int(b.commands) }

// RawLen is the size in bytes of the blocks, uncompressed.
func (b Batch) RawLen() int {
	if b.compressed {
		return int(le.Uint32(b.enc[8:]))
	}
	return len(b.payload)
}

// Bytes is the whole encoding, as it stands in an Accept frame. nil for a run.
func (b Batch) Bytes() []byte { return b.enc }

// Payload is the encoding of the blocks, back to back; of a compressed batch, its compressed form.
func (b Batch) Payload() []byte { return b.payload }

// Plain returns the batch uncompressed, using buf for the result if it was compressed; otherwise the batch itself.
// The result is valid as long as both are. The error is a property of the bytes: the same on every replica.
func (b Batch) Plain(buf *Buffer) (Batch, error) {
	if !b.compressed {
		return b, nil
	}
	buf.SetBytes(buf.Bytes()[:0])
	dst := buf.Extend(b.RawLen())
	out, err := s2.Decode(dst[:0], b.payload)
	if err != nil || len(out) != len(dst) || &out[0] != &dst[0] {
		return Batch{}, fmt.Errorf("%w: compressed batch does not decode", ErrFormat)
	}
	plain := Run(dst, b.BlockCount(), b.Commands())
	if err := plain.checkBlocks(); err != nil {
		return Batch{}, err
	}
	return plain, nil
}

// Run is the plain batch of count blocks with commands commands in all that payload encodes back to back. The
// engine hands a state machine the runs of a batch between duplicates.
func Run(payload []byte, count, commands int) Batch {
	return Batch{payload: payload, blocks: uint32(count), commands: uint32(commands), kind: BatchBlocks}
}

// Blocks iterates over the blocks of a plain batch.
func (b Batch) Blocks() BlockIter {
	if b.compressed {
		panic("BUG: wire: Blocks of a compressed batch")
	}
	return BlockIter{rest: b.payload, left: int(b.blocks)}
}

// BlockIter walks the blocks of a batch.
type BlockIter struct {
	rest []byte
	left int
}

// Next returns the next block; ok is false at the end.
func (it *BlockIter) Next() (blk Block, ok bool) {
	if it.left == 0 {
		return Block{}, false
	}
	it.left--
	n := BlockHeaderSize + int(le.Uint32(it.rest[28:]))
	blk = Block{it.rest[:n:n]} // cannot overrun: checked by ParseBatch or Plain; a Run is its maker's word
	it.rest = it.rest[n:]
	return blk, true
}

// CompressInto appends the s2 form of the plain payload src to dst if that is smaller; ok says whether. dst must have
// a spare capacity of s2.MaxEncodedLen(len(src)): nothing is allocated, and with less nothing is compressed.
func CompressInto(dst, src []byte) (out []byte, ok bool) {
	n := s2.MaxEncodedLen(len(src))
	if n < 0 || cap(dst)-len(dst) < n {
		return dst, false
	}
	enc := s2.Encode(dst[len(dst):len(dst)+n], src)
	if len(enc) >= len(src) {
		return dst, false
	}
	return dst[:len(dst)+len(enc)], true
}
