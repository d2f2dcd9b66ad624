//go:build planted

package transport

import (
	"testing"

	"github.com/paxbench/paxbench/wire/plant"
)

// What can go wrong: the test of lying lengths stops seeing that memory is given for what a header says.
func TestPlanted(t *testing.T) {
	for _, bug := range []plant.Bug{plant.LengthBelieved, plant.None} {
		t.Run(bug.String(), func(t *testing.T) {
			plant.Choose(bug)
			defer plant.Choose(plant.None)
			if grown, limit := lyingLengths(t); (grown > limit) != (bug != plant.None) {
				t.Errorf("%d bytes allocated, limit %d", grown, limit)
			}
		})
	}
}
