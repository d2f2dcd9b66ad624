package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/paxbench/paxbench/wire"
	"github.com/paxbench/paxbench/wire/plant"
)

// lostSuffix marks what Rejoin has put aside. Nothing reads it; an operator may, and removes it.
const lostSuffix = ".lost"

// Rejoin puts aside what is left of a log that was lost or is refused, and makes an empty one that is suspect (Log.Suspect,
// Log.Lost): its node comes back under its old id without a vote, and gets it when a majority of the others has told it what
// it may have forgotten. why is kept. What was there keeps its content under names that end in .lost; those of an earlier
// Rejoin are replaced. c.Members is required.
//
// The order is what makes a crash harmless. The mark is durable before anything else changes, so that whatever opens afterwards
// is suspect; the identity goes before the segments, so that half of a log is never taken for one; the new log exists when its
// identity does. A Rejoin that was cut short is refused by Open, or suspect, and may be repeated.
//
// Errors: ErrInUse, *IdentityError if the directory is another node's or cluster's, *VersionError, and those of the file
// system.
func Rejoin(c Config, why string) error {
	c.Bootstrap = true // what that needs is needed here
	c, err := c.withDefaults()
	if err != nil {
		return err
	}
	if err := c.FS.MkdirAll(c.Dir); err != nil {
		return fmt.Errorf("wal: make directory: %w", err)
	}
	lock, err := takeLock(&c)
	if err != nil {
		return err
	}
	err = rejoin(&c, why)
	return errors.Join(err, lock.Close())
}

func rejoin(c *Config, why string) error {
	if err := checkOwner(c); err != nil {
		return err
	}
	if !plant.Is(plant.RejoinVotes) {
		if err := writeSuspect(c.FS, c.Dir, mark{why: why, lost: true}); err != nil {
			return err
		}
	}
	names, err := c.FS.List(c.Dir)
	if err != nil {
		return fmt.Errorf("wal: list: %w", err)
	}
	if err := putAside(c, names, func(n string) bool { return n == identityName }); err != nil {
		return err
	}
	err = putAside(c, names, func(n string) bool {
		_, segment := parseName(n, segmentPrefix)
		_, spare := parseName(n, sparePrefix)
		return segment || spare
	})
	if err != nil {
		return err
	}
	for _, n := range names {
		if strings.HasSuffix(n, tmpSuffix) && n != suspectName+tmpSuffix {
			if err := c.FS.Remove(filepath.Join(c.Dir, n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("wal: rejoin: %w", err)
			}
		}
	}
	return makeLog(c, Identity{Cluster: c.Cluster, Node: c.Node, Members: c.Members, Protocol: c.Protocol})
}

// checkOwner refuses a directory that says that it is somebody else's: the mistake is then in the command, not in the directory.
func checkOwner(c *Config) error {
	var version *VersionError
	who, damage := inspectIdentity(c.FS, c.Dir)
	switch {
	case errors.As(damage, &version):
		return damage
	case who.Node != 0 && who.Cluster != c.Cluster:
		return &IdentityError{c.Dir, fmt.Sprintf("this is a log of cluster %016x, not of cluster %016x", uint64(who.Cluster), uint64(c.Cluster))}
	case who.Node != 0 && who.Node != c.Node:
		return &IdentityError{c.Dir, fmt.Sprintf("this is the log of node %d, not of node %d", who.Node, c.Node)}
	}
	return nil
}

// putAside renames those of the files that match, and makes that durable.
func putAside(c *Config, names []string, match func(string) bool) error {
	for _, n := range names {
		if !match(n) {
			continue
		}
		path := filepath.Join(c.Dir, n)
		if err := c.FS.Rename(path, path+lostSuffix); err != nil {
			return fmt.Errorf("wal: put aside: %w", err)
		}
	}
	if err := c.FS.SyncDir(c.Dir); err != nil {
		return fmt.Errorf("wal: sync directory %s: %w", c.Dir, err)
	}
	return nil
}

// makeLog makes an empty log: first its first segment, then the identity file, whose rename is the moment the log exists.
func makeLog(c *Config, id Identity) error {
	rec := wire.MembersRecord(c.Cluster, c.Node, c.Members)
	defer rec.Frame.Release()
	h := segmentHeader{Cluster: c.Cluster, Node: c.Node, Members: c.Members, ID: 1, First: 1, Oldest: 1, Salt: c.Salt()}
	img := newImage(h, []wire.Record{rec}, c.SegmentBytes, 0)
	tmp := filepath.Join(c.Dir, segmentName(1)+tmpSuffix)
	f, err := createZeroed(c.FS, tmp, img.header.Size)
	if err != nil {
		return fmt.Errorf("wal: bootstrap: %w", err)
	}
	defer f.Close()
	if err := img.writeTo(f); err != nil {
		return fmt.Errorf("wal: bootstrap: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("wal: bootstrap: %w", err)
	}
	if err := c.FS.Rename(tmp, filepath.Join(c.Dir, segmentName(1))); err != nil {
		return fmt.Errorf("wal: bootstrap: %w", err)
	}
	if err := c.FS.SyncDir(c.Dir); err != nil {
		return fmt.Errorf("wal: bootstrap: %w", err)
	}
	return writeIdentity(c.FS, c.Dir, id)
}
