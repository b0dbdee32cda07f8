#!/usr/bin/env python3
"""Build all programs and tests once, and run the test binaries several at a time.

What only tests need is installed while the crates compile: that mostly waits for downloads.

`cargo test` runs one binary after the other, and leaves the cores idle while tests wait. Here the
longest start first, and others run beside them. The output of each is kept in target/test-output,
and printed if it fails. Arguments are passed to every test binary.
"""

import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Of the binaries, not of the tests in them.
AT_ONCE = 2
# Of the tests in a binary. Most end-to-end tests wait for a timeout or for another process; with as
# many of them as cores, the cores are idle for a third of the time.
THREADS = {"e2e": 2 * (os.cpu_count() or 1) + 1}
# They take minutes; all others together take less than the first.
LONGEST = ["e2e", "soak", "mutated"]


def build():
    """The test binaries, each with its name and the folder of its package.

    Tests start the programs of every package. Benchmarks are built, and not run.
    """
    command = "cargo build --workspace --locked --all-targets --message-format=json-render-diagnostics"
    built = subprocess.run(command.split(), cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if built.returncode:
        sys.exit(built.returncode)
    tests = []
    for message in map(json.loads, built.stdout.splitlines()):
        if message["reason"] != "compiler-artifact" or message["target"]["kind"] == ["bench"]:
            continue
        if message["executable"] and message["profile"]["test"]:
            package = pathlib.Path(message["manifest_path"]).parent
            name = f"{package.relative_to(ROOT)}/{message['target']['name']}".replace("/", "-")
            tests.append((name, message["target"]["name"], message["executable"], package))
    place = {target: number for number, target in enumerate(LONGEST)}
    return sorted(tests, key=lambda test: (place.get(test[1], len(place)), test[0]))


def set_up_and_build():
    with subprocess.Popen(["scripts/setup-tests.sh"], cwd=ROOT) as setup:
        try:
            tests = build()
        except BaseException:
            setup.terminate()
            raise
    if setup.returncode:
        sys.exit(setup.returncode)
    return tests


def run(test, arguments, outputs):
    """Whether it passes."""
    name, target, executable, package = test
    threads = [f"--test-threads={THREADS[target]}"] if target in THREADS else []
    started = time.monotonic()
    output = outputs / f"{name}.txt"
    with output.open("wb") as file:
        code = subprocess.run(
            [executable, *threads, *arguments],
            cwd=package,
            env={**os.environ, "CARGO_MANIFEST_DIR": str(package)},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        ).returncode
    text = output.read_text(errors="replace")
    results = [line for line in text.splitlines() if line.startswith("test result: ")]
    summary = results[-1].removeprefix("test result: ").split("; ")[0] if results else f"exit code {code}"
    prefix = "" if code == 0 else f"{text}\n"
    print(f"{prefix}{name}: {summary} in {time.monotonic() - started:.0f} s", flush=True)
    return code == 0


def main():
    tests = set_up_and_build()
    outputs = ROOT / "target/test-output"
    outputs.mkdir(parents=True, exist_ok=True)
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        passed = list(pool.map(lambda test: run(test, sys.argv[1:], outputs), tests))
    failed = [test[0] for test, has_passed in zip(tests, passed) if not has_passed]
    if failed:
        sys.exit(f"failed: {', '.join(failed)}; all output is in {outputs.relative_to(ROOT)}")


main()
