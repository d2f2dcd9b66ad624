package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/paxbench/paxbench/bench/result"
)

func pageOf(runs ...Run) string {
	var b bytes.Buffer
	if err := HTML(&b, runs); err != nil {
		panic(err)
	}
	return b.String()
}

var pages = sync.OnceValue(func() map[string]string {
	many := []Run{}
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i"} {
		many = append(many, Run{name, closed()})
	}
	empty := &result.Result{SchemaVersion: 1, Validity: result.Validity{Verdict: result.Valid}, Safety: result.Safety{Verdict: result.Unchecked, Linearizable: result.Unchecked}}
	old := closed()
	old.Histograms = nil
	return map[string]string{
		"closed": pageOf(Run{"closed", closed()}), "faulty": pageOf(Run{"faulty", faulty()}),
		"violated": pageOf(Run{"violated", violated()}), "old": pageOf(Run{"old", old}), "empty": pageOf(Run{"empty", empty}),
		"two": pageOf(Run{"closed", closed()}, Run{"<b>faulty", faulty()}), "with violated": pageOf(Run{"closed", closed()}, Run{"violated", violated()}),
		"many": pageOf(many...),
	}
})

// A page with a tag left open, a text not escaped or a template that stumbled looks right in one browser and not in
// the next. The page is written so that an XML parser reads it too.
func TestHTMLWellFormed(t *testing.T) {
	for name, text := range pages() {
		d := xml.NewDecoder(strings.NewReader(strings.Replace(text, "<!doctype html>", "", 1)))
		d.Entity = xml.HTMLEntity
		ids, depth, scripts := map[string]bool{}, 0, 0
		for {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			switch e := token.(type) {
			case xml.StartElement:
				depth++
				if e.Name.Local == "script" {
					scripts++
				}
				for _, a := range e.Attr {
					if a.Name.Local == "id" && ids[a.Value] {
						t.Errorf("%s: id %q twice", name, a.Value)
					} else if a.Name.Local == "id" {
						ids[a.Value] = true
					}
					if strings.HasPrefix(a.Name.Local, "on") {
						t.Errorf("%s: attribute %s", name, a.Name.Local)
					}
				}
			case xml.EndElement:
				depth--
			}
		}
		if depth != 0 || scripts != 1 {
			t.Errorf("%s: %d elements open, %d scripts", name, depth, scripts)
		}
		shown := regexp.MustCompile(`(?s)<script>.*</script>|<style>.*</style>`).ReplaceAllString(text, "")
		for _, wrong := range []string{"NaN", "+Inf", "ZgotmplZ", "no value", "%!"} {
			if i := strings.Index(shown, wrong); i >= 0 {
				t.Errorf("%s: holds %q: %.120s", name, wrong, shown[i:])
			}
		}
	}
}

// The page must work on a plane and tell nobody that it was opened.
func TestHTMLOffline(t *testing.T) {
	const namespace = "http://www.w3.org/2000/svg"
	for name, text := range pages() {
		for _, address := range regexp.MustCompile(`(?i)(https?:)?//[a-z0-9][a-z0-9.-]*\.[a-z]{2,}[^\s"'<]*`).FindAllString(text, -1) {
			if address != namespace {
				t.Errorf("%s: names %s", name, address)
			}
		}
		if m := regexp.MustCompile(`(?i)\b(src|href|srcset|action)\s*=|@import|url\(|fetch\(|XMLHttpRequest|<link|<iframe|<object|<img`).FindString(text); m != "" {
			t.Errorf("%s: holds %q", name, m)
		}
		if !strings.Contains(text, `content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"`) {
			t.Errorf("%s: no content security policy", name)
		}
	}
}

// A plot without its faults, or numbers of a run that lost a write, would be believed.
func TestHTMLContent(t *testing.T) {
	all := pages()
	for name, wants := range map[string][]string{
		"closed":   {"Latency by percentile", "Throughput over time", "Response time over time", "Stages", "Cost per operation", "Safety ok", "2,000"},
		"faulty":   {"Invalid: do not use these numbers", "kill leader", "pause all", "Objective missed", "lag", "&lt;were&gt;"},
		"violated": {"Safety violated", "Performance numbers are withheld", "3 writes were acknowledged"},
		"two":      {"What differs", "&lt;b&gt;faulty", "2 results"},
	} {
		for _, want := range wants {
			if !strings.Contains(all[name], want) {
				t.Errorf("%s: no %q", name, want)
			}
		}
	}
	if n := strings.Count(all["faulty"], `class="line heal"`) + strings.Count(all["faulty"], `class="heal"`); n != 3 {
		t.Errorf("%d heals are drawn, want one in each of three charts over time", n)
	}
	for _, not := range []string{"<path", "p99.9", "Cost per operation", "812"} {
		if strings.Contains(strings.Split(all["violated"], "<details")[0], not) {
			t.Errorf("a violated run shows %q", not)
		}
	}
	if strings.Contains(all["faulty"], "<script>alert") {
		t.Error("an error's text became a script")
	}
	if err := HTML(io.Discard, nil); err == nil {
		t.Error("a page of nothing")
	}
}
