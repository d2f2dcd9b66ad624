package transport

import "sync/atomic"

// counters is the live form of Stats. Hot paths add once for a run of frames, not for each.
type counters struct {
	framesSent, bytesSent         atomic.Uint64
	framesReceived, bytesReceived atomic.Uint64

	clientFramesSent, clientBytesSent         atomic.Uint64
	clientFramesReceived, clientBytesReceived atomic.Uint64

	connects, disconnects, dialErrors atomic.Uint64

	dropped  [drops]atomic.Uint64
	rejected [rejects]atomic.Uint64
}

func (c *counters) drop(d Drop, n int) { c.dropped[d].Add(uint64(n)) }

func (c *counters) reject(r Reject) { c.rejected[r].Add(1) }

func (c *counters) stats() Stats {
	s := Stats{
		FramesSent: c.framesSent.Load(), BytesSent: c.bytesSent.Load(),
		FramesReceived: c.framesReceived.Load(), BytesReceived: c.bytesReceived.Load(),
		ClientFramesSent: c.clientFramesSent.Load(), ClientBytesSent: c.clientBytesSent.Load(),
		ClientFramesReceived: c.clientFramesReceived.Load(), ClientBytesReceived: c.clientBytesReceived.Load(),
		Connects: c.connects.Load(), Disconnects: c.disconnects.Load(), DialErrors: c.dialErrors.Load(),
	}
	for i := range s.Dropped {
		s.Dropped[i] = c.dropped[i].Load()
	}
	for i := range s.Rejected {
		s.Rejected[i] = c.rejected[i].Load()
	}
	return s
}
