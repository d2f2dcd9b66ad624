package disk

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
)

// The control channel between a node and the process that started it: a line of JSON each way, the conditions to set
// and what they have done so far. It runs over pipes that the parent made, never over a port.

// Answer is what the node says to each line.
type Answer struct {
	Disk   *Conditions `json:"disk"` // in force from now on; nil: this is no answer
	Counts Counts      `json:"counts"`
	Error  string      `json:"error,omitempty"`
}

// Serve takes conditions from r, sets them, and answers to w, until r ends. It returns what is wrong with r or w; the
// end of r is none.
func (d *Disk) Serve(r io.Reader, w io.Writer) error {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		var a Answer
		var c Conditions
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			a.Error = err.Error()
		} else {
			d.Set(c)
		}
		a.Disk = &c
		a.Counts = d.Counts()
		if err := json.NewEncoder(w).Encode(a); err != nil {
			return fmt.Errorf("disk: control channel: %w", err)
		}
	}
	return lines.Err()
}
