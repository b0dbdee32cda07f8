//! Models for small pictures, models that fail on a white picture, and a video with one such frame.

use std::path::{Path, PathBuf};

use crate::paths::{project, sample};
use crate::video::ffmpeg;

/// Mean of the tensor's values above which a picture is white. White, letterboxed from 176×144, has
/// 208; the sample stays below 160.
const WHITE_MEAN: f32 = 190.0;

const FLOAT: u64 = 1;
const INT32: u64 = 6;
const INT64: u64 = 7;
const BOOL: u64 = 9;

/// The built-in model with an integer division in its graph that overflows for a white picture: the
/// process dies of SIGFPE on x86.
pub fn crashing_model(folder: &Path) -> PathBuf {
    let divide = part(1, &node("Div", &["least", "chosen"], "added"));
    let least = part(5, &constant("least", INT32, i32::MIN.to_le_bytes()));
    with_white_choosing(folder, [1, -1], &[divide, least].concat(), INT32)
}

/// The built-in model with an index out of bounds in its graph for a white picture: ONNX Runtime
/// returns an error for that frame.
pub fn failing_model(folder: &Path) -> PathBuf {
    with_white_choosing(
        folder,
        [0, 7],
        &part(1, &node("Gather", &["mean_of_all", "chosen"], "added")),
        FLOAT,
    )
}

/// The built-in model with a loop in its graph that makes two thousand million turns for a white
/// picture, which takes hours, and one for any other.
pub fn hanging_model(folder: &Path) -> PathBuf {
    with_loop(folder, [1, i32::MAX])
}

/// The same, but it hangs for every picture that is not white: it never finishes its trial.
pub fn always_hanging_model(folder: &Path) -> PathBuf {
    with_loop(folder, [i32::MAX, 1])
}

fn with_loop(folder: &Path, turns_by_picture: [i32; 2]) -> PathBuf {
    const TYPE_INT: u64 = 2;
    const TYPE_GRAPH: u64 = 5;
    let scalar = part(2, b"");
    let body = [
        part(1, &node("Identity", &["again"], "again_out")),
        part(1, &node("Identity", &["carried"], "carried_out")),
        part(2, b"body"),
        part(11, &value("turn", INT64, &scalar)),
        part(11, &value("again", BOOL, &scalar)),
        part(11, &value("carried", INT32, &[])),
        part(12, &value("again_out", BOOL, &scalar)),
        part(12, &value("carried_out", INT32, &[])),
    ];
    let body = [part(1, b"body"), part(6, &body.concat()), number(20, TYPE_GRAPH)];
    let turns = [node("Loop", &["turns", "always", "chosen"], "added"), part(5, &body.concat())];
    let to = [part(1, b"to"), number(3, INT64), number(20, TYPE_INT)];
    let cast = [node("Cast", &["chosen"], "turns"), part(5, &to.concat())];
    let nodes = [
        part(1, &cast.concat()),
        part(1, &turns.concat()),
        part(5, &constant("always", BOOL, [1])),
    ];
    with_white_choosing(folder, turns_by_picture, &nodes.concat(), INT32)
}

/// The built-in model with a tensor of many terabytes in its graph. Use it only in a process whose
/// memory is limited.
pub fn huge_model(folder: &Path) -> PathBuf {
    let nodes = [
        part(1, &node("Shape", &["images"], "size")),
        part(1, &node("Mul", &["size", "times"], "sizes")),
        part(1, &node("ConstantOfShape", &["sizes"], "added")),
        part(5, &constant("times", INT64, 64_i64.to_le_bytes())),
    ];
    with_white_choosing(folder, [0, 0], &nodes.concat(), FLOAT)
}

/// The built-in model with an output `added` of this type. `nodes` compute it from `chosen`, which
/// is the second of the values for a white picture, else the first.
///
/// Protocol buffers that follow each other are merged, and lists in them are joined, so nodes are
/// added by appending them. Field numbers:
/// <https://github.com/onnx/onnx/blob/main/onnx/onnx.proto>.
fn with_white_choosing(
    folder: &Path,
    [other, white]: [i32; 2],
    nodes: &[u8],
    kind: u64,
) -> PathBuf {
    let models = project().join("detector/vision/models");
    for file in ["nanodet.toml", "coco-labels.txt"] {
        std::fs::copy(models.join(file), folder.join(file)).unwrap();
    }
    let graph = [
        &part(1, &node("ReduceMean", &["images"], "mean_of_all"))[..],
        &part(1, &node("Less", &["mean_of_all", "white_mean"], "harmless")),
        &part(1, &node("Where", &["harmless", "for_others", "for_white"], "chosen")),
        nodes,
        &part(5, &constant("white_mean", FLOAT, WHITE_MEAN.to_le_bytes())),
        &part(5, &constant("for_others", INT32, other.to_le_bytes())),
        &part(5, &constant("for_white", INT32, white.to_le_bytes())),
        // ONNX Runtime removes what does not lead to an output.
        &part(12, &value("added", kind, &[])),
    ]
    .concat();
    let mut model = std::fs::read(models.join("nanodet.onnx")).unwrap();
    model.extend(part(7, &graph));
    let path = folder.join("nanodet.onnx");
    std::fs::write(&path, model).unwrap();
    path
}

/// The sample with one frame painted white, and the same without that frame.
pub fn videos_with_and_without_a_white_frame(folder: &Path, index: u64) -> [PathBuf; 2] {
    let lossless = |input: &Path, filter: &str, output: &str| {
        let output = folder.join(output);
        let encode =
            ["-fps_mode", "passthrough", "-c:v", "libx264", "-qp", "0", "-pix_fmt", "yuv420p"];
        ffmpeg(
            &[&["-i", input.to_str().unwrap(), "-an", "-vf", filter], &encode[..]].concat(),
            &output,
        );
        output
    };
    let paint = format!("drawbox=color=white:thickness=fill:enable='eq(n,{index})'");
    let with = lossless(&sample("carphone_pristine.mp4"), &paint, "with.mkv");
    let without = lossless(&with, &format!("select='not(eq(n,{index}))'"), "without.mkv");
    [with, without]
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push((value & 0x7f) as u8);
    bytes
}

fn number(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

fn part(field: u64, content: &[u8]) -> Vec<u8> {
    [&varint(field << 3 | 2), &varint(content.len() as u64), content].concat()
}

fn node(operator: &str, inputs: &[&str], output: &str) -> Vec<u8> {
    let inputs = inputs.iter().flat_map(|input| part(1, input.as_bytes())).collect::<Vec<_>>();
    [inputs, part(2, output.as_bytes()), part(4, operator.as_bytes())].concat()
}

/// A tensor, with its encoded shape if that is known.
fn value(name: &str, element: u64, shape: &[u8]) -> Vec<u8> {
    let tensor = [&number(1, element), shape].concat();
    [part(1, name.as_bytes()), part(2, &part(1, &tensor))].concat()
}

fn constant<const N: usize>(name: &str, element: u64, value: [u8; N]) -> Vec<u8> {
    [number(2, element), part(8, name.as_bytes()), part(9, &value)].concat()
}
