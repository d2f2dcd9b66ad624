package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
)

func tableCommand(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("%w: table needs a record", errUsage)
	}
	var records []*record
	for _, path := range args {
		r, err := readRecord(path)
		if err != nil {
			return err
		}
		records = append(records, r)
	}
	return writeTable(os.Stdout, records)
}

// writeTable writes Markdown between markers, so that a generator can replace what stands there.
func writeTable(w io.Writer, records []*record) error {
	out := bufio.NewWriter(w)
	fmt.Fprintln(out, "<!-- peers:begin -->")
	for _, r := range records {
		out.WriteString(r.Markdown())
	}
	fmt.Fprintln(out, "<!-- peers:end -->")
	return out.Flush()
}
