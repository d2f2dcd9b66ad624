package wal

import (
	"cmp"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/paxbench/paxbench/wire"
)

// Identity says whose log a directory holds. It is written once, by Bootstrap, as a text file that an operator can
// read, and its presence is what makes a directory a log.
type Identity struct {
	Cluster wire.ClusterID
	Node    wire.NodeID
	Members []wire.NodeID // the founding ones, ascending

	// Protocol is what the log's records mean to whom they are from, in one line; empty: what they always meant.
	Protocol string
}

func (id Identity) encode() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "paxbench-log %d\ncluster %016x\nnode %d\nmembers", Version, uint64(id.Cluster), id.Node)
	for _, m := range id.Members {
		fmt.Fprintf(&b, " %d", m)
	}
	b.WriteByte('\n')
	if id.Protocol != "" {
		fmt.Fprintf(&b, "protocol %s\n", id.Protocol)
	}
	sum := crc32.Checksum([]byte(b.String()), wire.Castagnoli)
	fmt.Fprintf(&b, "crc32c %08x\n", sum)
	return []byte(b.String())
}

func decodeIdentity(name string, p []byte) (Identity, error) {
	var id Identity
	var version uint32
	var cluster uint64
	text := string(p)
	if n, _ := fmt.Sscanf(text, "paxbench-log %d\n", &version); n == 1 && version != Version {
		return id, &VersionError{File: name, Got: version, Want: Version}
	}
	n, err := fmt.Sscanf(text, "paxbench-log %d\ncluster %x\nnode %d\n", &version, &cluster, &id.Node)
	if n == 3 && err == nil {
		id.Cluster = wire.ClusterID(cluster)
		id.Members = parseMembersLine(text)
		id.Protocol = parseProtocolLine(text)
	}
	// The text has one spelling: whatever does not encode to itself is damaged.
	if string(id.encode()) != text {
		return id, &CorruptError{File: name, Reason: "the identity file is damaged"}
	}
	return id, nil
}

func parseMembersLine(text string) (members []wire.NodeID) {
	for line := range strings.SplitSeq(text, "\n") {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] != "members" {
			continue
		}
		for _, f := range fields[1:] {
			var m wire.NodeID
			if _, err := fmt.Sscanf(f, "%d", &m); err == nil && len(members) < wire.NodesMax {
				members = append(members, m)
			}
		}
		return members
	}
	return nil
}

func parseProtocolLine(text string) string {
	for line := range strings.SplitSeq(text, "\n") {
		if p, ok := strings.CutPrefix(line, "protocol "); ok {
			return p
		}
	}
	return ""
}

// readIdentity reads the identity file of dir; ok is false if there is none.
func readIdentity(fsys FS, dir string) (id Identity, ok bool, err error) {
	name := filepath.Join(dir, identityName)
	p, err := readSmall(fsys, name, 4096)
	if errors.Is(err, fs.ErrNotExist) {
		return id, false, nil
	}
	if err != nil {
		return id, false, fmt.Errorf("wal: read %s: %w", name, err)
	}
	id, err = decodeIdentity(name, p)
	return id, err == nil, err
}

// readSmall reads up to limit bytes of a file.
func readSmall(fsys FS, name string, limit int) ([]byte, error) {
	f, err := fsys.OpenRead(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	p := make([]byte, min(size, int64(limit)))
	if n, err := f.ReadAt(p, 0); n < len(p) {
		return nil, err
	}
	return p, nil
}

// writeIdentity makes the identity file, whole or not at all, and durable.
func writeIdentity(fsys FS, dir string, id Identity) error {
	name := filepath.Join(dir, identityName)
	tmp := name + tmpSuffix
	if err := writeNew(fsys, tmp, id.encode()); err != nil {
		return fmt.Errorf("wal: write %s: %w", tmp, err)
	}
	if err := fsys.Rename(tmp, name); err != nil {
		return fmt.Errorf("wal: rename %s: %w", tmp, err)
	}
	if err := fsys.SyncDir(dir); err != nil {
		return fmt.Errorf("wal: sync directory %s: %w", dir, err)
	}
	return nil
}

// writeNew makes a file with this content and syncs it.
func writeNew(fsys FS, name string, content []byte) error {
	if err := fsys.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := fsys.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Writev([][]byte{content}, 0); err != nil {
		return err
	}
	return f.Sync()
}

// check compares a directory's identity with what the caller expects of it.
func (id Identity) check(c *Config) error {
	switch {
	case id.Cluster != c.Cluster:
		return &IdentityError{c.Dir, fmt.Sprintf("this is a log of cluster %016x, not of cluster %016x",
			uint64(id.Cluster), uint64(c.Cluster))}
	case id.Node != c.Node:
		return &IdentityError{c.Dir, fmt.Sprintf("this is the log of node %d, not of node %d", id.Node, c.Node)}
	case len(c.Members) > 0 && !slices.Equal(id.Members, c.Members):
		return &IdentityError{c.Dir, fmt.Sprintf("this log was made for the members %v, not for %v",
			id.Members, c.Members)}
	case len(c.Members) > 0 && id.Protocol != c.Protocol:
		return &IdentityError{c.Dir, fmt.Sprintf("this log was written by protocol %q, not by %q: the votes in it mean something else",
			cmp.Or(id.Protocol, "multi"), cmp.Or(c.Protocol, "multi"))}
	}
	return nil
}
