# The daily targets. Each is one line that also works without make; the scripts are the truth.

.DEFAULT_GOAL := help
.PHONY: help run test fuzz soak faults mutants engines bench loadtest cluster extension release release-check packages image lint ci clean

help: ## these lines
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 8

run: ## the gateway on its embedded store, for trying out
	go run .

test: ## all tests with the race detector, the proof, and every fuzz target for 5 s; installs what is missing
	./test.sh

fuzz: ## every fuzz target for a minute (FUZZTIME=10m make fuzz: for longer)
	FUZZTIME=$${FUZZTIME:-1m} ./test.sh fuzz

soak: ## memory, goroutines and descriptors of two replicas under load, for two minutes (SOAK=10m make soak: for longer)
	SOAK=$${SOAK:-2m} go test -v -count=1 -timeout 0 -run TestMemoryAndGoroutinesStayFlat ./internal/e2e

faults: ## break replicas, Redis and network at random and check what came of it, in ten minutes (FAULTS=1h: for longer)
	FAULTS=$${FAULTS:-6m30s} go test -v -count=1 -timeout 0 -artifacts ./internal/faults

mutants: ## break the rules one by one and see that the tests notice, in some 20 minutes (MUTANTS=journal: some of them)
	go run ./internal/mutants -run "$${MUTANTS:-}"

engines: ## the tests that talk to Redis on Debian's redis-server and on Valkey 8; asks before it installs the latter
	.ci/engines.sh

bench: ## Oncegate beside its peers, in at most ten minutes (BENCH=--quick make bench: in about a minute); Linux only
	cd bench && go run . $(BENCH)

loadtest: ## every load test for 5 s, on Redis and two replicas of its own (LOADTEST="storm --rate 5000": one)
	loadtest/run.sh $${LOADTEST:-all}

cluster: ## a Redis Cluster and two gateways on loopback, for trying out, until Ctrl-C
	deploy/cluster.sh

extension: ## the Cognigy Extension's archive, deploy/cognigy-extension/oncegate.tar.gz; needs Node.js 18 and npm
	cd deploy/cognigy-extension && npm ci && npm run archive

release: ## archives for six platforms, deb, rpm, SBOM and checksums of the last commit, in dist/
	deploy/release.sh dist

release-check: ## makes a release twice, and wants the same bytes
	deploy/release-check.sh

packages: ## installs, upgrades, removes and purges deb and rpm in a chroot; needs root
	deploy/packages/test.sh

image: ## builds the image without a container engine and runs what is in it in a chroot; needs root
	deploy/docker/test.sh

lint: ## everything that CI checks, but the tests
	.ci/run format modules vet lint vulnerabilities

ci: ## what CI runs
	.ci/run

clean: ## forget test results and built binaries
	go clean -testcache
	rm -rf oncegate dist loadtest/loadtest _artifacts *.test *.prof
	cd deploy/cognigy-extension && rm -rf node_modules build oncegate.tar.gz
