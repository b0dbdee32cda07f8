#!/usr/bin/env bash
# What `make test` compiles the crates of this workspace with, instead of rustc: Clippy, which lints a crate while it compiles it,
# and rustdoc, for a library or program. A warning is an error. `cargo clippy` and `cargo doc` would check every dependency first,
# though `cargo build` compiles them all. Set as RUSTC_WORKSPACE_WRAPPER, so it gets rustc and its arguments.
set -euo pipefail
rustc=$1
shift

checks=(-D warnings) documented=()
name="" kind="" source="" test="" out=""
arguments=("$@")
while (($#)); do
    case "$1" in
    --crate-name) name=$2 ;;
    --crate-type) kind=$2 ;;
    --test) test=1 ;;
    --out-dir) out=$2 && shift 2 && continue ;;
    *.rs) source=$1 ;;
    # What rustdoc does not know.
    --emit=*) shift && continue ;;
    --json=*) documented+=("${1//,artifacts/}") && shift && continue ;;
    incremental=*) documented+=("$1/doc") && shift && continue ;;
    esac
    documented+=("$1")
    shift
done

# What tests and benchmarks call may be optimised. They themselves are not worth the time that it takes.
[[ -z $test && $source != */benches/* ]] || checks+=(-C opt-level=0)
# Cargo also asks which version this is, and what it can do.
[[ -n $out && $name != ___ ]] || exec clippy-driver "$rustc" "${arguments[@]}"
clippy-driver "$rustc" "${arguments[@]}" "${checks[@]}"

[[ -z $test && ($kind == lib || $name == moliceiro) ]] || exit 0
[[ $kind != bin ]] || documented+=(--document-private-items)
rustdoc "${documented[@]}" -D warnings --out-dir "$out/../../doc"
