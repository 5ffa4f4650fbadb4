# All that one does with this tree. `make` alone tells what there is.

ARGS ?=
SEED ?=
MINUTES ?= 10

.PHONY: help demo test check bench outage torture build image-check

help:
	@echo 'On two cores; the first time add the compiling: ten minutes for a build, twenty for all tests.'
	@echo 'make demo    build Muster and let it build this repository: seconds (ARGS=--once ends after the first build)'
	@echo 'make test    everything that must be green; installs what it needs, where it can: about 20 minutes'
	@echo 'make check   the quick part of it: format, lints, rules of the project: a minute or two'
	@echo 'make build   the release binary: ten minutes'
	@echo 'make bench   measure: half an hour (ARGS=router only one part: some minutes)'
	@echo 'make outage  500 builds while the router is away for a minute: three minutes'
	@echo 'make torture break a cluster at random for MINUTES=10, by SEED, and see that nothing is lost'
	@echo 'make image-check  carry out the Dockerfile in Debian roots, without a container engine; takes root: half an hour'
	@echo '             (ARGS=target/release/muster only its last stage, around that binary: some minutes)'

build:
	cargo build --release --locked -p muster

demo:
	cargo run --release --locked -p muster -- demo $(ARGS)

test:
	@checks/test

check:
	@checks/test format clippy rules

bench: build
	cargo run --release --locked --quiet -p muster-bench -- $(ARGS)

outage:
	MUSTER_ROUTER_AWAY=60 MUSTER_ROUTER_BUILDS=500 cargo nextest run --locked -p muster-tests --no-capture -E 'test(while_the_router_is_away)'

# Not the release build: this one also asserts the invariants of the cluster.
torture:
	cargo run --locked --quiet -p muster-torture -- $(or $(SEED),$$(od -An -N3 -tu4 /dev/urandom)) $(MINUTES)

image-check:
	python3 -m tests.operations.image $(ARGS)
