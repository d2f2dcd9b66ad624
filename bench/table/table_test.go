package table

import (
	"errors"
	"strings"
	"testing"
)

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

// The three forms are made of one page: one could leave out a line, or break the document that it is put into.
func TestPage(t *testing.T) {
	p := Page{Name: "paxbench x", Title: "a < b", Setup: []Line{{"A", "old"}}}
	p.Add("TIMES", "in ns", Table{Head: []string{"", "p50"}, Rows: [][]string{{"a|b", "<1>"}}})
	p.Add("EMPTY", "not shown", Table{Head: []string{"", "p50"}})
	p.Say("VERDICT", "worse by %d%%", 3)
	p.Say("", "a & b")
	var text, markdown, html strings.Builder
	if err := errors.Join(p.Text(&text), p.Markdown(&markdown), p.HTML(&html)); err != nil {
		t.Fatal(err)
	}
	if want := "paxbench x: a < b\n  A  old\n\nTIMES  in ns\n       p50\n  a|b  <1>\n\nVERDICT   worse by 3%\n          a & b\n"; text.String() != want {
		t.Errorf("%q, want %q", text.String(), want)
	}
	if want := "## paxbench x: a < b\n\n- **verdict**: worse by 3%\n- a & b\n- a: old\n\n**TIMES**: in ns\n\n|  | p50 |\n|---|---:|\n| a\\|b | &lt;1&gt; |\n"; markdown.String() != want {
		t.Errorf("%q, want %q", markdown.String(), want)
	}
	for _, want := range []string{"<h2>paxbench x: a &lt; b</h2>", "<li><b>verdict</b>: worse by 3%</li>", "<li>a &amp; b</li>", `<th></th><th>p50</th>`, `<th>a|b</th><td>&lt;1&gt;</td>`} {
		if !strings.Contains(html.String(), want) {
			t.Errorf("no %q in %s", want, &html)
		}
	}
	if strings.Contains(text.String()+markdown.String()+html.String(), "EMPTY") {
		t.Error("an empty table is shown")
	}
}
