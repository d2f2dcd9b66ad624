package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/paxbench/paxbench/engine/history"
	"github.com/paxbench/paxbench/engine/kv"
)

// madeHistory is a file of n writes of one key, one after the other. wrong: the client of the last one is told another
// version.
func madeHistory(t *testing.T, n int, wrong bool) string {
	t.Helper()
	var b bytes.Buffer
	w, err := history.NewWriter(&b, history.Head{SM: "kv", Keys: 1, Sampled: 1, Fresh: true, Seed: 9}, history.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	buf := w.NewBuffer()
	for i := range int64(n) {
		op := history.Op{Kind: kv.OpPut, Arg: history.Int(uint64(i)), Version: uint64(i + 1)}
		if wrong && i == int64(n)-1 {
			op.Version = 1
		}
		buf.Add(&history.Call{Invoke: i * 1000, Return: i*1000 + 900, Session: 1 << 16, First: uint64(i + 1), Count: 1, Slot: uint64(i + 2), Ops: []history.Op{op}})
	}
	buf.Flush()
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "h")
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// What can go wrong: a violation, a damaged file or a slip of the user passes for a good history, or for each other.
func TestVerify(t *testing.T) {
	good, bad := madeHistory(t, 50, false), madeHistory(t, 50, true)
	if code, out, errs := call(nil, "verify", good); code != exitOK || !strings.Contains(out, good+": ok") || !strings.Contains(out, "50 calls in order") || errs != "" {
		t.Errorf("good: exit %d, %s%s", code, out, errs)
	}
	code, out, _ := call(nil, "verify", good, bad)
	if code != exitViolated || !strings.Contains(out, bad+": violated") || !strings.Contains(out, "key k00000000: put 49 = (ok, version 1)") || !strings.Contains(out, "slot 51.0") {
		t.Errorf("bad: exit %d, %s", code, out)
	}
	if code, out, _ := call(nil, "verify", "--format", "json", bad); code != exitViolated || !strings.Contains(out, `"verdict":"violated"`) {
		t.Errorf("bad as JSON: exit %d, %s", code, out)
	}
	whole, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(t.TempDir(), "cut")
	if err := os.WriteFile(cut, whole[:len(whole)-7], 0o644); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := call(nil, "verify", cut); code != exitRuntime || !strings.Contains(errs, "offset") || !strings.Contains(errs, cut) {
		t.Errorf("cut: exit %d, %s", code, errs)
	}
	for _, args := range [][]string{{"verify"}, {"verify", filepath.Join(t.TempDir(), "none")}} {
		if code, _, errs := call(nil, args...); code != exitUsage || errs == "" {
			t.Errorf("%q: exit %d, %s", args, code, errs)
		}
	}
}

// What can go wrong: what a run keeps is not what verify reads, or verify comes to another verdict than the run.
func TestRunKeepsHistory(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "run.history")
	code, out, errs := spawn(t, small(t, "--history", file, "--history-keys", "200", "--reads", "0.5")...)
	r := decode(t, code, out, errs)
	judged(t, r)
	if h := r.Safety.History; h == nil || h.Keys == 0 || h.Ops < 100 || h.File != file {
		t.Fatalf("%+v %+v", r.Safety, h)
	}
	if code, out, errs := call(nil, "verify", file); code != exitOK || !strings.Contains(out, "ok") {
		t.Errorf("exit %d, %s%s", code, out, errs)
	}
}
