"""Make nanodet-int8.onnx from nanodet.onnx: convolutions in 8-bit integers, calibrated on frames of a video.

    pip install onnx==1.20.0 onnxruntime==1.32.0 opencv-python-headless==5.0.0.93 sympy==1.14.0
    python quantize.py nanodet.onnx bikes.mp4 nanodet-int8.onnx
    python quantize.py nanodet.onnx bikes.mp4 nanodet-int7.onnx --reduce-range    # for x86-64 without VNNI

Static QDQ: weights are S8 per channel, activations U8 per tensor. Frames are letterboxed to 416 × 416, as for the
detector. Ranges are the least and greatest values seen, except before a LeakyRelu: there, the range with the least
squared error after it. It is narrower, as a LeakyRelu keeps a tenth of what is below 0.
FLOAT lists what stays in float32, and why. With a reduced range, weights have 7 bits: sums of two products fit 16 bits.
"""
import itertools, pathlib, sys, tempfile
import cv2, numpy as np, onnx, onnxruntime
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from reference import letterbox

EVERY = 8                                   # of 250 frames: 32
FLOAT = ["conv_77", "conv_81", "conv_83"]   # the last convolutions: their outputs are scores and sides, which need full precision


class Frames(CalibrationDataReader):
    def __init__(self, video):
        capture, self.tensors, index = cv2.VideoCapture(video), [], 0
        while (read := capture.read())[0]:
            if index % EVERY == 0:
                canvas = letterbox(read[1], 416, 416)[0]
                self.tensors.append(np.ascontiguousarray(canvas[..., ::-1].transpose(2, 0, 1)[None], np.float32))
            index += 1
        self.left = iter(self.tensors)

    def get_next(self):
        tensor = next(self.left, None)
        return None if tensor is None else {"images": tensor}


def widened(model):
    """The same model with named nodes, and with float32 initialisers for float16 ones, which the quantiser does not support."""
    graph = model.graph
    half = {i.name: i for i in graph.initializer if i.data_type == onnx.TensorProto.FLOAT16}
    for node in [n for n in graph.node if n.op_type == "Cast" and n.input[0] in half]:
        value = onnx.numpy_helper.to_array(half[node.input[0]]).astype(np.float32)
        graph.initializer.append(onnx.numpy_helper.from_array(value, node.output[0]))
        graph.node.remove(node)
    used = {name for node in graph.node for name in node.input}
    for i in [i for i in graph.initializer if i.name not in used]:
        graph.initializer.remove(i)
    for node in graph.node:
        node.name = node.output[0]
    return model


def ranges(path, tensors):
    """For each convolution's output that feeds a LeakyRelu: the least and the greatest value to distinguish."""
    model = onnx.load(path)
    slopes = {node.input[0]: node.attribute[0].f for node in model.graph.node if node.op_type == "LeakyRelu"}
    model.graph.output.extend(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in slopes)
    session, random = onnxruntime.InferenceSession(model.SerializeToString()), np.random.default_rng(0)
    values, extremes = {name: [] for name in slopes}, {name: [] for name in slopes}
    for tensor in tensors[::2]:
        for name, value in zip(slopes, session.run(list(slopes), {"images": tensor})):
            values[name].append(value.ravel()[random.integers(0, value.size, 6000)])
            extremes[name] += [value.min(), value.max()]

    def error(name, low, high):
        value, scale = np.concatenate(values[name]), (high - low) / 255
        zero = np.round(-low / scale)
        coarse = (np.clip(np.round(value / scale) + zero, 0, 255) - zero) * scale
        leaky = lambda v: np.where(v < 0, slopes[name] * v, v)
        return ((leaky(coarse) - leaky(value)) ** 2).mean()

    def best(name):
        low, high = min(extremes[name]), max(extremes[name])
        tried = [(low * l, high * h) for l, h in itertools.product((.08, .15, .25, .35, .5, .7, .85, 1), (.6, .75, .9, 1))]
        return min(tried, key=lambda r: error(name, *r))

    return {name: [dict(zip(("rmin", "rmax"), map(np.float32, best(name))))] for name in slopes}


def narrowed(model):
    """The same model with its float32 weights stored as float16 again, which represents them exactly."""
    graph, casts = model.graph, []
    for node in [n for n in graph.node if n.name in FLOAT]:
        weights = next(i for i in graph.initializer if i.name == node.input[1])
        value = onnx.numpy_helper.to_array(weights)
        half = value.astype(np.float16)
        assert (half == value).all()
        casts.append(onnx.helper.make_node("Cast", [weights.name + "_half"], [weights.name], to=onnx.TensorProto.FLOAT))
        weights.CopyFrom(onnx.numpy_helper.from_array(half, weights.name + "_half"))
    nodes = casts + list(graph.node)
    del graph.node[:]
    graph.node.extend(nodes)
    return model


def main(source, video, target, *options):
    with tempfile.TemporaryDirectory() as folder:
        plain, prepared, quantized = (f"{folder}/{name}.onnx" for name in ("plain", "prepared", "quantized"))
        onnx.save(widened(onnx.load(source)), plain)
        quant_pre_process(plain, prepared, skip_symbolic_shape=True)
        frames = Frames(video)
        quantize_static(prepared, quantized, frames, quant_format=QuantFormat.QDQ, op_types_to_quantize=["Conv"], per_channel=True,
                        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, calibrate_method=CalibrationMethod.MinMax,
                        nodes_to_exclude=FLOAT, reduce_range="--reduce-range" in options, extra_options={"TensorQuantOverrides": ranges(prepared, frames.tensors)})
        onnx.save(narrowed(onnx.load(quantized)), target)
    print(f"{pathlib.Path(target).stat().st_size} bytes")


if __name__ == "__main__":
    main(*sys.argv[1:])
