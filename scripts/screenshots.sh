#!/usr/bin/env bash
# Takes the pictures of the web page for the documentation: the test of the page takes them, from real counts
# of a sample video, and ffmpeg compresses them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

shots=$(mktemp -d)
trap 'rm -rf "$shots"' EXIT
cargo build --workspace --bins --tests --locked
MOLICEIRO_SCREENSHOTS=$shots cargo test --locked -p moliceiro --test e2e page::places::ways
for shot in "$shots"/page-*.png; do
    ffmpeg -v error -y -i "$shot" -vf 'split[a][b];[a]palettegen=max_colors=200:stats_mode=single[p];[b][p]paletteuse=dither=none' \
        "docs/$(basename "$shot")"
done
ls -l docs/*.png
