package result

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
)

// MarshalJSON gives the JSON form, wherever a run stands in a report: of one that violated safety zeros for the performance
// numbers, and "voided": true.
func (r *Result) MarshalJSON() ([]byte, error) {
	type plain Result
	out := plain(*r.void())
	out.SchemaVersion = cmp.Or(out.SchemaVersion, SchemaVersion)
	// The contract has lists, not null, where a run has none.
	out.Validity.Reasons = orEmpty(out.Validity.Reasons)
	out.Faults = orEmpty(out.Faults)
	out.Intervals = orEmpty(out.Intervals)
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(&out); err != nil {
		return nil, fmt.Errorf("result: encode: %w", err)
	}
	return b.Bytes(), nil
}

// Encode writes the JSON form, indented, with a newline at the end.
func (r *Result) Encode(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	return e.Encode(r)
}

func orEmpty[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// Decode reads the JSON form of one result and validates it. Fields that it does not know are ignored: they come from
// a later version of the same schema.
func Decode(src io.Reader) (*Result, error) {
	var r Result
	if err := json.NewDecoder(src).Decode(&r); err != nil {
		return nil, fmt.Errorf("result: not a recorded run: %w", err)
	}
	if err := r.Validate(); err != nil {
		return nil, err
	}
	return &r, nil
}
