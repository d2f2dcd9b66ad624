package kv

import (
	"bytes"
	"testing"
)

// doMulti applies a multi and decodes what it did.
func doMulti(t *testing.T, m *KV, guards []Guard, then, otherwise [][]byte) (held bool, results []Result) {
	t.Helper()
	p := apply(t, m, m.slot+1, batch(t, block(1, 1, AppendMulti(nil, guards, then, otherwise))))[0]
	mr, err := DecodeMultiResult(p)
	if err != nil {
		t.Fatalf("%v: %x", err, p)
	}
	for _, one := range mr.Results {
		r, err := DecodeResult(one)
		if err != nil {
			t.Fatal(err)
		}
		results = append(results, r)
	}
	return mr.Held, results
}

// What can go wrong: a guard holds when it should not or the other way round, or both lists or parts of them are
// executed.
func TestMultiGuards(t *testing.T) {
	k, gone, never := []byte("k"), []byte("gone"), []byte("never")
	base := func() *KV {
		m := New()
		do(t, m, 1, AppendPut(nil, k, []byte("v")))
		do(t, m, 2, AppendPut(nil, gone, []byte("x")))
		do(t, m, 3, AppendDelete(nil, gone))
		return m
	}
	for name, c := range map[string]struct {
		guards []Guard
		held   bool
	}{
		"none":                  {nil, true},
		"present":               {[]Guard{{Kind: GuardPresent, Key: k}}, true},
		"present, deleted":      {[]Guard{{Kind: GuardPresent, Key: gone}}, false},
		"present, never":        {[]Guard{{Kind: GuardPresent, Key: never}}, false},
		"absent":                {[]Guard{{Kind: GuardAbsent, Key: k}}, false},
		"absent, deleted":       {[]Guard{{Kind: GuardAbsent, Key: gone}}, true},
		"absent, never":         {[]Guard{{Kind: GuardAbsent, Key: never}}, true},
		"equals":                {[]Guard{{Kind: GuardEquals, Key: k, Value: []byte("v")}}, true},
		"equals, other":         {[]Guard{{Kind: GuardEquals, Key: k, Value: []byte("w")}}, false},
		"equals empty, deleted": {[]Guard{{Kind: GuardEquals, Key: gone}}, false},
		"version":               {[]Guard{{Kind: GuardVersion, Key: k, Version: 1}}, true},
		"version, other":        {[]Guard{{Kind: GuardVersion, Key: k, Version: 2}}, false},
		"version, deleted":      {[]Guard{{Kind: GuardVersion, Key: gone, Version: 2}}, true},
		"version, never":        {[]Guard{{Kind: GuardVersion, Key: never}}, true},
		"first holds, second not": {[]Guard{
			{Kind: GuardPresent, Key: k}, {Kind: GuardPresent, Key: never}}, false},
	} {
		m := base()
		held, rs := doMulti(t, m, c.guards,
			[][]byte{AppendPut(nil, []byte("then"), []byte("1")), AppendIncr(nil, []byte("n"), 5)},
			[][]byte{AppendPut(nil, []byte("else"), []byte("1"))})
		if held != c.held {
			t.Errorf("%s: held %v", name, held)
			continue
		}
		then, otherwise := lookup(t, m, []byte("then")), lookup(t, m, []byte("else"))
		if (then.Status == StatusOK) != held || (otherwise.Status == StatusOK) == held {
			t.Errorf("%s: held %v, then %v, else %v", name, held, then.Status, otherwise.Status)
		}
		if held && (len(rs) != 2 || string(rs[1].Value) != le64(5)) || !held && len(rs) != 1 {
			t.Errorf("%s: results %+v", name, rs)
		}
	}
}

