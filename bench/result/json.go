package result

import (
	"encoding/json"
	"fmt"
	"io"
)

// Encode writes the JSON form, indented, with a newline at the end. Of a run that violated safety it writes zeros for
// the performance numbers and "voided": true.
func (r *Result) Encode(w io.Writer) error {
	out := *r.void()
	out.SchemaVersion = SchemaVersion
	// The contract has lists, not null, where a run has none.
	out.Validity.Reasons = orEmpty(out.Validity.Reasons)
	out.Faults = orEmpty(out.Faults)
	out.Intervals = orEmpty(out.Intervals)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(&out); err != nil {
		return fmt.Errorf("result: encode: %w", err)
	}
	return nil
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
