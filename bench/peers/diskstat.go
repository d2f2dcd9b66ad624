package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// diskCounters are what a whole device has done, everybody's work: processes cannot be told apart here. The kernel's
// count per process (write_bytes in /proc/PID/io) is of no use: it counts whole folios of the page cache, and with large
// folios a small write into a file that is cached already counts as a megabyte.
type diskCounters struct {
	WriteBytes uint64
	Flushes    uint64 // cache flushes completed
}

func (c diskCounters) minus(d diskCounters) diskCounters {
	return diskCounters{c.WriteBytes - d.WriteBytes, c.Flushes - d.Flushes}
}

// diskstat reads the counters of a device as it is named in the table of mounts. Zero where they cannot be had: not
// Linux, a file system without a device, a kernel without flush counts.
func diskstat(device string) (c diskCounters, err error) {
	if real, err := filepath.EvalSymlinks(device); err == nil {
		device = real
	}
	f, err := os.Open("/proc/diskstats")
	if os.IsNotExist(err) {
		return c, nil
	}
	if err != nil {
		return c, err
	}
	defer f.Close()
	// The fields of Documentation/admin-guide/iostats.rst, behind major, minor and name: 7 is sectors written, of 512
	// bytes whatever the device's are, and 16 flush requests.
	const name, sectors, flushes, sectorBytes = 2, 2 + 7, 2 + 16, 512
	for lines := bufio.NewScanner(f); lines.Scan(); {
		field := strings.Fields(lines.Text())
		if len(field) <= sectors || field[name] != filepath.Base(device) {
			continue
		}
		n, err := strconv.ParseUint(field[sectors], 10, 64)
		if err != nil {
			return c, fmt.Errorf("/proc/diskstats: %w", err)
		}
		c.WriteBytes = n * sectorBytes
		if len(field) > flushes {
			if c.Flushes, err = strconv.ParseUint(field[flushes], 10, 64); err != nil {
				return c, fmt.Errorf("/proc/diskstats: %w", err)
			}
		}
		return c, nil
	}
	return c, nil
}
