use moliceiro_messages::Size;
use ort::ep::CPU;
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::value::{Outlet, TensorElementType, TensorRef, ValueType};

use crate::frame_error::InferenceError;
use crate::model::{Model, Weights};
use crate::model_error::{Mismatch, ModelError};
use crate::runtime::Runtime;
use crate::text::one_line;

const INPUT: &str = "input";
const OUTPUT: &str = "output";
const INPUT_DIMENSIONS: usize = 4;
const OUTPUT_DIMENSIONS: usize = 3;

/// A model, loaded into ONNX Runtime. Its graph declares the input and output of its manifest.
pub(crate) struct ModelSession {
    session: Session,
    model: Model,
}

impl ModelSession {
    /// Loads the model, and compares what its graph declares with the manifest.
    pub fn load(
        runtime: &Runtime,
        model: &Model,
        intra_threads: usize,
    ) -> Result<Self, ModelError> {
        let mut builder = session_builder(runtime, intra_threads)
            .map_err(|error| ModelError::Session(one_line(&error.to_string())))?;
        let session = match &model.weights {
            Weights::Builtin(bytes) => builder.commit_from_memory(bytes),
            Weights::File(path) => builder.commit_from_file(path),
        };
        let session = session.map_err(|error| ModelError::NotOnnx {
            model: model.name.clone(),
            reason: one_line(error.message()),
        })?;
        check_input(&session, model).map_err(|reason| mismatch(model, reason))?;
        check_output(&session, model)?;
        Ok(Self { session, model: model.clone() })
    }

    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Runs the model on the tensor of a blank picture, and checks that its family can produce the
    /// output. What a graph leaves open, only a run shows.
    pub fn check_output(&mut self, blank: &[f32], size: Size) -> Result<(), ModelError> {
        let checked = self.infer(blank, size, |model, output| {
            model.manifest.family.decoder().check(output, model.labels.len())
        });
        let reason = match checked {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => Mismatch::Output(error),
            Err(error) => Mismatch::BlankPicture(error),
        };
        Err(mismatch(&self.model, reason))
    }

    /// Runs the model and passes its output to `read`, once the shape of the output is checked.
    pub fn infer<T>(
        &mut self,
        tensor: &[f32],
        size: Size,
        read: impl FnOnce(&Model, &[f32]) -> T,
    ) -> Result<T, InferenceError> {
        let Self { session, model } = self;
        let manifest = &model.manifest;
        let failed = |error: ort::Error| InferenceError::Runtime(one_line(error.message()));
        let tensor =
            TensorRef::from_array_view((manifest.input.shape(size), tensor)).map_err(failed)?;
        let outputs =
            session.run(ort::inputs![manifest.input.name.as_str() => tensor]).map_err(failed)?;
        let output = outputs
            .get(&manifest.output.name)
            .ok_or_else(|| InferenceError::MissingOutput(manifest.output.name.clone()))?;
        let (shape, output) = output.try_extract_tensor::<f32>().map_err(failed)?;
        let expected = output_shape(model, size);
        if shape[..] != expected {
            let (actual, expected) = (shape.to_vec(), expected.to_vec());
            return Err(InferenceError::OutputShape { actual, expected });
        }
        Ok(read(model, output))
    }
}

fn session_builder(runtime: &Runtime, intra_threads: usize) -> ort::Result<SessionBuilder> {
    let builder = SessionBuilder::new(runtime.environment())?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(intra_threads.max(1))?
        // Spinning threads would take the cores from the other sessions.
        .with_intra_op_spinning(false)?
        // One session gets pictures of many sizes: an arena and memory patterns would keep the
        // memory of each.
        .with_memory_pattern(false)?
        .with_execution_providers([CPU::default().with_arena_allocator(false).build()])?;
    Ok(builder)
}

fn mismatch(model: &Model, reason: Mismatch) -> ModelError {
    ModelError::Mismatch { model: model.name.clone(), reason }
}

fn check_input(session: &Session, model: &Model) -> Result<(), Mismatch> {
    let input = &model.manifest.input;
    if let [_, _, ..] = session.inputs() {
        return Err(Mismatch::SeveralInputs(names(session.inputs())));
    }
    let shape = declared_shape(INPUT, &input.name, session.inputs(), INPUT_DIMENSIONS)?;
    check_shape(INPUT, &input.name, shape, &input.shape(model.size()))?;
    let variable = shape.iter().filter(|length| **length < 0).count();
    if input.multiple_of.is_some() && variable < 2 {
        return Err(Mismatch::OneSizeOnly { name: input.name.clone(), actual: shape.to_vec() });
    }
    Ok(())
}

fn check_output(session: &Session, model: &Model) -> Result<(), ModelError> {
    let name = &model.manifest.output.name;
    let shape = declared_shape(OUTPUT, name, session.outputs(), OUTPUT_DIMENSIONS)
        .map_err(|reason| mismatch(model, reason))?;
    check_classes(model, shape[2])?;
    check_shape(OUTPUT, name, shape, &output_shape(model, model.size()))
        .map_err(|reason| mismatch(model, reason))
}

/// Fails if the columns hold another number of classes than there are labels.
fn check_classes(model: &Model, columns: i64) -> Result<(), ModelError> {
    let extra = model.manifest.family.decoder().extra_columns();
    let labels = model.labels.len();
    let classes = usize::try_from(columns).ok().and_then(|columns| columns.checked_sub(extra));
    match classes {
        Some(classes) if classes > 0 && classes != labels => {
            Err(ModelError::Labels { model: model.name.clone(), classes, labels })
        }
        _ => Ok(()),
    }
}

/// The shape that the graph declares: -1 is a dimension of any length.
fn declared_shape<'a>(
    which: &'static str,
    name: &str,
    outlets: &'a [Outlet],
    dimensions: usize,
) -> Result<&'a [i64], Mismatch> {
    let Some(outlet) = outlets.iter().find(|outlet| outlet.name() == name) else {
        let (name, present) = (name.to_owned(), names(outlets));
        return Err(Mismatch::Missing { which, name, present });
    };
    match outlet.dtype() {
        ValueType::Tensor { ty: TensorElementType::Float32, shape, .. }
            if shape.len() == dimensions =>
        {
            Ok(&shape[..])
        }
        other => {
            let (name, actual) = (name.to_owned(), other.to_string());
            Err(Mismatch::Type { which, name, actual, dimensions })
        }
    }
}

/// Fails unless every dimension is as expected or of any length.
fn check_shape(
    which: &'static str,
    name: &str,
    actual: &[i64],
    expected: &[i64],
) -> Result<(), Mismatch> {
    let fits = actual.len() == expected.len()
        && actual.iter().zip(expected).all(|(length, expected)| *length < 0 || length == expected);
    if fits {
        return Ok(());
    }
    let (actual, expected) = (actual.to_vec(), expected.to_vec());
    Err(Mismatch::Shape { which, name: name.to_owned(), actual, expected })
}

/// The shape that the output must have for a picture of this size.
fn output_shape(model: &Model, size: Size) -> [i64; OUTPUT_DIMENSIONS] {
    let decoder = model.manifest.family.decoder();
    [1, decoder.rows(size) as i64, (model.labels.len() + decoder.extra_columns()) as i64]
}

fn names(outlets: &[Outlet]) -> String {
    outlets.iter().map(|outlet| format!("{:?}", outlet.name())).collect::<Vec<_>>().join(", ")
}
