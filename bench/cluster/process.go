package cluster

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/paxbench/paxbench/bench/disk"
	"golang.org/x/sys/unix"
)

// Ready is the line a node prints on its standard output once it listens: the sign the harness waits for, and
// whoever else starts `paxbench serve` may.
type Ready struct {
	Ready bool   `json:"ready"`
	Node  uint32 `json:"node"`
	Addr  string `json:"addr"`
	PID   int    `json:"pid"`
	// Pprof is where it serves profiles, if it was asked to.
	Pprof string `json:"pprof,omitempty"`
}

// answerLimit is how long a node may take to answer an order. A machine may stand still for seconds.
const answerLimit = 20 * time.Second

// logTailBytes is how much of a dead child's log an error shows.
const logTailBytes = 2 << 10

// spawner starts processes from one locked thread. The kernel sends Pdeathsig when the THREAD that forked
// ends, not when the process does: started from an ordinary goroutine, whose thread the Go runtime may end at any
// time, children would die for no reason. The thread ends with stop, after the children.
type spawner struct {
	requests chan *exec.Cmd
	results  chan error
	once     sync.Once
	done     chan struct{}
}

func newSpawner() *spawner {
	s := &spawner{requests: make(chan *exec.Cmd), results: make(chan error), done: make(chan struct{})}
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		defer close(s.done)
		for cmd := range s.requests {
			s.results <- cmd.Start()
		}
	}()
	return s
}

// start is called by one goroutine at a time (the cluster's lock).
func (s *spawner) start(cmd *exec.Cmd) error {
	s.requests <- cmd
	return <-s.results
}

func (s *spawner) stop() {
	s.once.Do(func() { close(s.requests) })
	<-s.done
}

// process is one run of a child, from its start to its end.
type process struct {
	name    string
	cmd     *exec.Cmd
	control io.WriteCloser // our end of its standard input: closed (also by our death) tells it to end
	logPath string
	ready   chan Ready
	answers chan disk.Answer
	exited  chan struct{} // closed once it is reaped; state below is valid then

	mu     sync.Mutex
	wanted bool // Invariant: set before every signal of ours that ends it
	state  *os.ProcessState
	err    error
}

// startProcess starts binary with args; its standard error is appended to logPath and its standard output is
// read for the Ready line. onExit runs once, after the end, on a goroutine of its own.
func startProcess(s *spawner, name, binary string, args, env []string, logPath string, onExit func(*process)) (*process, error) {
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("cluster: log of %s: %w", name, err)
	}
	defer log.Close() // the child has its own descriptor
	cmd := exec.Command(binary, args...)
	cmd.Args[0] = "paxbench"
	cmd.Stderr = log
	cmd.Env = env
	// Its own process group: the terminal's ^C is for us, and we end the children in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL, Setpgid: true}
	control, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("cluster: control pipe of %s: %w", name, err)
	}
	out, outWrite, err := os.Pipe()
	if err != nil {
		control.Close()
		return nil, fmt.Errorf("cluster: output pipe of %s: %w", name, err)
	}
	cmd.Stdout = outWrite
	p := &process{name: name, cmd: cmd, control: control, logPath: logPath, ready: make(chan Ready, 1), answers: make(chan disk.Answer, 1), exited: make(chan struct{})}
	err = s.start(cmd)
	outWrite.Close()
	if err != nil {
		out.Close()
		return nil, fmt.Errorf("cluster: start %s: %w", name, err)
	}
	go p.readOutput(out)
	go p.reap(onExit)
	return p, nil
}

func (p *process) readOutput(out *os.File) {
	defer out.Close()
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var r Ready
		if json.Unmarshal(lines.Bytes(), &r) == nil && r.Ready {
			select {
			case p.ready <- r:
			default: // said twice; the first counts
			}
		}
		var a disk.Answer
		if json.Unmarshal(lines.Bytes(), &a) == nil && a.Disk != nil {
			select {
			case p.answers <- a:
			default: // nobody asked
			}
		}
	}
	io.Copy(io.Discard, out) // an over-long line must not stop the child at a full pipe
}

func (p *process) reap(onExit func(*process)) {
	err := p.cmd.Wait()
	p.mu.Lock()
	p.state, p.err = p.cmd.ProcessState, err
	p.mu.Unlock()
	p.control.Close()
	close(p.exited)
	onExit(p)
}

