"""Makes misfits/, models that are refused; and layouts/: a tiny model for each layout of inputs and outputs that toolkits export, and what a plain reference finds in
the same pictures.

Usage: layouts.py   (onnx 1.23, numpy 2.4, from PyPI; the files do not depend on the version)

A model's weights are random, with a fixed seed: for each cell of each stride, the mean colour gives scores of classes and the
sides of a box. Each layout undoes its toolkit's feeding, and arranges scores and boxes as its toolkit does. The reference
computes the same scores and boxes with numpy from the pictures, and knows no layout.
"""
import json, pathlib
import numpy as np, onnx
from onnx import TensorProto as T, helper as h, numpy_helper as nh

OUT = pathlib.Path(__file__).resolve().parent / "layouts"
W, H, CLASSES, BINS = 96, 64, 80, 8
LABELS = (OUT.parent.parent.parent / "models" / "coco-labels.txt").read_text().split("\n")[:CLASSES]
COCO91 = [i for i in range(1, 91) if i not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)]
MEAN, STD = np.array([.485, .456, .406], np.float32), np.array([.229, .224, .225], np.float32)
CAFFE_MEAN, CAFFE_STD = np.array([103.53, 116.28, 123.675], np.float32), np.array([57.375, 57.12, 58.395], np.float32)
THREE, FOUR = (8, 16, 32), (8, 16, 32, 64)


