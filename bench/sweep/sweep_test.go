package sweep

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/paxbench/paxbench/bench"
	"github.com/paxbench/paxbench/bench/result"
)

// A combination that is left out, or measured under the name of another, would not be noticed.
func TestCombine(t *testing.T) {
	nodes, err := ParseAxis("nodes=1,3,5")
	if err != nil {
		t.Fatal(err)
	}
	sizes, err := ParseAxis("--value-size=list:16,64; 128")
	if err != nil || len(sizes.Values) != 2 || sizes.Values[0] != "list:16,64" || sizes.Name != "value-size" {
		t.Fatal(sizes, err)
	}
	points, err := Combine([]Axis{nodes, sizes}, 2)
	if err != nil || len(points) != 12 {
		t.Fatal(len(points), err)
	}
	files := map[string]bool{}
	for i := range points {
		files[points[i].File()] = true
	}
	if len(files) != 12 || points[0].String() != "nodes=1 value-size=list:16,64" || points[3].String() != "nodes=1 value-size=128 repeat 2" {
		t.Errorf("%v", files)
	}
	for name := range files {
		if strings.ContainsAny(name, ":,/ ;") {
			t.Errorf("file name %q", name)
		}
	}
	a, b := points[0], points[0]
	a.All, b.All = []string{"window=8"}, []string{"window=16"}
	if a.File() == b.File() {
		t.Error("settings that are not varied make no difference to the file")
	}
	for _, wrong := range []string{"nodes", "=3", "nodes=", "nodes=3,3"} {
		if _, err := ParseAxis(wrong); err == nil {
			t.Errorf("%q is taken", wrong)
		}
	}
	if _, err := Combine([]Axis{nodes, nodes}, 1); err == nil {
		t.Error("an axis twice is taken")
	}
	if _, err := Combine([]Axis{nodes, sizes}, PointsMax); err == nil {
		t.Error("a sweep without end is taken")
	}
}

func run(rate float64) *result.Result {
	return &result.Result{
		SchemaVersion: 1, Validity: result.Validity{Verdict: result.Valid}, Safety: result.Safety{Verdict: result.OK, Linearizable: result.Unchecked},
		Throughput: result.Throughput{OpsPerSec: rate}, Latency: result.Latencies{Response: result.Latency{P50: 1, P90: 1, P99: 1, P999: 1, Max: 1, Count: 10}},
	}
}

// A sweep that was stopped must go on where it was, with neither gaps nor repetitions, and one bad point must not
// take the others with it.
func TestResume(t *testing.T) {
	axis, _ := ParseAxis("window=1,2,3,4")
	points, _ := Combine([]Axis{axis}, 1)
	for i := range points {
		points[i].Config.Engine.Window = i + 1
	}
	dir := filepath.Join(t.TempDir(), "new")
	var ran []int
	stop := make(chan struct{})
	c := Config{Points: points, Dir: dir, Stop: stop, Run: func(_ context.Context, c bench.Config) (*result.Result, error) {
		ran = append(ran, c.Engine.Window)
		r := run(float64(100 * c.Engine.Window))
		switch {
		case c.Engine.Window == 2 && len(ran) < 4:
			return nil, errors.New("no ports left")
		case c.Engine.Window == 3 && len(ran) < 4:
			close(stop)
			r.Partial = true
		case c.Engine.Window == 4:
			r.Invalidate("for a test")
		}
		return r, nil
	}}
	r, err := Run(context.Background(), c)
	if err != nil || !r.Partial || len(r.Rows) != 3 || r.Rows[1].Error != "no ports left" {
		t.Fatalf("%+v, %v", r, err)
	}
	c.Stop, ran = nil, append(ran, 0)
	if r, err = Run(context.Background(), c); err != nil || r.Partial || len(r.Rows) != 4 {
		t.Fatalf("%+v, %v", r, err)
	}
	if want := []int{1, 2, 3, 0, 2, 3, 4}; len(ran) != len(want) || ran[4] != 2 || ran[6] != 4 || !r.Rows[0].Recorded || r.Rows[2].Recorded {
		t.Errorf("ran %v", ran)
	}
	var text, markdown, encoded bytes.Buffer
	if err := errors.Join(r.Page().Text(&text), r.Page().Markdown(&markdown), r.JSON(&encoded)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"window", "400", "invalid: for a test"} {
		if !strings.Contains(text.String(), want) || !strings.Contains(markdown.String(), want) || !strings.Contains(encoded.String(), "for a test") {
			t.Errorf("no %q in\n%s\n%s\n%s", want, &text, &markdown, &encoded)
		}
	}
	// A file that is cut counts as none; --again measures everything.
	if err := os.WriteFile(filepath.Join(dir, points[0].File()), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	ran = nil
	if _, err = Run(context.Background(), c); err != nil || len(ran) != 1 || ran[0] != 1 {
		t.Errorf("ran %v, %v", ran, err)
	}
	c.Again, ran = true, []int{9, 9, 9}
	if _, err = Run(context.Background(), c); err != nil || len(ran) != 7 {
		t.Errorf("ran %v, %v", ran, err)
	}
}
