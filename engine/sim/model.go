package sim

import (
	"encoding/binary"
	"sort"

	"github.com/paxbench/paxbench/engine/kv"
	"github.com/paxbench/paxbench/wire"
)

// model is the reference: what the chosen slots mean, written down again in the plainest way, with every version of every
// key kept. It shares nothing with the engine's sessions or the kv state machine but the decoding of bytes.
type model struct {
	slot     wire.Slot // every slot up to here was applied
	keys     map[string][]version
	sessions map[wire.SessionID]*modelSession // evicted ones too
	max      int                              // sessions that live
	lives    int
	blocks   uint64   // so far
	commands []uint64 // by slot: executed so far
}

// version is a key's state from a slot on.
type version struct {
	present bool
	version uint64
	slot    wire.Slot
	value   string
}

type modelSession struct {
	used  uint64    // when it was last used: by the count of blocks
	gone  wire.Slot // evicted there; 0: it lives
	acked wire.Seq
	done  map[wire.Seq]modelResult
}

type modelResult struct {
	slot    wire.Slot
	index   uint32
	results []byte // as in a reply
}

func (m *model) init(sessionsMax int) {
	m.max = sessionsMax
	m.keys, m.sessions, m.commands = map[string][]version{}, map[wire.SessionID]*modelSession{}, []uint64{0}
}

// apply executes the next slot.
func (m *model) apply(w *world, s wire.Slot, b wire.Batch) {
	m.slot = s
	n := m.commands[s-1]
	if b.BlockCount() > 0 {
		buf := wire.Get(b.RawLen())
		defer buf.Release()
		plain, err := b.Plain(buf)
		if err != nil {
			w.fail("S18", 0, s, "chosen value does not decode: %v", err)
		}
		i := 0
		for it := plain.Blocks(); ; i++ {
			blk, ok := it.Next()
			if !ok {
				break
			}
			n += m.block(w, s, i, blk)
		}
	}
	m.commands = append(m.commands, n)
}

// block executes a block, if it is the first of its kind, and returns how many commands that were.
func (m *model) block(w *world, s wire.Slot, i int, blk wire.Block) uint64 {
	m.blocks++
	if blk.Session() == 0 {
		if m.lives >= m.max {
			m.evict(w, s)
		}
		m.lives++
		m.sessions[wire.NewSessionID(s, i)] = &modelSession{used: m.blocks, done: map[wire.Seq]modelResult{}}
		return 0
	}
	c := m.sessions[blk.Session()]
	if c == nil || c.gone != 0 {
		return 0
	}
	c.used = m.blocks
	c.acked = max(c.acked, blk.Acked())
	if blk.First() < c.acked {
		return 0
	}
	if _, ok := c.done[blk.First()]; ok {
		w.counts["repeats answered from a session"]++
		return 0
	}
	m.certain(w, s, blk)
	r := modelResult{slot: s, index: uint32(i)}
	for it := blk.Commands(); ; {
		cmd, ok := it.Next()
		if !ok {
			break
		}
		r.results = wire.AppendCommand(r.results, m.command(s, cmd))
	}
	c.done[blk.First()] = r
	return uint64(blk.Count())
}

// certain checks that a block that is executed was not refused as certainly not done at every node that had it (S9).
func (m *model) certain(w *world, s wire.Slot, blk wire.Block) {
	for _, c := range w.clients {
		for _, op := range c.ops {
			if &c.o.model == m && op.kind == opBlock && op.session == blk.Session() && op.first == blk.First() && op.copies == 0 {
				w.fail("S9", 0, s, "block %d of session %d is executed, and everybody who had it has said that it never would be", op.first, op.session)
			}
		}
	}
}

// evict ends the session that was not used for longest.
func (m *model) evict(w *world, s wire.Slot) {
	var oldest *modelSession
	for _, c := range m.sessions {
		if c.gone == 0 && (oldest == nil || c.used < oldest.used) {
			oldest = c
		}
	}
	oldest.gone = s
	m.lives--
	w.counts["sessions evicted"]++
}

// command executes one command and returns its result.
func (m *model) command(s wire.Slot, cmd []byte) []byte {
	c, _ := kv.DecodeCommand(cmd)
	key := string(c.Key)
	v := m.at(key, s)
	status, give := kv.StatusOK, ""
	write := func(present bool, value string) {
		v = version{present, v.version + 1, s, value}
		m.keys[key] = append(m.keys[key], v)
	}
	switch {
	case c.Op == kv.OpPut:
		write(true, string(c.Value))
	case c.Op == kv.OpIncr && v.present && len(v.value) != 8:
		status = kv.StatusBadValue
	case c.Op == kv.OpIncr:
		var sum [8]byte
		copy(sum[:], v.value)
		binary.LittleEndian.PutUint64(sum[:], binary.LittleEndian.Uint64(sum[:])+uint64(c.Delta))
		write(true, string(sum[:]))
		give = v.value
	case c.Op == kv.OpCAS && v.present == c.Expect && (!c.Expect || v.value == string(c.Old)):
		write(true, string(c.Value))
	case c.Op == kv.OpCAS:
		status, give = kv.StatusMismatch, v.value
	case !v.present: // get, delete
		status = kv.StatusNotFound
	case c.Op == kv.OpDelete:
		write(false, "")
	default:
		give = v.value
	}
	p := binary.AppendUvarint([]byte{byte(status)}, v.version)
	return append(p, give...)
}

// at is a key's state after slot s.
func (m *model) at(key string, s wire.Slot) version {
	h := m.keys[key]
	i := sort.Search(len(h), func(i int) bool { return h[i].slot > s })
	if i == 0 {
		return version{}
	}
	return h[i-1]
}

func (m *model) result(id wire.SessionID, first wire.Seq) (modelResult, bool) {
	c := m.sessions[id]
	if c == nil {
		return modelResult{}, false
	}
	r, ok := c.done[first]
	return r, ok
}

func (m *model) commandsAt(s wire.Slot) uint64 { return m.commands[s] }
