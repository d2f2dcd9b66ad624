package engine

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/paxbench/paxbench/engine/snapshot"
	"github.com/paxbench/paxbench/engine/wal"
	"github.com/paxbench/paxbench/engine/wal/vfs"
	"github.com/paxbench/paxbench/wire"
)

// rejoinWhy is why a node is suspect whose log could be read and that was told to rejoin: an operator may know that the
// directory is an older copy, which nothing in it can tell.
const rejoinWhy = "it was told to rejoin"

// rejoin makes the data directory one that the node can come back with without a vote (Config.Rejoin): a log that is lost or would
// be refused is put aside.
func (n *Node) rejoin() error {
	wc := n.walConfig()
	why, err := n.ruined(&wc)
	if err != nil || why == "" {
		return err
	}
	n.log.Warn("rejoin: the log is put aside", "reason", why)
	if err := wal.Rejoin(wc, "its log was put aside: "+why); err != nil {
		return err
	}
	return nil
}

// ruined says why the log cannot be started from; "": it can be. An error is one that rejoining is no answer to.
func (n *Node) ruined(wc *wal.Config) (why string, err error) {
	fsys := wc.FS
	if fsys == nil {
		fsys = vfs.OS()
	}
	trimmed := map[wire.GroupID]wire.Slot{}
	_, err = wal.InspectFS(fsys, wc.Dir, func(e *wal.Entry) error {
		if r := &e.Record; r.Kind == wire.KindRecTrim {
			trimmed[r.Group] = max(trimmed[r.Group], r.Slot)
		}
		return nil
	})
	var version *wal.VersionError
	var corrupt *wal.CorruptError
	var identity *wal.IdentityError
	switch {
	case errors.As(err, &version):
		return "", err
	case errors.As(err, &corrupt), errors.As(err, &identity), errors.Is(err, wal.ErrNotBootstrapped), errors.Is(err, fs.ErrNotExist):
		return err.Error(), nil
	case err != nil:
		return "", err
	}
	for i := range n.c.Groups {
		g := wire.GroupID(i + 1)
		if trimmed[g] == 0 {
			continue
		}
		missing := MissingError{Group: g, Trimmed: trimmed[g]}
		f, err := snapshot.Latest(n.c.SnapshotFS, n.c.snapDir(), n.c.Cluster, g)
		if err == nil {
			missing.Snapshot = f.Meta.Slot
		} else {
			missing.Err = err
		}
		if missing.Trimmed > missing.Snapshot {
			return missing.Error(), nil
		}
	}
	return "", nil
}

// ErrLogLost: AcceptTornTail was given for a log that was put aside (Config.Rejoin). Nobody can say of an empty log that it has lost
// nothing.
var ErrLogLost = errors.New("AcceptTornTail (--accept-torn-tail) says that the log has lost nothing, and it has")

func errLostAccepted(why string) error {
	return fmt.Errorf("engine: %w (%s): start the node without it; a majority of the others has to give it its vote back", ErrLogLost, why)
}
