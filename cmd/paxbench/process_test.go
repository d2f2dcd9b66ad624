package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/paxbench/paxbench/bench/cluster"
	"github.com/paxbench/paxbench/bench/result"
	"github.com/paxbench/paxbench/wire"
)

// small are flags of a run that is over soon.
func small(t *testing.T, more ...string) []string {
	return append([]string{
		"run", "--clients", "2", "--inflight", "64", "--keys", "200", "--rate", "1000", "--warmup", "200ms", "--duration", "1s",
		"--segment-bytes", "1MiB", "--seed", "7", "--data-dir", t.TempDir(), "--allow-tmpfs", "--no-probe", "--format", "json", "-q",
	}, more...)
}

// decode reads a result and checks that the exit code tells the same as the verdicts.
func decode(t *testing.T, code int, stdout, stderr string) *result.Result {
	t.Helper()
	r, err := result.Decode(strings.NewReader(stdout))
	if err != nil {
		t.Fatalf("exit %d, %v\n%s\n%s", code, err, stdout, stderr)
	}
	want := exitOK
	switch {
	case r.Safety.Verdict == result.Violated:
		want = exitViolated
	case r.Partial:
		want = exitInterrupted
	case r.Validity.Verdict == result.Invalid:
		want = exitInvalid // this machine may be busy
	}
	for _, s := range r.SLOs {
		if want == exitOK && !s.Met {
			want = exitSLO
		}
	}
	if code != want {
		t.Errorf("exit %d, want %d: %+v %+v\n%s", code, want, r.Safety, r.Validity, stderr)
	}
	if r.Safety.Verdict != result.OK || r.Safety.Acked == 0 {
		t.Errorf("safety %+v", r.Safety)
	}
	return r
}

// judged demands that the history was found linearizable; of a slow machine only that it decides what it has time for: the results of
// all calls were compared with the log all the same.
func judged(t *testing.T, r *result.Result) {
	t.Helper()
	s := r.Safety
	if h := s.History; s.Linearizable != result.OK && (s.Linearizable != result.Unknown || h == nil || h.Undecided == 0) {
		t.Errorf("%+v %+v", s, h)
	}
}

