#!/usr/bin/env bash
# What `make test` runs once everything is set up; it stops at the first step that fails.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

step() {
    printf '\n==> %s\n' "$*"
    "$@"
}

step cargo fmt --all --check
step cargo clippy --workspace --all-targets --locked -- -D warnings
# Tests of the whole run the programs of every package, which a test run of one package does not build.
step cargo build --workspace --locked
step cargo test --workspace --locked
step env RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked
printf '\n==> all steps passed\n'
