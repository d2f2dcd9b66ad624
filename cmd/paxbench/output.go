package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/paxbench/paxbench/bench/result"
)

var formats = []string{"text", "json", "markdown", "go"}

// check finds out before the run what would only fail after it.
func (o *outputConfig) check() error {
	if o.file == "" {
		return nil
	}
	if info, err := os.Stat(o.file); err == nil && info.IsDir() {
		return usagef("--output %s is a directory; name a file", o.file)
	}
	if info, err := os.Stat(filepath.Dir(o.file)); err != nil || !info.IsDir() {
		return usagef("--output %s: there is no directory %s", o.file, filepath.Dir(o.file))
	}
	return nil
}

// report writes the record to the file and the report to standard output.
func (a *app) report(r *result.Result, o *outputConfig) error {
	if o.file != "" {
		if err := writeRecord(r, o.file); err != nil {
			return err
		}
	}
	return a.render(r, o.format, o.noColor)
}

func (a *app) render(r *result.Result, format string, noColor bool) error {
	return render(a.out, r, format, noColor)
}

// writeRecord writes the file whole or not at all.
func writeRecord(r *result.Result, file string) error {
	var b bytes.Buffer
	if err := r.Encode(&b); err != nil {
		return err
	}
	return writeWhole(file, b.Bytes())
}

// writeWhole writes a file whole or not at all.
func writeWhole(file string, data []byte) error {
	tmp := file + ".tmp"
	if err := os.WriteFile(tmp, data, 0o644); err != nil {
		return fmt.Errorf("output: %w", err)
	}
	if err := os.Rename(tmp, file); err != nil {
		return fmt.Errorf("output: %w", err)
	}
	return nil
}

// render writes a result to w in one of formats.
func render(w io.Writer, r *result.Result, format string, noColor bool) error {
	switch format {
	case "json":
		return r.Encode(w)
	case "markdown":
		return r.Markdown(w)
	case "go":
		return r.GoBench(w)
	}
	return r.Text(w, result.TextOptions{Color: !noColor && useColor(w)})
}

// useColor says whether w is a terminal that wants colours.
func useColor(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && result.UseColor(f)
}
