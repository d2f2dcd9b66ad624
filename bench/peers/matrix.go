package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/paxbench/paxbench/bench/peers/peer"
)

// loadOf is the load of a cell.
func loadOf(c cell) peer.Load {
	if c.PerSecond > 0 {
		return peer.Load{Outstanding: openOutstanding, Count: 1, Size: c.Size, Rate: c.PerSecond}
	}
	return peer.Load{Outstanding: c.Outstanding / c.Block, Count: c.Block, Size: c.Size}
}

// blockOf is how many commands a block holds: about twice as many as there are blocks under way.
var blockOf = map[int]int{16: 4, 256: 32, 4096: 256, 16384: 512}

func openHalf(size, outstanding int) cell {
	return cell{API: "open", Size: size, Outstanding: outstanding, Block: 1}
}

func call(size, outstanding int) cell {
	return cell{API: "call", Size: size, Outstanding: outstanding, Block: 1}
}

func block(size, outstanding int) cell {
	return cell{API: "block", Size: size, Outstanding: outstanding, Block: blockOf[outstanding]}
}

// matrices are the sets of cells that --cells names.
var matrices = map[string][]cell{
	"quick": {
		call(16, 1), call(16, 256), call(16, 16384), openHalf(16, 16384), block(16, 256), block(16, 16384), block(1024, 256),
	},
	"brief": {call(16, 1), call(16, 256), call(16, 16384), block(16, 256), block(16, 16384)},
	"standard": {
		call(16, 1), call(16, 16), call(16, 256), call(16, 4096), call(16, 16384), openHalf(16, 16384),
		call(128, 1), call(128, 16), call(128, 256), call(128, 16384), call(1024, 1), call(1024, 256), call(1024, 4096),
		block(16, 256), block(16, 4096), block(16, 16384),
		block(128, 256), block(128, 16384), block(1024, 256), block(1024, 16384),
	},
	"peak": {call(16, 4096), call(16, 16384), block(16, 16384)},
	"all":  allCells(),
}

func allCells() []cell {
	var cells []cell
	for _, size := range []int{16, 128, 1024} {
		for _, outstanding := range []int{1, 16, 256, 4096, 16384} {
			cells = append(cells, call(size, outstanding))
			if outstanding > 1 {
				cells = append(cells, block(size, outstanding))
			}
		}
	}
	return cells
}

// parseCells reads a matrix's name, or cells by themselves: "call:16:256,block:16:16384" is calls of 16 B, 256
// outstanding, and blocks of them, 16384. "rate:16:1000" is calls at 1,000 a second, however many are outstanding.
func parseCells(text string) ([]cell, error) {
	if cells, ok := matrices[text]; ok {
		return cells, nil
	}
	var cells []cell
	for part := range strings.SplitSeq(text, ",") {
		c := cell{Block: 1}
		api, rest, _ := strings.Cut(part, ":")
		var many int
		_, err := fmt.Sscanf(rest, "%d:%d", &c.Size, &many)
		switch c.API = api; api {
		case "rate":
			c.PerSecond = float64(many)
		case "block":
			c.Outstanding, c.Block = many, blockOf[many]
		case "call", "open":
			c.Outstanding = many
		default:
			err = errUsage
		}
		if err != nil || c.Size < 8 || many < 1 || c.Block == 0 {
			return nil, fmt.Errorf("%w: cells %q: want quick, brief, standard, peak, all, or a list like call:16:256,block:16:16384 (api:bytes:outstanding; call, block or open; blocks: 16, 256, 4096 or 16384 outstanding); of curve also rate:16:1000 (bytes:commands a second)", errUsage, part)
		}
		if api == "open" && !slices.Contains(cells, c.Reference()) {
			return nil, fmt.Errorf("%w: cells: %q needs %q before it, whose rate it halves", errUsage, part, strings.Replace(part, "open", "call", 1))
		}
		cells = append(cells, c)
	}
	return cells, nil
}
