package env

import (
	"bufio"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Disk is the file system under a directory.
type Disk struct {
	Path   string `json:"path"`   // the directory asked about, as it was named: records are published
	Type   string `json:"type"`   // ext4, xfs, tmpfs ...
	Device string `json:"device"` // what is mounted
	Mount  string `json:"mount"`  // where
	Free   int64  `json:"free_bytes"`
}

// Memory says that the file system lives in memory: fsync promises nothing there.
func (d Disk) Memory() bool { return d.Type == "tmpfs" || d.Type == "ramfs" }

// DiskOf finds the file system that holds dir or, if dir does not exist yet, its nearest existing parent.
func DiskOf(dir string) (Disk, error) {
	path, err := filepath.Abs(dir)
	if err != nil {
		return Disk{}, fmt.Errorf("env: %w", err)
	}
	d := Disk{Path: dir}
	existing := path
	for {
		real, err := filepath.EvalSymlinks(existing)
		if err == nil {
			existing = real
			break
		}
		if existing == "/" {
			return d, fmt.Errorf("env: no existing parent of %s", path)
		}
		existing = filepath.Dir(existing)
	}
	var stat unix.Statfs_t
	if err := unix.Statfs(existing, &stat); err != nil {
		return d, fmt.Errorf("env: statfs %s: %w", existing, err)
	}
	d.Free = int64(stat.Bavail) * stat.Bsize
	mounts, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return d, fmt.Errorf("env: %w", err)
	}
	defer mounts.Close()
	lines := bufio.NewScanner(mounts)
	for lines.Scan() {
		if m, ok := parseMount(lines.Text()); ok && within(existing, m.Mount) && len(m.Mount) >= len(d.Mount) {
			d.Type, d.Device, d.Mount = m.Type, m.Device, m.Mount // of equals the later covers the earlier
		}
	}
	return d, lines.Err()
}

// parseMount reads a line of mountinfo: id parent major:minor root mount options [optional...] - type source options.
func parseMount(line string) (Disk, bool) {
	head, tail, ok := strings.Cut(line, " - ")
	h, t := strings.Fields(head), strings.Fields(tail)
	if !ok || len(h) < 5 || len(t) < 2 {
		return Disk{}, false
	}
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	return Disk{Mount: unescape.Replace(h[4]), Type: t[0], Device: unescape.Replace(t[1])}, true
}

func within(path, mount string) bool {
	return mount == "/" || path == mount || strings.HasPrefix(path, mount+"/")
}

// Bytes is the space that the files under dir take on the disk, blocks and not lengths: preallocation counts. Files that
// vanish meanwhile are left out.
func Bytes(dir string) (int64, error) {
	var sum int64
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			if os.IsNotExist(err) {
				return nil
			}
			return err
		}
		if entry.IsDir() {
			return nil
		}
		var stat unix.Stat_t
		if unix.Lstat(path, &stat) == nil {
			sum += stat.Blocks * 512
		}
		return nil
	})
	if err != nil {
		return sum, fmt.Errorf("env: size of %s: %w", dir, err)
	}
	return sum, nil
}
