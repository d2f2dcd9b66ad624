// Package sweep measures all combinations of some settings, each into a file of its own, so that what was measured
// once need not be again.
package sweep

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/paxbench/paxbench/bench"
	"github.com/paxbench/paxbench/bench/result"
)

// PointsMax bounds a sweep.
const PointsMax = 10_000

// Axis is a setting and the values it takes.
type Axis struct {
	Name   string
	Values []string
}

// ParseAxis reads name=v1,v2. Where a value holds commas itself, semicolons part them.
func ParseAxis(text string) (Axis, error) {
	name, list, ok := strings.Cut(text, "=")
	name = strings.TrimLeft(strings.TrimSpace(name), "-")
	if !ok || name == "" || list == "" {
		return Axis{}, fmt.Errorf("want a setting and its values, as in batch-bytes=64KiB,1MiB (or parted by ';' if they hold commas)")
	}
	separator := ","
	if strings.Contains(list, ";") {
		separator = ";"
	}
	a := Axis{Name: name}
	seen := map[string]bool{}
	for _, v := range strings.Split(list, separator) {
		v = strings.TrimSpace(v)
		if seen[v] {
			return Axis{}, fmt.Errorf("%s=%s stands twice", name, v)
		}
		seen[v] = true
		a.Values = append(a.Values, v)
	}
	return a, nil
}

// Setting is a setting with its value at a point.
type Setting struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Combine gives all combinations, the last axis varying fastest, each repeated.
func Combine(axes []Axis, repeats int) ([]Point, error) {
	points := []Point{{}}
	names := map[string]bool{}
	for _, a := range axes {
		if names[a.Name] {
			return nil, fmt.Errorf("%s is varied twice", a.Name)
		}
		names[a.Name] = true
		if len(points)*len(a.Values)*repeats > PointsMax {
			return nil, fmt.Errorf("more than %d combinations", PointsMax)
		}
		var next []Point
		for _, p := range points {
			for _, v := range a.Values {
				settings := append(append([]Setting{}, p.Settings...), Setting{a.Name, v})
				next = append(next, Point{Settings: settings})
			}
		}
		points = next
	}
	var out []Point
	for _, p := range points {
		for r := range repeats {
			p.Repeat = r + 1
			out = append(out, p)
		}
	}
	return out, nil
}

// Point is one combination.
type Point struct {
	Settings []Setting
	Repeat   int // from 1
	Config   bench.Config
	// All holds all settings that make a difference, by whatever source: two points with the same are the same.
	All []string
}

// File is the point's file name: its settings, so that people find it, and a hash of all settings, so that a file
// that was measured with others is not taken for it.
func (p *Point) File() string {
	var b strings.Builder
	for _, s := range p.Settings {
		b.WriteString(s.Name + "=" + plain(s.Value) + "_")
	}
	sum := sha256.Sum256([]byte(strings.Join(p.All, "\n")))
	b.WriteString(hex.EncodeToString(sum[:4]))
	if p.Repeat > 1 {
		fmt.Fprintf(&b, "_%d", p.Repeat)
	}
	return b.String() + ".json"
}

const plainMax = 40

// plain makes a value fit for a file name everywhere.
func plain(v string) string {
	v = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(".-+", r) {
			return r
		}
		return '-'
	}, v)
	return v[:min(len(v), plainMax)]
}

func (p *Point) String() string {
	var parts []string
	for _, s := range p.Settings {
		parts = append(parts, s.Name+"="+s.Value)
	}
	if p.Repeat > 1 {
		parts = append(parts, fmt.Sprintf("repeat %d", p.Repeat))
	}
	return strings.Join(parts, " ")
}

// Runner is bench.Run.
type Runner func(context.Context, bench.Config) (*result.Result, error)

// Config is a sweep.
type Config struct {
	Points []Point
	Dir    string // of the files; it is made if need be
	Again  bool   // measure also what is there
	Run    Runner
	Stop   <-chan struct{}
	Log    func(format string, args ...any)
}

// Run measures the points in order. One that fails is noted, and the others go on; when Stop is closed, the report
// has what there is and says that it is partial.
func Run(ctx context.Context, c Config) (*Report, error) {
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("sweep: %w", err)
	}
	r := &Report{SchemaVersion: SchemaVersion, Kind: Kind, Dir: c.Dir}
	for i := range c.Points {
		if isClosed(c.Stop) || ctx.Err() != nil {
			r.Partial = true
			break
		}
		row, err := c.point(ctx, i)
		if errors.Is(err, bench.ErrInterrupted) {
			r.Partial = true
			break
		}
		r.Rows = append(r.Rows, row)
		if row.result != nil && row.result.Partial {
			r.Partial = true
			break
		}
	}
	if r.Partial && len(r.Rows) == 0 {
		return nil, bench.ErrInterrupted
	}
	return r, nil
}

func isClosed(stop <-chan struct{}) bool {
	select {
	case <-stop:
		return true
	default:
		return false
	}
}

// point measures or reads one point.
func (c *Config) point(ctx context.Context, i int) (Row, error) {
	p := &c.Points[i]
	row := Row{Settings: p.Settings, Repeat: p.Repeat, File: p.File()}
	file := filepath.Join(c.Dir, row.File)
	name := fmt.Sprintf("%d/%d %s", i+1, len(c.Points), p)
	if !c.Again {
		if r := recorded(file); r != nil {
			c.log("%s: is there already (--again measures it once more)", name)
			row.Recorded = true
			row.set(r)
			return row, nil
		}
	}
	c.log("%s", name)
	debug.FreeOSMemory() // what the run before left behind
	r, err := c.Run(ctx, p.Config)
	if err != nil {
		if errors.Is(err, bench.ErrInterrupted) {
			return row, err
		}
		c.log("%s: %v", name, err)
		row.Error = err.Error()
		return row, nil
	}
	r.Check(p.Config.SLOs)
	row.set(r)
	if err := save(file, r); err != nil {
		row.Error = err.Error()
	}
	c.log("%s: %s", name, row.summary())
	return row, nil
}

// recorded is the complete run in a file; nil if there is none.
func recorded(file string) *result.Result {
	f, err := os.Open(file)
	if err != nil {
		return nil
	}
	defer f.Close()
	r, err := result.Decode(f)
	if err != nil || r.Partial {
		return nil
	}
	return r
}

// save writes a file whole or not at all.
func save(file string, r *result.Result) error {
	var b bytes.Buffer
	if err := r.Encode(&b); err != nil {
		return err
	}
	tmp := file + ".tmp"
	if err := os.WriteFile(tmp, b.Bytes(), 0o644); err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	if err := os.Rename(tmp, file); err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	return nil
}

func (c *Config) log(format string, args ...any) {
	if c.Log != nil {
		c.Log(format, args...)
	}
}
