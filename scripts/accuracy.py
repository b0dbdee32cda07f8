#!/usr/bin/env python3
"""Measures how well the built-in models find the objects in labelled pictures: COCO's average precision.

Usage: accuracy.py FOLDER [MODEL...]

FOLDER holds the pictures (img/) and their boxes (val.json, in COCO's format, with COCO's class names). Each model (by
default every built-in one) analyses them with each fit, as `moliceiro run` does, one frame at a time. Every object
with a score above FLOOR counts. Prints a table in Markdown; ms is the time of a frame, median of three runs.
"""
import contextlib
import io
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
PROGRAM = Path(os.environ.get("MOLICEIRO", PROJECT / "target/release/moliceiro"))
PACKAGES = PROJECT / ".deps-tests" / "accuracy"
PINS = PROJECT / "deps/accuracy.txt"
MODELS = ["nanodet", "nanodet-int8"]
FITS = ["letterbox", "stretch", "area", "within"]
FLOOR = 0.01
RUNS = 3


def install():
    """pycocotools, pinned, into a folder of the project."""
    if not (PACKAGES / "pycocotools").is_dir():
        command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
        options = ["--root-user-action=ignore", "--no-deps", "--require-hashes", "--only-binary=:all:", "--requirement", PINS, "--target", PACKAGES]
        subprocess.run([*command, *options], check=True)
    sys.path.insert(0, str(PACKAGES))


def analyse(pictures, model, fit, work):
    """The objects by number of picture, and the milliseconds of a frame."""
    data = Path(work) / f"{Path(model).name}-{fit}"
    options = ["--model", model, "--fit", fit, "--threshold", str(FLOOR), "--detectors", "1", "--data", str(data)]
    times = []
    for _ in range(RUNS):
        run = subprocess.run([PROGRAM, "run", "--json", *options, pictures], check=True, stdout=subprocess.PIPE)
        summary = json.loads(run.stdout)
        times.append(summary["average_processing_ms"])
    command = [PROGRAM, "detections", "--data", str(data), summary["video"]]
    lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    return [json.loads(line) for line in lines], statistics.median(times)


def precision(truth, results, classes=None):
    """AP and AP50, in per cent."""
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.params.catIds = classes or evaluation.params.catIds
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [100 * value for value in evaluation.stats[:2]]


def main():
    if len(sys.argv) < 2 or not Path(sys.argv[1], "val.json").is_file():
        sys.exit("accuracy: name a folder with val.json and img/: make accuracy PICTURES=FOLDER")
    folder, models = Path(sys.argv[1]), sys.argv[2:] or MODELS
    install()
    from pycocotools.coco import COCO

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(folder / "val.json")
    classes = {entry["name"]: entry["id"] for entry in truth.loadCats(truth.getCatIds())}
    images = truth.loadImgs(sorted(truth.getImgIds()))
    print("| model | fit | AP | AP50 | person AP | ms |\n| --- | --- | --- | --- | --- | --- |", flush=True)
    with tempfile.TemporaryDirectory() as work:
        pictures = Path(work) / "pictures"
        pictures.mkdir()
        for number, image in enumerate(images):
            shutil.copy(folder / "img" / image["file_name"], pictures / f"{number:06}.jpg")
        for model in models:
            for fit in FITS:
                found, milliseconds = analyse(pictures, model, fit, work)
                results = []
                for row in found:
                    left, top, right, bottom = row["box"]
                    box = [left, top, right - left, bottom - top]
                    picture = images[row["frame"]]["id"]
                    results.append({"image_id": picture, "category_id": classes[row["label"]], "bbox": box, "score": row["score"]})
                ap, ap50 = precision(truth, results)
                person, _ = precision(truth, results, [classes["person"]])
                print(f"| {model} | {fit} | {ap:.1f} | {ap50:.1f} | {person:.1f} | {milliseconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
