// Package env says where a number was measured: the machine's fingerprint, and probes of its limits (disk, loopback,
// memory, and the bare replicated pipe: what replication would cost if there were no protocol).
package env

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Info is the machine's fingerprint. What cannot be read is left empty.
type Info struct {
	Host        string `json:"host"`
	OS          string `json:"os"`
	Kernel      string `json:"kernel"`
	Arch        string `json:"arch"`
	CPU         string `json:"cpu"`
	Cores       int    `json:"cores"` // that this process may use
	GOMAXPROCS  int    `json:"gomaxprocs"`
	Governor    string `json:"governor,omitempty"`
	MemoryBytes int64  `json:"memory_bytes"`
	Go          string `json:"go"`
	Commit      string `json:"commit,omitempty"`
	Modified    bool   `json:"modified"` // the commit plus changes
	Disk        Disk   `json:"disk"`
	// StealNanos is processor time that the hypervisor gave to others, over all cores, during the measurement.
	StealNanos int64 `json:"steal_ns"`
}

// Collect reads the fingerprint; dataDir is where the logs will be, or an existing parent of it.
func Collect(dataDir string) Info {
	i := Info{
		OS: runtime.GOOS, Arch: runtime.GOARCH, Cores: runtime.NumCPU(), GOMAXPROCS: runtime.GOMAXPROCS(0),
		Go: runtime.Version(), CPU: cpuModel(), MemoryBytes: memoryBytes(),
		Governor: readLine("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
	}
	i.Host, _ = os.Hostname()
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		i.Kernel = unix.ByteSliceToString(name.Release[:])
	}
	i.Commit, i.Modified = Commit()
	i.Disk, _ = DiskOf(dataDir)
	return i
}

func readLine(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimSpace(line)
}

// field gives the value of the first line "key : value" of a file under /proc.
func field(path, key string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		k, v, ok := strings.Cut(lines.Text(), ":")
		if ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func cpuModel() string {
	for _, key := range []string{"model name", "Processor", "cpu model", "CPU implementer"} {
		if v := field("/proc/cpuinfo", key); v != "" {
			return v
		}
	}
	return ""
}

func memoryBytes() int64 {
	kib, err := strconv.ParseInt(strings.TrimSuffix(field("/proc/meminfo", "MemTotal"), " kB"), 10, 64)
	if err != nil {
		return 0
	}
	return kib << 10
}

const modulePath = "github.com/paxbench/paxbench"

// Commit is the revision this binary was built from. `go run` does not stamp it; then the working directory is
// asked, if it is a checkout of this module.
func Commit() (revision string, modified bool) {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				revision = s.Value
			case "vcs.modified":
				modified = s.Value == "true"
			}
		}
	}
	if revision != "" {
		return revision, modified
	}
	top := git("rev-parse", "--show-toplevel")
	if top == "" || readLine(filepath.Join(top, "go.mod")) != "module "+modulePath {
		return "", false
	}
	return git("rev-parse", "HEAD"), git("status", "--porcelain") != ""
}

func git(args ...string) string {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "git", args...).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// clockTick is the unit of /proc/stat: USER_HZ, 100 on every Linux that Go runs on.
const clockTick = 10 * time.Millisecond

// Steal is the processor time stolen by the hypervisor since boot, over all cores; 0 if unknown.
func Steal() time.Duration {
	fields := strings.Fields(readLine("/proc/stat")) // cpu user nice system idle iowait irq softirq steal ...
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0
	}
	ticks, err := strconv.ParseInt(fields[8], 10, 64)
	if err != nil {
		return 0
	}
	return time.Duration(ticks) * clockTick
}

// ProcessCPU is the processor time this process has used, user and system.
func ProcessCPU() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
