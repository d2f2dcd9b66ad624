package main

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/paxbench/paxbench/bench"
	"github.com/paxbench/paxbench/bench/load"
	"github.com/paxbench/paxbench/engine/wal"
	"github.com/paxbench/paxbench/wire"
	"github.com/spf13/pflag"
)

// bound is what a setting may be, wherever it comes from. In the packages below a zero is a default; whoever types one means
// it, and must not be given something else.
type bound struct {
	flag  string
	kind  boundKind
	least float64
	most  float64 // 0: no bound
	want  string  // the way out
}

type boundKind int

const (
	amount boundKind = iota
	sizes
	lengths
)

const (
	hour = float64(time.Hour)
	day  = 24 * hour
)

// bounds are of settings whose own packages would take them for their default, or would refuse them only when nodes start.
var bounds = []bound{
	{"clients", amount, 1, load.ClientsMax, "give how many clients there are"},
	{"inflight", amount, 1, 1 << 22, "give how many operations a client has outstanding"},
	{"keys", amount, 1, load.KeysMax, "the record of acknowledged writes takes memory per key"},
	{"generators", amount, 1, bench.GeneratorsMax, "1 is this process alone"},
	{"value-ratio", amount, 1e-6, 1, "it is the share that does not compress: 1 does not at all, 0.25 to about a quarter"},
	{"rate", amount, 0, 1e9, "operations per second, or 0 for a closed loop"},
	{"window", amount, 1, wire.WindowMax, "32 is customary"},
	{"batch-bytes", sizes, 1, wire.BatchBytesMax, "64KiB to 1MiB are customary"},
	{"snapshot-bytes", sizes, 1, 1 << 40, "64MiB is the default"},
	{"retain-bytes", sizes, 1, 1 << 40, "64MiB is the default; 1B keeps next to nothing"},
	{"segment-bytes", sizes, 1, wal.SegmentBytesMax, "64MiB is the default"},
	{"batch-delay", lengths, 0, float64(10 * time.Second), "0s sends at once; 1ms is much already"},
	{"duration", lengths, 0, day, "give how long to measure, as in 15s"},
	{"warmup", lengths, 0, hour, "a few seconds are customary"},
	{"settle", lengths, 0, hour, "20s is much"},
	{"patience", lengths, 0, hour, "1s is a patient user; 0s waits for ever"},
	{"lease", lengths, 0, float64(time.Minute), "200ms is customary; 0s is none"},
	{"kills", amount, 1, 1 << 20, "20 make a distribution"},
	{"down", lengths, 1, hour, "give how long a fault lasts"},
	{"gap", lengths, 1, hour, "give how long it is quiet between two faults"},
	{"repeats", amount, 1, 1 << 10, "give how often to run each"},
	{"rounds", amount, 1, 1 << 16, "6 are needed for a verdict"},
	{"rounds-max", amount, 1, 1 << 16, "6 are needed for a verdict"},
	{"slices", amount, 0, 1 << 10, "0 makes a pair of two whole runs"},
	{"slice", lengths, 1, hour, "100ms to 1s are customary"},
	{"lockstep", amount, 0, 1 << 10, "0 leaves out the exact counts"},
	{"usual", amount, 0, 1, "give a share of the peak"},
	{"overload", amount, 0, 100, "give a multiple of the peak"},
	{"peak", amount, 0, 1e9, "operations per second, or 0 to measure it"},
	{"before", lengths, 1, day, "give a duration, as in 8s"},
	{"for", lengths, 1, day, "give a duration, as in 10s"},
	{"after", lengths, 1, day, "give a duration, as in 30s"},
	{"from", amount, 0, 1e9, "operations per second"},
	{"to", amount, 0, 1e9, "operations per second, or 0 for no end"},
}

// checkBounds reports the settings out of their bounds that somebody gave, all of them.
func checkBounds(flags *pflag.FlagSet) error {
	var errs []error
	for _, b := range bounds {
		f := flags.Lookup(b.flag)
		if f == nil || !f.Changed {
			continue
		}
		v, ok := b.read(f.Value.String())
		if ok && !(v >= b.least && (b.most == 0 || v <= b.most)) {
			errs = append(errs, fmt.Errorf("--%s %s: it must be %s; %s", b.flag, f.Value, b.span(), b.want))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return &codeError{exitUsage, err}
	}
	return nil
}

// read gives a value's number; not ok: it is a word, which its own parser has taken.
func (b *bound) read(text string) (v float64, ok bool) {
	var err error
	switch b.kind {
	case sizes:
		var n int64
		n, err = load.ParseBytes("", text)
		v = float64(n)
	case lengths:
		var d time.Duration
		d, err = time.ParseDuration(text)
		v = float64(d)
	default:
		v, err = strconv.ParseFloat(text, 64)
	}
	return v, err == nil
}

// span is the bounds in words.
func (b *bound) span() string {
	form := func(v float64) string {
		switch b.kind {
		case sizes:
			return load.FormatBytes(int64(v))
		case lengths:
			return time.Duration(v).String()
		}
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	switch {
	case b.least > 0 && b.least < 1:
		return "above 0 and at most " + form(b.most)
	case b.kind == lengths && b.least == 1:
		return "above 0s and at most " + form(b.most)
	}
	return form(b.least) + " to " + form(b.most)
}
