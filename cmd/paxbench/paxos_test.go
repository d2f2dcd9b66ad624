package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// shown are the commands of a document: the lines of its blocks of shell.
func shown(t *testing.T, file string) (lines []string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	inside := false
	for _, line := range strings.Split(string(text), "\n") {
		switch {
		case line == "```sh":
			inside = true
		case line == "```":
			inside = false
		case inside && strings.TrimSpace(line) != "":
			lines = append(lines, line)
		}
	}
	return lines
}

// What can go wrong: PAXOS.md names a command that does not run, or that does not show what stands there. Of a measurement that this
// machine is too busy for (6) only safety is asked.
func TestPaxosCommands(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a minute")
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	lines := shown(t, filepath.Join(root, "engine", "PAXOS.md"))
	if len(lines) < 15 {
		t.Fatalf("only %d commands are found", len(lines))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Minute)
	t.Cleanup(cancel)
	for _, line := range lines {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			args, err := words(line)
			if err != nil {
				t.Fatal(err)
			}
			var cmd *exec.Cmd
			want := "ok "
			switch args[0] {
			case "go":
				cmd = exec.CommandContext(ctx, "go", args[1:]...)
				cmd.Dir = root
			case "paxbench":
				cmd = exec.CommandContext(ctx, program, append(args[1:], "-q", "--segment-bytes", "1MiB", "--allow-tmpfs", "--data-dir", t.TempDir())...)
				cmd.Dir = t.TempDir()
				want = "SAFETY    ok"
				if args[1] == "scenario" {
					want = "VERDICT"
				}
			default:
				t.Fatalf("what is %s?", args[0])
			}
			cmd.Env = append(plainEnv(os.Environ()), "NO_COLOR=1")
			out, err := cmd.CombinedOutput()
			code := cmd.ProcessState.ExitCode()
			if code != exitOK && (args[0] == "go" || code != exitInvalid) {
				t.Errorf("exit %d, %v\n%s", code, err, out)
			}
			if !strings.Contains(string(out), want) || strings.Contains(string(out), "no tests to run") {
				t.Errorf("%q is missing in:\n%s", want, out)
			}
		})
	}
}
