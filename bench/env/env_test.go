package env

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A fingerprint with empty fields would let results of different machines pass for each other's.
func TestCollect(t *testing.T) {
	i := Collect(".")
	if i.Kernel == "" || i.CPU == "" || i.Cores < 1 || i.MemoryBytes < 1<<20 || i.Go == "" || i.GOMAXPROCS < 1 {
		t.Errorf("incomplete: %+v", i)
	}
	if i.Disk.Type == "" || i.Disk.Mount == "" || i.Disk.Free <= 0 {
		t.Errorf("incomplete disk: %+v", i.Disk)
	}
}

// The wrong row of the mount table would call a tmpfs a disk, and every fsync on it real.
func TestDiskOf(t *testing.T) {
	if d, err := DiskOf("/dev/shm"); err == nil && d.Mount == "/dev/shm" && !d.Memory() {
		t.Errorf("/dev/shm is %+v", d)
	}
	if d, err := DiskOf("/proc/self"); err != nil || d.Type != "proc" || d.Memory() {
		t.Errorf("/proc/self is %+v, %v", d, err)
	}
	missing := filepath.Join(t.TempDir(), "not", "there", "yet")
	d, err := DiskOf(missing)
	if err != nil || d.Type == "" || d.Path != missing {
		t.Errorf("a directory to come: %+v, %v", d, err)
	}
}

// Rows of mountinfo hold optional fields and escaped blanks; misread, the type would come from the wrong column.
func TestParseMount(t *testing.T) {
	m, ok := parseMount(`36 35 98:0 /mnt1 /mnt\0402 rw,noatime master:1 shared:2 - ext3 /dev/root rw,errors=continue`)
	if want := (Disk{Mount: "/mnt 2", Type: "ext3", Device: "/dev/root"}); !ok || m != want {
		t.Errorf("got %+v, %v", m, ok)
	}
	if _, ok := parseMount("36 35 98:0"); ok {
		t.Error("a cut row was taken")
	}
	if within("/data2", "/data") || !within("/data/x", "/data") || !within("/data", "/") {
		t.Error("a mount must match whole path elements")
	}
}

// Disk usage by file lengths would not see preallocated segments, and that is where the space is.
func TestBytes(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a"), make([]byte, 64<<10), 0o644); err != nil {
		t.Fatal(err)
	}
	if n, err := Bytes(dir); err != nil || n < 64<<10 || n > 1<<20 {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// Percentiles of a probe off by one at the ends would panic or name a value that was not measured.
func TestTimesOf(t *testing.T) {
	if got := timesOf(nil); got != (Times{}) {
		t.Errorf("of nothing: %+v", got)
	}
	if got := timesOf([]int64{7}); got != (Times{P50: 7, P99: 7, P999: 7, Max: 7, Count: 1}) {
		t.Errorf("of one: %+v", got)
	}
	sample := make([]int64, 1000)
	for i := range sample {
		sample[i] = int64(1000 - i)
	}
	if got := timesOf(sample); got != (Times{P50: 501, P99: 991, P999: 1000, Max: 1000, Count: 1000}) {
		t.Errorf("of 1..1000: %+v", got)
	}
}

// A probe could measure nothing, leave its file behind, or hang on its own connection.
func TestProbes(t *testing.T) {
	const brief = 20 * time.Millisecond
	ctx := context.Background()
	dir := t.TempDir()
	times, err := Fsync(ctx, dir, brief)
	if err != nil || times.Count == 0 || times.P50 <= 0 {
		t.Errorf("fsync: %+v, %v", times, err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if times, err = LoopbackRTT(ctx, brief); err != nil || times.Count == 0 || times.P50 <= 0 {
		t.Errorf("rtt: %+v, %v", times, err)
	}
	if rate, err := LoopbackBandwidth(ctx, brief); err != nil || rate <= 0 {
		t.Errorf("bandwidth: %v, %v", rate, err)
	}
	if CRC32C(time.Millisecond) <= 0 || Copy(time.Millisecond) <= 0 {
		t.Error("memory probes measured nothing")
	}
}

// A cancelled probe must end at once: it runs before every benchmark.
func TestProbeCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	start := time.Now()
	if _, err := LoopbackRTT(ctx, time.Minute); err == nil {
		t.Error("no error from a cancelled probe")
	}
	if _, err := Fsync(ctx, t.TempDir(), time.Minute); err == nil {
		t.Error("no error from a cancelled probe")
	}
	if took := time.Since(start); took > 50*time.Second { // of the two minutes
		t.Errorf("took %s", took)
	}
}
