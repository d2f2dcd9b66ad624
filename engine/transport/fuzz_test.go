package transport

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/paxbench/paxbench/wire"
)

// deadConn is a connection whose bytes come from a reader and whose deadlines never fire.
type deadConn struct {
	net.Conn
	r io.Reader
}

func (c deadConn) Read(p []byte) (int, error)      { return c.r.Read(p) }
func (c deadConn) SetReadDeadline(time.Time) error { return nil }

// FuzzOpening: no first bytes may panic, make a peer of a stranger, or be read beyond the introduction.
func FuzzOpening(f *testing.F) {
	good := appendIntroduction(nil, testCluster, 2, 1)
	f.Add(good)
	f.Add(edited(good, 8, 2))
	f.Add(edited(good, 11, 0))
	f.Add(good[:30])
	f.Add([]byte(wire.ClientPreamble))
	f.Add([]byte("GET / HTTP/1.1\r\n"))
	f.Add([]byte{0x16, 3, 1, 2, 0, 1, 0, 1})
	f.Fuzz(func(t *testing.T, p []byte) {
		r := bytes.NewReader(p)
		o, err := readOpening(r, testCluster, 1, func(id wire.NodeID) bool { return id == 2 || id == 3 })
		if used := len(p) - r.Len(); used > introductionSize {
			t.Fatalf("read %d bytes", used)
		}
		if err != nil {
			return
		}
		if o.peer {
			if want := appendIntroduction(nil, testCluster, o.from, 1); !bytes.HasPrefix(p, want) || o.from != 2 && o.from != 3 {
				t.Fatalf("took %q for node %d", p, o.from)
			}
		} else if !bytes.HasPrefix(p, []byte(wire.ClientPreamble)) {
			t.Fatalf("took %q for a client", p)
		}
	})
}

// FuzzFrames: no bytes may panic, leak a buffer, come out as a frame that they are not, or make the reader allocate
// more than a constant and twice what came. One byte at a time must give the same as all at once.
func FuzzFrames(f *testing.F) {
	accept := copyOf(newFrame(2, 300, 1))
	f.Add(accept)
	f.Add(append(bytes.Clone(accept), copyOf(query(testCluster, 3, 5))...))
	f.Add(edited(accept, 24, 255, 255, 255, 255))
	f.Add(edited(accept, 24, 0, 0, 0xb0, 0))
	f.Add(edited(accept, 100, 1))
	f.Add(append([]byte(denial), make([]byte, 24)...))
	f.Fuzz(func(t *testing.T, p []byte) {
		mark := wire.Outstanding()
		whole := readAll(t, bytes.NewReader(p), p)
		if split := readAll(t, &oneByte{p}, p); split != whole {
			t.Fatalf("%d bytes of frames at once, %d one by one", whole, split)
		}
		if wire.Outstanding() != mark {
			t.Fatal("leaked a buffer")
		}
	})
}

// readAll reads frames from r, which gives p, until it fails, and returns how many bytes they took.
func readAll(t *testing.T, r io.Reader, p []byte) (used int) {
	const step = 256
	in := input{raw: deadConn{r: r}, timeout: time.Hour}
	br := bufio.NewReaderSize(&in, readBuffer)
	for {
		f, h, err := in.frame(br, wire.FrameMax, step)
		if err != nil {
			var blame *rejection
			var told *DeniedError
			if err != io.EOF && !errors.As(err, &blame) && !errors.As(err, &told) {
				t.Fatalf("error without a reason: %v", err)
			}
			return used
		}
		if f.Len() != h.Size() || used+f.Len() > len(p) || !bytes.Equal(f.Bytes(), p[used:used+f.Len()]) {
			t.Fatalf("frame of %d bytes at %d is not what was sent", f.Len(), used)
		}
		used += f.Len()
		f.Release()
	}
}

// oneByte is a reader that gives one byte at a time.
type oneByte struct{ rest []byte }

func (o *oneByte) Read(p []byte) (int, error) {
	if len(o.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:1], o.rest)
	o.rest = o.rest[n:]
	return n, nil
}

// The buffer of a frame must grow with what has come, by at most doubling: this is what keeps a lying length cheap.
func TestFrameGrowsWithWhatCame(t *testing.T) {
	for _, size := range []int{100, 5000, 200_000, 3 << 20} {
		want := copyOf(newFrame(2, size, 1))
		for _, step := range []int{128, 4096, peerStep} {
			meter := &growth{rest: want}
			f, err := readWhole(bufio.NewReaderSize(meter, 16), len(want), step)
			if err != nil || !bytes.Equal(f.Bytes(), want) {
				t.Fatalf("size %d, step %d: %v", size, step, err)
			}
			f.Release()
			// bufio passes large reads through, so each asks for what the buffer has room for.
			for i, asked := range meter.asked {
				if limit := max(step, meter.given[i]) * 3 / 2; asked > limit+128 {
					t.Errorf("size %d, step %d: asked for %d bytes after %d", size, step, asked, meter.given[i])
				}
			}
		}
	}
}

// growth notes how much room each read had, and how much had been given before.
type growth struct {
	rest         []byte
	total        int
	asked, given []int
}

func (g *growth) Read(p []byte) (int, error) {
	g.asked, g.given = append(g.asked, len(p)), append(g.given, g.total)
	n := copy(p, g.rest)
	g.rest, g.total = g.rest[n:], g.total+n
	return n, nil
}
