package env

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Times is a sample of durations in nanoseconds.
type Times struct {
	P50   int64 `json:"p50"`
	P99   int64 `json:"p99"`
	P999  int64 `json:"p999"`
	Max   int64 `json:"max"`
	Count int   `json:"count"`
}

func timesOf(sample []int64) Times {
	if len(sample) == 0 {
		return Times{}
	}
	slices.Sort(sample)
	at := func(q float64) int64 { return sample[min(len(sample)-1, int(q*float64(len(sample))))] }
	return Times{P50: at(0.50), P99: at(0.99), P999: at(0.999), Max: sample[len(sample)-1], Count: len(sample)}
}

// fsyncBytes is what is written before each fdatasync of the probe: a small group of a log.
const fsyncBytes = 4 << 10

// probeFileBytes is the size of the preallocated file: written over in a circle.
const probeFileBytes = 4 << 20

// Fsync writes fsyncBytes and calls fdatasync, again and again for length, on a preallocated and zero-filled file in
// dir: what one group commit costs at least. The file is removed.
func Fsync(ctx context.Context, dir string, length time.Duration) (Times, error) {
	f, err := os.CreateTemp(dir, "probe-fsync-*")
	if err != nil {
		return Times{}, fmt.Errorf("env: fsync probe: %w", err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	// Filled, not only allocated: the first write to an unwritten extent changes the file system's journal too.
	if _, err := f.Write(make([]byte, probeFileBytes)); err != nil {
		return Times{}, fmt.Errorf("env: fsync probe: %w", err)
	}
	if err := f.Sync(); err != nil {
		return Times{}, fmt.Errorf("env: fsync probe: %w", err)
	}
	block := make([]byte, fsyncBytes)
	var sample []int64
	begin := time.Now()
	for i := 0; time.Since(begin) < length && ctx.Err() == nil; i++ {
		block[0] = byte(i)
		at := int64(i*fsyncBytes) % probeFileBytes
		start := time.Now()
		if _, err := f.WriteAt(block, at); err != nil {
			return Times{}, fmt.Errorf("env: fsync probe: %w", err)
		}
		if err := unix.Fdatasync(int(f.Fd())); err != nil {
			return Times{}, fmt.Errorf("env: fsync probe: fdatasync: %w", err)
		}
		sample = append(sample, int64(time.Since(start)))
	}
	return timesOf(sample), context.Cause(ctx)
}

// echoBytes is the size of the round-trip probe's message.
const echoBytes = 64

// LoopbackRTT sends small messages to and fro over one loopback TCP connection for length.
func LoopbackRTT(ctx context.Context, length time.Duration) (Times, error) {
	var sample []int64
	err := overLoopback(ctx, length, func(server net.Conn) error {
		_, err := io.Copy(struct{ io.Writer }{server}, struct{ io.Reader }{server}) // bare: no splice
		return err
	}, func(client net.Conn) error {
		message := make([]byte, echoBytes)
		for begin := time.Now(); time.Since(begin) < length; {
			start := time.Now()
			if _, err := client.Write(message); err != nil {
				return err
			}
			if _, err := io.ReadFull(client, message); err != nil {
				return err
			}
			sample = append(sample, int64(time.Since(start)))
		}
		return nil
	})
	return timesOf(sample), err
}

// LoopbackBandwidth streams over one loopback TCP connection for length, one reader and one writer, and gives bytes
// per second.
func LoopbackBandwidth(ctx context.Context, length time.Duration) (float64, error) {
	const chunk = 256 << 10
	var sent int64
	var took time.Duration
	err := overLoopback(ctx, length, func(server net.Conn) error {
		buf := make([]byte, chunk)
		for {
			if _, err := server.Read(buf); err != nil {
				return err
			}
		}
	}, func(client net.Conn) error {
		buf := make([]byte, chunk)
		begin := time.Now()
		for took < length {
			n, err := client.Write(buf)
			sent += int64(n)
			took = time.Since(begin)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if took == 0 {
		return 0, err
	}
	return float64(sent) / took.Seconds(), err
}

// overLoopback runs the two ends of one connection and ends both when the client is done, ctx ends, or length is long
// over.
func overLoopback(ctx context.Context, length time.Duration, server, client func(net.Conn) error) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("env: loopback probe: %w", err)
	}
	defer l.Close()
	served := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			served <- err
			return
		}
		defer conn.Close()
		served <- server(conn)
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return fmt.Errorf("env: loopback probe: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	conn.SetDeadline(time.Now().Add(length + 5*time.Second))
	err = client(conn)
	conn.Close()
	serverErr := <-served
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("env: loopback probe: %w", errors.Join(err, serverErr))
	}
	return nil
}

// memoryBytesPerProbe is larger than second-level caches and smaller than most last-level ones.
const memoryBytesPerProbe = 4 << 20

// CRC32C is the speed of the checksum of every frame, in bytes per second on one core.
func CRC32C(length time.Duration) float64 {
	buf := make([]byte, memoryBytesPerProbe)
	table := crc32.MakeTable(crc32.Castagnoli)
	return bytesPerSecond(length, func() int {
		// The sum goes into what is summed next, so that no compiler can leave it out.
		sum := crc32.Checksum(buf, table)
		buf[0], buf[1] = byte(sum), byte(sum>>8)
		return len(buf)
	})
}

// Copy is the speed of copy(), in bytes per second on one core.
func Copy(length time.Duration) float64 {
	from, to := make([]byte, memoryBytesPerProbe), make([]byte, memoryBytesPerProbe)
	return bytesPerSecond(length, func() int {
		n := copy(to, from)
		from[0] = to[n-1] + 1
		return n
	})
}

func bytesPerSecond(length time.Duration, once func() int) float64 {
	once() // page in
	done := 0
	begin := time.Now()
	took := time.Duration(0)
	for took < length {
		done += once()
		took = time.Since(begin)
	}
	return float64(done) / took.Seconds()
}
