"""Makes the data of the tests: frames/ (pictures, and what reference.py finds in them), pictures/ (JPEGs of other kinds)
and models/ (tiny models, valid and invalid ones).

Usage: generate.py FOLDER_OF_SAMPLE_VIDEOS   (numpy, opencv-python-headless, onnxruntime, onnx)

A picture is one frame of a sample video, letterboxed by the reference's own function and stored as a JPEG. The reference
then analyses that same JPEG, decoded again, so that both it and the detector see the same pixels.
"""
import json, pathlib, sys
import cv2, onnx, onnxruntime
from onnx import TensorProto, helper

HERE = pathlib.Path(__file__).resolve().parent
MODELS = HERE.parent.parent / "models"
sys.path.insert(0, str(MODELS))
import reference

# Without chroma subsampling there is one way to decode a JPEG; with it, decoders interpolate differently.
S444, S420 = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420
PICTURES = [
    ("bikes", 35, 416, 416, S444),
    ("bikes", 80, 416, 416, S444),
    ("bikes", 115, 416, 416, S444),
    ("bikes", 190, 416, 416, S444),
    ("bikes", 145, 416, 192, S444),
    ("bikes", 30, 416, 160, S444),
    ("bigbuckbunny", 114, 416, 416, S444),
    ("carphone_pristine", 60, 416, 416, S444),
    ("bikes", 110, 416, 416, S420),
]
# The default, and one that finds more where the pixels are truly the same.
THRESHOLDS = {S444: [0.45, 0.37], S420: [0.45]}


def frame(video, index):
    capture = cv2.VideoCapture(str(video))
    for _ in range(index + 1):
        ok, picture = capture.read()
        assert ok, (video, index)
    return picture


def write_frames(samples):
    session = onnxruntime.InferenceSession(MODELS / "nanodet.onnx")
    labels = (MODELS / "coco-labels.txt").read_text().split("\n")
    letterbox = reference.letterbox
    expected = []
    for video, index, width, height, sampling in PICTURES:
        picture = frame(samples / f"{video}.mp4", index)
        canvas, scale, x, y = letterbox(picture, width, height)
        file = f"{video}-{index}.jpg"
        path = str(HERE / "frames" / file)
        cv2.imwrite(path, canvas, [cv2.IMWRITE_JPEG_QUALITY, 90, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling])
        stored = cv2.imread(path)
        reference.letterbox = lambda *_: (stored, scale, x, y)
        h, w = picture.shape[:2]
        content = [round(w * scale), round(h * scale)]
        entry = {"file": file, "size": [width, height], "source": [w, h], "left": x, "top": y, "content": content, "found": []}
        for threshold in THRESHOLDS[sampling]:
            reference.THRESHOLD = threshold
            detections = reference.detect(session, picture, width, height)
            detections = [{"label": labels[c], "score": round(s, 5), "box": [round(v, 3) for v in b]} for s, c, b in detections]
            entry["found"].append({"threshold": threshold, "detections": detections})
        expected.append(entry)
    (HERE / "frames" / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


def write_pictures(samples):
    """JPEGs of other kinds than the frames are."""
    picture = cv2.resize(frame(samples / "bikes.mp4", 35), (64, 64))
    cv2.imwrite(str(HERE / "pictures" / "progressive.jpg"), picture, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
    cv2.imwrite(str(HERE / "pictures" / "baseline.jpg"), picture)
    cv2.imwrite(str(HERE / "pictures" / "grey.jpg"), cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY))


def write_model(name, inputs, output, nodes, constants=()):
    values = [helper.make_tensor_value_info(n, t, s) for n, t, s in inputs]
    out = helper.make_tensor_value_info("output", TensorProto.FLOAT, output)
    constants = [helper.make_tensor(n, t, s, v) for n, t, s, v in constants]
    graph = helper.make_graph(nodes, name, values, [out], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, HERE / "models" / f"{name}.onnx")


def write_models():
    """One cell of stride 32, 2 bins, 3 classes: the score of a class is the mean of one of the tensor's planes, and the
    box is the whole picture."""
    node, image = helper.make_node, ("images", TensorProto.FLOAT, [1, 3, 32, 32])
    mean = node("ReduceMean", ["images"], ["mean"], axes=[2, 3], keepdims=0)
    rows = node("Reshape", ["mean", "shape"], ["scores"])
    join = node("Concat", ["scores", "sides"], ["output"], axis=2)
    shape = ("shape", TensorProto.INT64, [3], [1, 1, 3])
    sides = ("sides", TensorProto.FLOAT, [1, 1, 8], [0.0] * 8)
    write_model("planes", [image], [1, 1, 11], [mean, rows, join], [shape, sides])
    write_model("of-another-shape", [image], [1, 3], [node("Identity", ["mean"], ["output"]), mean][::-1])
    # Only a run shows what the graph leaves open: two rows instead of one.
    twice = node("Concat", ["row", "row"], ["output"], axis=1)
    join = node("Concat", ["scores", "sides"], ["row"], axis=2)
    write_model("of-two-rows", [image], ["n", "rows", "columns"], [mean, rows, join, twice], [shape, sides])
    logits = node("Sub", ["scores", "one"], ["logits"])
    join = node("Concat", ["logits", "sides"], ["output"], axis=2)
    one = ("one", TensorProto.FLOAT, [1], [1.0])
    write_model("without-sigmoid", [image], [1, 1, 11], [mean, rows, logits, join], [shape, sides, one])
    cast = node("Cast", ["images"], ["output"], to=TensorProto.FLOAT)
    write_model("of-integers", [("images", TensorProto.UINT8, [1, 3, 32, 32])], [1, 3, 32, 32], [cast])
    second, add = ("sizes", TensorProto.FLOAT, [1, 3, 32, 32]), node("Add", ["images", "sizes"], ["output"])
    write_model("of-two-inputs", [image, second], [1, 3, 32, 32], [add])


if __name__ == "__main__":
    for folder in "frames", "models", "pictures":
        (HERE / folder).mkdir(exist_ok=True)
    samples = pathlib.Path(sys.argv[1])
    write_models()
    write_frames(samples)
    write_pictures(samples)
