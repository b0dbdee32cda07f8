# The programs find .deps by walking up from their own folder, so they are always built inside this one.
export CARGO_TARGET_DIR := $(CURDIR)/target

VIDEO ?= .deps/samples/bikes.mp4
MINUTES ?= 10
FILES ?= 2000
SEED ?= $(shell od -An -N2 -tu2 /dev/urandom | tr -d " ")

# The commit is part of `moliceiro --version`, not asked of git by the build: the same code has the same bytes.
COMMIT = $(shell git describe --always --dirty --abbrev=12 --exclude '*')

.PHONY: help setup setup-tests build run dist test-dist test-containers test test-media test-mutated accuracy benchmark memory soak licenses screenshots clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14

setup: ## install what is missing: Debian packages, nats-server, ONNX Runtime, sample videos
	@scripts/setup.sh

build: setup ## build all programs, optimised
	cargo build --release --locked -p moliceiro -p moliceiro-ingest -p moliceiro-detector -p moliceiro-aggregator

# Without the commands `top` and `bench`, and optimised less: `make build` makes the whole and faster program.
run: setup ## build what counting needs, and count videos: make run VIDEO="a.mp4 b.mkv"
	cargo build --profile quick --locked -p moliceiro --no-default-features
	target/quick/moliceiro run $(VIDEO)

dist: setup ## make a tarball, a Debian package and a wheel in dist/
	MOLICEIRO_COMMIT=$(COMMIT) cargo build --release --locked -p moliceiro
	@scripts/dist.py

test-dist: ## install the packages on clean systems and count a video there (as root)
	@scripts/test-dist

test-containers: ## carry out the steps of the Containerfile, and count a video there (as root)
	@scripts/test-containers

setup-tests: setup ## install what only tests need: a browser, Prometheus and others
	@scripts/setup-tests.sh

test: setup ## check formatting, lints and documentation, and run all tests
	@scripts/test.sh

test-media: setup ## compare every file of the media corpus with what ffmpeg decodes of it
	MOLICEIRO_MEDIA=all cargo test --locked -p moliceiro-decode --test corpus -- --nocapture every_file

accuracy: build ## measure the built-in models on labelled pictures: make accuracy PICTURES=FOLDER
	@scripts/accuracy.py $(PICTURES)

benchmark: build ## measure the ratio to the limit, and add it to docs/benchmarks/README.md
	@scripts/record-benchmark.py $(VIDEO)

memory: build ## measure whether the memory of any process grows with what it has done
	@scripts/memory.py

soak: setup ## inject random faults for longer than the tests do: make soak MINUTES=60 SEED=42
	cargo build --workspace --bins --tests --locked
	MOLICEIRO_SOAK_MINUTES=$(MINUTES) MOLICEIRO_SOAK_SEED=$(SEED) cargo test --workspace --locked --test soak -- --nocapture

test-mutated: setup ## count damaged files with whole ones between them: make test-mutated FILES=2000 SEED=42
	cargo build --workspace --bins --tests --locked
	MOLICEIRO_MUTATED_FILES=$(FILES) MOLICEIRO_MUTATED_SEED=$(SEED) cargo test -p moliceiro --locked --test mutated -- --nocapture

licenses: ## write THIRD-PARTY-LICENSES; needed after a change of dependencies
	@scripts/third-party-licenses.py

screenshots: setup-tests ## take the pictures of the web page for the documentation
	@scripts/screenshots.sh

clean: ## delete what was built (.deps stays)
	cargo clean
