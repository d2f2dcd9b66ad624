package table

import "testing"

// A cell with a bar or a letter of several bytes would shift all columns after it.
func TestTable(t *testing.T) {
	x := Table{Head: []string{"", "p50", "verdict"}, Left: map[int]bool{2: true}}
	x.Add("a", "12 µs", "ok")
	x.Add("a|b", "1", "")
	if got, want := x.Text(), "         p50  verdict\n  a    12 µs  ok\n  a|b      1\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	want := "|  | p50 | verdict |\n|---|---:|---|\n| a | 12 µs | ok |\n| a\\|b | 1 |  |\n"
	if got := x.Markdown(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
