# What a contributor can do; `make` alone lists it. Needs Go, gcc and make, nothing else.

.DEFAULT_GOAL := help
SHELL := /bin/sh

BIN := bin/shoplake
# Build tools have a module of their own, so that their dependencies do not become the program's.
TOOL := go tool -modfile=tools/go.mod
# The rules of requests are written in the vocabulary of this module.
PROTOVALIDATE := github.com/bufbuild/protovalidate@v1.2.2
# Packages with concurrency are tested under the race detector, the others without.
RACE := ./client/... ./controlplane/... ./worker/... ./internal/bus/...
# Except for tests of theirs that walk far in one goroutine, or read much: the race detector makes them ten times slower.
FAR := TestThreeYears|TestRandomClocks|TestOnceADay|TestExplore|TestWalks|TestXLSXBomb|TestTruncatedLarge|LongRecords$$|TestJSONManyKeys|TestPacked|TestReal
FAR_IN := ./controlplane/runs ./controlplane/schedule ./worker/ingest/record
TIMEOUT ?= 30m

# DuckDB needs the C++ library. Where gcc came without g++, the library is there, but not under the name that the linker
# looks for: it gets that name in a folder of our own.
ifeq ($(shell gcc -print-file-name=libstdc++.so),libstdc++.so)
ifeq ($(shell gcc -print-file-name=libstdc++.a),libstdc++.a)
$(shell mkdir -p .build/lib && ln -sf "$$(gcc -print-file-name=libstdc++.so.6)" .build/lib/libstdc++.so)
export CGO_LDFLAGS := -g -O2 -L$(CURDIR)/.build/lib
endif
endif

.PHONY: help
help: ## List what can be done
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build the program into bin/
	go build -o $(BIN) ./cmd/shoplake

.PHONY: demo
demo: build ## Make up data, run everything in one process, show the KPIs; ONCE=1 exits when done
	$(BIN) demo $(if $(ONCE),--once) $(DEMO_FLAGS)

.PHONY: test
test: lint checkgenerate checkdashboard breaking unit race checkdeploy ## Everything that must hold: linters, generated code, tests, race detector

.PHONY: unit
unit: ## Test the packages without concurrency of their own
	go test -timeout $(TIMEOUT) $$(go list ./... | grep -vxF "$$(go list $(RACE))")

.PHONY: race
race: ## Test the packages with concurrency under the race detector
	go test -race -timeout $(TIMEOUT) $$(go list $(RACE) | grep -vxF "$$(go list $(FAR_IN))")
	go test -race -timeout $(TIMEOUT) -skip '$(FAR)' $(FAR_IN)
	go test -timeout $(TIMEOUT) -run '$(FAR)' $(FAR_IN)

.PHONY: model
model: ## Explore the model of a run much deeper than `make test` does
	SHOPLAKE_MODEL_STATES=$${STATES:-150000} go test -v -timeout 60m -run 'TestExplore$$' ./controlplane/runs

.PHONY: chaos
chaos: ## Runs of the flow under kills, freezes, cuts, a lost NATS and full disks, each fail point twice: CHAOS_SEEDS seeds (or all that this takes), from CHAOS_FROM on; CHAOS_SEED=n lives one again
	CHAOS_SEEDS=$(or $(CHAOS_SEEDS),all) go test -count=1 -v -timeout 90m ./e2e/chaos

.PHONY: fairness
fairness: ## How long fresh runs wait behind a backfill: FAIRNESS_RUNS of them, come amid FAIRNESS_TASKS tasks
	FAIRNESS_TASKS=$(or $(FAIRNESS_TASKS),1000) FAIRNESS_RUNS=$(or $(FAIRNESS_RUNS),100) go test -count=1 -v -timeout 60m ./e2e -run ThousandTasks

.PHONY: bench
bench: benchflow benchdispatch benchhandoff benchworkers benchfairness benchpage ## Measure all six below; on an idle machine a promise that is broken is a failure

.PHONY: benchflow
benchflow: build ## Rows per second of each stage, beside bare DuckDB on the same files
	go run ./bench $(BENCH_FLAGS)

.PHONY: benchdispatch
benchdispatch: ## Empty tasks per second, beside bare JetStream: %ofbare >= 25, tasks/s and B/task the same for runs of any size
	go test ./controlplane/runs -run NONE -bench Dispatch -benchtime 1x

.PHONY: benchhandoff
benchhandoff: ## Time from a stage's commit to the first task of the stage that waited for it: p99-ms < 20
	go test ./e2e -run NONE -bench Handoff -benchtime 10x

.PHONY: benchworkers
benchworkers: ## A run that is bound by processor time, by two workers of one processor each beside one: %ofone <= 60
	go test ./e2e -run NONE -bench Workers -benchtime 3x

