#!/usr/bin/env bash
# Compiles one crate of the workspace as cargo asks for, then lints and documents it with the same arguments; a warning is an
# error. `cargo clippy` and `cargo doc` would check each dependency first, though it has just been compiled.
# scripts/test.sh makes cargo run this instead of rustc, with RUSTC_WORKSPACE_WRAPPER.
set -euo pipefail
rustc=$1
shift

all=("$@") arguments=()
name="" suffix="" out="" kind="" source="" test=""
while (($#)); do
    case "$1" in
    --crate-name) name=$2 ;;
    --crate-type) kind=$2 ;;
    --test) test=1 && shift && continue ;;
    --emit=*) shift && continue ;;
    --out-dir) out=$2 && shift 2 && continue ;;
    # Cargo would take what the lints write for what it asked for.
    --json=*) arguments+=("${1//,artifacts/}") && shift && continue ;;
    extra-filename=*) suffix=${1#*=} ;;
    incremental=*) arguments+=("$1/clippy") && shift && continue ;;
    *.rs) source=$1 ;;
    esac
    arguments+=("$1")
    shift
done

# What tests and benchmarks call may be optimised. They themselves are not worth the time that it takes.
[[ -z $test && $source != */benches/* ]] || all+=(-C opt-level=0)
"$rustc" "${all[@]}"
# Cargo asks what rustc can do, too.
[[ -n $out && -n $name && $name != ___ ]] || exit 0

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# Clippy's list of what the result depends on is that of rustc, and clippy.toml.
CLIPPY_ARGS=-D__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__ clippy-driver "$rustc" "${arguments[@]}" ${test:+--test} \
    --emit="dep-info=$out/$name$suffix.d,metadata=$scratch/lib.rmeta"
# Cargo does not have this variable; and a change of this script is a reason to run it again.
sed -i "/env-dep:CLIPPY_ARGS/d; 1s|\$| ${0// /\\\\ }|" "$out/$name$suffix.d"

[[ -z $test && ( $kind == lib || $name == moliceiro ) ]] || exit 0
private=()
[[ $kind != bin ]] || private=(--document-private-items)
rustdoc "${arguments[@]}" "${private[@]}" -D warnings --out-dir "$out/../../doc"
