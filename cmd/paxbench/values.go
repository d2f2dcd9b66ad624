package main

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/paxbench/paxbench/bench/load"
)

// choice is a flag that takes one of a few words.
type choice struct {
	value   *string
	choices []string
	// later maps a word of the contract that this build does not do to what to use instead.
	later map[string]string
}

func (c *choice) String() string { return *c.value }
func (c *choice) Type() string   { return strings.Join(c.choices, "|") }
func (c *choice) Set(s string) error {
	if why, ok := c.later[s]; ok {
		return fmt.Errorf("%q is not in this build; %s", s, why)
	}
	if !slices.Contains(c.choices, s) {
		return fmt.Errorf("there are %s%s", strings.Join(c.choices, ", "), didYouMean(s, c.choices))
	}
	*c.value = s
	return nil
}

// size is a flag in bytes with a unit.
type size struct{ value *int64 }

func (s size) String() string { return load.FormatBytes(*s.value) }
func (s size) Type() string   { return "size" }
func (s size) Set(text string) error {
	n, err := load.ParseBytes("", text)
	if err == nil {
		*s.value = n
	}
	return err
}

// sizeInt is size for settings that are ints.
type sizeInt struct{ value *int }

func (s sizeInt) String() string { return load.FormatBytes(int64(*s.value)) }
func (s sizeInt) Type() string   { return "size" }
func (s sizeInt) Set(text string) error {
	n, err := load.ParseBytes("", text)
	if err == nil && n > math.MaxInt32 {
		err = fmt.Errorf("it must be below 2GiB")
	}
	if err == nil {
		*s.value = int(n)
	}
	return err
}

// parsed is a flag whose text a parser understands; it keeps the text.
type parsed[T any] struct {
	text  string
	kind  string
	value *T
	parse func(string) (T, error)
}

func (p *parsed[T]) String() string { return p.text }
func (p *parsed[T]) Type() string   { return p.kind }
func (p *parsed[T]) Set(text string) error {
	v, err := p.parse(text)
	if err == nil {
		p.text, *p.value = text, v
	}
	return err
}

// repeated is a flag that may be given several times, each time one value. In the environment commas part them.
type repeated[T any] struct {
	texts []string
	kind  string
	value *[]T
	parse func(string) (T, error)
}

func (r *repeated[T]) String() string        { return strings.Join(r.texts, ",") }
func (r *repeated[T]) Type() string          { return r.kind }
func (r *repeated[T]) GetSlice() []string    { return slices.Clone(r.texts) }
func (r *repeated[T]) Set(text string) error { return r.Append(text) }

// Append adds one value.
func (r *repeated[T]) Append(text string) error {
	v, err := r.parse(text)
	if err != nil {
		return err
	}
	r.texts, *r.value = append(r.texts, text), append(*r.value, v)
	return nil
}

// Replace sets all values.
func (r *repeated[T]) Replace(texts []string) error {
	r.texts, *r.value = nil, nil
	for _, text := range texts {
		if err := r.Append(text); err != nil {
			return err
		}
	}
	return nil
}
