package compare

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/paxbench/paxbench/bench"
	"github.com/paxbench/paxbench/bench/result"
)

// abortWait is how long a run may take to end its cluster when it is told to end at once.
const abortWait = 10 * time.Second

// Spawn runs `binary run args... --format json --quiet` and reads the result. A run is a process of its own, so that
// none finds the heap and the caches of another, and so that builds can be compared. env is its environment.
func Spawn(ctx context.Context, stop <-chan struct{}, binary string, args, env []string) (*result.Result, error) {
	var out, errs bytes.Buffer
	cmd := exec.Command(binary, append(append([]string{"run"}, args...), "--format", "json", "--quiet")...)
	cmd.Stdout, cmd.Stderr, cmd.Env = &out, &errs, env
	ended, err := bench.StartProcess(cmd)
	if err != nil {
		return nil, fmt.Errorf("compare: %w", err)
	}
	err = wait(ctx, stop, cmd, ended)
	if ctx.Err() != nil {
		return nil, bench.ErrInterrupted
	}
	return read(binary, err, out.Bytes(), errs.String())
}

// wait passes on what the user wants: the first signal drains, the second ends at once, then it is killed.
func wait(ctx context.Context, stop <-chan struct{}, cmd *exec.Cmd, ended <-chan error) error {
	select {
	case err := <-ended:
		return err
	case <-stop:
		_ = cmd.Process.Signal(syscall.SIGINT) // an error says that it has ended
	case <-ctx.Done():
		_ = cmd.Process.Signal(syscall.SIGINT)
	}
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	_ = cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-ended:
		return err
	case <-time.After(abortWait):
		_ = cmd.Process.Kill()
		return <-ended
	}
}

// The exit codes of `paxbench run`.
const exitInterrupted = 130

// read takes the result of a run that has one, whatever its exit code says of it.
func read(binary string, err error, stdout []byte, stderr string) (*result.Result, error) {
	if len(bytes.TrimSpace(stdout)) > 0 {
		r, wrong := result.Decode(bytes.NewReader(stdout))
		if wrong != nil {
			return nil, fmt.Errorf("compare: %s run: %w", binary, wrong)
		}
		return r, nil
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == exitInterrupted {
		return nil, bench.ErrInterrupted
	}
	return nil, fmt.Errorf("compare: %s run: %w\n%s", binary, errors.Join(err, errNoResult), strings.TrimSpace(stderr))
}

var errNoResult = errors.New("no result")
