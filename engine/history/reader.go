package history

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// DamageError: a file is not a whole history.
type DamageError struct {
	Offset int64 // of the frame that is damaged
	Why    string
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("history: damaged at offset %d: %s", e.Offset, e.Why)
}

// Reader reads a history.
type Reader struct {
	Head Head

	src    io.Reader
	offset int64 // of the frame that is read
	next   int64 // of the one behind it
	header [frameHeaderSize]byte
	packed []byte
	plain  []byte
	coder  *zstd.Decoder
}

// NewReader reads the head of a history.
func NewReader(src io.Reader) (*Reader, error) {
	coder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(plainMax))
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	r := &Reader{src: src, coder: coder}
	kind, _, err := r.frame()
	switch {
	case err != nil:
		return nil, err
	case kind != frameHead:
		return nil, r.damage("this is not the beginning of a history")
	}
	if err := json.Unmarshal(r.plain, &r.Head); err != nil {
		return nil, r.damage("its head is not readable: %v", err)
	}
	if r.Head.Version != FormatVersion {
		return nil, fmt.Errorf("history: format version %d: this program reads %d", r.Head.Version, FormatVersion)
	}
	return r, nil
}

func (r *Reader) damage(format string, args ...any) error {
	return &DamageError{r.offset, fmt.Sprintf(format, args...)}
}

// All gives every call to fn, which may not keep it, and ends with the tail. An error of fn ends it.
func (r *Reader) All(fn func(*Call) error) (Tail, error) {
	defer r.coder.Close()
	var c Call
	var seen uint64
	for {
		kind, calls, err := r.frame()
		if err != nil {
			return Tail{}, err
		}
		switch kind {
		case frameTail:
			return r.tail(seen)
		case frameCalls:
		default:
			return Tail{}, r.damage("a frame of kind %d does not belong here", kind)
		}
		var d coder
		rest := r.plain
		for range calls {
			if rest, err = d.next(rest, &c); err != nil {
				return Tail{}, r.damage("%v", err)
			}
			if err := fn(&c); err != nil {
				return Tail{}, err
			}
		}
		if len(rest) > 0 {
			return Tail{}, r.damage("%d bytes follow its last call", len(rest))
		}
		seen += uint64(calls)
	}
}

func (r *Reader) tail(seen uint64) (t Tail, err error) {
	if err := json.Unmarshal(r.plain, &t); err != nil {
		return t, r.damage("its tail is not readable: %v", err)
	}
	if t.Calls != seen {
		return t, r.damage("%d calls were written, %d are there", t.Calls, seen)
	}
	r.offset = r.next
	if n, _ := io.ReadFull(r.src, r.header[:1]); n > 0 {
		return t, r.damage("bytes follow its end")
	}
	return t, nil
}

// frame reads the next frame into r.plain.
func (r *Reader) frame() (kind byte, calls uint32, err error) {
	r.offset = r.next
	if _, err := io.ReadFull(r.src, r.header[:]); err != nil {
		return 0, 0, r.cut(err)
	}
	h := &r.header
	size, plain := binary.LittleEndian.Uint32(h[4:]), binary.LittleEndian.Uint32(h[8:])
	calls = binary.LittleEndian.Uint32(h[12:])
	if h[0] < frameHead || h[0] > frameTail || h[1]|h[2]|h[3] != 0 || size > plainMax || plain > plainMax || calls > plain {
		return 0, 0, r.damage("this is not the header of a frame")
	}
	r.packed = append(append(r.packed[:0], h[:]...), make([]byte, size)...)
	if _, err := io.ReadFull(r.src, r.packed[frameHeaderSize:]); err != nil {
		return 0, 0, r.cut(err)
	}
	if checksum(r.packed) != binary.LittleEndian.Uint32(h[16:]) {
		return 0, 0, r.damage("the checksum of its frame of %d bytes is wrong", size)
	}
	r.next += frameHeaderSize + int64(size)
	r.plain, err = r.coder.DecodeAll(r.packed[frameHeaderSize:], r.plain[:0])
	if err != nil || len(r.plain) != int(plain) {
		return 0, 0, r.damage("its frame does not decompress to %d bytes: %v", plain, err)
	}
	return h[0], calls, nil
}

func (r *Reader) cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return r.damage("it ends here, before its end mark: the recording or a copy of it was cut")
	}
	return fmt.Errorf("history: %w", err)
}
