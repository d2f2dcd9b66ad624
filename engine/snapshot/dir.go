package snapshot

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/paxbench/paxbench/wire"
)

// Latest returns the newest good snapshot of group g in dir. Files that are cut, damaged, foreign or not what their
// name says are passed over and listed in File.Refused. It reads the files it judges completely.
//
// The error is ErrNone if there is no file at all, an *AllRefusedError if all are bad, or one of the file system.
func Latest(fs FS, dir string, c wire.ClusterID, g wire.GroupID) (*File, error) {
	fs = orOS(fs)
	slots, err := listSlots(fs, dir, g)
	if err != nil {
		return nil, err
	}
	var refused []error
	for _, s := range slots {
		f, err := Verify(fs, filepath.Join(dir, Name(g, s)))
		if err == nil && f.Meta.Cluster != c {
			err = at(f.Path, &Error{Err: ErrForeign, Detail: fmt.Sprintf("cluster %d, this is %d", f.Meta.Cluster, c)})
		}
		if err != nil {
			refused = append(refused, err)
			continue
		}
		f.Refused = refused
		return f, nil
	}
	if refused == nil {
		return nil, ErrNone
	}
	return nil, &AllRefusedError{refused}
}

// listSlots returns the slots of the snapshots of group g in dir, newest first.
func listSlots(fs FS, dir string, g wire.GroupID) ([]wire.Slot, error) {
	names, err := fs.List(dir)
	if err != nil {
		return nil, fmt.Errorf("snapshot: list %s: %w", dir, err)
	}
	var slots []wire.Slot
	for _, name := range names {
		if ng, s, ok := ParseName(name); ok && ng == g {
			slots = append(slots, s)
		}
	}
	slices.SortFunc(slots, func(a, b wire.Slot) int { return cmp.Compare(b, a) })
	return slots, nil
}

// RemoveOlder removes the snapshots of group g below slot keep and makes that durable. The caller has verified the
// one at keep (or just written it). All removals are tried; the errors come joined.
func RemoveOlder(fs FS, dir string, g wire.GroupID, keep wire.Slot) error {
	return remove(orOS(fs), dir, func(name string) bool {
		ng, s, ok := ParseName(name)
		return ok && ng == g && s < keep
	})
}

// KeepNewest removes all but the newest count snapshots of group g, however far back the log reaches: each holds the whole state.
func KeepNewest(fs FS, dir string, g wire.GroupID, count int) error {
	slots, err := listSlots(orOS(fs), dir, g)
	if err != nil || len(slots) <= count {
		return err
	}
	return RemoveOlder(fs, dir, g, slots[count-1])
}

// Clean removes what crashes left behind of group g: temporary files, and part files of copies at or below slot have,
// the newest snapshot there is. Part files of newer copies stay, so that they can be resumed. Call it after Latest and
// before any Write or Receiver of the group: it syncs the directory in any case, because the crash may have been between
// that snapshot's rename and its sync, and a start that acts on a name which a power loss takes back has acted on nothing.
func Clean(fs FS, dir string, g wire.GroupID, have wire.Slot) error {
	return remove(orOS(fs), dir, func(name string) bool {
		if base, isTmp := strings.CutSuffix(name, tmpSuffix); isTmp {
			ng, _, ok := ParseName(base)
			return ok && ng == g
		}
		ng, s, _, ok := parsePartName(name)
		return ok && ng == g && s <= have
	})
}

// remove removes the files of dir for which drop holds, and syncs the directory even if there are none.
func remove(fs FS, dir string, drop func(name string) bool) error {
	names, err := fs.List(dir)
	if err != nil {
		return fmt.Errorf("snapshot: list %s: %w", dir, err)
	}
	var errs []error
	for _, name := range names {
		if !drop(name) {
			continue
		}
		if err := fs.Remove(filepath.Join(dir, name)); err != nil {
			errs = append(errs, fmt.Errorf("snapshot: remove: %w", err))
		}
	}
	if err := fs.SyncDir(dir); err != nil {
		errs = append(errs, fmt.Errorf("snapshot: sync directory %s: %w", dir, err))
	}
	return errors.Join(errs...)
}
