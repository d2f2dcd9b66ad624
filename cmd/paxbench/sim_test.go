package main

import (
	"strings"
	"testing"
)

// The command must say what it played, and refuse what it cannot play before it begins.
func TestSimCommand(t *testing.T) {
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"sim --seeds 2 --workers 1", exitOK, "2 schedules"},
		{"sim --seed 7 --nodes 1", exitOK, "seed 7: {Nodes:1"},
		{"sim --seeds 3 --seed 100 --nodes 1", exitOK, "schedules played twice 1"},
		{"sim --seeds 2 --beyond --nodes 3", exitOK, "beyond: "},
		{"sim --seeds 2 --beyond --nodes 1", exitUsage, ""},
		{"sim --nodes 10", exitUsage, ""},
		{"sim --findings 0", exitUsage, ""},
		{"sim --workers 0", exitUsage, ""},
		{"sim 7", exitUsage, ""},
	} {
		var out, errs strings.Builder
		if code := execute(&app{in: strings.NewReader(""), out: &out, err: &errs}, strings.Fields(c.args)); code != c.code {
			t.Errorf("%s: exit %d, want %d: %s", c.args, code, c.code, errs.String())
		}
		if !strings.Contains(out.String(), c.want) {
			t.Errorf("%s printed %q, want %q in it", c.args, out.String(), c.want)
		}
	}
}
