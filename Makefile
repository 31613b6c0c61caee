# Each target is a line or two that calls one thing. `make help` lists them.
SHELL := /bin/bash
NODES ?= 50
MODE ?= open
CLUSTER ?=
SEEDS ?= 1000000
# The benchmarks have numbers of their own, unless NODES is given.
BENCH_NODES := $(if $(filter file,$(origin NODES)),NODES=,NODES=$(NODES))
CLUSTER_DIR := target/cluster$(if $(CLUSTER),/$(CLUSTER))

.PHONY: help demo test sim e2e lint image bench bench-check bench-pull bench-scale bench-serve cluster-up cluster-down clean-cache
help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 16

demo: ## run the main job with 25 simulated nodes, or on real ones, as root: REAL=1 (KEEP=1 keeps it)
	@scripts/demo$(if $(filter 1,$(REAL)),_real).sh

test: ## run all tests, those on a real control plane included
	@tests/test.sh

sim: ## try whole runs in made-up clusters, on all cores: SEEDS=1000000, or SIM_SEED=7 to replay one
	@source scripts/cache.sh && SIM_SEEDS=$(SEEDS) cargo test --release --locked -p quayctl-core --test sim -- --nocapture runs_keep never_do_two

e2e: ## run the tests on real nodes, as root (KEEP=1 keeps the cluster): TESTS=name
	@tests/e2e.sh $(TESTS)

lint: ## formatting, clippy, rustdoc, dependency policy, go vet
	@scripts/lint.sh

image: ## build the container image as an OCI archive: target/image/quayctl-controller.oci.tar
	@scripts/image.sh

bench: ## measure against kubectl on a real control plane, about 9 minutes: NODES=200
	@$(BENCH_NODES) scripts/bench.sh

bench-check: ## measure what needs no cluster: check and render
	@scripts/bench_check.sh

bench-pull: ## measure what a pull ahead saves behind a thin link, on real nodes, as root, about 13 minutes
	@scripts/bench_pull.sh

bench-scale: ## measure with 1,000 and 5,000 nodes of 20 images: NODES=1000,5000
	@$(BENCH_NODES) scripts/bench.sh scale

bench-serve: ## measure serve with 1,000 nodes and 10 groups, about 15 minutes: NODES=1000
	@$(BENCH_NODES) scripts/bench.sh serve

cluster-up: ## start a control plane: NODES=50 MODE=stock|open CLUSTER=name
	@scripts/prerequisites.sh go
	@bed=$$(tests/cluster/build.sh) && "$$bed/bed" up --dir "$(CLUSTER_DIR)" --nodes $(NODES) --mode $(MODE) $(BED_FLAGS)

cluster-down: ## stop it again: CLUSTER=name
	@bed=$$(tests/cluster/build.sh) && "$$bed/bed" down --dir "$(CLUSTER_DIR)"

clean-cache: ## remove everything that was built
	@source scripts/cache.sh && echo "removing $$cache" && rm -rf "$$cache"
