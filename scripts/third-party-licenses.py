#!/usr/bin/env python3
"""Writes THIRD-PARTY-LICENSES: the crates in Moliceiro's programs, with their licences.

The crates are the normal dependencies of the package `moliceiro`, from `cargo metadata`, for all
supported platforms. If a crate offers a choice of licences, the first one of PREFERRED is used.
Texts come from the crates' own files.
"""
import json
import re
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
TARGET = PROJECT / "THIRD-PARTY-LICENSES"
PLATFORMS = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"]
PREFERRED = ["Apache-2.0", "MIT", "Zlib", "ISC", "0BSD", "BSD-2-Clause", "BSD-3-Clause"]
# What is part of the programs and not a crate: name, licence, file.
VENDORED = [("uPlot", "MIT", PROJECT / "ingest/api/page/vendor/uPlot.LICENSE.txt")]
LICENCE_FILE = re.compile(r"(licen[cs]e|copying|copyright|unlicense|mit-|apache-)", re.IGNORECASE)
NOTICE_FILE = re.compile(r"notice", re.IGNORECASE)


def metadata(platform):
    command = ["cargo", "metadata", "--format-version=1", "--locked", "--filter-platform", platform]
    result = subprocess.run(command, cwd=PROJECT, check=True, stdout=subprocess.PIPE)
    return json.loads(result.stdout)


def crates():
    """The registry's packages that the program is linked with, by name and version."""
    found = {}
    for platform in PLATFORMS:
        data = metadata(platform)
        packages = {package["id"]: package for package in data["packages"]}
        nodes = {node["id"]: node for node in data["resolve"]["nodes"]}
        waiting = [package["id"] for package in data["packages"] if package["name"] == "moliceiro"]
        seen = set()
        while waiting:
            package = waiting.pop()
            if package in seen:
                continue
            seen.add(package)
            if packages[package]["source"]:
                found[packages[package]["name"], packages[package]["version"]] = packages[package]
            for dependency in nodes[package]["deps"]:
                if any(kind["kind"] is None for kind in dependency["dep_kinds"]):
                    waiting.append(dependency["pkg"])
    return [found[key] for key in sorted(found)]


def alternatives(expression):
    """The sets of licences that an SPDX expression offers to choose from."""
    tokens = re.findall(r"\(|\)|[^\s()]+", expression.replace("/", " OR "))

    def either():
        sets = both()
        while tokens and tokens[0] == "OR":
            tokens.pop(0)
            sets = sets + both()
        return sets

    def both():
        sets = one()
        while tokens and tokens[0] == "AND":
            tokens.pop(0)
            others = one()
            sets = [left | right for left in sets for right in others]
        return sets

    def one():
        token = tokens.pop(0)
        if token == "(":
            sets = either()
            tokens.pop(0)
            return sets
        if tokens and tokens[0] == "WITH":
            tokens.pop(0)
            token = f"{token} WITH {tokens.pop(0)}"
        return [frozenset([token])]

    return either()


def rank(licences):
    order = lambda name: PREFERRED.index(name) if name in PREFERRED else len(PREFERRED)
    return len(licences), max(map(order, licences)), sorted(licences)


def texts(package, licences):
    """What has to accompany the crate, besides the text of the Apache License 2.0."""
    folder = Path(package["manifest_path"]).parent
    is_text = lambda file: file.is_file() and file.suffix not in (".rs", ".toml")
    files = sorted(filter(is_text, folder.iterdir()))
    wanted = [file for file in files if NOTICE_FILE.search(file.name)]
    if licences != {"Apache-2.0"}:
        own = [file for file in files if LICENCE_FILE.search(file.name) and not is_apache(file)]
        wanted += own
        if not own:
            wanted.append(None)
    return [read(file) if file else fallback(package, licences) for file in wanted]


def read(file):
    lines = file.read_text(errors="replace").strip().splitlines()
    return "\n".join(line.rstrip() for line in lines)


def is_apache(file):
    text = read(file)
    return "Apache License" in text and "TERMS AND CONDITIONS" in text


def fallback(package, licences):
    """For a crate without a licence file: the text of its licence with the names of its authors."""
    if licences != {"MIT"}:
        names = ", ".join(licences)
        sys.exit(f"{package['name']} is under {names} and has no licence file: add its text")
    authors = ", ".join(re.sub(r"\s*<.*?>", "", author) for author in package["authors"])
    return f"Copyright (c) {authors or 'the authors of ' + package['name']}\n\n{MIT}"


MIT = """Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE."""

INTRODUCTION = """Moliceiro's programs contain the software below. Each line names a crate, its version, and the
licence under which it is used, where its authors offer a choice. The texts follow; that of the
Apache License 2.0 is in the file LICENSE.

scripts/third-party-licenses.py writes this file.

"""


def main():
    lines, notes, shared = [], [], {}
    for package in crates():
        licences = min(alternatives(package["license"]), key=rank)
        name = f"{package['name']} {package['version']}"
        lines.append(f"{name}: {' AND '.join(sorted(licences))}")
        if "MPL-2.0" in licences:
            source = package["repository"]
            notes.append(f"The source of {package['name']} is available at {source}")
        for text in texts(package, licences):
            shared.setdefault(text, []).append(name)
    for name, licence, file in VENDORED:
        lines.append(f"{name} (part of the web page): {licence}")
        shared.setdefault(read(file), []).append(name)
    rule = "\n\n" + "-" * 80 + "\n"
    parts = [f"{', '.join(names)}\n\n{text}" for text, names in shared.items()]
    body = "\n".join(lines + [""] + notes)
    TARGET.write_text(INTRODUCTION + body + rule + rule.join(parts) + "\n")
    print(f"{TARGET.name}: {len(lines)} entries, {len(parts)} texts")


main()
