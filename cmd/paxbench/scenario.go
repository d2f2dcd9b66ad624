package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
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

// seed is the seed that was given, or one for this time.
func (c *scenarioConfig) seed() uint64 {
	if c.Load.Seed == 0 {
		c.Load.Seed = rand.Uint64() >> 1
	}
	return c.Load.Seed
}

// perform says what is wrong with a plan (mistake) or its settings before anything starts, makes the runs, with progress, and presents
// what comes of them. planned is what is checked and what progress counts against. many: of so many short runs the intervals are shown
// with --verbose alone. stopped: there was a ^C.
func (a *app) perform(c *scenarioConfig, planned *bench.Config, mistake error, many bool, run func(context.Context, *progress) (renderer, error)) (stopped bool, err error) {
	if err := c.output.check(); err != nil {
		return false, err
	}
	if mistake == nil {
		mistake = planned.Validate()
	}
	if mistake != nil {
		return false, &codeError{exitUsage, mistake}
	}
	a.begin()
	ctx, stop, release := a.signals()
	defer release()
	p := a.newProgress(&c.output, planned)
	c.Stop, c.Debug = stop, p.debug
	if !many || c.output.verbose {
		c.Log, c.Progress = p.log, p.interval
	}
	r, err := run(ctx, p)
	p.end()
	if err != nil {
		return false, runError(err)
	}
	return isClosed(stop), a.present(r, &c.output)
}

// codeOf is an exit code as an error. Of what was interrupted only a violation of safety is known.
func codeOf(code int, interrupted bool) error {
	if interrupted && code != exitViolated {
		code = exitInterrupted
	}
	if code == exitOK {
		return nil
	}
	return &codeError{code: code}
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
