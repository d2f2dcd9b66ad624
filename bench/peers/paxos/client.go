package paxos

import (
	"context"
	"sync"
	"time"

	"github.com/paxbench/paxbench/bench/peers/peer"
	"github.com/paxbench/paxbench/engine/client"
	"github.com/paxbench/paxbench/wire"
)

// ClientEngine proposes with the client library over loopback TCP: exactly-once sessions, retries, replies on the wire.
// More than the peers do, in its promises and in its work.
func ClientEngine() peer.Engine {
	return peer.Engine{
		Name: "paxbench-client", Module: "github.com/paxbench/paxbench", NoFsync: true,
		Settings: "defaults; engine/client over loopback TCP from the leader's process: Go per command, Submit per block, exactly-once session; GOMAXPROCS: each process's share of the cores", ShareCores: true,
		Open: func(c peer.Config) (peer.Replica, error) {
			r, err := open(c)
			if err != nil {
				return nil, err
			}
			return &viaClient{replica: r, addrs: c.Addrs}, nil
		},
	}
}

type viaClient struct {
	*replica
	addrs []string

	once   sync.Once
	client *client.Client
	err    error
}

const clientTimeout = 20 * time.Second

func (v *viaClient) dial() {
	v.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), clientTimeout)
		defer cancel()
		v.client, v.err = client.Dial(ctx, client.Config{
			Cluster: cluster, Addrs: v.addrs, Timeout: clientTimeout,
			QueueBlocks: 4096, // so that 16384 commands of any size find room
			BlockBytes:  wire.BlockBytesMax,
		})
	})
}

func (v *viaClient) Close() error {
	if v.client != nil {
		v.client.Close()
	}
	return v.replica.Close()
}

// Propose implements peer.Replica.
func (v *viaClient) Propose(o *peer.Op) {
	v.dial()
	if v.err != nil {
		o.Complete(peer.Now(), v.err)
		return
	}
	if o.Count == 1 {
		if err := v.client.Go(o.Payload, (*opDone)(o)); err != nil {
			o.Complete(peer.Now(), err)
		}
		return
	}
	b := v.client.NewBlock()
	for rest, size := o.Payload, o.Size(); len(rest) > 0; rest = rest[size:] {
		if !b.Add(rest[:size]) {
			b.Release()
			o.Complete(peer.Now(), client.ErrTooLarge)
			return
		}
	}
	if err := v.client.Submit(b, (*opDone)(o)); err != nil {
		b.Release()
		o.Complete(peer.Now(), err)
	}
}

// opDone is an operation as the client library's callbacks see it.
type opDone peer.Op

// Done implements client.Done.
func (d *opDone) Done(r *client.Result) { (*peer.Op)(d).Complete(peer.Now(), r.Err) }

// BlockDone implements client.BlockDone.
func (d *opDone) BlockDone(r *client.BlockResult) { (*peer.Op)(d).Complete(peer.Now(), r.Err) }
