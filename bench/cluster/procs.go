package cluster

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// Go's runtime gives a process as many processor threads (GOMAXPROCS) as there are cores, and wakes an idle one at hand-offs between
// goroutines, in case there is more to do. That one looks for work for some microseconds. Where processes share the cores it
// does so on a core that another one was about to use: under a light load fewer threads are less work and shorter ways. But
// the goroutines of a process with one thread take turns, also while another core has nothing to do. Measured: better for
// few clients, worse for a load that fills the machine (bench/peers/README.md).

// ProcsVariable is what the environment says of processor threads, to every Go program.
const ProcsVariable = "GOMAXPROCS"

// ProcsMax bounds what can be asked for.
const ProcsMax = 1024

// cores is what the runtime takes of this machine; meaningless if the environment says something else.
var cores = runtime.GOMAXPROCS(0)

// Procs is how many processor threads a process runs Go code on.
type Procs struct {
	N    int
	From string // who says so, in words
}

// ProcsOf is what a process of ours has that is started in this environment; asked 0: nothing is asked for.
func ProcsOf(asked int) Procs { return procsOf(asked, cores, os.Getenv(ProcsVariable)) }

func procsOf(asked, cores int, environment string) Procs {
	if asked > 0 {
		return Procs{asked, "as asked for"}
	}
	if n := parseProcs(environment); n > 0 {
		return Procs{n, ProcsVariable + " of the environment"}
	}
	return Procs{cores, "all cores, the runtime's choice"}
}

// ProcsShare is what each of so many processes has that share this machine's cores, rounded up, unless the environment says something else.
func ProcsShare(processes int) Procs {
	return procsShare(processes, cores, os.Getenv(ProcsVariable))
}

func procsShare(processes, cores int, environment string) Procs {
	if n := parseProcs(environment); n > 0 {
		return procsOf(0, cores, environment)
	}
	return Procs{max(1, (cores+max(1, processes)-1)/max(1, processes)), "its share of the cores"}
}

// String is for people.
func (p Procs) String() string { return fmt.Sprintf("%d, %s", p.N, p.From) }

// parseProcs reads the variable as the runtime does, which ignores what is not a number above 0; 0: ignored.
func parseProcs(text string) int {
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil || n < 0 {
		return 0
	}
	return int(n)
}

// WithProcs is environ for a process that is to have n processor threads; 0: as environ says. The runtime reads it before anything
// of the program runs, and that of any build does.
func WithProcs(environ []string, n int) []string {
	if n == 0 {
		return environ
	}
	environ = slices.DeleteFunc(slices.Clone(environ), func(entry string) bool { return strings.HasPrefix(entry, ProcsVariable+"=") })
	return append(environ, fmt.Sprintf("%s=%d", ProcsVariable, n))
}
