#!/usr/bin/env bash
# Downloads the chart library of the web page into ingest/api/page/vendor, with its licence: the release that
# deps/pins.txt names, checked against the hash there. The result is committed, so this script is needed only
# for another release.
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
    printf 'error: %s has the hash %s, deps/pins.txt has %s\n' "$package" "$found" "$integrity" >&2
    exit 1
}
tar -xzf "$archive" -C "$fresh"
rm -rf "$vendor"
mkdir -p "$vendor"
cp "$fresh"/package/dist/uPlot.iife.min.js "$fresh"/package/dist/uPlot.min.css "$vendor/"
cp "$fresh"/package/LICENSE "$vendor/uPlot.LICENSE.txt"
printf '%s is in %s\n' "$package" "$vendor"
