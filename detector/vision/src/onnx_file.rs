//! What an ONNX file says about itself: inputs, outputs, metadata and names. Weights are skipped,
//! so that a file of any size is read in little memory.
//!
//! The format: <https://github.com/onnx/onnx/blob/main/onnx/onnx.proto>, in protobuf's wire format.

use std::collections::{BTreeMap, HashSet};
use std::io::{Read, Seek};

use crate::wire::{Malformed, Value, Wire};

/// Names of nodes and weights that are kept, in bytes.
const MOST_NAMES: usize = 1 << 20;
/// Protobuf's own limit, and ONNX Runtime's.
const MOST_BYTES: u64 = (1 << 31) - 1;
const MOST_ENTRIES: usize = 10_000;
const MOST_DIMENSIONS: usize = 16;

/// The parts of an ONNX file that describe its model.
#[derive(Clone, Debug, Default)]
pub(crate) struct OnnxFile {
    pub producer: String,
    pub graph: String,
    pub inputs: Vec<Declared>,
    pub outputs: Vec<Declared>,
    pub metadata: BTreeMap<String, String>,
    /// The names of nodes and weights in lower case, one a line.
    pub names: String,
    /// Which operator reads which input of the graph.
    pub readers: Vec<(String, String)>,
    /// Files beside this one that hold weights.
    pub external: Vec<String>,
}

/// An input or output as the graph declares it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Declared {
    pub name: String,
    /// `TensorProto.DataType`, and `None` if it is not a tensor.
    pub element: Option<u64>,
    /// `None`: any number of dimensions. A dimension of `None` has any length.
    pub shape: Option<Vec<Option<u64>>>,
}

impl OnnxFile {
    /// Reads a file of this many bytes.
    pub fn read(source: impl Read + Seek, length: u64) -> Result<Self, Malformed> {
        if length > MOST_BYTES {
            return Err(Malformed::TooLarge(length));
        }
        let mut wire = Wire::new(source, length);
        let mut file = Self::default();
        let mut has_graph = false;
        wire.fields(length, &mut |wire, number, value| {
            match (number, value) {
                (2, Value::Bytes(end)) => file.producer = wire.text(end)?,
                (7, Value::Bytes(end)) => {
                    has_graph = true;
                    file.read_graph(wire, end)?;
                }
                (14, Value::Bytes(end)) => {
                    let (key, value) = entry(wire, end)?;
                    if file.metadata.len() < MOST_ENTRIES {
                        file.metadata.insert(key, value);
                    }
                }
                _ => {}
            }
            Ok(())
        })?;
        if has_graph { Ok(file) } else { Err(Malformed::NoGraph) }
    }

    fn read_graph<R: Read + Seek>(
        &mut self,
        wire: &mut Wire<R>,
        end: u64,
    ) -> Result<(), Malformed> {
        let mut weights = HashSet::new();
        let mut nodes = Vec::new();
        wire.fields(end, &mut |wire, number, value| {
            let Value::Bytes(end) = value else { return Ok(()) };
            match number {
                1 => {
                    let (name, operator, inputs) = node(wire, end)?;
                    self.keep_name(&name);
                    if nodes.len() < MOST_ENTRIES {
                        nodes.push((operator, inputs));
                    }
                }
                2 => self.graph = wire.text(end)?,
                5 => {
                    let (name, external) = weight(wire, end)?;
                    self.keep_name(&name);
                    if let Some(file) = external
                        && !self.external.contains(&file)
                        && self.external.len() < MOST_ENTRIES
                    {
                        self.external.push(file);
                    }
                    weights.insert(name);
                }
                11 if self.inputs.len() < MOST_ENTRIES => self.inputs.push(declared(wire, end)?),
                12 if self.outputs.len() < MOST_ENTRIES => self.outputs.push(declared(wire, end)?),
                _ => {}
            }
            Ok(())
        })?;
        // Old exporters list weights among the inputs.
        self.inputs.retain(|input| !weights.contains(&input.name));
        let is_input = |name: &String| self.inputs.iter().any(|input| input.name == *name);
        for (operator, inputs) in nodes {
            let read = inputs.into_iter().filter(is_input);
            self.readers.extend(read.map(|input| (input, operator.clone())));
        }
        Ok(())
    }

