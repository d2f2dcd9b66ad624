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
	  /^[ \t]*--- PASS/ { pass++ } /^[ \t]*--- FAIL/ { fail++ } \
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

fuzz: ## every fuzz target for FUZZTIME=30s each
	@grep -rHoE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*' . | sort | while IFS=: read -r file decl; do \
	  target=$${decl#func }; \
	  echo "== $$(dirname $$file) $$target"; \
	  $(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$(dirname $$file) </dev/null; \
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

report: ## BENCHMARKS.md from results/: says what exists
	@echo "BENCHMARKS.md cannot be generated yet, and nobody types numbers into it. What exists: a run prints its own report,"
	@echo "  go run ./cmd/paxbench run --format text|json|markdown|go"

clean: ## remove what builds and runs leave behind
	rm -rf paxbench paxbench-data *.test *.prof
