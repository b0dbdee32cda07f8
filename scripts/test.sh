#!/usr/bin/env bash
# What `make test` runs once everything is set up. It stops at the first step that fails; the quick steps come first.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

step() {
    printf '\n==> %s\n' "$*"
    "$@"
}

step cargo fmt --all --check
# Compiles, lints and documents each crate before the tests run.
export RUSTC_WORKSPACE_WRAPPER=$PWD/scripts/checked-rustc.sh
step scripts/run-tests.py
step cargo test --workspace --locked --doc
printf '\n==> all steps passed\n'