    fn keep_name(&mut self, name: &str) {
        if !name.is_empty() && self.names.len() + name.len() < MOST_NAMES {
            self.names.push_str(&name.to_lowercase());
            self.names.push('\n');
        }
    }
}

/// `NodeProto`: its name, operator and inputs.
fn node<R: Read + Seek>(
    wire: &mut Wire<R>,
    end: u64,
) -> Result<(String, String, Vec<String>), Malformed> {
    let (mut name, mut operator, mut inputs) = (String::new(), String::new(), Vec::new());
    wire.fields(end, &mut |wire, number, value| {
        match (number, value) {
            (1, Value::Bytes(end)) if inputs.len() < MOST_ENTRIES => inputs.push(wire.text(end)?),
            (3, Value::Bytes(end)) => name = wire.text(end)?,
            (4, Value::Bytes(end)) => operator = wire.text(end)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok((name, operator, inputs))
}

/// `TensorProto`: its name, and the file beside the model that holds its values.
fn weight<R: Read + Seek>(
    wire: &mut Wire<R>,
    end: u64,
) -> Result<(String, Option<String>), Malformed> {
    let (mut name, mut location, mut is_external) = (String::new(), None, false);
    wire.fields(end, &mut |wire, number, value| {
        match (number, value) {
            (8, Value::Bytes(end)) => name = wire.text(end)?,
            (13, Value::Bytes(end)) => {
                let (key, value) = entry(wire, end)?;
                if key == "location" {
                    location = Some(value);
                }
            }
            (14, Value::Number(place)) => is_external = place == 1,
            _ => {}
        }
        Ok(())
    })?;
    Ok((name, location.filter(|_| is_external)))
}

/// `StringStringEntryProto`.
fn entry<R: Read + Seek>(wire: &mut Wire<R>, end: u64) -> Result<(String, String), Malformed> {
    let (mut key, mut text) = (String::new(), String::new());
    wire.fields(end, &mut |wire, number, value| {
        match (number, value) {
            (1, Value::Bytes(end)) => key = wire.text(end)?,
            (2, Value::Bytes(end)) => text = wire.text(end)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok((key, text))
}

/// `ValueInfoProto`.
fn declared<R: Read + Seek>(wire: &mut Wire<R>, end: u64) -> Result<Declared, Malformed> {
    let mut declared = Declared::default();
    wire.fields(end, &mut |wire, number, value| {
        match (number, value) {
            (1, Value::Bytes(end)) => declared.name = wire.text(end)?,
            (2, Value::Bytes(end)) => {
                wire.fields(end, &mut |wire, number, value| match (number, value) {
                    (1, Value::Bytes(end)) => tensor_type(wire, end, &mut declared),
                    _ => Ok(()),
                })?
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(declared)
}

/// `TypeProto.Tensor`.
fn tensor_type<R: Read + Seek>(
    wire: &mut Wire<R>,
    end: u64,
    declared: &mut Declared,
) -> Result<(), Malformed> {
    wire.fields(end, &mut |wire, number, value| {
        match (number, value) {
            (1, Value::Number(element)) => declared.element = Some(element),
            (2, Value::Bytes(end)) => {
                let shape = declared.shape.insert(Vec::new());
                wire.fields(end, &mut |wire, number, value| {
                    let (1, Value::Bytes(end)) = (number, value) else { return Ok(()) };
                    let mut length = None;
                    wire.fields(end, &mut |_, number, value| {
                        if let (1, Value::Number(value)) = (number, value) {
                            // 0 and negative numbers stand for any length in some exporters.
                            length = (1..1 << 40).contains(&value).then_some(value);
                        }
                        Ok(())
                    })?;
                    if shape.len() < MOST_DIMENSIONS {
                        shape.push(length);
                    }
                    Ok(())
                })?;
            }
            _ => {}
        }
        Ok(())
    })
}
