package table

import (
	"encoding/json"
	"fmt"
	"html"
	"io"
	"strings"
)

// Page is the report of a scenario: what was done, tables, and what is to be said of it. Text says that at the end, where a
// terminal's prompt is; Markdown and HTML at the top, where the eye is.
type Page struct {
	Name  string // "paxbench sweep"
	Title string
	Setup []Line // what was compared, in a few words each
	Parts []Part
	Lines []Line // the verdict first
}

// Line is a sentence with a name in capitals; without a name, it belongs to the one before.
type Line struct{ Name, Text string }

// Part is a table with an optional heading.
type Part struct {
	Name, Words string
	Table       Table
}

// Say adds a line.
func (p *Page) Say(name, format string, args ...any) {
	p.Lines = append(p.Lines, Line{name, fmt.Sprintf(format, args...)})
}

// Add adds a table, unless it is empty.
func (p *Page) Add(name, words string, t Table) {
	if len(t.Rows) > 0 {
		p.Parts = append(p.Parts, Part{Name: name, Words: words, Table: t})
	}
}

// Text writes the page for people.
func (p *Page) Text(w io.Writer) error {
	var b strings.Builder
	b.WriteString(p.heading() + "\n")
	for _, l := range p.Setup {
		fmt.Fprintf(&b, "  %s\n", strings.TrimSpace(fmt.Sprintf("%-2s %s", l.Name, l.Text)))
	}
	for _, part := range p.Parts {
		b.WriteString("\n")
		if part.Name != "" {
			fmt.Fprintf(&b, "%s  %s\n", part.Name, part.Words)
		}
		b.WriteString(part.Table.Text())
	}
	if len(p.Lines) > 0 {
		b.WriteString("\n")
	}
	for _, l := range p.Lines {
		fmt.Fprintf(&b, "%-9s %s\n", l.Name, l.Text)
	}
	return p.write(w, b.String())
}

// Markdown writes the page in GitHub's dialect, as for the step summary of a CI job.
func (p *Page) Markdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "## %s\n\n", p.heading())
	for _, l := range p.Lines {
		b.WriteString("- " + l.plain("**", "**") + "\n")
	}
	for _, l := range p.Setup {
		b.WriteString("- " + l.plain("", "") + "\n")
	}
	for _, part := range p.Parts {
		b.WriteString("\n")
		if part.Name != "" {
			fmt.Fprintf(&b, "**%s**: %s\n\n", part.Name, part.Words)
		}
		b.WriteString(part.Table.Markdown())
	}
	return p.write(w, b.String())
}

// HTML writes the page as a section of a document.
func (p *Page) HTML(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "<section class=\"run page\">\n<h2>%s</h2>\n<ul>\n", html.EscapeString(p.heading()))
	for _, l := range append(p.Lines[:len(p.Lines):len(p.Lines)], p.Setup...) {
		fmt.Fprintf(&b, "<li>%s</li>\n", Line{html.EscapeString(l.Name), html.EscapeString(l.Text)}.plain("<b>", "</b>"))
	}
	b.WriteString("</ul>\n")
	for _, part := range p.Parts {
		if part.Name != "" {
			fmt.Fprintf(&b, "<p><b>%s</b>: %s</p>\n", html.EscapeString(part.Name), html.EscapeString(part.Words))
		}
		b.WriteString(part.Table.HTML())
	}
	b.WriteString("</section>\n")
	return p.write(w, b.String())
}

func (p *Page) heading() string {
	if p.Title == "" {
		return p.Name
	}
	return p.Name + ": " + p.Title
}

func (l Line) plain(before, after string) string {
	if l.Name == "" {
		return l.Text
	}
	return before + strings.ToLower(l.Name) + after + ": " + l.Text
}

func (p *Page) write(w io.Writer, text string) error {
	if _, err := io.WriteString(w, text); err != nil {
		return fmt.Errorf("%s: write report: %w", p.Name, err)
	}
	return nil
}

// HTML is the table as HTML. A last column of words is aligned to the left by the class of the table.
func (t *Table) HTML() string {
	var b strings.Builder
	class := ""
	if len(t.Head) > 0 && t.Left[len(t.Head)-1] {
		class = ` class="words"`
	}
	fmt.Fprintf(&b, "<div class=\"scroll\"><table%s>", class)
	row := func(first, rest string, cells []string) {
		b.WriteString("<tr>")
		for i, cell := range cells {
			tag := rest
			if i == 0 {
				tag = first
			}
			fmt.Fprintf(&b, "<%s>%s</%s>", tag, html.EscapeString(cell), tag)
		}
		b.WriteString("</tr>\n")
	}
	if t.Head != nil {
		b.WriteString("<thead>")
		row("th", "th", t.Head)
		b.WriteString("</thead>")
	}
	b.WriteString("<tbody>")
	for _, cells := range t.Rows {
		row("th", "td", cells)
	}
	b.WriteString("</tbody></table></div>\n")
	return b.String()
}

// JSON writes v in the form that reports are recorded in.
func JSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// List is s, and an empty list where there is none: a report has no null where a list belongs.
func List[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
