package paxbench_test

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Who may import whom: cmd -> bench -> engine -> {paxos, wal, snapshot, transport} -> batching -> wire. Because every
// import of every package is held against this table, what a package depends on indirectly follows from it.
//
// A room is a directory and what lies below it, up to the next room. Entries are rooms; a room may always import itself.
var rooms = map[string]room{
	"wire":     {},
	"batching": {imports: []string{"wire"}},

	"engine/paxos":         {imports: []string{"wire"}, std: pure, closed: true},
	"engine/paxos/conform": {closed: true},
	"engine/wal":           {imports: []string{"batching", "wire"}},
	"engine/snapshot":      {imports: []string{"batching", "wire"}},
	"engine/transport":     {imports: []string{"batching", "wire"}},
	"engine":               {imports: []string{"engine/paxos", "engine/wal", "engine/snapshot", "engine/transport", "batching", "wire"}},
	"engine/kv":            {imports: []string{"engine", "batching", "wire"}},
	"engine/client":        {imports: []string{"engine/transport", "batching", "wire"}},
	"engine/history":       {imports: []string{"engine/kv", "wire"}},
	"engine/sim": {imports: []string{
		"engine", "engine/paxos", "engine/wal", "engine/snapshot", "engine/transport", "engine/kv", "engine/client", "engine/history",
		"batching", "wire"}},

	"bench": {imports: []string{
		"engine", "engine/paxos", "engine/wal", "engine/snapshot", "engine/transport", "engine/kv", "engine/client", "engine/history",
		"batching", "wire"}},
	"cmd": {imports: []string{
		"bench", "engine", "engine/wal", "engine/snapshot", "engine/transport", "engine/kv", "engine/client", "engine/history",
		"engine/sim", "batching", "wire"}},
}

// room is what the packages of a directory may import.
type room struct {
	imports []string // other rooms
	std     []string // packages of the standard library; nil: all
	closed  bool     // nothing of other modules
}

// pure is what the core may use of the standard library: functions of their arguments. Not time, os, net, sync,
// math/rand, log or context: with one of them the core would no longer be a function of its inputs, and a run of the
// simulator would not repeat. Tests of the core are free of this.
var pure = []string{
	"bytes", "cmp", "encoding/binary", "errors", "fmt", "hash/crc32", "iter", "maps", "math", "math/bits", "slices", "sort",
	"strconv", "strings", "unicode", "unicode/utf8",
}

// unit is the imports of one package's code or of its tests.
type unit struct {
	dir     string // within the module
	test    bool
	imports []string
}

// TestImportRules: the layers of the design erode one convenient import at a time.
//
// The sources are parsed, and "go list -deps" is not asked: so files of other systems and build tags are seen too, and
// the test's result is not taken from the cache after an import has changed.
func TestImportRules(t *testing.T) {
	module := modulePath(t)
	units := readUnits(t)
	if len(units) < 5 {
		t.Fatalf("only %d packages found", len(units))
	}
	for _, v := range violations(module, units) {
		t.Error(v)
	}
}

// TestImportRulesCanFail: the matcher lets everything pass. One made-up import breaks each rule; the allowed ones beside
// it must pass.
func TestImportRulesCanFail(t *testing.T) {
	const m = "example.org/m"
	for _, c := range []struct {
		what string
		u    unit
		bad  int
	}{
		{"the leaf imports upwards", unit{"wire", false, []string{"sync", "github.com/klauspost/compress/s2", m + "/batching"}}, 1},
		{"the leaf's test imports upwards", unit{"wire", true, []string{"testing", m + "/wire", m + "/engine"}}, 1},
		{"batching imports the engine", unit{"batching", false, []string{m + "/wire", "time", m + "/engine"}}, 1},
		{"the core asks the time", unit{"engine/paxos", false, []string{"fmt", "time", m + "/wire"}}, 1},
		{"the core does all that it must not", unit{"engine/paxos", false, []string{"os", "net", "sync", "math/rand/v2", "log/slog", "context", "sync/atomic"}}, 7},
		{"the core's tests may", unit{"engine/paxos", true, []string{"os", "testing", "example.org/datadriven", m + "/engine/sim"}}, 0},
		{"the core uses another module", unit{"engine/paxos", false, []string{"example.org/sets"}}, 1},
		{"the core batches", unit{"engine/paxos", false, []string{m + "/batching"}}, 1},
		{"the log knows Paxos", unit{"engine/wal", false, []string{m + "/wire", m + "/engine/paxos"}}, 1},
		{"below a room", unit{"engine/wal/vfs", false, []string{m + "/engine/wal", m + "/engine/snapshot"}}, 1},
		{"siblings", unit{"engine/snapshot", false, []string{m + "/engine/wal", m + "/engine/transport"}}, 2},
		{"the engine knows its load", unit{"engine", false, []string{m + "/engine/wal", m + "/bench/load"}}, 1},
		{"the engine's test knows its load", unit{"engine", true, []string{m + "/engine/kv", m + "/bench/load"}}, 1},
		{"the engine knows its state machine", unit{"engine", false, []string{m + "/engine/kv"}}, 1},
		{"the client is linked with the engine", unit{"engine/client", false, []string{m + "/engine"}}, 1},
		{"the bench runs the simulator", unit{"bench/load", false, []string{m + "/bench/env", m + "/engine/kv", m + "/engine/sim"}}, 1},
		{"the history's judge knows the simulator", unit{"engine/history/judge", false, []string{m + "/engine/history", m + "/engine/sim"}}, 1},
		{"the bench imports the command", unit{"bench", false, []string{m + "/cmd/paxbench"}}, 1},
		{"the command", unit{"cmd/paxbench", false, []string{m + "/bench/load", m + "/engine/sim", "example.org/cli"}}, 0},
		{"the command reaches into the core", unit{"cmd/paxbench", false, []string{m + "/engine/paxos"}}, 1},
		{"a new room of the engine", unit{"engine/lease", false, []string{m + "/wire"}}, 1},
		{"a room without a rule", unit{"util", false, []string{m + "/wire"}}, 1},
		{"an import of a room without a rule", unit{"bench", false, []string{m + "/util"}}, 1},
		{"the module's root", unit{".", true, []string{"go/parser"}}, 0},
	} {
		if got := violations(m, []unit{c.u}); len(got) != c.bad {
			t.Errorf("%s: %d violations, want %d: %q", c.what, len(got), c.bad, got)
		}
	}
}

