//! A settled model's manifest in full, so that no other program has to find out the same again.

use toml::{Table, Value};

use crate::decoders::{Activation, Decoder, Grid};
use crate::input::{Colors, Element, Input, Layout};
use crate::model::Model;
use crate::reading::Reading;

impl Model {
    /// A manifest, in TOML, that says all of this model: what its own file says, what files beside
    /// it say, and what was found out when it was [`settled`](Self::settled). With it, the ONNX file
    /// alone is read in the same way everywhere.
    pub fn manifest(&self) -> String {
        let reading = self.reading();
        let mut manifest = Table::new();
        manifest.insert("labels".to_owned(), strings(&self.labels));
        manifest.insert("threshold".to_owned(), float(reading.threshold));
        manifest.insert("iou".to_owned(), float(reading.iou));
        manifest.insert("nms".to_owned(), Value::Boolean(reading.nms));
        manifest.insert("input".to_owned(), Value::Table(input(&reading.input)));
        manifest.insert("output".to_owned(), Value::Table(outputs(reading)));
        let family = Table::from_iter([(reading.family.name().to_owned(), details(reading))]);
        manifest.insert("family".to_owned(), Value::Table(family));
        manifest.to_string()
    }
}

fn strings(texts: &[String]) -> Value {
    Value::Array(texts.iter().cloned().map(Value::String).collect())
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

fn float(value: f32) -> Value {
    Value::Float(f64::from(value))
}

fn floats(values: [f32; 3]) -> Value {
    Value::Array(values.map(float).to_vec())
}

fn integers(values: &[u32]) -> Value {
    Value::Array(values.iter().map(|value| Value::Integer(i64::from(*value))).collect())
}

fn input(input: &Input) -> Table {
    let element = match input.element {
        Element::Float32 => "float32",
        Element::Float16 => "float16",
        Element::Uint8 => "uint8",
    };
    let layout = match input.layout {
        Layout::Nchw => "nchw",
        Layout::Nhwc => "nhwc",
    };
    let colors = match input.colors {
        Colors::Rgb => "rgb",
        Colors::Bgr => "bgr",
    };
    let multiple_of = input.multiple_of.map(|step| Value::Integer(i64::from(step)));
    let values = [
        ("name", Some(text(&input.name))),
        ("type", Some(text(element))),
        ("layout", Some(text(layout))),
        ("size", Some(integers(&input.size))),
        ("multiple_of", multiple_of),
        ("fit", Some(text(input.fit.into()))),
        ("scaling", Some(text(input.scaling.into()))),
        ("padding", Some(integers(&input.padding.map(u32::from)))),
        ("colors", Some(text(colors))),
        ("scale", Some(float(input.scale))),
        ("mean", Some(floats(input.mean))),
        ("std", Some(floats(input.std))),
    ];
    table(values)
}

fn table<const N: usize>(values: [(&str, Option<Value>); N]) -> Table {
    let given = values.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
    given.collect()
}

/// The names of the outputs under the keys by which the family finds them.
fn outputs(reading: &Reading) -> Table {
    let keys: &[&str] = match &reading.decoder {
        Decoder::Cells(cells) if cells.split => &[],
        Decoder::Cells(_) | Decoder::Dense(_) => &["name"],
        Decoder::Queries(_) => &["scores", "boxes"],
        Decoder::Rows(_) if reading.extras.is_empty() => &["name"],
        Decoder::Rows(_) => &["boxes"],
        Decoder::Lists(_) => &["boxes", "classes", "scores", "count"],
    };
    let names = keys.iter().zip(&reading.outputs);
    names.map(|(key, name)| ((*key).to_owned(), text(name))).collect()
}

fn details(reading: &Reading) -> Value {
    let details = match &reading.decoder {
        Decoder::Cells(cells) => table([
            ("strides", Some(integers(&cells.strides))),
            ("bins", i64::try_from(cells.bins).ok().map(Value::Integer)),
            ("offset", Some(float(cells.offset))),
        ]),
        Decoder::Dense(dense) => match &dense.grid {
            Grid::Raw(strides) => {
                table([("grid", Some(text("raw"))), ("strides", Some(integers(strides)))])
            }
            Grid::Decoded(strides) => {
                table([("grid", Some(text("decoded"))), ("strides", Some(integers(strides)))])
            }
            _ => Table::new(),
        },
        Decoder::Queries(queries) => {
            let activation = match queries.activation {
                Activation::Sigmoid => "sigmoid",
                Activation::Softmax => "softmax",
            };
            table([("activation", Some(text(activation)))])
        }
        Decoder::Rows(_) => Table::new(),
        Decoder::Lists(lists) => {
            table([("first_class", i64::try_from(lists.first_class).ok().map(Value::Integer))])
        }
    };
    Value::Table(details)
}
