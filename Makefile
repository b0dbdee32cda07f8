# The programs find .deps by walking up from where they stand, so they are always built inside this folder.
export CARGO_TARGET_DIR := $(CURDIR)/target

VIDEO ?= .deps/samples/bikes.mp4

.PHONY: help setup build run test soak clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 10

setup: ## install what is missing: Debian packages, nats-server, ONNX Runtime, sample videos
	@scripts/setup.sh

build: setup ## build the moliceiro program, optimised
	cargo build --release --locked

run: build ## count the objects in a video: make run VIDEO=street.mp4
	target/release/moliceiro run $(VIDEO)

test: setup ## check formatting, lints and documentation, and run every test
	@scripts/test.sh

soak: setup ## break things at random and compare every summary: make soak MINUTES=10 SEED=42
	cargo build --workspace --locked
	MOLICEIRO_SOAK_MINUTES=$(MINUTES) MOLICEIRO_SOAK_SEED=$(SEED) cargo test --locked -p moliceiro --test soak -- --nocapture

clean: ## remove what was built (setup's .deps stays)
	cargo clean
