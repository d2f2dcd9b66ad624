package main

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/paxbench/paxbench/bench"
	"github.com/paxbench/paxbench/bench/table"
	"github.com/spf13/pflag"
)

// What the commands that make many runs share.

// scenarioConfig are the flags of such a command: those of run, and its own.
type scenarioConfig struct {
	runConfig
	fs *pflag.FlagSet
}

var scenarioFormats = []string{"text", "json", "markdown"}

func scenarioOutput(fs *pflag.FlagSet, o *outputConfig, file string) {
	o.format = "text"
	if file != "" {
		fs.StringVarP(&o.file, "output", "o", "", file)
	}
	fs.Var(&choice{value: &o.format, choices: scenarioFormats}, "format", "of the report: text, json or markdown")
	fs.BoolVarP(&o.quiet, "quiet", "q", false, "no progress")
	fs.BoolVarP(&o.verbose, "verbose", "v", false, "more progress")
	fs.BoolVar(&o.noColor, "no-color", false, "no colours; NO_COLOR and TERM=dumb are honoured too")
}

// renderer is a report of a scenario.
type renderer interface {
	Page() *table.Page
	JSON(io.Writer) error
}

// present writes the JSON form to the file that was asked for, and the report to standard output.
func (a *app) present(r renderer, o *outputConfig) error {
	if o.file != "" {
		var b bytes.Buffer
		if err := r.JSON(&b); err != nil {
			return err
		}
		if err := writeWhole(o.file, b.Bytes()); err != nil {
			return err
		}
	}
	return writePage(a.out, r, o.format)
}

// settingArgs are the flags that were set, by whatever source, as arguments: for a run in a process of its own.
func settingArgs(fs *pflag.FlagSet, leave ...string) []string {
	known := pflag.NewFlagSet("", pflag.ContinueOnError)
	defaults := bench.DefaultConfig()
	settingFlags(known, &defaults)
	var args []string
	fs.VisitAll(func(f *pflag.Flag) {
		if !f.Changed || known.Lookup(f.Name) == nil || slices.Contains(leave, f.Name) {
			return
		}
		values := []string{f.Value.String()}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			values = list.GetSlice()
		}
		for _, v := range values {
			args = append(args, "--"+f.Name+"="+v)
		}
	})
	return args
}

// parseSettings reads arguments as run would.
func parseSettings(args []string) (*pflag.FlagSet, *bench.Config, error) {
	c := bench.DefaultConfig()
	c.Name = "run"
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	fs.Usage = func() {}
	settingFlags(fs, &c)
	if err := fs.Parse(args); err != nil {
		return nil, nil, plainer(err)
	}
	if fs.NArg() > 0 {
		return nil, nil, fmt.Errorf("%q is not a flag; a side is flags as run has them, as in '--window 8'", fs.Arg(0))
	}
	settle(fs, &c)
	return fs, &c, c.Validate()
}

// words splits a line of flags as a shell would: blanks part, quotes of either kind hold together.
func words(line string) ([]string, error) {
	var out []string
	var word strings.Builder
	quote, inside := rune(0), false
	for _, c := range line {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(c)
		case c == '\'' || c == '"':
			quote, inside = c, true
		case c == ' ' || c == '\t' || c == '\n':
			if inside {
				out = append(out, word.String())
				word.Reset()
				inside = false
			}
		default:
			word.WriteRune(c)
			inside = true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("a quote is not closed")
	}
	if inside {
		out = append(out, word.String())
	}
	return out, nil
}

// plainEnv is the environment without settings: those have been read, and go on as arguments.
func plainEnv(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(entry string) bool { return strings.HasPrefix(entry, envPrefix) })
}
