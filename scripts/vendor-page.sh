#!/usr/bin/env bash
# Bring the chart library of the page into ingest/api/page/vendor, with its licence, from the npm registry: the release that
# deps/pins.txt names, checked against the hash there. What it brings is committed; it runs again only for another release.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

vendor=ingest/api/page/vendor
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT

read -r package integrity < <(sed -n 's/^#npm-page: *//p' deps/pins.txt)
(cd "$fresh" && npm pack --silent "$package" >/dev/null)
archive=$(echo "$fresh"/*.tgz)
found=sha512-$(openssl dgst -sha512 -binary "$archive" | base64 -w0)
[[ $found == "$integrity" ]] || {
    printf 'error: %s is %s, deps/pins.txt says %s\n' "$package" "$found" "$integrity" >&2
    exit 1
}
tar -xzf "$archive" -C "$fresh"
rm -rf "$vendor"
mkdir -p "$vendor"
cp "$fresh"/package/dist/uPlot.iife.min.js "$fresh"/package/dist/uPlot.min.css "$vendor/"
cp "$fresh"/package/LICENSE "$vendor/uPlot.LICENSE.txt"
printf '%s is in %s\n' "$package" "$vendor"