def picture(seed):
    """I420 of smooth noise, and its red, green and blue from 0 to 255, by JFIF's equations."""
    rng = np.random.default_rng(seed)
    def plane(h_, w, low, high):
        coarse = rng.uniform(low, high, (h_ // 8, w // 8))
        y, x = np.arange(h_) / 8, np.arange(w) / 8
        rows = np.stack([np.interp(x, np.arange(w // 8), r) for r in coarse])
        return np.stack([np.interp(y, np.arange(h_ // 8), c) for c in rows.T], 1).round().astype(np.uint8)
    luma, cb, cr = plane(H, W, 10, 245), plane(H // 2, W // 2, 70, 190), plane(H // 2, W // 2, 70, 190)
    y = luma.astype(np.float64)
    b, r = (np.repeat(np.repeat(c, 2, 0), 2, 1).astype(np.float64) - 128 for c in (cb, cr))
    rgb = np.stack([y + 1.402 * r, y - .344136 * b - .714136 * r, y + 1.772 * b])
    return np.concatenate([luma.ravel(), cb.ravel(), cr.ravel()]).tobytes(), rgb.clip(0, 255).round()


class Weights:
    def __init__(self, seed, strides):
        rng = np.random.default_rng(seed)
        self.strides = strides
        self.scores = [(rng.normal(0, 12, (CLASSES, 3)), rng.normal(-13, .5, CLASSES)) for _ in strides]
        self.sides = [(rng.normal(0, 1.5, (4, 3)), rng.normal(.3, .1, 4)) for _ in strides]
        self.bins = [(rng.normal(0, 4, (4 * BINS, 3)), rng.normal(0, 1, 4 * BINS)) for _ in strides]


def pooled(rgb, s):
    rows = np.add.reduceat(rgb, np.arange(0, H, s), 1)
    sums = np.add.reduceat(rows, np.arange(0, W, s), 2)
    area = np.minimum(H - np.arange(0, H, s), s)[:, None] * np.minimum(W - np.arange(0, W, s), s)[None]
    return sums / area


def sigmoid(x): return 1 / (1 + np.exp(-x))


def cells(rgb, weights, binned, offset):
    """Scores [N, classes] and boxes [N, 4] of a picture."""
    scores, boxes = [], []
    for i, s in enumerate(weights.strides):
        means = pooled(rgb, s)
        for row in range(-(-H // s)):
            for column in range(-(-W // s)):
                mean = means[:, row, column] / 255 - .5
                apply = lambda head: head[i][0] @ mean + head[i][1]
                scores.append(sigmoid(apply(weights.scores)))
                if binned:
                    e = np.exp(apply(weights.bins).reshape(4, BINS))
                    sides = (e / e.sum(1, keepdims=True)) @ np.arange(BINS)
                else:
                    sides = np.exp(apply(weights.sides))
                x, y, (l, t, r, b) = (column + offset) * s, (row + offset) * s, sides * s
                boxes.append([x - l, y - t, x + r, y + b])
    return np.array(scores), np.array(boxes)


def overlap(a, b):
    w, h_ = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h_ <= 0: return 0
    area = lambda r: (r[2] - r[0]) * (r[3] - r[1])
    return w * h_ / (area(a) + area(b) - w * h_)


def objects(scores, boxes, threshold, iou, clips_first=False, every=False):
    """The reference: the best class of each cell, or every one; of overlapping boxes of a class the best, unless iou is None; clipped before that or after it.
    Returns None if a result hangs on the last digits."""
    found, clear = [], True
    for s, b in zip(scores, boxes):
        k = int(s.argmax())
        clear &= abs(s[k] - threshold) > 3e-3 and (s[k] < threshold or np.sort(s)[-1] - np.sort(s)[-2] > 2e-3)
        if every: clear &= bool((abs(s - threshold) > 3e-3).all())
        found += [(float(s[i]), int(i), b) for i in (np.flatnonzero(s > threshold) if every else [k] if s[k] > threshold else [])]
    clipped = lambda all: [(s, k, c) for s, k, b in all if (lambda c: c[0] < c[2] and c[1] < c[3])(c := b.clip(0, [W, H, W, H]))]
    if clips_first: found = clipped(found)
    found.sort(key=lambda f: -f[0])
    kept = []
    for f in found:
        same = [overlap(k[2], f[2]) for k in kept if k[1] == f[1]] if iou is not None else []
        clear &= all(abs(o - (iou or 0)) > .01 for o in same)
        if all(o <= (iou or 1) for o in same): kept.append(f)
    return [{"label": LABELS[k], "score": round(s, 5), "box": [round(float(v), 3) for v in b]} for s, k, b in clipped(kept)] if clear and len(kept) > 2 else None


def halves(scores, boxes):
    """What is left of them in float16, with boxes as centre and lengths."""
    lengths = boxes[:, 2:] - boxes[:, :2]
    center, lengths, scores = (x.astype(np.float16).astype(np.float64) for x in (boxes[:, :2] + lengths / 2, lengths, scores))
    return scores, np.concatenate([center - lengths / 2, center + lengths / 2], 1)


class Layout:
    def __init__(self, weights, binned=False, offset=.5):
        self.w, self.binned, self.offset, self.n = weights, binned, offset, 0
        self.nodes, self.weights, self.inputs, self.outputs = [], [], [], []

    def c(self, a):
        self.n += 1
        a = np.asarray(a)
        self.weights.append(nh.from_array(a.astype(np.float32) if a.dtype == np.float64 else a, f"k{self.n}"))
        return f"k{self.n}"

    def op(self, kind, *ins, out=None, **attributes):
        self.n += 1
        out = out or f"t{self.n}"
        self.nodes.append(h.make_node(kind, [self.c(i) if isinstance(i, (np.ndarray, np.generic, list, float)) else i for i in ins], [out], **attributes))
        return out

    def input(self, name, kind=T.FLOAT, shape=(1, 3, H, W)): self.inputs.append(h.make_tensor_value_info(name, kind, shape)); return name

    def output(self, value, name, shape, kind=T.FLOAT):
        self.op("Identity", value, out=name) if kind == T.FLOAT else self.op("Cast", value, out=name, to=kind)
        self.outputs.append(h.make_tensor_value_info(name, kind, shape))

    def shares(self, x): return x
    def imagenet(self, x): return self.op("Add", self.op("Mul", x, STD.reshape(1, 3, 1, 1)), MEAN.reshape(1, 3, 1, 1))
    def bgr(self, x): return self.op("Mul", self.op("Gather", x, np.array([2, 1, 0]), axis=1), np.float32(1 / 255))
    def caffe(self, x): return self.bgr(self.op("Add", self.op("Mul", self.op("AveragePool", x, kernel_shape=[1, 1]), CAFFE_STD.reshape(1, 3, 1, 1)), CAFFE_MEAN.reshape(1, 3, 1, 1)))
    def nhwc(self, x): return self.op("Transpose", self.op("Mul", self.op("Cast", x, to=T.FLOAT), np.float32(1 / 255)), perm=[0, 3, 1, 2])

    def run(self, rgb):
        """From red, green and blue of 0 to 1, [1, 3, H, W], to the scores and boxes of each cell, [1, N, …]."""
        x, levels = self.op("Sub", rgb, np.float32(.5)), []
        for i, s in enumerate(self.w.strides):
            mean = self.op("AveragePool", x, kernel_shape=[s, s], strides=[s, s], ceil_mode=1, count_include_pad=0)
            def head(of):
                k, b = of[i]
                y = self.op("Conv", mean, k.astype(np.float32).reshape(-1, 3, 1, 1), b.astype(np.float32))
                return self.op("Transpose", self.op("Reshape", y, np.array([1, len(b), -1])), perm=[0, 2, 1])
            ys, xs = np.mgrid[0:-(-H // s), 0:-(-W // s)].reshape(2, -1)
            point = np.stack([xs, ys, xs, ys], 1)[None].astype(np.float32) + np.float32(self.offset)
            logits = head(self.w.scores)
            level = {"scores": self.op("Sigmoid", logits), "logits": logits}
            if self.binned: level["bins"] = head(self.w.bins)
            sides = self.op("Mul", self.op("Exp", head(self.w.sides)), np.array([-1, -1, 1, 1], np.float32))
            level["boxes"] = self.op("Mul", self.op("Add", sides, point), np.float32(s))
            levels.append(level)
        self.levels = levels
        self.N = sum(-(-H // s) * -(-W // s) for s in self.w.strides)
        join = lambda key: self.op("Concat", *[l[key] for l in levels], axis=1)
        self.scores, self.logits, self.boxes = join("scores"), join("logits"), join("boxes")
        lt, rb = (self.op("Gather", self.boxes, np.array(i), axis=2) for i in ([0, 1], [2, 3]))
        self.center = self.op("Mul", self.op("Add", lt, rb), np.float32(.5))
        self.lengths = self.op("Sub", rb, lt)
        self.xywh = self.op("Concat", self.center, self.lengths, axis=2)
        self.best = self.op("ReduceMax", self.scores, axes=[2], keepdims=1)
        self.ratio = self.op("Div", self.scores, self.best)
        return self

    def best_first(self, k=40):
        """Scores [k], classes [k] and boxes [k, 4] of the best cells."""
        best = self.op("Reshape", self.best, np.array([-1]))
        self.nodes.append(h.make_node("TopK", [best, self.c(np.array([k]))], ["top_v", "top_i"]))
        of = lambda x, shape: self.op("Gather", self.op("Reshape", x, np.array(shape)), "top_i", axis=0)
        return "top_v", of(self.op("ArgMax", self.scores, axis=2, keepdims=0), [-1]), of(self.boxes, [-1, 4])

    def save(self, name, metadata=None, half=False):
        graph = h.make_graph(self.nodes, "layout", self.inputs, self.outputs, self.weights)
        model = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=8)
        for k, v in (metadata or {}).items(): model.metadata_props.add(key=k, value=v)
        onnx.checker.check_model(model)
        onnx.save(model, OUT / f"{name}.onnx")


def ultralytics(**more): return {"task": "detect", "stride": "32", "imgsz": str([H, W]), "names": str(dict(enumerate(LABELS))), **more}


def unsqueeze(b, x, axis): return b.op("Unsqueeze", x, np.array([axis]))
def floats(b, x): return b.op("Cast", x, to=T.FLOAT)


def build():
    """Yields name, layout, metadata, manifest, threshold and IoU limit."""
    seed = [1]
    def new(strides=THREE, **options): return Layout(Weights(seed[0], strides), **options)
    def joined(b): return b.op("Concat", *[b.op("Concat", l["scores"], l["bins"], axis=2) for l in b.levels], axis=1)
    def pairs(b, order, rename):
        for key, i in order:
            s = b.w.strides[i]
            b.output(b.levels[i][key], rename(key, i), [1, -(-H // s) * -(-W // s), CLASSES if key == "scores" else 4 * BINS])
    def v5(b): return b.op("Concat", b.xywh, b.best, b.ratio, axis=2)
    def ids(b, classes, first=1): return b.op("Gather", np.array(COCO91, np.int64) + (first - 1), classes)

    b = new(binned=True); b.run(b.caffe(b.input("data"))); b.output(joined(b), "output", [1, b.N, 112])
    yield "nanodet", b, None, "", .4, .5
    b = new(FOUR, binned=True, offset=0.); b.run(b.caffe(b.input("data"))); b.output(joined(b), "output", [1, b.N, 112])
    yield "nanodet-plus", b, None, "", .4, .5
    b = new(binned=True); b.run(b.caffe(b.input("input.1"))); pairs(b, [(k, i) for k in ("bins", "scores") for i in (2, 0, 1)], lambda k, i: f"{k[0]}{7 * i}")
    yield "nanodet-six", b, None, "", .4, .5
    b = new(FOUR, binned=True); b.run(b.imagenet(b.input("image"))); pairs(b, [(k, i) for k in ("scores", "bins") for i in range(4)], lambda k, i: f"transpose_{i + 4 * (k == 'bins')}.tmp_0")
    # The layout undoes the feeding, which looks like a graph that normalises the picture itself.
    yield "picodet-eight", b, None, "[input]\nscale = 0.00392156862745098\nmean = [0.485, 0.456, 0.406]\nstd = [0.229, 0.224, 0.225]\n", .5, .5
    b = new(FOUR, binned=True); b.run(b.op("Mul", b.input("images", shape=["n", 3, "h", "w"]), np.float32(1 / 255))); b.output(joined(b), "output", ["n", "cells", 112])
    yield "picodet-inside", b, None, f"[input]\nsize = [{W}, {H}]\n[family.picodet]\n", .5, .5

    for name, extra, prepare, manifest in (("paddle", False, "imagenet", "[input]\nmean = [0.485, 0.456, 0.406]\nstd = [0.229, 0.224, 0.225]\n"), ("paddle-shares", True, "shares", "[input]\nmean = [0, 0, 0]\nstd = [1, 1, 1]\n")):
        b = new()
        if extra: b.input("im_shape", shape=["n", 2])
        x = b.input("image", shape=["n", 3, H, W]); b.input("scale_factor", shape=["n", 2]); b.run(getattr(b, prepare)(x)); v, k, bx = b.best_first()
        scale = b.op("Gather", "scale_factor", np.array([1, 0, 1, 0]), axis=1)
        if extra: scale = b.op("Div", b.op("Mul", scale, np.array([W, H, W, H], np.float32)), b.op("Gather", "im_shape", np.array([1, 0, 1, 0]), axis=1))
        b.output(b.op("Concat", unsqueeze(b, floats(b, k), 1), unsqueeze(b, v, 1), b.op("Div", bx, scale), axis=1), "multiclass_nms3_0.tmp_0", ["m", 6])
        b.output(b.op("Shape", v), "multiclass_nms3_0.tmp_2", [1], T.INT32)
        yield name, b, None, manifest, .5, None

    b = new(); b.run(b.input("images")); b.output(v5(b), "output0", [1, b.N, 85])
    yield "yolov5", b, ultralytics(), "", .25, .45
    b = new(); b.run(b.input("images")); b.output(b.op("Concat", v5(b), b.op("Mul", v5(b), np.float32(0)), b.op("Mul", v5(b), np.float32(0)), axis=1), "output", [1, 3 * b.N, 85])
    yield "yolov7", b, None, "", .25, .45
    b = new(); b.run(b.input("images")); b.output(b.op("Concat", b.xywh, b.op("Add", b.op("Mul", b.best, np.float32(0)), np.float32(1)), b.scores, axis=2), "outputs", [1, b.N, 85])
    yield "yolov6", b, None, "", .4, .45
    b = new(); b.run(b.input("images")); b.output(b.op("Transpose", b.op("Concat", b.xywh, b.scores, axis=2), perm=[0, 2, 1]), "output0", [1, 84, b.N])
    yield "yolov8", b, ultralytics(), "", .25, .7
    b = new(); b.run(b.op("Cast", b.input("images", T.FLOAT16, ["batch", 3, "height", "width"]), to=T.FLOAT)); b.output(b.op("Transpose", b.op("Concat", b.xywh, b.scores, axis=2), perm=[0, 2, 1]), "output0", ["batch", 84, "anchors"], T.FLOAT16)
    yield "yolov8-half", b, ultralytics(), "", .25, .7
    b = new(); b.run(b.input("images", shape=["a", "b", "c", "d"])); b.output(b.op("Transpose", b.op("Concat", b.xywh, b.scores, axis=2), perm=[0, 2, 1]), "output0", ["e", "f", "g"])
    yield "yolov8-open", b, None, f"[input]\nsize = [{W}, {H}]\n", .25, .7
    b = new(); b.run(b.input("images")); v, k, bx = b.best_first(); rows = b.op("Concat", bx, unsqueeze(b, v, 1), unsqueeze(b, floats(b, k), 1), axis=1)
    b.output(unsqueeze(b, b.op("Pad", rows, np.array([0, 0, 260, 0])), 0), "output0", [1, 300, 6])
    yield "yolo-end2end", b, ultralytics(end2end="True"), "", .25, None
    b = new(); b.run(b.input("images")); v, k, bx = b.best_first(); zero = b.op("Mul", v, np.float32(0))
    b.output(b.op("Concat", unsqueeze(b, zero, 1), bx, unsqueeze(b, floats(b, k), 1), unsqueeze(b, v, 1), axis=1), "output", ["m", 7])
    yield "yolov7-end2end", b, None, "", .25, None
    b = new(); b.run(b.input("images")); v, k, bx = b.best_first()
    b.output(b.op("Reshape", b.op("Shape", v), np.array([1, 1])), "num_dets", [1, 1], T.INT32); b.output(unsqueeze(b, bx, 0), "det_boxes", [1, 40, 4]); b.output(unsqueeze(b, v, 0), "det_scores", [1, 40]); b.output(unsqueeze(b, k, 0), "det_classes", [1, 40], T.INT32)
    yield "yolo-counted", b, None, "", .25, None
    b = new(); b.run(b.input("images")); size = np.array([W, H, W, H], np.float32)
    b.output(b.op("Concat", b.op("Div", b.xywh, size), b.scores, axis=2), "output0", [1, b.N, 84])
    yield "ultralytics-rtdetr", b, ultralytics(), "", .25, None
    b = new(); b.run(b.input("images")); v, k, bx = b.best_first(); low, high = (b.op("Gather", bx, np.array(i), axis=1) for i in ([0, 1], [2, 3]))
    center = b.op("Mul", b.op("Add", low, high), np.float32(.5)); shares = b.op("Div", b.op("Concat", center, b.op("Sub", high, low), axis=1), size)
    b.output(unsqueeze(b, b.op("Concat", shares, unsqueeze(b, v, 1), unsqueeze(b, floats(b, k), 1), axis=1), 0), "output0", ["batch", "rows", 6])
    yield "ultralytics-rtdetr-rows", b, ultralytics(end2end="False", head="RTDETRDecoder"), "", .25, None

    for name, raw in (("yolox", True), ("yolox-decoded", False)):
        b = new(); b.run(b.bgr(b.input("images"))); x = b.xywh
        if raw:
            grid = [np.mgrid[0:H // s, 0:W // s][::-1].reshape(2, -1).T for s in THREE]
            stride = np.concatenate([np.full((len(g), 1), s) for g, s in zip(grid, THREE)]).astype(np.float32)
            x = b.op("Concat", b.op("Sub", b.op("Div", b.center, stride), np.concatenate(grid).astype(np.float32)), b.op("Log", b.op("Div", b.lengths, stride)), axis=2)
        b.output(b.op("Concat", x, b.best, b.ratio, axis=2), "output", [1, b.N, 85])
        yield name, b, None, "", .3, .45

    def queries(b, name, extra=None): b.output(b.op("Div", b.xywh, np.array([W, H, W, H], np.float32)), name, [1, b.N, 4])
    b = new(); b.run(b.input("pixel_values", shape=["batch", 3, H, W])); queries(b, "pred_boxes"); b.output(b.logits, "logits", ["batch", b.N, 80])
    yield "rt-detr", b, None, 'family = "rt-detr"\n', .5, None
    b = new(); b.run(b.input("pixel_values", shape=["batch", 3, "height", "width"])); queries(b, "pred_boxes"); b.output(b.logits, "logits", ["batch", "queries", 80])
    yield "rt-detr-open", b, None, f'family = "rt-detr"\n[input]\nsize = [{W}, {H}]\n', .5, None
    b = new(); b.run(b.imagenet(b.input("pixel_values"))); b.output(b.logits, "logits", [1, b.N, 80]); queries(b, "pred_boxes")
    yield "rf-detr", b, None, 'family = "rf-detr"\n', .5, None
    def spread(b, fill, width):
        """Logits of 80 classes at COCO's own numbers."""
        index = np.full(width, 80); index[COCO91] = np.arange(80)
        return b.op("Gather", b.op("Concat", b.logits, b.op("Add", b.op("Mul", b.best, np.float32(0)), np.float32(fill)), axis=2), index, axis=2)
    b = new(); b.run(b.imagenet(b.input("input"))); queries(b, "dets"); b.output(spread(b, -9, 91), "labels", [1, b.N, 91])
    yield "rf-detr-own", b, None, "", .5, None
    # A softmax over two terms is a sigmoid of their difference: the best class against "no object".
    b = new(); b.run(b.imagenet(b.input("pixel_values"))); b.input("pixel_mask", T.INT64, ["n", 64, 64]); is_best = b.op("Cast", b.op("Equal", b.scores, b.best), to=T.FLOAT)
    b.logits = b.op("Add", b.logits, b.op("Mul", b.op("Sub", is_best, np.float32(1)), np.float32(99))); mask = b.op("Reshape", b.op("ReduceMax", floats(b, "pixel_mask"), keepdims=0), np.array([1, 1, 1]))
    all_ = b.op("Mul", spread(b, -99, 91), mask); b.output(b.op("Concat", all_, b.op("Mul", b.best, np.float32(0)), axis=2), "logits", [1, b.N, 92]); queries(b, "pred_boxes")
    yield "detr", b, None, "", .5, None

    for name, squeezed in (("rt-detr-export", False), ("rt-detr-export-squeezed", True)):
        b = new(); x = b.input("images", shape=["N", 3, H, W]); b.input("orig_target_sizes", T.INT64, ["N", 2]); b.run(x); v, k, bx = b.best_first()
        size = b.op("Concat", "orig_target_sizes", "orig_target_sizes", axis=1)
        bx = b.op("Mul", b.op("Div", bx, np.array([W, H, W, H], np.float32)), floats(b, size))
        batch = (lambda y: y) if squeezed else (lambda y: unsqueeze(b, y, 0)); n = [] if squeezed else ["N"]
        b.output(batch(k), "labels", n + [40], T.INT64); b.output(batch(bx), "boxes", n + [40, 4]); b.output(batch(v), "scores", n + [40])
        yield name, b, None, "", .5, None

    b = new(); b.run(b.input("input")); v, k, bx = b.best_first(); b.output(bx, "boxes", ["m", 4]); b.output(v, "scores", ["m"]); b.output(ids(b, k), "labels", ["m"], T.INT64)
    yield "torchvision", b, None, "", .5, None
    b = new(); b.run(unsqueeze(b, b.input("x", shape=[3, H, W]), 0)); v, k, bx = b.best_first(); b.output(ids(b, k), "20", ["m"], T.INT64); b.output(v, "19", ["m"]); b.output(bx, "18", ["m", 4])
    yield "torchvision-unnamed", b, None, "", .5, None

    def tensorflow(b, shape, names, first):
        v, k, bx = b.best_first(); yx = b.op("Div", b.op("Gather", bx, np.array([1, 0, 3, 2]), axis=1), np.array([H, W, H, W], np.float32))
        values = {"boxes": unsqueeze(b, yx, 0), "classes": unsqueeze(b, floats(b, ids(b, k, first)), 0), "scores": unsqueeze(b, v, 0), "num": floats(b, b.op("Shape", v))}
        for key, name in names: b.output(values[key], name, shape[key])
    fixed = {"boxes": [1, 40, 4], "classes": [1, 40], "scores": [1, 40], "num": [1]}
    b = new(); b.run(b.nhwc(b.input("input_tensor", T.UINT8, [1, H, W, 3]))); tensorflow(b, fixed, [(k, f"detection_{k}") for k in ("scores", "boxes", "classes")] + [("num", "num_detections")], 1)
    yield "tensorflow", b, None, "", .5, None
    b = new(); b.run(b.nhwc(b.input("image_tensor:0", T.UINT8, ["a", "b", "c", "d"]))); open_ = {"boxes": ["e", "f", "g"], "classes": ["h", "i"], "scores": ["j", "k"], "num": ["l"]}
    tensorflow(b, open_, [("num", "num_detections:0")] + [(k, f"detection_{k}:0") for k in ("boxes", "scores", "classes")], 1)
    yield "tensorflow-open", b, None, f"[input]\nsize = [{W}, {H}]\n", .5, None
    b = new(); x = b.input("serving_default_images:0", T.UINT8, [1, H, W, 3]); b.run(b.nhwc(x)); tensorflow(b, fixed, [("num", "StatefulPartitionedCall:0"), ("scores", "StatefulPartitionedCall:1"), ("classes", "StatefulPartitionedCall:2"), ("boxes", "StatefulPartitionedCall:3")], 0)
    yield "tensorflow-lite", b, None, "", .5, None


def misfits():
    """Models that are refused, or that find nonsense: each input is [1, 3, H, W]."""
    folder = OUT.parent / "misfits"
    folder.mkdir(exist_ok=True)
    def model(name, nodes, outputs, weights=(), opset=17, metadata=None, check=True, shape=(1, 3, H, W)):
        out = [h.make_tensor_value_info(n, T.FLOAT, s) for n, s in outputs]
        graph = h.make_graph(nodes, name, [h.make_tensor_value_info("images", T.FLOAT, shape)], out, [nh.from_array(np.asarray(v), n) for n, v in weights])
        made = h.make_model(graph, opset_imports=[h.make_opsetid("", opset), h.make_opsetid("com.example", 1)], ir_version=8)
        for k, v in (metadata or {}).items(): made.metadata_props.add(key=k, value=v)
        onnx.save(made, folder / f"{name}.onnx")
    def filled(name, shape, metadata=None):
        """A model whose only output of this shape has the mean of the picture everywhere."""
        nodes = [h.make_node("ReduceMean", ["images"], ["mean"], keepdims=0), h.make_node("Expand", ["mean", "shape"], ["output0"])]
        model(name, nodes, [("output0", shape)], [("shape", np.array(shape, np.int64))], metadata=metadata)
    filled("classes", [1, 1000])
    filled("pose", [1, 56, 126])
    filled("heat-maps", [1, 17, 16, 24])
    filled("segments", [1, 116, 126], {"task": "segment"})
    filled("rotated", [1, 20, 126], {"task": "obb"})
    filled("nothing-known", [1, 5, 7, 9, 11])
    node = h.make_node
    mean = node("ReduceMean", ["images"], ["mean"], keepdims=0)
    box = np.array([30, 20, 10, 10], np.float32).reshape(1, 4, 1)
    # Every score is the mean of the picture: with a bright one, 100,000 candidates.
    many = [mean, node("Expand", ["mean", "shape"], ["scores"]), node("Expand", ["box", "four"], ["boxes"]), node("Concat", ["boxes", "scores"], ["output0"], axis=1)]
    lengths = lambda n: [("shape", np.array([1, 2, n])), ("box", box), ("four", np.array([1, 4, n]))]
    model("many", many, [("output0", [1, 6, 100_000])], lengths(100_000))
    # NaN where the picture is brighter than grey, or for every picture.
    for name, limit in (("nan-if-bright", .5), ("nan-always", -1.)):
        nodes = [mean, node("Sub", ["limit", "mean"], ["rest"]), node("Sqrt", ["rest"], ["root"]), node("Expand", ["root", "whole"], ["output0"])]
        model(name, nodes, [("output0", [1, 6, 126])], [("limit", np.float32(limit)), ("whole", np.array([1, 6, 126]))])
    rows = np.array([[[-50, -50, 20, 20, .9, 0], [80, 50, 500, 500, .8, 79], [-50, -50, -20, -20, .7, 1], [200, 200, 300, 300, .7, 1], [10, 10, 10, 30, .7, 2], [10, 10, 40, 30, .6, 500]]], np.float32)
    zero = [mean, node("Mul", ["mean", "nothing"], ["zero"]), node("Add", ["rows", "zero"], ["output0"])]
    model("boxes-outside", zero, [("output0", [1, 6, 6])], [("rows", rows), ("nothing", np.float32(0))])
    # Every length is open, and the graph does not care about them.
    model("open", zero, [("output0", ["pictures", "rows", "columns"])], [("rows", rows), ("nothing", np.float32(0))], shape=["pictures", "colors", "height", "width"])
    model("operator", [node("Unheard", ["images"], ["output0"], domain="com.example")], [("output0", [1, 84, 126])])
    model("opset", [mean, node("Expand", ["mean", "whole"], ["output0"])], [("output0", [1, 84, 126])], [("whole", np.array([1, 84, 126]))], opset=99)
    external = onnx.load(folder / "pose.onnx")
    weight = nh.from_array(np.zeros(64, np.float32), "weight")
    onnx.external_data_helper.set_external_data(weight, "weights.bin")
    weight.ClearField("raw_data")
    external.graph.initializer.append(weight)
    (folder / "external.onnx").write_bytes(external.SerializeToString())


def main():
    OUT.mkdir(exist_ok=True)
    for old in OUT.iterdir(): old.unlink()
    misfits()
    expected = {}
    for name, b, metadata, manifest, threshold, iou in build():
        # Pictures in which nothing hangs on the last digits.
        found = []
        for seed in range(10_000):
            i420, rgb = picture(seed)
            scores, boxes = cells(rgb, b.w, b.binned, b.offset)
            if name.endswith("-half"): scores, boxes = halves(scores, boxes)
            if iou is None and (np.sort(scores.max(1))[-40] > threshold): continue
            result = objects(scores, boxes, threshold, iou, name.startswith("nanodet"), name.startswith(("rt-detr", "rf-detr")) and "export" not in name)
            if result is not None:
                found.append({"picture": f"{seed}.i420", "objects": result})
                (OUT / f"{seed}.i420").write_bytes(i420)
            if len(found) == 2: break
        assert len(found) == 2, name
        b.save(name, metadata)
        expected[name] = {"manifest": manifest, "size": [W, H], "pictures": found}
    (OUT / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
