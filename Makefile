# The programs find .deps by walking up from where they stand, so they are always built inside this folder.
export CARGO_TARGET_DIR := $(CURDIR)/target

VIDEO ?= .deps/samples/bikes.mp4
MINUTES ?= 10
SEED ?= $(shell od -An -N2 -tu2 /dev/urandom | tr -d " ")

.PHONY: help setup setup-tests build run test soak clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 10

setup: ## install what is missing: Debian packages, nats-server, ONNX Runtime, sample videos
	@scripts/setup.sh

build: setup ## build the moliceiro program, optimised
	cargo build --release --locked

run: build ## count the objects in a video: make run VIDEO=street.mp4
	target/release/moliceiro run $(VIDEO)

setup-tests: setup # what only tests need, too
	@scripts/setup-tests.sh

test: setup-tests ## check formatting, lints and documentation, and run all tests
	@scripts/test.sh

soak: setup ## inject random faults for longer than the tests do: make soak MINUTES=60 SEED=42
	cargo build --workspace --bins --tests --locked
	MOLICEIRO_SOAK_MINUTES=$(MINUTES) MOLICEIRO_SOAK_SEED=$(SEED) cargo test --workspace --locked --test soak -- --nocapture

clean: ## remove what was built (setup's .deps stays)
	cargo clean
