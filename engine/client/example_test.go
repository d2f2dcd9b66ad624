package client_test

import (
	"context"
	"fmt"
	"log"

	"github.com/paxbench/paxbench/engine/client"
	"github.com/paxbench/paxbench/engine/kv"
	"github.com/paxbench/paxbench/wire"
)

// A client of a cluster whose nodes run the key-value store: one write through the log, then a linearizable read.
func Example() {
	ctx := context.Background()
	c, err := client.Dial(ctx, client.Config{Cluster: 1, Addrs: []string{"127.0.0.1:7001", "127.0.0.1:7002"}})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	result, err := c.Do(ctx, kv.AppendPut(nil, []byte("key"), []byte("value")))
	switch {
	case err == nil:
		r, _ := kv.DecodeResult(result)
		fmt.Println(r.Status, "version", r.Version)
	case client.MayBeDone(err):
		fmt.Println("nobody knows yet:", err)
	default:
		fmt.Println("certainly not done:", err)
	}
	answer, err := c.Query(ctx, kv.AppendQueryGet(nil, []byte("key")), wire.QueryLinearizable)
	if err != nil {
		log.Fatal(err)
	}
	a, _ := kv.DecodeGetAnswer(answer)
	fmt.Printf("%s\n", a.Value)
}
