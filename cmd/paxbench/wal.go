package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/paxbench/paxbench/bench/load"
	"github.com/paxbench/paxbench/engine/snapshot"
	"github.com/paxbench/paxbench/engine/wal"
	"github.com/paxbench/paxbench/wire"
	"github.com/spf13/cobra"
)

func newWAL(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "wal",
		Short: "Inspect, verify or repair a node's data directory",
		Long: "wal looks at a node's data directory: its log and its snapshots. inspect and verify take no lock and change nothing. repair is for a node that" +
			" is stopped, and whose log is damaged.",
		Args: func(cmd *cobra.Command, args []string) error { return noSuchCommand(cmd, args) },
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newWALInspect(a), newWALVerify(a), newWALRepair(a))
	return cmd
}

func newWALInspect(a *app) *cobra.Command {
	records, format := false, "text"
	cmd := &cobra.Command{
		Use:   "inspect DIR",
		Short: "Print what is in a log, segment by segment or record by record",
		Args:  needDirs,
		RunE: func(_ *cobra.Command, dirs []string) error {
			a.begin()
			for _, dir := range dirs {
				if err := a.inspect(dir, records, format); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&records, "records", false, "print every record")
	cmd.Flags().Var(&choice{value: &format, choices: []string{"text", "json"}}, "format", "text, or json (one object a line)")
	return cmd
}

func newWALVerify(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "verify DIR...",
		Short: "Check every byte of logs and snapshots; the exit code says whether a node may run on them",
		Long: "verify reads logs and snapshots and changes nothing. Damage is reported with file and offset, and the exit code is not 0." +
			" A torn tail is reported and is no damage: a crash leaves it, and what it held was never acknowledged, unless the last write was damaged later.",
		Args: needDirs,
		RunE: func(_ *cobra.Command, dirs []string) error {
			a.begin()
			var errs []error
			for _, dir := range dirs {
				errs = append(errs, a.verify(dir))
			}
			return errors.Join(errs...)
		},
	}
}

func needDirs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usagef("%s needs a node's data directory", cmd.CommandPath())
	}
	for _, dir := range args {
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			return usagef("%s: %s is not a directory", cmd.CommandPath(), dir)
		}
	}
	return nil
}

// logDir is where the log is: in DIR/wal of a node's data directory, or DIR itself.
func logDir(dir string) string {
	if info, err := os.Stat(filepath.Join(dir, "wal")); err == nil && info.IsDir() {
		return filepath.Join(dir, "wal")
	}
	return dir
}

func (a *app) inspect(dir string, records bool, format string) error {
	var each func(*wal.Entry) error
	if records {
		each = func(e *wal.Entry) error { return a.printRecord(e, format) }
	}
	report, err := wal.Inspect(logDir(dir), each)
	if report.Identity.Node == 0 {
		return err
	}
	if format == "json" {
		if failed := json.NewEncoder(a.out).Encode(report); failed != nil {
			return failed
		}
		return err
	}
	fmt.Fprintf(a.out, "%s: log of node %d of cluster %d, members %v\n", report.Dir, report.Identity.Node, report.Identity.Cluster, report.Identity.Members)
	table := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "segment\tused\tof\tLSN\tgroups\trecords\tslots\tkinds")
	for _, s := range report.Segments {
		fmt.Fprintf(table, "%s\t%s\t%s\t%d..%d\t%d\t%d\t%s\t%s\n", filepath.Base(s.File), load.FormatBytes(s.Used), load.FormatBytes(s.Size),
			s.First, s.Last, s.Groups, s.Records, slotsText(s.Slots), kindsText(s.Kinds))
	}
	if failed := table.Flush(); failed != nil {
		return failed
	}
	fmt.Fprintf(a.out, "%d spare segments, %d not needed any more\n", report.Spares, report.GivenUp)
	if err == nil {
		fmt.Fprintf(a.out, "ends: %s\n", report.Verdict)
	}
	a.printSuspect(report)
	return err
}

// printSuspect says what the node will do about a log that may have lost something, and what an operator can.
func (a *app) printSuspect(report wal.Report) {
	switch {
	case report.Suspect != "":
		fmt.Fprintf(a.out, "suspect: %s\n", report.Suspect)
	case !report.Verdict.Torn:
		return
	case len(report.Identity.Members) == 1:
		fmt.Fprintln(a.out, "the node, alone in its cluster, will not start: if this follows a power loss, start it once with --accept-torn-tail")
		return
	default:
		fmt.Fprintln(a.out, "suspect: what was cut may have been acknowledged (fsync policies other than always promise less, and do not mind)")
	}
	fmt.Fprintln(a.out, "the node will serve what is chosen and not vote until a majority of the cluster's other nodes has told it what it may have forgotten")
}

func (a *app) printRecord(e *wal.Entry, format string) error {
	r := &e.Record
	if format == "json" {
		return json.NewEncoder(a.out).Encode(map[string]any{
			"file": e.File, "offset": e.Offset, "lsn": e.LSN, "kind": r.Kind.String(), "group": r.Group,
			"ballot": r.Ballot, "slot": r.Slot, "chosen": r.Chosen, "bytes": r.Frame.Len(),
		})
	}
	_, err := fmt.Fprintf(a.out, "%s+%d lsn %d %s group %d slot %d ballot %s chosen %d, %d bytes\n",
		filepath.Base(e.File), e.Offset, e.LSN, r.Kind, r.Group, r.Slot, r.Ballot, r.Chosen, r.Frame.Len())
	return err
}

func slotsText(slots map[wire.GroupID]wal.SlotRange) string {
	var parts []string
	for group, s := range slots {
		parts = append(parts, fmt.Sprintf("%d:%d..%d", group, s.Min, s.Max))
	}
	slices.Sort(parts)
	return strings.Join(parts, " ")
}

func kindsText(kinds map[wire.Kind]int) string {
	var parts []string
	for kind, n := range kinds {
		parts = append(parts, fmt.Sprintf("%s:%d", kind, n))
	}
	slices.Sort(parts)
	return strings.Join(parts, " ")
}

// verify reads the log and every snapshot of a node.
func (a *app) verify(dir string) error {
	report, err := wal.Inspect(logDir(dir), nil)
	if err == nil {
		records := 0
		for _, s := range report.Segments {
			records += s.Records
		}
		_, err = fmt.Fprintf(a.out, "%s: node %d, %d segments, %d records, ends: %s\n",
			report.Dir, report.Identity.Node, len(report.Segments), records, report.Verdict)
		if err == nil && report.Verdict.Torn {
			_, err = fmt.Fprintln(a.out, "a crash in the middle of a write leaves such an end, and so does damage to what was written last: this disk alone"+
				" cannot tell which. Nothing was changed")
		}
		a.printSuspect(report)
	}
	return errors.Join(err, a.verifySnapshots(filepath.Join(dir, "snap")))
}

func (a *app) verifySnapshots(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if _, _, ok := snapshot.ParseName(e.Name()); !ok {
			continue
		}
		f, err := snapshot.Verify(nil, filepath.Join(dir, e.Name()))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		fmt.Fprintf(a.out, "%s: intact, group %d, slots up to %d\n", f.Path, f.Meta.Group, f.Meta.Slot)
	}
	return errors.Join(errs...)
}
