package proxy

import (
	"errors"
	"fmt"
)

// Clients is the end that all clients are together.
const Clients = 0

// Mesh is the network of a cluster: nodes 1 to N and the clients, and a path for each ordered pair of them that talk.
type Mesh struct {
	nodes   int
	paths   [][]*Path  // by from and to
	proxies [][]*Proxy // by who connects and to whom
}

// NewMesh makes the network between the clients and the nodes that listen, or will, at these addresses: node i+1 at
// addrs[i].
func NewMesh(addrs []string, seed uint64) (*Mesh, error) {
	n := len(addrs)
	m := &Mesh{nodes: n, paths: make([][]*Path, n+1), proxies: make([][]*Proxy, n+1)}
	for from := range n + 1 {
		m.paths[from], m.proxies[from] = make([]*Path, n+1), make([]*Proxy, n+1)
		for to := range n + 1 {
			m.paths[from][to] = NewPath()
		}
	}
	for from := range n + 1 {
		for to := 1; to <= n; to++ {
			if from == to {
				continue
			}
			p, err := Listen(addrs[to-1], m.paths[from][to], m.paths[to][from], seed<<16^uint64(from)<<8^uint64(to))
			if err != nil {
				return nil, errors.Join(err, m.Close())
			}
			m.proxies[from][to] = p
		}
	}
	return m, nil
}

// Nodes is the number of nodes.
func (m *Mesh) Nodes() int { return m.nodes }

// Addr is where from reaches node to.
func (m *Mesh) Addr(from, to int) string { return m.link(from, to).Addr() }

// Path is the direction from one end to another, whoever of them made the connections.
func (m *Mesh) Path(from, to int) *Path { return m.paths[from][to] }

// link is the connections that from makes to node to.
func (m *Mesh) link(from, to int) *Proxy {
	p := m.proxies[from][to]
	if p == nil {
		panic(fmt.Sprintf("BUG: proxy: no link from %d to %d of %d nodes", from, to, m.nodes))
	}
	return p
}

// Reset resets the connections that from made to node to and says how many there were.
func (m *Mesh) Reset(from, to int) int { return m.link(from, to).Reset() }

// Heal opens all paths and takes all limits from them.
func (m *Mesh) Heal() {
	for _, row := range m.paths {
		for _, p := range row {
			if p.Conditions() != (Conditions{}) {
				p.Set(Conditions{})
			}
		}
	}
}

// Stats is the sum over all paths.
func (m *Mesh) Stats() (sum Stats) {
	for _, row := range m.paths {
		for _, p := range row {
			s := p.Stats()
			sum.Delivered += s.Delivered
			sum.Swallowed += s.Swallowed
			sum.Resets += s.Resets
		}
	}
	return sum
}

// Close ends all proxies.
func (m *Mesh) Close() error {
	var errs []error
	for _, row := range m.proxies {
		for _, p := range row {
			if p != nil {
				errs = append(errs, p.Close())
			}
		}
	}
	return errors.Join(errs...)
}