// waitReady returns once the child said that it listens; the error of a child that died first shows its log.
func (p *process) waitReady(ctx context.Context, limit time.Duration) (Ready, error) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case r := <-p.ready:
		return r, nil
	case <-p.exited:
		return Ready{}, p.death()
	case <-timer.C:
		return Ready{}, fmt.Errorf("cluster: %s is not ready after %s%s", p.name, limit, p.tail())
	case <-ctx.Done():
		return Ready{}, context.Cause(ctx)
	}
}

// death describes an end that we did not ask for.
func (p *process) death() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	how := "ended"
	if p.state != nil {
		how = p.state.String()
	}
	return fmt.Errorf("cluster: %s ended unasked (%s)%s", p.name, how, p.tail())
}

func (p *process) tail() string {
	tail := strings.TrimSpace(tailOf(p.logPath, logTailBytes))
	if tail == "" {
		return "; its log " + p.logPath + " is empty"
	}
	return "; the end of its log " + p.logPath + ":\n    " + strings.ReplaceAll(tail, "\n", "\n    ")
}

// tailOf gives the last whole lines within the last n bytes of a file, "" if it cannot be read.
func tailOf(path string, n int64) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return ""
	}
	from := max(0, info.Size()-n)
	text, err := io.ReadAll(io.NewSectionReader(f, from, info.Size()-from))
	if err != nil {
		return ""
	}
	if from > 0 {
		if i := bytes.IndexByte(text, '\n'); i >= 0 {
			text = text[i+1:]
		}
	}
	return string(text)
}

// unasked says whether it ended without our doing.
func (p *process) unasked() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.wanted
}

func (p *process) signal(sig os.Signal, ends bool) error {
	p.mu.Lock()
	if ends {
		p.wanted = true
	}
	p.mu.Unlock()
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("cluster: signal %s to %s: %w", sig, p.name, err)
	}
	return nil
}

// setDisk is Member.setDisk. One at a time (the member's lock).
func (p *process) setDisk(ctx context.Context, c disk.Conditions, mayEnd bool) (disk.Counts, error) {
	p.mu.Lock()
	p.wanted = mayEnd
	p.mu.Unlock()
	order, err := json.Marshal(c)
	if err != nil {
		return disk.Counts{}, err
	}
	select {
	case <-p.answers: // of an order whose asker had given up
	default:
	}
	if _, err := p.control.Write(append(order, '\n')); err != nil {
		return disk.Counts{}, fmt.Errorf("cluster: order to %s: %w", p.name, err)
	}
	timer := time.NewTimer(answerLimit)
	defer timer.Stop()
	select {
	case a := <-p.answers:
		if a.Error != "" {
			return a.Counts, fmt.Errorf("cluster: %s does not understand %s: %s", p.name, order, a.Error)
		}
		return a.Counts, nil
	case <-p.exited:
		return disk.Counts{}, p.death()
	case <-timer.C:
		return disk.Counts{}, fmt.Errorf("cluster: %s does not answer an order for its disk", p.name)
	case <-ctx.Done():
		return disk.Counts{}, context.Cause(ctx)
	}
}

// lastWords waits for its end, no longer than limit, and gives the last line of its log; "": it lives on.
func (p *process) lastWords(ctx context.Context, limit time.Duration) string {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-p.exited:
	case <-timer.C:
		return ""
	case <-ctx.Done():
		return ""
	}
	lines := strings.Split(strings.TrimSpace(tailOf(p.logPath, logTailBytes)), "\n")
	p.mu.Lock()
	defer p.mu.Unlock()
	return fmt.Sprintf("%s: %s", p.state, lines[len(lines)-1])
}

// kill ends it without warning and waits for the end. SIGKILL also ends a stopped process.
func (p *process) kill() error {
	if err := p.signal(unix.SIGKILL, true); err != nil {
		return err
	}
	<-p.exited
	return nil
}

// stop asks it to end, and after limit makes it.
func (p *process) stop(limit time.Duration) error {
	if err := p.signal(unix.SIGTERM, true); err != nil {
		return err
	}
	if err := p.signal(unix.SIGCONT, false); err != nil { // it may be paused
		return err
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-p.exited:
	case <-timer.C:
		if err := p.kill(); err != nil {
			return err
		}
		return fmt.Errorf("cluster: %s did not end within %s of SIGTERM and was killed%s", p.name, limit, p.tail())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state != nil && !p.state.Success() {
		return fmt.Errorf("cluster: %s ended with %s%s", p.name, p.state, p.tail())
	}
	return nil
}

// cpu is the processor time of an ended process, user and system.
func (p *process) cpu() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state == nil {
		return 0
	}
	return p.state.UserTime() + p.state.SystemTime()
}
