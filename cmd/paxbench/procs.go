package main

import (
	"fmt"
	"strconv"

	"github.com/paxbench/paxbench/bench"
	"github.com/paxbench/paxbench/bench/cluster"
)

// procsFlag is a flag: a number of processor threads, or 0, where others decide. words says what comes of it.
type procsFlag struct {
	value *int
	words func() string
}

func (p *procsFlag) String() string { return strconv.Itoa(*p.value) }
func (p *procsFlag) Type() string   { return "threads" }
func (p *procsFlag) Set(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > cluster.ProcsMax {
		return fmt.Errorf("it must be 1 to %d, or 0 for the runtime's choice", cluster.ProcsMax)
	}
	*p.value = n
	return nil
}

// effective implements what printConfig asks for.
func (p *procsFlag) effective() string { return p.words() }

// nodeProcs says what the nodes of a run have.
func nodeProcs(c *bench.Config) string {
	if p := c.NodeProcs(); p.N > 0 {
		return p.String()
	}
	return "all nodes are in this process"
}
