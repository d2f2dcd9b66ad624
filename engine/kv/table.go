package kv

import (
	"slices"
	"sync/atomic"
)

// Sizes of the table's two levels. A page is what one write copies while a view is alive: small enough that copying
// costs about as much as the write itself. A directory is what a view holds by one pointer.
const (
	pageBits = 4
	dirBits  = 8

	pageRows = 1 << pageBits
	dirPages = 1 << dirBits
	dirRows  = pageRows * dirPages
)

// table is a growing array of rows with cheap frozen views. One goroutine owns it; views are read, and released, by
// others.
//
// What a view can reach is never changed while it is alive: a page, a directory, or whatever a row points to is
// shared if it was made before the last freeze and a view is still alive, and then it is copied before it is written.
// When no view is alive, everything may be written in place again. The flag is an atomic so that a release happens
// before the write that relies on it.
type table[T any] struct {
	dirs  []*directory[T]
	rows  int
	epoch uint64 // number of freezes so far; what is made now is marked with it
	live  atomic.Int32
}

type directory[T any] struct {
	epoch uint64
	pages [dirPages]*page[T]
}

type page[T any] struct {
	epoch uint64
	rows  [pageRows]T
}

// shared says whether something made in the given epoch may be visible in a view. It is in line, and without a view asks for
// nothing of what it is asked about: no wait for a page's epoch.
func (t *table[T]) shared(epoch uint64) bool { return t.live.Load() != 0 && epoch < t.epoch }

// at is row i, for reading. It is valid until the next edit or grow.
func (t *table[T]) at(i int) *T {
	return &t.dirs[i>>(pageBits+dirBits)].pages[i>>pageBits&(dirPages-1)].rows[i&(pageRows-1)]
}

// edit is row i, for writing.
func (t *table[T]) edit(i int) *T {
	d := t.dirs[i>>(pageBits+dirBits)]
	p := d.pages[i>>pageBits&(dirPages-1)]
	if t.shared(p.epoch) {
		p = t.own(i)
	}
	return &p.rows[i&(pageRows-1)]
}

// own copies the page of row i, and its directory if that is shared as well.
func (t *table[T]) own(i int) *page[T] {
	d := t.dirs[i>>(pageBits+dirBits)]
	if t.shared(d.epoch) {
		c := *d
		c.epoch = t.epoch
		d = &c
		t.dirs[i>>(pageBits+dirBits)] = d
	}
	c := *d.pages[i>>pageBits&(dirPages-1)]
	c.epoch = t.epoch
	d.pages[i>>pageBits&(dirPages-1)] = &c
	return &c
}

// grow adds a zero row and returns it for writing, with its number.
func (t *table[T]) grow() (int, *T) {
	i := t.rows
	t.rows++
	if i%dirRows == 0 {
		t.dirs = append(t.dirs, &directory[T]{epoch: t.epoch})
	}
	if i%pageRows != 0 {
		return i, t.edit(i)
	}
	d := t.dirs[i>>(pageBits+dirBits)]
	if t.shared(d.epoch) {
		c := *d
		c.epoch = t.epoch
		d = &c
		t.dirs[i>>(pageBits+dirBits)] = d
	}
	p := &page[T]{epoch: t.epoch}
	d.pages[i>>pageBits&(dirPages-1)] = p
	return i, &p.rows[0]
}

// view is a frozen table.
type view[T any] struct {
	dirs []*directory[T]
	rows int
	of   *table[T]
}

// freeze returns the table as it is now. Its cost is a pointer for each 4096 rows.
func (t *table[T]) freeze() view[T] {
	t.epoch++
	t.live.Add(1)
	return view[T]{dirs: slices.Clone(t.dirs), rows: t.rows, of: t}
}

// at is row i of the view.
func (v *view[T]) at(i int) *T {
	return &v.dirs[i>>(pageBits+dirBits)].pages[i>>pageBits&(dirPages-1)].rows[i&(pageRows-1)]
}

// release ends the view, once.
func (v *view[T]) release() {
	if v.of == nil {
		panic("BUG: kv: view released twice")
	}
	v.dirs = nil
	if v.of.live.Add(-1) < 0 {
		panic("BUG: kv: more views released than taken")
	}
	v.of = nil
}
