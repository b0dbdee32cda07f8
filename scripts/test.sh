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
# Of the whole workspace: tests in `cli` run the programs of every package.
step cargo test --workspace --locked
step env RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked
printf '\n==> all steps passed\n'
