package compare

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/paxbench/paxbench/bench"
	"github.com/paxbench/paxbench/bench/env"
	"github.com/paxbench/paxbench/bench/result"
)

// HostError: recorded sets come from machines that differ.
type HostError struct{ Differences []string }

func (e *HostError) Error() string {
	return fmt.Sprintf("the sets come from unlike machines, whose times cannot be compared: %s. Measure both on one machine, or use --force to compare them all the same",
		strings.Join(e.Differences, "; "))
}

// Read reads a recorded run, or all of a directory (*.json, not deeper).
func Read(path string) ([]*result.Result, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	files := []string{path}
	if info.IsDir() {
		if files, err = filepath.Glob(filepath.Join(path, "*.json")); err != nil {
			return nil, err
		}
		if len(files) == 0 {
			return nil, fmt.Errorf("%s: there is no *.json in it", path)
		}
	}
	var runs []*result.Result
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		r, err := result.Decode(f)
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		runs = append(runs, r)
	}
	return runs, oneConfig(path, runs)
}

// oneConfig refuses a set whose runs are not repetitions of one another.
func oneConfig(path string, runs []*result.Result) error {
	for _, r := range runs[1:] {
		if d := settingsDiffer(runs[0], r); len(d) > 0 {
			return fmt.Errorf("%s: its runs have different settings (%s); keep the repetitions of one configuration in a folder of their own", path, strings.Join(d, ", "))
		}
		if d := hostsDiffer(&runs[0].Env, &r.Env); len(d) > 0 {
			return fmt.Errorf("%s: its runs come from unlike machines (%s)", path, strings.Join(d, ", "))
		}
	}
	return nil
}

// Recorded compares sets that were recorded at other times. Nothing was interleaved, so whatever changed on the
// machine in between counts as a difference; the report says so.
func Recorded(a, b []*result.Result, force bool, o Options) (*Report, error) {
	var notes []string
	if len(a) > 0 && len(b) > 0 {
		if d := hostsDiffer(&a[0].Env, &b[0].Env); len(d) > 0 {
			if !force {
				return nil, &HostError{d}
			}
			notes = append(notes, "unlike machines, compared with --force: "+strings.Join(d, "; "))
		}
		if d := settingsDiffer(a[0], b[0]); len(d) > 0 {
			notes = append(notes, "settings differ: "+strings.Join(d, ", "))
		}
	}
	notes = append(notes, "recorded at different times: a change of the machine in between would look like a change of the program")
	s := Sets{A: valid(a, "A", &notes), B: valid(b, "B", &notes)}
	r := Judge(s, o)
	r.Notes = notes
	return r, nil
}

func valid(runs []*result.Result, side string, notes *[]string) []*result.Result {
	var out []*result.Result
	for _, r := range runs {
		switch {
		case r.Violates():
			out = append(out, r)
		case r.Validity.Verdict == result.Invalid:
			*notes = append(*notes, fmt.Sprintf("an invalid run of %s is left out: %s", side, strings.Join(r.Validity.Reasons, "; ")))
		case r.Partial:
			*notes = append(*notes, fmt.Sprintf("an interrupted run of %s is left out", side))
		default:
			out = append(out, r)
		}
	}
	return out
}

// hostsDiffer lists what makes two machines unlike.
func hostsDiffer(a, b *env.Info) []string {
	return differ([][3]string{
		{"host", a.Host, b.Host}, {"system", a.OS + " " + a.Kernel, b.OS + " " + b.Kernel}, {"processor", a.CPU + " " + a.Arch, b.CPU + " " + b.Arch},
		{"cores", fmt.Sprint(a.Cores, "/", a.GOMAXPROCS), fmt.Sprint(b.Cores, "/", b.GOMAXPROCS)},
		{"memory", result.Bytes(float64(a.MemoryBytes)), result.Bytes(float64(b.MemoryBytes))},
		{"disk", a.Disk.Type + " on " + a.Disk.Device, b.Disk.Type + " on " + b.Disk.Device},
	})
}

func differ(fields [][3]string) (out []string) {
	for _, f := range fields {
		if f[1] != f[2] {
			out = append(out, fmt.Sprintf("%s %q and %q", f[0], f[1], f[2]))
		}
	}
	return out
}

// settingsDiffer lists the settings that are not the same, by their JSON names.
func settingsDiffer(a, b *result.Result) []string {
	ma, mb := fields(settings(a)), fields(settings(b))
	var pairs [][3]string
	for _, name := range sortedKeys(ma, mb) {
		pairs = append(pairs, [3]string{name, string(ma[name]), string(mb[name])})
	}
	return differ(pairs)
}

// settings are those of a run, with what records did not have from the beginning: the nodes' processor threads, which were as many as
// the program's own before they could be chosen.
func settings(r *result.Result) *result.Config {
	c := r.Config
	if c.Procs == 0 && c.Cluster == bench.Process {
		c.Procs = r.Env.GOMAXPROCS
	}
	return &c
}

func fields(c *result.Config) map[string]json.RawMessage {
	text, err := json.Marshal(c)
	out := map[string]json.RawMessage{}
	if err == nil {
		err = json.Unmarshal(text, &out)
	}
	if err != nil {
		panic(fmt.Sprintf("BUG: settings without a JSON form: %v", err))
	}
	return out
}

func sortedKeys(ms ...map[string]json.RawMessage) []string {
	seen := map[string]bool{}
	for _, m := range ms {
		for k := range m {
			seen[k] = true
		}
	}
	keys := make([]string, 0, len(seen))
	for k := range seen {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
