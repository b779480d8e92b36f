# What people run. Every target has its one line of help; `make` alone prints them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
CARGO ?= cargo
APP ?=
ARGS ?=
PROFILE ?= load
SECONDS ?= 600

.DEFAULT_GOAL := help
.PHONY: help demo build test test-slow bench bench-router conform fuzz deb test-deb test-ami test-limits lint fmt deps ci

help: ## Print this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

demo: ## Start hokku on free ports, push a sample app (or APP=folder), stay up until Ctrl-C
	@.ci/deps build demo
	@# Unoptimised: a first build takes two minutes instead of seven, and `make test` shares it.
	@$(CARGO) build --workspace --all-targets
	@exec packaging/demo target/debug $(if $(APP),'$(APP)')

build: ## Build all programs and all tests, unoptimised
	@.ci/deps build
	$(CARGO) build --workspace --all-targets

test: ## Run every fast test: units, properties, simulation, end to end
	@.ci/deps build test
	$(CARGO) build --workspace --all-targets
	.ci/cargo-test

test-slow: ## Run the slow suites too: packages from registries, an ACME server, sshd, full disk, heavy load (root)
	@.ci/deps build test samples acme root
	$(CARGO) build --workspace --all-targets
	.ci/cargo-test --slow

bench: ## Measure: redeploy, rollback, load, memory, idle CPU; writes tests/bench/out/
	@.ci/deps build bench samples
	$(CARGO) build --profile load --workspace --bins
	python3 tests/bench/bench.py --bin target/load

bench-router: ## Measure the router against nginx, HAProxy, Caddy (ARGS=--full, --exact, --list; PROFILE=release)
	@.ci/deps build peers
	$(CARGO) build --profile $(PROFILE) -p hokku-agent --bin hokkud
	$(CARGO) build --profile $(PROFILE) -p hokku-tests --example bench-backend --example bench-clients
	@exec python3 tests/bench/router/bench.py --bin target/$(PROFILE) $(ARGS)

conform: ## Ask the router by programs of others: curl, browser, gRPC, Autobahn ... (root; ARGS=--long, --only curl, --list)
	@.ci/deps build conform
	$(CARGO) build -p hokku-agent --bin hokkud
	@exec python3 tests/router/conform.py --bin target/debug $(ARGS)

fuzz: ## Fuzz the router's parsers, each for SECONDS=600; ARGS names the targets
	@exec tests/fuzz/run $(SECONDS) $(ARGS)

lint: ## Check format, clippy, shell scripts and, where it is installed, cargo-deny
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	@if command -v shellcheck >/dev/null; then shellcheck -x .ci/run .ci/deps .ci/cargo-test .ci/demo-check packaging/demo tests/fuzz/run \
	  packaging/build-deb packaging/deb/{postinst,prerm,postrm} packaging/ami/{seal,provision,first-boot} packaging/test/{nspawn,ami,uml} buildpacks/src/php/launch.sh; \
	else echo "shellcheck is not installed: scripts were not checked"; fi
	@if command -v cargo-deny >/dev/null; then cargo deny check bans licenses sources; \
	else echo "cargo-deny is not installed: deny.toml was not checked"; fi

deb: ## Build target/deb/hokku_*.deb and hokku-cli_*.deb, optimised
	@.ci/deps build
	$(CARGO) build --release --workspace --bins
	packaging/build-deb target/release target/deb

test-deb: ## Boot Debian 12 and 13 in containers and take the .deb through its whole life (root; ARGS=trixie for one)
	@.ci/deps build deb
	$(CARGO) build --workspace --bins
	for release in $(or $(ARGS),bookworm trixie); do packaging/test/nspawn target/debug $$release; done

test-ami: ## Seal an image with hokku and boot two instances of it (root; ARGS=trixie for Debian 13)
	@.ci/deps build deb ami
	$(CARGO) build --workspace --bins
	packaging/test/ami target/debug $(ARGS)

test-limits: ## Boot a Debian 12 in user-mode Linux and try the limits of dynos, reboot and power cut (root)
	@.ci/deps build uml
	$(CARGO) build --workspace --bins
	packaging/test/uml target/debug

fmt: ## Format the code
	$(CARGO) fmt --all

deps: ## Install the Debian packages that all targets need
	@.ci/deps build demo test bench peers samples acme root lint conform fuzz

ci: ## Run what the clean machine runs, on this one (root; installs packages)
	.ci/run
