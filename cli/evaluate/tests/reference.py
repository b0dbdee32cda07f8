"""Prints what motmetrics, TrackEval and pycocotools compute: a line of JSON for each line "TRUTH\tFOUND\tplain|classes|coco"."""

import contextlib
import csv
import importlib
import io
import json
import sys
import types
from pathlib import Path

PACKAGES = Path(sys.argv[1])
sys.path.insert(0, str(PACKAGES))

import motmetrics  # noqa: E402
import numpy as np  # noqa: E402
import pandas  # noqa: E402

# TrackEval imports all of its metrics and charts, which need packages that these metrics do not.
for name in ("trackeval", "trackeval.metrics", "trackeval.datasets"):
    module = types.ModuleType(name)
    module.__path__ = [str(PACKAGES / name.replace(".", "/"))]
    sys.modules[name] = module
    if "." in name:
        setattr(sys.modules["trackeval"], name.split(".")[1], module)
for name in ("utils", "_timing"):
    setattr(sys.modules["trackeval"], name, importlib.import_module("trackeval." + name))
sys.modules["trackeval.metrics"]._base_metric = importlib.import_module("trackeval.metrics._base_metric")
HOTA = importlib.import_module("trackeval.metrics.hota").HOTA
CLEAR = importlib.import_module("trackeval.metrics.clear").CLEAR
Identity = importlib.import_module("trackeval.metrics.identity").Identity
MotChallenge2DBox = importlib.import_module("trackeval.datasets.mot_challenge_2d_box").MotChallenge2DBox


def rows(path):
    frames = {}
    with open(path) as file:
        for fields in csv.reader(file):
            if fields:
                frames.setdefault(int(float(fields[0])), []).append([float(field) for field in fields])
    return frames


def columns(frame, first, last):
    return np.array([row[first:last] for row in frame], dtype=float).reshape(-1, last - first)


def track_eval(truth, tracks, has_classes):
    numbers = sorted(set(truth) | set(tracks))
    dataset = object.__new__(MotChallenge2DBox)
    dataset.do_preproc = True
    dataset.benchmark = "MOT17" if has_classes else "MOT15"
    names = ["pedestrian", "person_on_vehicle", "car", "bicycle", "motorbike", "non_mot_vehicle", "static_person",
             "distractor", "occluder", "occluder_on_ground", "occluder_full", "reflection", "crowd"]
    dataset.class_name_to_class_id = {name: number + 1 for number, name in enumerate(names)}
    dataset.valid_class_numbers = list(dataset.class_name_to_class_id.values())
    raw = {"num_timesteps": len(numbers), "seq": "sequence"}
    for key in ("gt_ids", "tracker_ids", "gt_dets", "tracker_dets", "gt_classes", "tracker_classes", "tracker_confidences",
                "gt_extras", "similarity_scores"):
        raw[key] = []
    for number in numbers:
        of_truth, of_tracks = truth.get(number, []), tracks.get(number, [])
        raw["gt_ids"].append(columns(of_truth, 1, 2).ravel().astype(int))
        raw["tracker_ids"].append(columns(of_tracks, 1, 2).ravel().astype(int))
        raw["gt_dets"].append(columns(of_truth, 2, 6))
        raw["tracker_dets"].append(columns(of_tracks, 2, 6))
        raw["gt_classes"].append(np.array([int(row[7]) if has_classes else 1 for row in of_truth], dtype=int))
        raw["tracker_classes"].append(np.ones(len(of_tracks), dtype=int))
        raw["tracker_confidences"].append(columns(of_tracks, 6, 7).ravel())
        raw["gt_extras"].append({"zero_marked": np.array([int(row[6]) for row in of_truth], dtype=int)})
        raw["similarity_scores"].append(dataset._calculate_similarities(raw["gt_dets"][-1], raw["tracker_dets"][-1]))
    data = dataset.get_preprocessed_seq_data(raw, "pedestrian")
    quiet = {"PRINT_CONFIG": False}
    hota, clear, identity = HOTA().eval_sequence(data), CLEAR(quiet).eval_sequence(data), Identity(quiet).eval_sequence(data)
    return {
        "boxes": data["num_gt_dets"], "predicted_boxes": data["num_tracker_dets"],
        "objects": data["num_gt_ids"], "tracks": data["num_tracker_ids"],
        "mota": clear["MOTA"], "motp": clear["MOTP"], "precision": clear["CLR_Pr"], "recall": clear["CLR_Re"],
        "matches": clear["CLR_TP"], "misses": clear["CLR_FN"], "false_positives": clear["CLR_FP"],
        "switches": clear["IDSW"], "fragmentations": clear["Frag"], "idf1": identity["IDF1"],
        "hota": np.mean(hota["HOTA"]), "det_a": np.mean(hota["DetA"]), "ass_a": np.mean(hota["AssA"]),
        "loc_a": np.mean(hota["LocA"]),
    }


def mot_metrics(truth, tracks):
    accumulator = motmetrics.MOTAccumulator(auto_id=False)
    for number in sorted(set(truth) | set(tracks)):
        of_truth = [row for row in truth.get(number, []) if row[6] != 0]
        of_tracks = tracks.get(number, [])
        distances = motmetrics.distances.iou_matrix(columns(of_truth, 2, 6), columns(of_tracks, 2, 6), max_iou=0.5)
        accumulator.update([int(row[1]) for row in of_truth], [int(row[1]) for row in of_tracks], distances, frameid=number)
    names = {"mota": "mota", "motp": "motp", "idf1": "idf1", "num_switches": "switches", "precision": "precision",
             "recall": "recall", "num_misses": "misses", "num_false_positives": "false_positives"}
    with pandas.option_context("mode.chained_assignment", None):
        figures = motmetrics.metrics.create().compute(accumulator, metrics=list(names), name="all").loc["all"]
    figures = {ours: figures[theirs] for theirs, ours in names.items()}
    figures["motp"] = 1 - figures["motp"]
    return figures


def plain(figures):
    return {name: float(value) for name, value in figures.items()}


def coco(truth, found):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        labelled = COCO(truth)
        evaluation = COCOeval(labelled, labelled.loadRes(found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    # At an overlap of half, all recalls and classes, of objects of any size, with 100 of a class in a picture.
    precision = evaluation.eval["precision"][0, :, :, 0, 2]
    return {"ap50": precision[precision > -1].mean()}


for line in sys.stdin:
    truth, found, kind = line.rstrip("\n").split("\t")
    if kind == "coco":
        figures = {"pycocotools": plain(coco(truth, found))}
    else:
        truth, found = rows(truth), rows(found)
        figures = {"trackeval": plain(track_eval(truth, found, kind == "classes"))}
        if kind == "plain":
            figures["motmetrics"] = plain(mot_metrics(truth, found))
    print(json.dumps(figures))
