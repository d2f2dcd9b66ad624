package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// program is this command as a binary, without the race detector: what real processes in these tests are.
var program string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "paxbench-cmd-*")
	if err != nil {
		panic(err)
	}
	program = filepath.Join(dir, "paxbench")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// call runs a command line in this process, with nothing in its environment but what env holds.
func call(env []string, args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	a := &app{in: strings.NewReader(""), out: &out, err: &errs, environ: env}
	code = execute(a, args)
	return code, out.String(), errs.String()
}

// spawn runs the binary to its end.
func spawn(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = &out, &errs, t.TempDir()
	cmd.Env = append(plainEnv(os.Environ()), "NO_COLOR=1")
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}
