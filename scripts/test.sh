#!/usr/bin/env bash
# What `make test` runs once everything is set up. It stops at the first step that fails; the quick steps come first.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

step() {
    printf '\n==> %s\n' "$*"
    "$@"
}

step cargo fmt --all --check
step cargo clippy --workspace --all-targets --locked -- -D warnings
# Naming examples makes cargo resolve the features of dev-dependencies, too, as it does for the other steps. Without it, this
# step would check nearly all dependencies again.
step env RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --lib --bin moliceiro --examples
step scripts/run-tests.py
step cargo test --workspace --locked --doc
printf '\n==> all steps passed\n'
