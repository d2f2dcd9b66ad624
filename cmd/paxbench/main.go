// Command paxbench starts clusters of the engine's replicas, drives load, breaks things, checks that nothing was lost,
// and reports throughput and latency. `paxbench run` is the main job and needs no argument.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func main() {
	os.Exit(execute(&app{in: os.Stdin, out: os.Stdout, err: os.Stderr, environ: os.Environ()}, os.Args[1:]))
}

// app is the process as the commands see it; tests put buffers in.
type app struct {
	in      io.Reader
	out     io.Writer // results only
	err     io.Writer // progress, logs, messages
	environ []string
	ran     bool // the command line was understood and a command has begun
}

// getenv is the value of an environment variable.
func (a *app) getenv(name string) string {
	for _, entry := range a.environ {
		if len(entry) > len(name) && entry[:len(name)] == name && entry[len(name)] == '=' {
			return entry[len(name)+1:]
		}
	}
	return ""
}

func (a *app) warnf(format string, args ...any) {
	fmt.Fprintf(a.err, "paxbench: "+format+"\n", args...)
}

// execute runs one command line and gives its exit code.
func execute(a *app, args []string) int {
	root := newRoot(a)
	root.SetArgs(args)
	root.SetOut(a.out)
	root.SetErr(a.err)
	cmd, err := root.ExecuteC()
	code := exitCode(err, a.ran)
	var coded *codeError
	if err == nil || errors.As(err, &coded) && coded.err == nil {
		return code
	}
	fmt.Fprintf(a.err, "paxbench: %s\n", strings.TrimPrefix(err.Error(), "paxbench "))
	if code == exitUsage {
		if cmd.HasParent() && cmd.Name() != "help" {
			fmt.Fprintf(a.err, "'%s --help' explains it.\n", cmd.CommandPath())
		} else {
			fmt.Fprintf(a.err, "'paxbench help' lists the commands.\n")
		}
	}
	return code
}

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "paxbench",
		Short: "Benchmark of a batched, pipelined Multi-Paxos engine",
		Long: `paxbench starts clusters of real processes, drives load, injects faults, checks that no acknowledged write was lost or
done twice, and reports throughput and latency.

  paxbench run        is the main job; it needs no argument and takes less than a minute.

Exit codes: 0 ok, 1 runtime error, 2 usage, 3 SLO missed, 4 regression, 5 safety violated, 6 invalid measurement, 130 interrupted.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          func(cmd *cobra.Command, args []string) error { return noSuchCommand(cmd, args) },
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRun: func(cmd *cobra.Command, _ []string) {
			known := []string{"config"}
			for _, sub := range cmd.Root().Commands() {
				known = append(known, settingNames(sub.Flags())...)
			}
			for _, warning := range unknownEnv(a.environ, known) {
				a.warnf("%s", warning)
			}
		},
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(newRun(a), newLoad(a), newServe(a), newProbe(a), newPipePeer(a), newWAL(a), newSim(a), newReport(a), newBenchmarks(a), newVersion(a), newCompare(a), newSlices(a), newFailover(a), newSweep(a), newSearch(a), newMetastability(a), newVerify(a), newReplay(a), newScenario(a), newSubscribe(a), newMembers(a))
	root.AddCommand(newFaultHelp())
	root.AddCommand(newGenerate(a)) // of run --generators
	helpRefuses(root)
	return root
}

// helpRefuses has help refuse what there is no help for. Cobra shows that of the whole program instead.
func helpRefuses(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	for _, help := range root.Commands() {
		if help.Name() != "help" {
			continue
		}
		help.Run, help.RunE = nil, func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return noSuchCommand(cmd, rest)
			}
			cmd.InitDefaultHelpFlag()
			return cmd.Help()
		}
	}
}

func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, sub := range cmd.Commands() {
		if !sub.Hidden {
			names = append(names, sub.Name())
		}
	}
	return usagef("unknown command %q%s", args[0], didYouMean(args[0], names))
}

// flagError turns what the flag parser says into a message that names the way out.
func flagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		name := unknown.GetSpecifiedName()
		dashes := "--"
		if unknown.GetSpecifiedShortnames() != "" {
			dashes, name = "-", name[:1]
		}
		return usagef("%s: unknown flag %s%s%s", cmd.CommandPath(), dashes, name, didYouMean(name, settingNames(cmd.Flags())))
	}
	return usagef("%s: %v", cmd.CommandPath(), plainer(err))
}

// plainer strips the internals from the errors of numeric flags.
func plainer(err error) error {
	var invalid *pflag.InvalidValueError
	if !errors.As(err, &invalid) {
		return err
	}
	f := invalid.GetFlag()
	cause := invalid.Unwrap()
	switch f.Value.Type() {
	case "int", "int64", "uint", "uint32", "uint64":
		cause = fmt.Errorf("it takes a whole number")
	case "float64":
		cause = fmt.Errorf("it takes a number")
	case "duration":
		cause = fmt.Errorf("it takes a duration with a unit, as in 10ms or 2s")
	case "bool":
		cause = fmt.Errorf("it takes true or false")
	}
	// What parsers say of a value by itself begins with it.
	text := strings.TrimPrefix(cause.Error(), "--")
	text = strings.TrimPrefix(text, fmt.Sprintf("%s %q: ", f.Name, invalid.GetValue()))
	return fmt.Errorf("--%s %s: %s", f.Name, invalid.GetValue(), text)
}

// begin marks the end of usage errors that need no code of their own: whatever fails from here is a runtime error.
func (a *app) begin() { a.ran = true }