// The command as a whole could print its result where progress belongs, record another result than it shows, or say in
// its exit code something else than in its report.
func TestRunCommand(t *testing.T) {
	t.Parallel()
	record := filepath.Join(t.TempDir(), "r.json")
	code, out, errs := spawn(t, small(t, "--fault", "kill:leader@200ms+300ms", "--slo", "p50<1ns", "-o", record)...)
	r := decode(t, code, out, errs)
	if errs != "" {
		t.Errorf("quiet, and yet: %s", errs)
	}
	// On a slow machine the run may be over before there is another leader: Never.
	if len(r.Faults) != 1 || r.Faults[0].Unavailable == 0 || len(r.SLOs) != 1 || r.SLOs[0].Met || r.Seed != 7 {
		t.Errorf("faults %+v, objectives %+v, seed %d", r.Faults, r.SLOs, r.Seed)
	}
	if kept, err := readAny(record); err != nil || kept.run.Throughput != r.Throughput {
		t.Errorf("recorded %+v, %v", kept, err)
	}
	for format, want := range map[string]string{"text": "SAFETY", "markdown": "|", "go": "Benchmark", "json": `"schema_version"`} {
		code, out, errs := call(nil, "report", record, "--format", format)
		if code != exitOK || !strings.Contains(out, want) {
			t.Errorf("report as %s: exit %d, %s\n%s", format, code, errs, out)
		}
	}
	if err := os.WriteFile(record, []byte(out[:len(out)/2]), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := call(nil, "report", record); code != exitRuntime || !strings.Contains(errs, record) {
		t.Errorf("a cut record: exit %d, %s", code, errs)
	}
}

// A count of operations must not be cut short by the default duration, and a fault that it never reached must be told.
func TestOps(t *testing.T) {
	t.Parallel()
	code, out, errs := spawn(t, "run", "--nodes", "1", "--cluster", "inproc", "--clients", "1", "--inflight", "8", "--ops", "100", "--warmup", "0",
		"--segment-bytes", "1MiB", "--data-dir", t.TempDir(), "--allow-tmpfs", "--no-probe", "--format", "json", "-q")
	if r := decode(t, code, out, errs); r.Config.Duration != 0 || r.Throughput.Ops != 100 {
		t.Errorf("%+v", r.Throughput)
	}
	code, out, errs = spawn(t, "run", "--nodes", "1", "--clients", "1", "--inflight", "8", "--ops", "100", "--fault", "kill:1@1m+1s",
		"--segment-bytes", "1MiB", "--data-dir", t.TempDir(), "--allow-tmpfs", "--no-probe", "--format", "json", "-q")
	if r := decode(t, code, out, errs); code != exitInvalid || !strings.Contains(strings.Join(r.Validity.Reasons, " "), "faults had struck") {
		t.Errorf("exit %d, %+v", code, r.Validity)
	}
}

// Numbers of a generator that could not keep its rate are numbers of the generator: they must not pass for the
// cluster's, neither in the report nor in the exit code.
func TestSaturatedGenerator(t *testing.T) {
	t.Parallel()
	code, out, errs := spawn(t, "run", "--nodes", "1", "--cluster", "inproc", "--clients", "1", "--inflight", "1", "--rate", "15000", "--warmup", "0",
		"--duration", "800ms", "--segment-bytes", "1MiB", "--data-dir", t.TempDir(), "--allow-tmpfs", "--no-probe", "--format", "json", "-q")
	r := decode(t, code, out, errs)
	if reasons := strings.Join(r.Validity.Reasons, " "); code != exitInvalid || r.Validity.Verdict != result.Invalid || !strings.Contains(reasons, "--rate") {
		t.Errorf("exit %d, %+v", code, r.Validity)
	}
	// The medians: one stall of this machine is the 99th percentile of both, of so few that were sent.
	if l := r.Latency; l.Response.P50 < 2*l.Service.P50 || l.Lag.P50 == 0 {
		t.Errorf("the wait in the generator is hidden: %+v", l)
	}
}

// Settings in our environment are not the children's: a configuration file of run would be a bad one of serve.
func TestEnvironmentStaysHere(t *testing.T) {
	t.Parallel()
	config := filepath.Join(t.TempDir(), "run.yaml")
	if err := os.WriteFile(config, []byte("keys: 100\nbatch-delay: 1ms\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, small(t, "--nodes", "1", "--duration", "200ms")...)
	cmd.Env = append(os.Environ(), "PAXBENCH_CONFIG="+config, "PAXBENCH_LISTEN=nowhere", "PAXBENCH_WINDOW=9")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Run()
	if r := decode(t, cmd.ProcessState.ExitCode(), out.String(), errs.String()); r.Config.Window != 9 || r.Config.BatchDelay != int64(time.Millisecond) {
		t.Errorf("%+v", r.Config)
	}
}

// Progress is for people who wait: on standard error, a plain line at a time where there is no terminal, no control
// characters.
func TestProgress(t *testing.T) {
	t.Parallel()
	args := small(t, "--cluster", "inproc", "--nodes", "1", "--format", "text", "-v")
	args = append(args, "-q=false")
	_, out, errs := spawn(t, args...)
	if !strings.Contains(errs, "ops/s") || !strings.Contains(errs, "node 1 leads") || strings.ContainsAny(errs, "\r\x1b") {
		t.Errorf("progress:\n%s", errs)
	}
	if !strings.Contains(out, "THROUGHPUT") || strings.Contains(out, "\x1b") {
		t.Errorf("report:\n%s", out)
	}
}

// started is a run whose load has begun, with the process ids of its children. told is closed when it says that it was interrupted.
func started(t *testing.T, args ...string) (cmd *exec.Cmd, out *bytes.Buffer, children []int, told <-chan struct{}) {
	t.Helper()
	cmd = exec.Command(program, args...)
	out = &bytes.Buffer{}
	cmd.Stdout = out
	errs, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	lines := bufio.NewScanner(errs)
	for lines.Scan() && !strings.Contains(lines.Text(), "/60s") { // a line of the measured time
	}
	heard := make(chan struct{})
	go func() {
		for lines.Scan() {
			if strings.Contains(lines.Text(), "Once more ends everything") {
				close(heard)
			}
		}
	}()
	return cmd, out, childrenOf(t, cmd.Process.Pid), heard
}

func childrenOf(t *testing.T, parent int) (pids []int) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range stats {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // gone meanwhile
		}
		_, rest, _ := strings.Cut(string(text), ") ")
		fields := strings.Fields(rest)
		if len(fields) > 1 && fields[1] == strconv.Itoa(parent) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
			pids = append(pids, pid)
		}
	}
	return pids
}

func mustEnd(t *testing.T, pids []int) {
	t.Helper()
	for _, pid := range pids {
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			if err != nil || strings.Contains(string(text), ") Z ") {
				break
			}
			if time.Now().After(deadline) {
				syscall.Kill(pid, syscall.SIGKILL)
				t.Errorf("child %d is still there", pid)
				break
			}
		}
	}
}

