package cluster

import (
	"slices"
	"testing"
)

// What somebody has set, ignored, makes a run measure something else than was asked for.
func TestProcsOf(t *testing.T) {
	for _, c := range []struct {
		asked, cores int
		environment  string
		want         string
	}{
		{0, 2, "", "2, all cores, the runtime's choice"},
		{0, 2, "8", "8, GOMAXPROCS of the environment"},
		{0, 2, "1", "1, GOMAXPROCS of the environment"},
		{0, 2, "many", "2, all cores, the runtime's choice"}, // the runtime ignores these as well
		{0, 2, "0", "2, all cores, the runtime's choice"},
		{0, 2, "-4", "2, all cores, the runtime's choice"},
		{0, 2, "99999999999", "2, all cores, the runtime's choice"},
		{5, 2, "", "5, as asked for"},
		{5, 2, "8", "5, as asked for"},
	} {
		if got := procsOf(c.asked, c.cores, c.environment).String(); got != c.want {
			t.Errorf("%d asked for, %d cores, GOMAXPROCS %q: %s, want %s", c.asked, c.cores, c.environment, got, c.want)
		}
	}
}

// A process with more threads than its share takes the core of another; with none it does not run.
func TestProcsShare(t *testing.T) {
	for _, c := range []struct {
		processes, cores int
		environment      string
		want             int
	}{
		{3, 2, "", 1}, {1, 2, "", 2}, {2, 2, "", 1}, {1, 1, "", 1}, {5, 2, "", 1}, {3, 4, "", 2} /* rounded up */, {3, 6, "", 2}, {3, 7, "", 3}, {3, 64, "", 22},
		{0, 4, "", 4}, {3, 2, "8", 8}, {3, 2, "0", 1}, {3, 2, "x", 1},
	} {
		if got := procsShare(c.processes, c.cores, c.environment); got.N != c.want {
			t.Errorf("%d processes, %d cores, GOMAXPROCS %q: %s, want %d", c.processes, c.cores, c.environment, got, c.want)
		}
	}
}

// The runtime takes the first of two values of a variable: what we add must be the only one.
func TestWithProcs(t *testing.T) {
	environ := []string{"A=1", "GOMAXPROCS=4", "GOMAXPROCSX=5"}
	if got := WithProcs(environ, 2); !slices.Equal(got, []string{"A=1", "GOMAXPROCSX=5", "GOMAXPROCS=2"}) {
		t.Errorf("%q", got)
	}
	if got := WithProcs(environ, 0); !slices.Equal(got, environ) || environ[1] != "GOMAXPROCS=4" {
		t.Errorf("%q of %q", got, environ)
	}
}
