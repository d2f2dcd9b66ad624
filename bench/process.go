package bench

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// StartProcess starts a process that dies with this one; ended is told its end.
func StartProcess(cmd *exec.Cmd) (ended <-chan error, err error) {
	// Its own process group: the terminal's ^C is for us, and we pass it on.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL, Setpgid: true}
	started, over := make(chan error, 1), make(chan error, 1)
	go func() {
		// Pdeathsig comes when the thread that forked ends: it must stay until the child has ended.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			over <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	return over, nil
}

// Piped is a process that is talked to.
type Piped struct {
	In    io.WriteCloser
	Out   io.ReadCloser
	Ended <-chan error
	cmd   *exec.Cmd
}

// StartPiped is StartProcess with pipes. Unlike those of package exec, Out stays open when the process has ended, until all
// of it is read: its last words are what it was started for.
func StartPiped(cmd *exec.Cmd) (*Piped, error) {
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, theirs, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout = theirs
	ended, err := StartProcess(cmd)
	if err = errors.Join(err, theirs.Close()); err != nil {
		return nil, errors.Join(err, out.Close())
	}
	return &Piped{in, out, ended, cmd}, nil
}

// Kill ends the process at once; an error says that it has ended.
func (p *Piped) Kill() error { return p.cmd.Process.Kill() }

// End kills the process and waits for its end.
func (p *Piped) End() {
	_ = p.Kill()
	<-p.Ended
	_ = p.Out.Close()
}