.PHONY: benchfairness
benchfairness: ## How long 20 fresh runs wait behind a backfill of a thousand tasks: for one of them at most
	FAIRNESS_TASKS=1000 FAIRNESS_RUNS=20 go test -count=1 -v ./e2e -run ThousandTasks

.PHONY: benchpage
benchpage: ## What open pages cost, how soon one is there (needs a Chromium)
	go test ./e2e/page -run 'OpenPages|Year' -v -count 1

.PHONY: histories
histories: ## Make up histories of changes and hold each against a full refresh: HISTORY_SEEDS of them, from HISTORY_FROM on
	HISTORY_SEEDS=$${HISTORY_SEEDS:-200} HISTORY_FROM=$${HISTORY_FROM:-$$(date +%s)} go test -count=1 -timeout 0 ./e2e -run TestHistories

.PHONY: lint
lint: protos ## go vet, staticcheck, gofmt, buf lint
	@unformatted=$$(gofmt -l $$(git ls-files '*.go' | grep -v '^gen/')); \
	if [ -n "$$unformatted" ]; then echo "not formatted, run gofmt -w on: $$unformatted"; exit 1; fi
	go vet ./...
	$(TOOL) staticcheck ./...
	$(TOOL) buf lint

.PHONY: protos
protos: .build/protos/buf/validate/validate.proto ## Fetch the protos of libraries that ours import

.build/protos/buf/validate/validate.proto: Makefile
	cd / && go mod download $(PROTOVALIDATE)
	mkdir -p $(@D)
	cp $$(go env GOMODCACHE)/$(PROTOVALIDATE)/proto/protovalidate/buf/validate/validate.proto $@
	chmod u+w $@
	touch $@

.PHONY: generate
generate: protos ## Generate gen/ from api/
	$(TOOL) buf generate

.PHONY: checkgenerate
checkgenerate: protos ## Fail where gen/ is not what api/ generates
	rm -rf .build/fresh
	$(TOOL) buf generate -o .build/fresh
	diff -r .build/fresh/gen gen || { echo "gen/ is stale: run make generate and commit it"; exit 1; }

# The page: its sources are TypeScript, what is built from them is committed, so that Go alone builds the program.
WEB := controlplane/dashboard/web
NPM := npm --prefix $(WEB)

.PHONY: dashboard
dashboard: protos $(WEB)/node_modules/.package-lock.json ## Generate the page's client from api/ and build the page (needs Node 20.19 or later)
	rm -rf $(WEB)/src/gen
	$(TOOL) buf generate --template buf.gen.dashboard.yaml
	$(NPM) run --silent check
	$(NPM) run --silent build

$(WEB)/node_modules/.package-lock.json: $(WEB)/package-lock.json
	$(NPM) ci --no-audit --no-fund
	touch $@

.PHONY: checkdashboard
checkdashboard: protos ## Fail where the page's committed files are not what its sources give; skipped without Node
	@if ! node -e 'process.exit(Number(parseInt(process.versions.node) < 20))' 2>/dev/null || ! command -v npm >/dev/null 2>&1; then \
		echo "no Node 20 or later here: the page's files are not compared with its sources"; \
	else $(MAKE) --no-print-directory comparedashboard; fi

.PHONY: screenshots
screenshots: ## Take pictures of the page for the README (needs a Chromium)
	mkdir -p docs/screenshots
	SHOPLAKE_SCREENSHOTS=$(CURDIR)/docs/screenshots go test ./e2e/page -run Screenshots -count 1 -timeout $(TIMEOUT)

.PHONY: comparedashboard
comparedashboard: $(WEB)/node_modules/.package-lock.json
	rm -rf .build/dashboard && mkdir -p .build/dashboard
	$(TOOL) buf generate --template buf.gen.dashboard.yaml -o .build/dashboard
	diff -r .build/dashboard/$(WEB)/src/gen $(WEB)/src/gen || { echo "the page's client is stale: run make dashboard and commit it"; exit 1; }
	$(NPM) run --silent check
	OUT=$(CURDIR)/.build/dashboard/dist $(NPM) run --silent build
	diff -r .build/dashboard/dist controlplane/dashboard/dist || { echo "the page is stale: run make dashboard and commit it"; exit 1; }

.PHONY: breaking
breaking: protos ## Fail where api/ breaks clients of the commit before
	tools/breaking.sh

.PHONY: checkdeploy
checkdeploy: ## Hold deploy/ against the schemas of Kubernetes, KEDA and Compose, and against the program
	cd deploy && go vet ./... && go test -timeout $(TIMEOUT) ./...

.PHONY: clean
clean: ## Remove what was built, fetched or made up
	rm -rf bin .build shoplake-demo