// The first ^C must give an honest partial result, the second must end everything at once; children must die in any case,
// also when we are killed and can do nothing about it.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	long := func() []string { return small(t, "--duration", "60s", "-q=false") }
	t.Run("once", func(t *testing.T) {
		t.Parallel()
		cmd, out, children, _ := started(t, long()...)
		cmd.Process.Signal(os.Interrupt)
		cmd.Wait()
		if r := decode(t, cmd.ProcessState.ExitCode(), out.String(), ""); !r.Partial {
			t.Error("not marked partial")
		}
		mustEnd(t, children)
	})
	t.Run("twice", func(t *testing.T) {
		t.Parallel()
		args := long()
		cmd, out, children, told := started(t, args...)
		if len(children) != 3 {
			t.Errorf("children %v", children)
		}
		syscall.Kill(children[0], syscall.SIGSTOP) // so that the checks after the first ^C cannot end
		cmd.Process.Signal(os.Interrupt)
		select {
		case <-told:
		case <-time.After(time.Minute):
			t.Error("the first ^C is not answered")
		}
		cmd.Process.Signal(os.Interrupt)
		cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != exitInterrupted || out.Len() != 0 {
			t.Errorf("exit %d, output %q", code, out)
		}
		mustEnd(t, children)
		for i, arg := range args {
			if arg == "--data-dir" {
				if left, _ := os.ReadDir(args[i+1]); len(left) != 0 {
					t.Errorf("left behind: %v", left)
				}
			}
		}
	})
	t.Run("killed", func(t *testing.T) {
		t.Parallel()
		cmd, _, children, _ := started(t, long()...)
		cmd.Process.Kill()
		cmd.Wait()
		if len(children) != 3 {
			t.Errorf("children %v", children)
		}
		mustEnd(t, children)
	})
}

// server is a `paxbench serve` that runs.
type server struct {
	cmd   *exec.Cmd
	ready cluster.Ready
	log   *bytes.Buffer
	input io.Closer
}

// serveArgs are the flags of node of a cluster on these addresses.
func serveArgs(node int, dir, peers string, more ...string) []string {
	return append([]string{
		"serve", "--node", strconv.Itoa(node), "--cluster-id", "7", "--peers", peers, "--data-dir", dir,
		"--segment-bytes", "1MiB", "--ready", "json",
	}, more...)
}

func startServer(t *testing.T, args ...string) *server {
	t.Helper()
	return startServerIn(t, nil, args...)
}

// startServerIn is startServer in an environment; nil: this one.
func startServerIn(t *testing.T, environ []string, args ...string) *server {
	t.Helper()
	s := &server{cmd: exec.Command(program, args...), log: &bytes.Buffer{}}
	s.cmd.Stderr, s.cmd.Env = s.log, environ
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if s.input, err = s.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.cmd.Process.Kill()
		s.cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		s.cmd.Wait()
		t.Fatalf("no ready line: %v\n%s", err, s.log)
	}
	if err := json.Unmarshal(line, &s.ready); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	return s
}

func (s *server) end(t *testing.T) {
	t.Helper()
	s.cmd.Process.Signal(syscall.SIGTERM)
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("node %d: %v\n%s", s.ready.Node, err, s.log)
	}
}

// freeAddrs gives addresses that nobody listens on, and that the kernel gives to nobody else until the test is over: a node that is down
// for a while finds its own free.
func freeAddrs(t *testing.T, n int) (addrs []string) {
	t.Helper()
	for range n {
		p, err := cluster.ReservePort()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Release)
		addrs = append(addrs, p.Addr)
	}
	return addrs
}

// A cluster put together by hand, and a load against it: what serve and load are for.
func TestServeAndLoad(t *testing.T) {
	t.Parallel()
	addrs := freeAddrs(t, 3)
	peers := fmt.Sprintf("1=%s,2=%s,3=%s", addrs[0], addrs[1], addrs[2])
	var servers []*server
	for i := range addrs {
		s := startServer(t, serveArgs(i+1, filepath.Join(t.TempDir(), "data"), peers, "--bootstrap", "--log-format", "json", "--pprof", "127.0.0.1:0")...)
		if s.ready.Addr != addrs[i] || s.ready.PID != s.cmd.Process.Pid || s.ready.Pprof == "" {
			t.Errorf("ready line %+v", s.ready)
		}
		servers = append(servers, s)
	}
	strangers(t, addrs[0])
	code, out, errs := spawn(t, "load", "--targets", strings.Join(addrs, ","), "--cluster-id", "7", "--clients", "2", "--inflight", "64",
		"--rate", "1000", "--keys", "100", "--warmup", "100ms", "--duration", "500ms", "--format", "json", "-q")
	if r := decode(t, code, out, errs); r.Safety.Replicas != 3 || r.Name != "load" {
		t.Errorf("%+v", r)
	}
	if code, _, errs := spawn(t, "load", "--targets", addrs[0], "--cluster-id", "8", "--duration", "1s"); code != exitRuntime || !strings.Contains(errs, "check --targets and --cluster-id") {
		t.Errorf("another cluster's id: exit %d, %s", code, errs)
	}
	for _, s := range servers {
		s.end(t)
		for _, line := range strings.Split(strings.TrimSpace(s.log.String()), "\n") {
			if !json.Valid([]byte(line)) {
				t.Errorf("not a line of a JSON log: %s", line)
			}
		}
	}
}