// What can go wrong: commands of a list do not see what earlier ones of it wrote, as a transfer between accounts needs.
func TestMultiIsSequentialInside(t *testing.T) {
	m := New()
	_, rs := doMulti(t, m, nil, [][]byte{AppendPut(nil, []byte("a"), []byte("1")), AppendGet(nil, []byte("a")), AppendDelete(nil, []byte("a"))}, nil)
	if len(rs) != 3 || string(rs[1].Value) != "1" || rs[2].Status != StatusOK || rs[2].Version != 2 {
		t.Fatalf("%+v", rs)
	}
}

// What can go wrong: a multi that is malformed anywhere, also in the list that would not be executed, changes something.
func TestMalformedMultiChangesNothing(t *testing.T) {
	put := AppendPut(nil, []byte("a"), []byte("x"))
	good := AppendMulti(nil, []Guard{{Kind: GuardEquals, Key: []byte("a"), Value: []byte("b")}}, [][]byte{put}, [][]byte{put})
	bad := [][]byte{
		AppendMulti(nil, nil, [][]byte{put}, [][]byte{{99, 0}}),
		AppendMulti(nil, nil, [][]byte{put}, [][]byte{nil}),
		AppendMulti(nil, nil, [][]byte{put, AppendMulti(nil, nil, [][]byte{put}, nil)}, nil),
		AppendMulti(nil, make([]Guard, MultiMax+1), [][]byte{put}, nil),
		AppendMulti(nil, nil, repeat(put, MultiMax+1), nil),
		AppendMulti(nil, []Guard{{Kind: guardEnd}}, [][]byte{put}, nil),
		AppendMulti(nil, []Guard{{Key: make([]byte, KeyBytesMax+1)}}, [][]byte{put}, nil),
		append(bytes.Clone(good), 0),
	}
	for n := 1; n < len(good); n++ {
		bad = append(bad, good[:n])
	}
	m := New()
	for i, c := range bad {
		if p := apply(t, m, m.slot+1, batch(t, block(1, 1, c)))[0]; Status(p[0]) != StatusMalformed {
			t.Errorf("case %d: %v", i, Status(p[0]))
		}
	}
	if a := lookup(t, m, []byte("a")); a.Status != StatusNotFound || a.Version != 0 {
		t.Errorf("a was written: %+v", a)
	}
	if p := apply(t, m, m.slot+1, batch(t, block(1, 1, AppendMulti(nil, nil, repeat(put, MultiMax), nil))))[0]; Status(p[0]) != StatusOK {
		t.Errorf("%d commands: %v", MultiMax, Status(p[0]))
	}
}

func repeat(c []byte, n int) [][]byte {
	all := make([][]byte, n)
	for i := range all {
		all[i] = c
	}
	return all
}

// What can go wrong: a multi for whose results the block's reply has no room is executed, in whole or in part, and its
// caller cannot be told.
func TestMultiWithoutRoomIsNotExecuted(t *testing.T) {
	m := New()
	do(t, m, 1, AppendPut(nil, []byte("long"), make([]byte, 1<<20)))
	do(t, m, 2, AppendPut(nil, []byte("short"), make([]byte, 1000)))
	multi := AppendMulti(nil, nil, repeat(AppendIncr(nil, []byte("n"), 1), MultiMax), nil)
	cmds := append([][]byte{multi}, repeat(AppendGet(nil, []byte("long")), 40)...)
	cmds = append(cmds, repeat(AppendGet(nil, []byte("short")), 1100)...)
	cmds = append(cmds, multi, AppendIncr(nil, []byte("n"), 1))
	results := apply(t, m, 3, batch(t, block(1, 1, cmds...)))
	if s := Status(results[0][0]); s != StatusOK {
		t.Errorf("with room: %v", s)
	}
	if s := Status(results[len(results)-2][0]); s != StatusTooLarge {
		t.Errorf("without room: %v", s)
	}
	if v, _ := (Result{Value: lookup(t, m, []byte("n")).Value}).Int(); v != MultiMax+1 {
		t.Errorf("the counter is at %d, want %d", v, MultiMax+1)
	}
}
