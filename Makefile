# Bare `make` prints the targets. Everything here is a go command that may as well be typed by hand.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

GO          ?= go
ACTIONLINT  ?= $(GO) run github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
STATICCHECK ?= $(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2
TESTFLAGS   ?=
BENCHFLAGS  ?= -benchmem
BENCH       ?= .
FUZZTIME    ?= 30s
RUNFLAGS    ?=
RESULTS     ?= results
BENCHMARKS  ?= BENCHMARKS.md
ONLY        ?= .
RESULTFLAGS ?=
SIMFLAGS    ?=
SEEDS       ?= 10000
SEED        ?=
BASE        ?=
TIMES       ?= 10
COMPAREFLAGS ?=
SCOPES      ?= elections turns reads fetch gap full back contest fast successor
PEERFLAGS   ?=
RATES       := rate:16:300,rate:16:1000,rate:16:3000,rate:16:10000,rate:16:30000,rate:16:100000,rate:16:300000,rate:16:1000000

# The packages with goroutines or shared buffers; the race detector costs them the most and finds the most there.
CORE := ./wire/... ./batching/... ./engine/...

.PHONY: help build test race invariants lint actionlint staticcheck compare compare-demo fuzz sim planted explore bench run check results report peers peers-quick peers-failover curve clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

build: ## compile everything; the command becomes ./paxbench
	$(GO) build ./...
	$(GO) build -o paxbench ./cmd/paxbench

# Of a long log often the end alone is shown. So what failed stands there again: of each test the last 40 lines that it printed
# (with -v they stand before its "--- FAIL", else behind it), of a package that ended otherwise its last 40, or its compile errors.
define SUMMARY
function keep(of) { line[of, ++lines[of] % 40] = $$0 }
function tail(of,  i, text) {
  for (i = lines[of] > 40 ? lines[of] - 39 : 1; i <= lines[of]; i++) text = text line[of, i % 40] "\n"
  lines[of] = 0
  return text
}
function close_test() { if (test != "") shown = shown tail("after"); test = building = "" }
{ print; fflush() }
/^# / { close_test(); building = $$2; next }
/^=== / { close_test(); at = $$3; sub(/\/.*/, "", at); next }
/^--- (PASS|SKIP)/ { close_test(); pass += $$2 == "PASS:"; next }
/^--- FAIL/ { close_test(); fail++; test = $$3; tests = tests " " test; shown = shown "\n" tail(test) $$0 "\n"; next }
/^(ok|FAIL|\?)[ \t]/ {
  close_test()
  if ($$1 == "ok") ok++
  if ($$1 == "FAIL") {
    failed++; names = names "\n  " $$2 tests
    if (tests == "") shown = shown "\n" errors[$$2] tail("") $$0 "\n"
  }
  for (of in lines) lines[of] = 0
  at = tests = ""; next
}
/^(PASS|FAIL)$$/ { next }
building != "" { errors[building] = errors[building] $$0 "\n"; next }
{ keep(""); if (test != "") keep("after"); else if (at != "") keep(at) }
END {
  if (shown != "") printf "\n==== what failed, again ====\n%s", shown
  printf "\n%d packages passed, %d failed", ok, failed
  if (pass) printf "; %d tests passed", pass
  if (fail) printf "; %d tests failed", fail
  print "." names
}
endef
export SUMMARY

test: ## all tests, with a summary that repeats what failed (TESTFLAGS=-v names each)
	@$(GO) test -timeout 20m $(TESTFLAGS) ./... 2>&1 | awk "$$SUMMARY"

race: ## all tests under the race detector
	$(GO) test -race $(TESTFLAGS) ./...

invariants: ## tests of the library with released buffers poisoned and the costly checks on
	$(GO) test -tags invariants $(TESTFLAGS) $(CORE)

lint: ## gofmt, go vet, staticcheck (pinned; fetched on first use)
	@files=$$(gofmt -l .); if [ -n "$$files" ]; then echo "not gofmt'ed:"; echo "$$files"; exit 1; fi
	$(GO) vet ./...
	$(GO) vet -tags invariants $(CORE)
	$(STATICCHECK) ./...

actionlint: ## the workflows of .github (pinned; fetched on first use)
	$(ACTIONLINT)

staticcheck:
	@echo '$(STATICCHECK)'

# Before Go 1.27 the end of -fuzztime itself may be reported as a failure, "context deadline exceeded"
# (go.dev/issue/75804). A finding always names the file that the failing input was written to.
fuzz: ## every fuzz target for FUZZTIME=30s each
	@log=$$(mktemp); trap 'rm -f $$log' EXIT; \
	grep -rHoE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | sort | while IFS=: read -r file decl; do \
	  target=$${decl#func }; \
	  echo "== $$(dirname $$file) $$target"; \
	  if ! $(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1s $$(dirname $$file) </dev/null 2>&1 | tee $$log; then \
	    grep -q 'context deadline exceeded' $$log && ! grep -q 'Failing input' $$log || exit 1; \
	    echo "the engine ran out of time; no finding"; \
	  fi; \
	done

sim: ## simulated clusters with faults: SEEDS=10000 schedules from SEED=1 on, or SEED=n REPLAY=1 one again with its trace; SIMFLAGS=--beyond for losses beyond survival
	$(GO) run ./cmd/paxbench sim $(if $(REPLAY),--trace,--seeds $(SEEDS)) --seed $(or $(SEED),1) $(SIMFLAGS)

planted: ## known bugs, one at a time, that the simulator, the core's schedules and the enumerations of disk faults must find
	$(GO) test -count 1 -tags planted -run '^TestPlanted$$' -v ./engine ./engine/transport ./engine/paxos ./engine/paxos/conform ./engine/wal ./engine/snapshot
	$(GO) test -count 1 -tags planted -timeout 60m -run '^TestPlanted$$' -v ./engine/sim -args -sim.seeds=10000
	$(GO) test -count 1 -tags planted -timeout 60m -run '^TestPlanted$$' -v ./engine/sim/explore

explore: ## every state of the core in the large scopes, minutes each (SCOPES='full back'; SIMFLAGS=more flags)
	@set -e; for s in $(SCOPES); do $(GO) run ./cmd/paxbench sim --explore $$s --explore-ends 1000 $(SIMFLAGS); done

bench: ## Go benchmarks of the library: throughput and allocations (BENCH=regexp)
	$(GO) test -run '^$$' -bench '$(BENCH)' $(BENCHFLAGS) ./wire ./batching ./engine/...

run: ## a cluster of three processes under load (RUNFLAGS='--nodes 5 ...')
	$(GO) run ./cmd/paxbench run $(RUNFLAGS)

check: lint ## what CI runs before a merge: lint, race, invariants, a moment of fuzzing, the examples
	$(GO) test -race ./...
	$(GO) test -tags invariants $(CORE)
	$(GO) test -count 1 -run '^Example' -v ./engine/...
	$(MAKE) --no-print-directory fuzz FUZZTIME=3s

# A run that calls itself invalid (exit 6) is tried again, three times in all, and then left out; a record replaces the
# one of the same name only when it is whole. Everything else that goes wrong ends it.
results: build ## record the runs of results/matrix.txt anew, about 20 minutes (ONLY=regexp of names, RESULTFLAGS=more flags)
	@grep -vE '^(#|$$)' $(RESULTS)/matrix.txt | grep -E '^($(ONLY))[^ ]* ' | while read -r name flags; do \
	  for try in 1 2 3; do \
	    echo "== $$name: run $$flags $(RESULTFLAGS)"; code=0; \
	    ./paxbench run -q --warmup 2s --duration 6s $$flags $(RESULTFLAGS) -o $(RESULTS)/.$$name.new </dev/null | grep -E 'operations/s  |response|INVALID|VIOLATED' || code=$${PIPESTATUS[0]}; \
	    if [ $$code = 0 ]; then mv $(RESULTS)/.$$name.new $(RESULTS)/$$name.json; break; fi; \
	    rm -f $(RESULTS)/.$$name.new; \
	    if [ $$code != 6 ]; then echo "exit code $$code"; exit 1; fi; \
	    echo "invalid (try $$try of 3)"; [ $$try = 3 ] && rm -f $(RESULTS)/$$name.json || true; \
	  done; \
	done

report: ## BENCHMARKS.md, its plots and the run in README.md, made of the records in results/
	$(GO) run ./cmd/paxbench benchmarks $(RESULTS) -o $(BENCHMARKS) --readme README.md --family engine/PAXOS.md

compare: ## this tree against BASE=revision: exact counts, then times interleaved; exit 4 is a regression (COMPAREFLAGS=more flags)
	@bench/compare/revisions.sh '$(BASE)' $(COMPAREFLAGS)

compare-demo: ## a build slower by a tenth must be found TIMES=10 times out of 10, the same build never; 20 comparisons of about two minutes
	@bench/compare/demo.sh $(TIMES) $(COMPAREFLAGS)

# A module of its own: the peers' dependencies are not ours. See bench/peers/README.md.
# Three records: a process for each replica; all in one process; without fsync, of the engines that can.
peers: ## the same work on etcd raft, hashicorp raft, dragonboat and here, about 15 minutes; peers-quick: 3; peers-failover: 7 (PEERFLAGS=more flags)
	cd bench/peers && $(GO) run . run --length 500ms --fill 1500ms --output ../../$(RESULTS)/peers.json $(PEERFLAGS)
	cd bench/peers && $(GO) run . run --rounds 3 --cells brief --length 500ms --fill 1s --one-process --output ../../$(RESULTS)/peers-one-process.json $(PEERFLAGS)
	cd bench/peers && $(GO) run . run --rounds 3 --cells brief --length 500ms --fill 1s --fsync=false --output ../../$(RESULTS)/peers-no-fsync.json $(PEERFLAGS)

peers-quick:
	cd bench/peers && $(GO) run . run --quick $(PEERFLAGS)

# Three records: closed loops; open loops; open loops over a network of 4 ms.
curve: ## throughput and latency over eight loads, with the window that adapts and with fixed ones, about 14 minutes (PEERFLAGS=more flags)
	cd bench/peers && $(GO) run . curve --output ../../$(RESULTS)/curve.json $(PEERFLAGS)
	cd bench/peers && $(GO) run . curve --cells $(RATES) --length 400ms --sessions 2 --output ../../$(RESULTS)/curve-open.json $(PEERFLAGS)
	cd bench/peers && $(GO) run . curve --delay 2ms --cells $(RATES) --length 400ms --sessions 2 --output ../../$(RESULTS)/curve-network.json $(PEERFLAGS)

peers-failover:
	cd bench/peers && $(GO) run . failover --output ../../$(RESULTS)/peers-failover.json $(PEERFLAGS)

clean: ## remove what builds and runs leave behind
	rm -rf paxbench paxbench-data *.test *.prof