// strangers sends what does not belong there to a node's port: it must be cut off, and nothing else happen.
func strangers(t *testing.T, addr string) {
	t.Helper()
	overlong := make([]byte, 32)
	binary.LittleEndian.PutUint32(overlong, wire.Magic)
	overlong[4] = wire.Version
	overlong[5] = byte(wire.KindPropose)
	for i := range 16 { // wherever the length is
		overlong[16+i] = 0xff
	}
	for name, bytes := range map[string][]byte{
		"http":               []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"garbage":            []byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\xff\xff\xff\xff\xff"),
		"an over-long frame": append([]byte(wire.ClientPreamble), overlong...),
	} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		conn.Write(bytes)
		conn.SetReadDeadline(time.Now().Add(30 * time.Second))
		if n, err := conn.Read(make([]byte, 1)); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: %d bytes, %v; the connection should be closed", name, n, err)
		}
		conn.Close()
	}
}

// Every way to start a node wrongly must be refused with a message that names the thing and the way out, and the right
// way must work afterwards: nothing was lost by the attempt.
func TestServeRefusals(t *testing.T) {
	t.Parallel()
	addr := freeAddrs(t, 1)[0]
	dir := filepath.Join(t.TempDir(), "data")
	peers := "1=" + addr
	refuse := func(want string, args ...string) {
		t.Helper()
		code, out, errs := spawn(t, args...)
		if code != exitRuntime || !strings.Contains(errs, want) || out != "" || strings.Contains(errs, "goroutine ") {
			t.Errorf("%v: exit %d, no %q in:\n%s", args, code, want, errs)
		}
	}
	refuse("--bootstrap", serveArgs(1, dir, peers)...) // never ran
	s := startServer(t, serveArgs(1, dir, peers, "--bootstrap")...)
	refuse("in use", serveArgs(1, dir, "1="+freeAddrs(t, 1)[0])...)
	refuse("another process listens there", serveArgs(1, filepath.Join(t.TempDir(), "other"), peers, "--bootstrap")...)
	refuse("cannot assign", serveArgs(1, filepath.Join(t.TempDir(), "far"), "1=192.0.2.1:7001", "--bootstrap")...)
	s.end(t)
	refuse("leave out --bootstrap", serveArgs(1, dir, peers, "--bootstrap")...)
	refuse("node 1, not of node 2", serveArgs(2, dir, "2="+addr)...)
	wrongCluster := serveArgs(1, dir, peers)
	wrongCluster[4] = "8"
	refuse("check --node, --cluster-id", wrongCluster...)
	startServer(t, serveArgs(1, dir, peers)...).end(t)
}

// A node whose parent is gone must end by itself, also where the kernel does not see to it.
func TestServeEndsWithParent(t *testing.T) {
	t.Parallel()
	s := startServer(t, serveArgs(1, filepath.Join(t.TempDir(), "data"), "1="+freeAddrs(t, 1)[0], "--bootstrap", "--with-parent")...)
	s.input.Close()
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, s.log)
	}
}

// The probe must measure every limit and leave nothing behind.
func TestProbeCommand(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "probe")
	code, out, errs := spawn(t, "probe", "--quick", "--format", "json", "--data-dir", dir)
	var p probed
	if err := json.Unmarshal([]byte(out), &p); err != nil || code != exitOK {
		t.Fatalf("exit %d, %v: %s", code, err, errs)
	}
	l := &p.Limits
	if l.Fsync.P50 <= 0 || l.LoopbackRTT.P50 <= 0 || l.LoopbackBandwidth <= 0 || l.CRC32C <= 0 || l.Copy <= 0 || l.Pipe.OpsPerSecond <= 0 || l.Pipe.FrameBytes <= 0 {
		t.Errorf("%+v", l)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the probe's directory is still there")
	}
	var text bytes.Buffer
	if err := p.text(&text); err != nil || !strings.Contains(text.String(), "bare pipe") {
		t.Errorf("%v\n%s", err, &text)
	}
}
