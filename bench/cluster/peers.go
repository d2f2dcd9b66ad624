package cluster

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/paxbench/paxbench/wire"
)

// ParsePeers reads 1=host:port,2=host:port,...
func ParsePeers(text string) (map[wire.NodeID]string, error) {
	peers := map[wire.NodeID]string{}
	for _, part := range strings.Split(text, ",") {
		id, addr, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok {
			return nil, fmt.Errorf("%q: no '='; the form is 1=host:port,2=host:port", part)
		}
		n, err := strconv.ParseUint(id, 10, 32)
		if err != nil || n == 0 {
			return nil, fmt.Errorf("%q: node ids are whole numbers from 1", part)
		}
		if err := CheckAddr(addr); err != nil {
			return nil, fmt.Errorf("%q: %v", part, err)
		}
		if strings.HasSuffix(addr, ":0") {
			return nil, fmt.Errorf("%q: the port must be a number other than 0: others dial it", part)
		}
		if _, twice := peers[wire.NodeID(n)]; twice {
			return nil, fmt.Errorf("%q: node %d is named twice", part, n)
		}
		peers[wire.NodeID(n)] = addr
	}
	return peers, nil
}

// CheckAddr says whether text is host:port with a numeric port. It does not resolve the host.
func CheckAddr(text string) error {
	_, port, err := net.SplitHostPort(text)
	if err != nil {
		return fmt.Errorf("bad address %q; the form is host:port", text)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("bad address %q: the port must be a number up to 65535", text)
	}
	return nil
}
