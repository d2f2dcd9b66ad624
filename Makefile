# Bare `make` prints the targets. Everything here is a go command that may as well be typed by hand.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

GO          ?= go
STATICCHECK ?= $(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2
TESTFLAGS   ?=
BENCHFLAGS  ?= -benchmem
BENCH       ?= .
FUZZTIME    ?= 30s
RUNFLAGS    ?=
SEEDS       ?= 300
SEED        ?=

# The packages with goroutines or shared buffers; the race detector costs them the most and finds the most there.
CORE := ./wire/... ./batching/... ./engine/...

.PHONY: help build test race invariants lint staticcheck fuzz sim bench run check results report clean

help: ## this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-11s %s\n", $$1, $$2}'

build: ## compile everything; the command becomes ./paxbench
	$(GO) build ./...
	$(GO) build -o paxbench ./cmd/paxbench

test: ## all tests, with a summary (TESTFLAGS=-v names each)
	@$(GO) test $(TESTFLAGS) ./... 2>&1 | awk ' \
	  { print; fflush() } \
	  /^ok / { ok++ } /^FAIL[ \t]/ { failed++; names = names "\n  " $$2 } \
	  /^--- PASS/ { pass++ } /^--- FAIL/ { fail++ } \
	  END { printf "\n%d packages passed, %d failed", ok, failed; \
	    if (pass) printf "; %d tests passed", pass; \
	    if (fail) printf "; %d tests failed", fail; \
	    print "." names }'

race: ## all tests under the race detector
	$(GO) test -race $(TESTFLAGS) ./...

invariants: ## tests of the library with released buffers poisoned and the costly checks on
	$(GO) test -tags invariants $(TESTFLAGS) $(CORE)

lint: ## gofmt, go vet, staticcheck (pinned; fetched on first use)
	@files=$$(gofmt -l .); if [ -n "$$files" ]; then echo "not gofmt'ed:"; echo "$$files"; exit 1; fi
	$(GO) vet ./...
	$(GO) vet -tags invariants $(CORE)
	$(STATICCHECK) ./...

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

sim: ## random schedules of the pure core: SEEDS=300 of them, or SEED=n again
	@echo "Today this is engine/paxos's own random-schedule test: lost, repeated and overtaken messages and crashes, over the"
	@echo "core alone. The simulator of whole nodes with disks and clients (paxbench sim) does not exist yet."
	$(GO) test -count 1 $(if $(SEED),-v) -run '^TestRandomSchedules$$' ./engine/paxos -args -paxos.seeds=$(SEEDS) $(if $(SEED),-paxos.seed=$(SEED))

bench: ## Go benchmarks of the library: throughput and allocations (BENCH=regexp)
	$(GO) test -run '^$$' -bench '$(BENCH)' $(BENCHFLAGS) ./wire ./batching ./engine/...

run: ## a cluster of three processes under load (RUNFLAGS='--nodes 5 ...')
	$(GO) run ./cmd/paxbench run $(RUNFLAGS)

check: lint ## what CI runs before a merge: lint, race, invariants, a moment of fuzzing, the examples
	$(GO) test -race ./...
	$(GO) test -tags invariants $(CORE)
	$(GO) test -count 1 -run '^Example' -v ./engine/...
	$(MAKE) --no-print-directory fuzz FUZZTIME=3s

results: ## recorded runs: says what exists
	@echo "No sweep exists yet that would fill results/. What exists: record a single run with"
	@echo "  go run ./cmd/paxbench run -o results/NAME.json"
	@echo "See results/README.md for what belongs there."

report: ## what results/ holds, as Markdown; BENCHMARKS.md is not generated from it yet
	@if compgen -G 'results/*.json' >/dev/null; then \
	  $(GO) run ./cmd/paxbench report --format markdown results/*.json; \
	else \
	  echo "results/ holds no recorded run. What exists: record one, see make results, and render it with"; \
	  echo "  go run ./cmd/paxbench report FILE"; \
	fi
	@echo "Nothing generates BENCHMARKS.md yet, and nobody types numbers into it."

clean: ## remove what builds and runs leave behind
	rm -rf paxbench paxbench-data *.test *.prof