// violations returns a line for each import that the rules do not allow.
func violations(module string, units []unit) (lines []string) {
	bad := func(u unit, format string, args ...any) {
		what := u.dir
		if u.test {
			what += " (test)"
		}
		lines = append(lines, what+": "+fmt.Sprintf(format, args...))
	}
	for _, u := range units {
		if u.dir == "." {
			continue
		}
		name, ok := roomOf(u.dir)
		if !ok {
			bad(u, "belongs to no room; add a rule for it")
			continue
		}
		r := rooms[name]
		for _, imp := range u.imports {
			dir, inside := strings.CutPrefix(imp, module+"/")
			first, _, _ := strings.Cut(imp, "/")
			switch {
			case inside:
				if to, ok := roomOf(dir); !ok {
					bad(u, "imports %s, which belongs to no room", imp)
				} else if !mayImport(u, name, to) {
					bad(u, "imports %s", imp)
				}
			case u.test:
			case strings.Contains(first, "."):
				if r.closed {
					bad(u, "imports %s, a package of another module", imp)
				}
			case r.std != nil && !slices.Contains(r.std, imp):
				bad(u, "imports %s, which is not pure", imp)
			}
		}
	}
	return lines
}

// mayImport says whether u, which lies in room from, may import room to. Tests of the engine's packages may use all
// of the engine (a transport is tested with a client) and the leaf, but nothing may reach up into bench or cmd.
func mayImport(u unit, from, to string) bool {
	if from == to || slices.Contains(rooms[from].imports, to) {
		return true
	}
	inEngine := func(name string) bool { return name == "engine" || strings.HasPrefix(name, "engine/") }
	return u.test && (inEngine(from) || from == "bench" || from == "cmd") && (inEngine(to) || to == "wire")
}

// roomOf returns the innermost room that directory dir lies in. A new directory below engine is in none: it is a room of
// its own, and somebody has to say what it may import.
func roomOf(dir string) (string, bool) {
	for ; dir != "."; dir = path.Dir(dir) {
		if _, ok := rooms[dir]; ok {
			return dir, true
		}
		if path.Dir(dir) == "engine" {
			return "", false
		}
	}
	return "", false
}

// readUnits parses the imports of every Go file of the module, whatever its build tags. Modules inside the module have
// rules of their own.
func readUnits(t *testing.T) []unit {
	byKey := map[string]*unit{}
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			_, err := os.Stat(filepath.Join(file, "go.mod"))
			name := d.Name()
			if file != "." && (err == nil || name == "testdata" || name[0] == '.' || name[0] == '_') {
				return fs.SkipDir
			}
			return nil
		}
		if filepath.Ext(file) != ".go" {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		u := unit{dir: path.Dir(filepath.ToSlash(file)), test: strings.HasSuffix(file, "_test.go")}
		key := fmt.Sprint(u.dir, u.test)
		if byKey[key] == nil {
			byKey[key] = &u
		}
		for _, imp := range f.Imports {
			name, err := strconv.Unquote(imp.Path.Value)
			if err != nil {
				return err
			}
			if p := byKey[key]; !slices.Contains(p.imports, name) {
				p.imports = append(p.imports, name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	units := make([]unit, 0, len(byKey))
	for _, u := range byKey {
		units = append(units, *u)
	}
	slices.SortFunc(units, func(a, b unit) int { return strings.Compare(a.dir, b.dir) })
	return units
}

func modulePath(t *testing.T) string {
	text, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	module, ok := strings.CutPrefix(first, "module ")
	if !ok {
		t.Fatalf("go.mod begins with %q", first)
	}
	return strings.TrimSpace(module)
}
