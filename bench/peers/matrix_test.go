package main

import (
	"errors"
	"testing"

	"github.com/paxbench/paxbench/bench/peers/peer"
)

// What can go wrong: a load that is not the one asked for, under its name.
func TestCells(t *testing.T) {
	cells, err := parseCells("call:16:256,open:16:256,block:128:16384,rate:16:3000")
	if err != nil || len(cells) != 4 {
		t.Fatalf("%v, %v", cells, err)
	}
	for i, want := range []peer.Load{
		{Outstanding: 256, Count: 1, Size: 16}, {Outstanding: 256, Count: 1, Size: 16}, // an open loop's rate comes from the closed one
		{Outstanding: 32, Count: 512, Size: 128}, {Outstanding: openOutstanding, Count: 1, Size: 16, Rate: 3000},
	} {
		if got := loadOf(cells[i]); got != want {
			t.Errorf("%s: %+v, want %+v", cells[i], got, want)
		}
	}
	for _, bad := range []string{"", "call", "call:16", "call:7:1", "call:16:0", "block:16:100", "rate:16:0", "rate:16:x", "open:16:256", "cal:16:1"} {
		if _, err := parseCells(bad); !errors.Is(err, errUsage) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := parseRun([]string{"--cells", "rate:16:100"}); !errors.Is(err, errUsage) {
		t.Errorf("a rate in run: %v", err)
	}
}
