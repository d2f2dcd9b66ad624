package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/paxbench/paxbench/bench"
	"github.com/paxbench/paxbench/bench/env"
	"github.com/paxbench/paxbench/bench/result"
	"github.com/spf13/cobra"
)

// probed is the JSON of a probe.
type probed struct {
	SchemaVersion int          `json:"schema_version"`
	Env           env.Info     `json:"env"`
	Limits        bench.Limits `json:"limits"`
}

func newProbe(a *app) *cobra.Command {
	c := bench.ProbeConfig{Dir: bench.DefaultDataDir}
	format, quick, quiet := "text", false, false
	cmd := &cobra.Command{
		Use:   "probe",
		Short: "This machine's limits: disk, loopback, memory, and the bare replicated pipe",
		Long: `probe measures what results should be read against. The pipe is replication without a protocol: frames to two other
processes over the engine's transport, three logs with fdatasync, acknowledgements back. It takes about 12 seconds.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			a.begin()
			c.Full = !quick
			if !quiet {
				c.Log = func(format string, args ...any) { fmt.Fprintf(a.err, format+"\n", args...) }
			}
			out, err := a.probe(c)
			if err != nil {
				return runError(err)
			}
			if format == "json" {
				e := json.NewEncoder(a.out)
				e.SetIndent("", " ")
				return e.Encode(out)
			}
			return out.text(a.out)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&c.Dir, "data-dir", c.Dir, "a directory on the disk to probe")
	fs.BoolVar(&quick, "quick", false, "the brief form that run uses, less than 2 seconds")
	fs.Var(&choice{value: &format, choices: []string{"text", "json"}}, "format", "text or json")
	fs.BoolVarP(&quiet, "quiet", "q", false, "no progress")
	return cmd
}

func (a *app) probe(c bench.ProbeConfig) (*probed, error) {
	_, missing := os.Stat(c.Dir)
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return nil, err
	}
	if missing != nil {
		defer os.Remove(c.Dir) // fails if somebody else uses it by now
	}
	ctx, stop, release := a.signals()
	defer release()
	ctx, cancel := bench.UntilStopped(ctx, stop)
	defer cancel()
	info, steal := env.Collect(c.Dir), env.Steal()
	limits, err := bench.Probe(ctx, c)
	info.StealNanos = int64(env.Steal() - steal)
	return &probed{result.SchemaVersion, info, limits}, err
}

func (p *probed) text(w io.Writer) error {
	l, e := &p.Limits, &p.Env
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(t, name+"\t"+format+"\n", args...) }
	row("machine", "%s, %d cores, %s, Linux %s, %s", e.CPU, e.Cores, result.Bytes(float64(e.MemoryBytes)), e.Kernel, e.Go)
	row("disk", "%s on %s (%s)", e.Disk.Type, e.Disk.Device, e.Disk.Path)
	if e.Disk.Memory() {
		row("", "THIS IS MEMORY: fsync promises nothing here")
	}
	row("fdatasync", "p50 %s, p99 %s, %s/s (4 KiB each, preallocated)",
		result.Duration(l.Fsync.P50), result.Duration(l.Fsync.P99), result.Count(l.FsyncsPerSecond))
	row("loopback", "round trip p50 %s, p99 %s; %s/s in one stream",
		result.Duration(l.LoopbackRTT.P50), result.Duration(l.LoopbackRTT.P99), result.Bytes(l.LoopbackBandwidth))
	row("one core", "CRC32C %s/s, copy %s/s", result.Bytes(l.CRC32C), result.Bytes(l.Copy))
	row("bare pipe", "%s commands/s; a frame is on a majority's disks after p50 %s, p99 %s",
		result.Count(l.Pipe.OpsPerSecond), result.Duration(l.Pipe.Latency.P50), result.Duration(l.Pipe.Latency.P99))
	row("", "(%d processes, fsync %s; %d frames in flight, each %s with %d commands of %d bytes)",
		l.PipeNodes, l.PipeFsync, l.Pipe.Window, result.Bytes(float64(l.Pipe.FrameBytes)), l.Pipe.Commands, env.ProbeLoad.CommandBytes)
	row("took", "%s", l.Took.Round(10*time.Millisecond))
	return t.Flush()
}
