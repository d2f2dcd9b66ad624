package main

import (
	"fmt"
	"path/filepath"

	"github.com/paxbench/paxbench/engine/wal"
	"github.com/spf13/cobra"
)

func newWALRepair(a *app) *cobra.Command {
	var from []string
	dryRun := false
	cmd := &cobra.Command{
		Use:   "repair DIR --from DIR [--from DIR]...",
		Short: "Make a damaged log whole again with the records that other nodes' logs hold",
		Long: "repair makes the damaged log of a stopped node whole again. The other nodes' data directories," +
			" or copies of them, may be damaged as well, in other places, and in use. Nothing is written that a checksum of this very log does not prove: the log" +
			" is then what it was, and the node starts and votes as if nothing had happened. What cannot be proved is refused, with file and offset, and nothing" +
			" is changed; the way out is then --rejoin, if a majority of the others is whole.\n\n" +
			"The files that are replaced are kept under the same names with .lost. Snapshots are not repaired: a node that has no good one which" +
			" reaches its log is refused and rejoins.",
		Args: needDirs,
		RunE: func(cmd *cobra.Command, dirs []string) error {
			a.begin()
			if len(dirs) > 1 {
				return usagef("%s repairs one log at a time; the others go behind --from", cmd.CommandPath())
			}
			if err := needDirs(cmd, append(dirs, from...)); err != nil {
				return err
			}
			return a.repair(dirs[0], from, dryRun)
		},
	}
	cmd.Flags().StringArrayVar(&from, "from", nil, "another node's data directory, or a copy; repeat it for each")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what would be done, and write nothing")
	return cmd
}

func (a *app) repair(dir string, from []string, dryRun bool) error {
	c := wal.RepairConfig{Dir: logDir(dir), DryRun: dryRun}
	for _, f := range from {
		c.From = append(c.From, logDir(f))
	}
	report, err := wal.Repair(c)
	for _, p := range report.Places {
		what := fmt.Sprintf("%d groups from LSN %d on, %d records found elsewhere", p.Groups, p.LSN, p.Records)
		if p.LSN == 0 {
			what = "the segment's header"
		}
		fmt.Fprintf(a.out, "%s: offset %d, %d bytes: %s\n", p.File, p.Offset, p.Bytes, what)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(a.out, "%s: log of node %d, ends: %s\n", report.Dir, report.Identity.Node, report.Verdict)
	switch {
	case len(report.Places) == 0 && len(report.Files) == 0:
		fmt.Fprintln(a.out, "nothing to repair")
	case dryRun:
		fmt.Fprintln(a.out, "proved by the log's own checksums; nothing was written (--dry-run)")
	default:
		for _, f := range report.Files {
			fmt.Fprintf(a.out, "%s was replaced; what it held is in %s.lost\n", f, filepath.Base(f))
		}
	}
	return nil
}
