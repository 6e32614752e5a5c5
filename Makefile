# Thin: each rule calls cargo or one short script. What a rule needs and does not find, it installs with apt-get
# (as root or by sudo). Everything but `deb` and `install` uses the one release build in $(TARGET)/release.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build
MAKEFLAGS += --no-print-directory

export CARGO_TARGET_DIR ?= $(CURDIR)/target
TARGET := $(CARGO_TARGET_DIR)
BIN := $(TARGET)/release/portunus
export PORTUNUS_BIN := $(BIN)

PREFIX ?= /usr
DESTDIR ?=
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
# Namespaces need root. sudo forgets PATH and HOME, so they are handed on: cargo is found, and its caches are the user's.
AS_ROOT := $(if $(SUDO),sudo env "PATH=$(PATH)" "HOME=$(HOME)" "CARGO_TARGET_DIR=$(TARGET)" "PORTUNUS_BIN=$(BIN)" "CI=$(CI)")

# By name and not by package: so cargo resolves the same features as for the unit tests, and compiles nothing twice.
INTEROP := $(patsubst tests/interop/tests/%.rs,%,$(wildcard tests/interop/tests/*.rs))
# These wait for grants, mails or words most of the time, and measure nothing: several at once.
PATIENT := alerts_sealed alerts_told door enrol fwknop_nat fwknop_pairs gpg gpg_rings gpg_words grants native_client native_server \
	rotate ruleset sent_on survive trial trial_ended

CRITERION := $(patsubst %.rs,--bench %,$(notdir $(wildcard crates/*/benches/*.rs)))

.PHONY: help build demo test test-unit test-interop test-long check fmt clippy deny rules bench install uninstall deb docs clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 24

build: need-build ## the one release build
	cargo build --release --locked -p portunus

demo: build need-net ## the whole story in two namespaces; the host's rules stay as they are
	$(AS_ROOT) $(BIN) demo

test: test-unit test-interop ## every test but the long ones

test-unit: need-build need-net need-fwknop need-systemd ## unit, vectors, simulation, firewall conformance, command line
	$(AS_ROOT) cargo test --release --locked --workspace --exclude portunus-interop

test-interop: build need-net need-ssh need-fwknop ## the built binary in real namespaces
	$(AS_ROOT) cargo test --release --locked --workspace $(addprefix --test ,$(PATIENT)) -- --test-threads=3
	$(AS_ROOT) cargo test --release --locked --workspace $(addprefix --test ,$(filter-out $(PATIENT),$(INTEROP))) -- --test-threads=1

test-long: build need-net need-ssh need-fwknop ## long simulation, fuzzing, long matrices; writes what docs/testing.md quotes
	$(AS_ROOT) $(foreach name,LONG_MINUTES LONG_SCHEDULES LONG_CASES LONG_ROUNDS,$(if $($(name)),$(name)=$($(name)))) packaging/scripts/test-long

check: fmt clippy rules deny ## formatting, lints, layers, licences

fmt: ## formatting, not changed
	cargo fmt --all --check

clippy: need-build ## lints; a warning is an error
	cargo clippy --release --locked --workspace --all-targets --all-features -- -D warnings

rules: need-build need-systemd ## layers, lints and texts of the repository
	cargo test --release --locked -p portunus-repo

deny: ## licences, bans and sources of every crate
	packaging/scripts/deny

bench: build need-net ## criterion for the primitives and the gate; the whole system in namespaces
	cargo bench --locked --workspace $(CRITERION) -- --noplot --warm-up-time 1 --measurement-time 3
	$(AS_ROOT) cargo run --release --locked -p portunus-bench

install: build ## binary, faces, unit, man pages, completions
	$(SUDO) packaging/scripts/install "$(BIN)" "$(DESTDIR)" "$(PREFIX)"

uninstall: ## what install put there; configuration and state stay
	$(SUDO) packaging/scripts/uninstall "$(DESTDIR)" "$(PREFIX)"

deb: need-build ## dist/portunus_VERSION_ARCH.deb
	cargo build --profile dist --locked -p portunus
	packaging/scripts/deb "$(TARGET)/dist/portunus"

docs: ## the book, when mdbook is there
	mdbook build docs

clean: ## the build
	cargo clean

need-build:
	@command -v cargo >/dev/null || { echo "make: cargo not found: install Rust from https://rustup.rs" >&2; exit 1; }
	@packaging/scripts/need cc:gcc
need-net:
	@packaging/scripts/need ip:iproute2 nft:nftables iptables-restore:iptables conntrack:conntrack tcpdump:tcpdump socat:socat
need-ssh:
	@packaging/scripts/need ssh:openssh-client sshd:openssh-server ssh-keygen:openssh-client
need-fwknop:
	@packaging/scripts/need fwknop:fwknop-client fwknopd:fwknop-server openssl:openssl gpg:gnupg gpg-agent:gpg-agent
need-systemd:
	@packaging/scripts/need systemd-analyze:systemd
.PHONY: need-systemd need-build need-net need-ssh need-fwknop
