#!/usr/bin/env python3
"""Measures this commit with `moliceiro bench --quick`, and adds a line for each built-in model to docs/benchmarks/README.md."""

import json
import pathlib
import subprocess
import sys
from datetime import date

ROOT = pathlib.Path(__file__).resolve().parent.parent
TABLE = ROOT / "docs/benchmarks/README.md"
MODELS = ["nanodet", "nanodet-int8"]


def measured(video: str, model: str) -> str:
    program = ROOT / "target/release/moliceiro"
    command = [program, "bench", "--quick", "--json", "--model", model, video]
    report = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    commit = subprocess.run(
        ["git", "-C", ROOT, "describe", "--always", "--dirty", "--abbrev=7"],
        check=True, stdout=subprocess.PIPE, text=True,
    ).stdout.strip()
    quick, machine = report["quick"], report["machine"]
    ratio = quick["ratio"]
    cells = [
        date.today().isoformat(),
        report["program"].removeprefix("moliceiro "),
        commit,
        f"{machine['processor']}, {machine['cores']} cores",
        report["input"]["videos"][0],
        model,
        f"{ratio['ratio']:.3f} ({ratio['low']:.3f} to {ratio['high']:.3f})",
        f"{quick['limit']['median']:.1f}",
        f"{quick['embedded']['median']:.1f}",
    ]
    return f"| {' | '.join(cells)} |\n"


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: scripts/record-benchmark.py VIDEO, after `make build`")
    with TABLE.open("a") as table:
        for model in MODELS:
            line = measured(sys.argv[1], model)
            table.write(line)
            print(line, end="")


if __name__ == "__main__":
    main()
