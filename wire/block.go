package wire

import (
	"encoding/binary"
	"fmt"
)

// BlockHeaderSize is the size in bytes of a block's header.
const BlockHeaderSize = 32

// Block is one client's run of commands with consecutive sequence numbers, as a view of its encoding: written once
// by the client and not taken apart again before Apply.
//
//	Session = 0, Count > 0: anonymous; applied at most once, because it is never sent twice.
//	Session = 0, Count = 0: opens a session; First is a nonce; the reply carries the new id.
//	Session > 0, Count > 0: commands First .. First+Count-1 of the session.
//	Session > 0, Count = 0: closes the session.
type Block struct{ b []byte }

// AppendBlockHeader appends the header of a block whose commands take length bytes.
func AppendBlockHeader(dst []byte, session SessionID, first, acked Seq, count, length int) []byte {
	var h [BlockHeaderSize]byte
	PutBlockHeader(h[:], session, first, acked, count, length)
	return append(dst, h[:]...)
}

// PutBlockHeader writes a block's header into the first BlockHeaderSize bytes of p.
func PutBlockHeader(p []byte, session SessionID, first, acked Seq, count, length int) {
	_ = p[BlockHeaderSize-1]
	le.PutUint64(p, uint64(session))
	le.PutUint64(p[8:], uint64(first))
	le.PutUint64(p[16:], uint64(acked))
	le.PutUint32(p[24:], uint32(count))
	le.PutUint32(p[28:], uint32(length))
}

// AppendCommand appends one command to a block's bytes: its length as a uvarint, then itself.
func AppendCommand(dst, cmd []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(cmd)))
	return append(dst, cmd...)
}

// ParseBlock decodes the block at the start of p and returns it with the number of bytes it takes. It checks the
// header against the limits and the length of p; the commands inside are checked by the iterator at Apply.
func ParseBlock(p []byte) (Block, int, error) {
	if len(p) < BlockHeaderSize {
		return Block{}, 0, fmt.Errorf("%w: block header cut short", ErrFormat)
	}
	count, length := le.Uint32(p[24:]), le.Uint32(p[28:])
	if count > BlockCommandsMax || length > BlockBytesMax {
		return Block{}, 0, fmt.Errorf("%w: block of %d commands, %d bytes exceeds the limits %d, %d", ErrFormat, count, length, BlockCommandsMax, BlockBytesMax)
	}
	if count > length || count == 0 && length != 0 {
		return Block{}, 0, fmt.Errorf("%w: block of %d commands in %d bytes", ErrFormat, count, length)
	}
	if count > 0 && le.Uint64(p) != 0 {
		if first := le.Uint64(p[8:]); first == 0 || first+uint64(count) < first {
			return Block{}, 0, fmt.Errorf("%w: block with first sequence number %d", ErrFormat, first)
		}
	}
	n := BlockHeaderSize + int(length)
	if len(p) < n {
		return Block{}, 0, fmt.Errorf("%w: block of %d bytes cut to %d", ErrFormat, n, len(p))
	}
	return Block{p[:n:n]}, n, nil
}

// Session is the session the block belongs to; 0: none.
func (b Block) Session() SessionID { return SessionID(le.Uint64(b.b)) }

// First is the sequence number of the first command.
func (b Block) First() Seq { return Seq(le.Uint64(b.b[8:])) }

// Acked tells that the client has the replies of every sequence number below it.
func (b Block) Acked() Seq { return Seq(le.Uint64(b.b[16:])) }

// Count is the number of commands.
func (b Block) Count() int { return int(le.Uint32(b.b[24:])) }

// Bytes is the whole encoding, header included.
func (b Block) Bytes() []byte { return b.b }

// Commands iterates over the commands.
func (b Block) Commands() CommandIter {
	return CommandIter{p: b.b[BlockHeaderSize:], left: b.Count()}
}

// emptyResult is what Next gives for each of a reply's empty results: not nil, which would mean a broken one.
var emptyResult = []byte{}

// CommandIter walks the commands of a block, or the results of a reply. It keeps an offset and does not cut the front off
// a slice, because three words less go through memory for each command; the way of a short command is kept to one
// function without a call for the same reason.
type CommandIter struct {
	p     []byte
	at    int // of the next command in p
	left  int
	empty bool // every entry is empty and p holds nothing (Reply.Empty)
}

// Next returns the next command, a view. ok is false at the end of the block; a malformed block yields nil commands
// with ok true for whatever Count still promised, so that every replica sees the same number of commands. An empty
// command is not nil.
func (it *CommandIter) Next() (cmd []byte, ok bool) {
	at := it.at
	if it.left > 0 && at < len(it.p) {
		n := int(it.p[at])
		if end := at + 1 + n; n < 0x80 && end <= len(it.p) {
			it.left--
			it.at = end
			return it.p[at+1 : end : end], true
		}
	}
	return it.other()
}

// other is Next in every case but that of a short command.
func (it *CommandIter) other() (cmd []byte, ok bool) {
	if it.left == 0 {
		return nil, false
	}
	it.left--
	if it.empty {
		return emptyResult, true
	}
	rest := it.p[it.at:]
	n, w := binary.Uvarint(rest)
	if w <= 0 || n > uint64(len(rest)-w) {
		it.at = len(it.p)
		return nil, true
	}
	it.at += w + int(n)
	return rest[w : w+int(n) : w+int(n)], true
}

// CheckCommands verifies that the block's bytes are exactly Count well-formed commands. It costs a pass over the
// block; clients' libraries and tests use it, the replication path does not.
func (b Block) CheckCommands() error {
	rest := b.b[BlockHeaderSize:]
	for i := range b.Count() {
		n, w := binary.Uvarint(rest)
		if w <= 0 || n > uint64(len(rest)-w) {
			return fmt.Errorf("%w: command %d of %d overruns its block", ErrFormat, i, b.Count())
		}
		if n > CommandBytesMax {
			return fmt.Errorf("%w: command %d of %d bytes exceeds the limit %d", ErrFormat, i, n, CommandBytesMax)
		}
		rest = rest[w+int(n):]
	}
	if len(rest) != 0 {
		return fmt.Errorf("%w: %d bytes after the last command of a block", ErrFormat, len(rest))
	}
	return nil
}
