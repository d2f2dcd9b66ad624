package load

import (
	"fmt"
	"iter"

	"github.com/paxbench/paxbench/engine/kv"
)

// appendWrite appends the command that puts the value of s at a key.
func appendWrite(dst []byte, key uint32, v *Values, s Stamp) []byte {
	var name [KeySize]byte
	dst = kv.AppendPut(dst, AppendKey(name[:0], key), nil)
	return v.Append(dst, s) // a put's value is the rest of the command
}

// writtenValue is the value in a command of appendWrite.
func writtenValue(cmd []byte) []byte { return cmd[2+KeySize:] }

// appendRead appends the command, or the query, that reads a key.
func appendRead(dst []byte, key uint32, inLog bool) []byte {
	var name [KeySize]byte
	if inLog {
		return kv.AppendGet(dst, AppendKey(name[:0], key))
	}
	return kv.AppendQueryGet(dst, AppendKey(name[:0], key))
}

// results goes through the results of a flight once: it counts those that are not what a put or a get of this load can lead
// to, and enters those of sampled keys. told is false if one of these is missing. Results of the null state machine are
// empty; a target that tells no results is believed.
func (f *flight) results(r *Reply) (refused int, told bool) {
	ops := f.ops
	if f.query {
		return 0, len(ops) == 1 && ops[0].TakeAnswer(r.Result)
	}
	one := func(at uint32, result []byte) {
		if !expected(result) {
			refused++
		}
		if len(ops) > 0 && ops[0].At == at && ops[0].Take(result) {
			ops = ops[1:]
		}
	}
	if len(r.Result) > 0 {
		one(0, r.Result)
	}
	for at := uint32(0); ; at++ {
		result, ok := r.Results.Next()
		if !ok {
			return refused, len(ops) == 0
		}
		one(at, result)
	}
}

func expected(result []byte) bool {
	return len(result) > 0 && (result[0] == byte(kv.StatusOK) || result[0] == byte(kv.StatusNotFound))
}

// Audit reads the whole state of one replica by way of query, which answers a query of package kv from that replica,
// and compares it with the ledger. All replicas should have applied the same before: what is acknowledged is missing
// at a replica that lags. An error is query's or a malformed answer; then there is no verdict.
func (l *Ledger) Audit(query func(req []byte) ([]byte, error)) (*Findings, error) {
	var failed error
	pages := func(yield func(*kv.ScanPage) bool) {
		for from := uint64(0); ; {
			answer, err := query(kv.AppendQueryScan(nil, from, 0, false))
			if err != nil {
				failed = fmt.Errorf("load: audit: scan from row %d: %w", from, err)
				return
			}
			page, err := kv.DecodeScanPage(answer)
			if err != nil {
				failed = fmt.Errorf("load: audit: scan from row %d: %w", from, err)
				return
			}
			if !yield(&page) || page.NextRow == 0 {
				return
			}
			from = page.NextRow
		}
	}
	var f *Findings
	if l.SM == Null {
		f = l.AuditSessions(rows(pages, (*kv.ScanPage).NextSession, &failed))
	} else {
		f = l.AuditKeys(rows(pages, (*kv.ScanPage).Next, &failed))
	}
	if failed != nil {
		return nil, failed
	}
	return f, nil
}

// rows walks the rows of all pages.
func rows[R any](pages iter.Seq[*kv.ScanPage], next func(*kv.ScanPage) (R, bool), failed *error) iter.Seq[R] {
	return func(yield func(R) bool) {
		for page := range pages {
			for {
				row, ok := next(page)
				if !ok {
					break
				}
				if !yield(row) {
					return
				}
			}
			if err := page.Err(); err != nil {
				*failed = fmt.Errorf("load: audit: %w", err)
				return
			}
		}
	}
}
