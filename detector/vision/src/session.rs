use std::borrow::Cow;
use std::time::Duration;

use half::f16;
use moliceiro_messages::Size;
use ort::ep::CPU;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{Session, SessionInputValue};
use ort::value::{DynValue, Tensor, TensorElementType, TensorRef, ValueType};

use crate::decoders::Output;
use crate::frame_error::InferenceError;
use crate::input::{Packed, Packing};
use crate::limited_run::{self, Inputs};
use crate::model::{Model, Weights};
use crate::model_error::ModelError;
use crate::reading::{Extra, Number, Reading};
use crate::runtime::Runtime;
use crate::text::one_line;

/// A model, loaded into ONNX Runtime.
pub(crate) struct ModelSession {
    session: Session,
    packing: Packing,
    /// How long a run may take.
    limit: Option<Duration>,
}

impl ModelSession {
    /// Loads the model.
    pub fn load(
        runtime: &Runtime,
        model: &Model,
        intra_threads: usize,
    ) -> Result<Self, ModelError> {
        let mut builder = session_builder(runtime, intra_threads)
            .map_err(|error| ModelError::Session(one_line(&error.to_string())))?;
        let session = match &model.weights {
            Weights::Builtin(bytes) => builder.commit_from_memory(bytes),
            Weights::Bytes(bytes) => builder.commit_from_memory(bytes),
            Weights::File(path) => builder.commit_from_file(path),
        };
        let session = session.map_err(|error| ModelError::Rejected {
            model: model.name.clone(),
            reason: reason(&error),
        })?;
        Ok(Self { session, packing: Packing::default(), limit: None })
    }

    /// How long each of the following runs may take.
    pub fn limit(&mut self, limit: Option<Duration>) {
        self.limit = limit;
    }

    /// Runs the model on three planes of a picture, and passes the outputs of the reading to
    /// `read`.
    pub fn infer<T>(
        &mut self,
        reading: &Reading,
        planes: &[f32],
        size: Size,
        read: impl FnOnce(&[Output<'_>]) -> T,
    ) -> Result<T, InferenceError> {
        let Self { session, packing, limit } = self;
        let inputs = inputs(reading, planes, size, packing)?;
        limited_run::run(session, inputs, *limit, |outputs| {
            let mut found = Vec::with_capacity(reading.outputs.len());
            for name in &reading.outputs {
                let value =
                    outputs.get(name).ok_or_else(|| InferenceError::MissingOutput(name.clone()))?;
                found.push(output(value)?);
            }
            Ok(read(&found))
        })?
    }

    /// The shapes of all outputs for a picture.
    pub fn shapes(
        &mut self,
        reading: &Reading,
        planes: &[f32],
        size: Size,
    ) -> Result<Vec<(String, Vec<i64>)>, InferenceError> {
        let Self { session, packing, limit } = self;
        let inputs = inputs(reading, planes, size, packing)?;
        let shape = |value: &DynValue| match value.dtype() {
            ValueType::Tensor { shape, .. } => Some(shape.to_vec()),
            _ => None,
        };
        limited_run::run(session, inputs, *limit, |outputs| {
            let shapes = outputs.iter();
            shapes.filter_map(|(name, value)| Some((name.to_owned(), shape(&value)?))).collect()
        })
    }
}

pub(crate) fn failed(error: &ort::Error) -> InferenceError {
    InferenceError::Runtime(reason(error))
}

/// What ONNX Runtime reports. It has no words for a lack of memory but C++'s.
fn reason(error: &ort::Error) -> String {
    let reason = one_line(error.message());
    if reason.contains("bad_alloc") {
        return format!("there is not enough memory for it ({reason})");
    }
    reason
}

fn inputs<'a>(
    reading: &'a Reading,
    planes: &'a [f32],
    size: Size,
    packing: &'a mut Packing,
) -> Result<Inputs<'a>, InferenceError> {
    let input = &reading.input;
    let shape = input.shape(size);
    let picture: SessionInputValue<'a> = match input.pack(planes, packing) {
        Packed::Float32(values) => {
            TensorRef::from_array_view((shape, values)).map_err(|error| failed(&error))?.into()
        }
        Packed::Float16(values) => {
            TensorRef::from_array_view((shape, values)).map_err(|error| failed(&error))?.into()
        }
        Packed::Uint8(values) => {
            TensorRef::from_array_view((shape, values)).map_err(|error| failed(&error))?.into()
        }
    };
    let mut inputs = vec![(Cow::Borrowed(input.name.as_str()), picture)];
    for extra in &reading.extras {
        inputs.push((Cow::Borrowed(extra.name.as_str()), extra_input(extra, size)?));
    }
    Ok(inputs)
}

fn extra_input<'a>(extra: &Extra, size: Size) -> Result<SessionInputValue<'a>, InferenceError> {
    let too_large = || InferenceError::ExtraInput(extra.name.clone());
    let (shape, values) = extra.values(size).ok_or_else(too_large)?;
    #[expect(clippy::cast_possible_truncation, reason = "they are lengths of pictures, or 1")]
    let integers = || values.iter().map(|value| *value as i32);
    let tensor = match extra.number {
        Number::Float32 => {
            Tensor::from_array((shape, values)).map_err(|error| failed(&error))?.into_dyn()
        }
        Number::Float16 => {
            let halves: Vec<f16> = values.iter().map(|value| f16::from_f32(*value)).collect();
            Tensor::from_array((shape, halves)).map_err(|error| failed(&error))?.into_dyn()
        }
        Number::Int32 => Tensor::from_array((shape, integers().collect::<Vec<_>>()))
            .map_err(|error| failed(&error))?
            .into_dyn(),
        Number::Int64 => {
            let integers: Vec<i64> = integers().map(i64::from).collect();
            Tensor::from_array((shape, integers)).map_err(|error| failed(&error))?.into_dyn()
        }
        Number::Bool => {
            let truths: Vec<bool> = values.iter().map(|value| *value != 0.0).collect();
            Tensor::from_array((shape, truths)).map_err(|error| failed(&error))?.into_dyn()
        }
    };
    Ok(tensor.into())
}

/// An output as float32, in which classes and counts are exact.
fn output(value: &DynValue) -> Result<Output<'_>, InferenceError> {
    let ValueType::Tensor { ty, shape, .. } = value.dtype() else {
        return Err(InferenceError::OutputType(value.dtype().to_string()));
    };
    let shape: Vec<usize> =
        shape.iter().map(|length| usize::try_from(*length).unwrap_or(0)).collect();
    if shape.contains(&0) {
        // ONNX Runtime has no memory for it, and a slice may not begin nowhere.
        return Ok(Output { shape, values: Cow::Borrowed(&[]) });
    }
    #[expect(clippy::cast_precision_loss, reason = "classes and counts are small")]
    #[expect(clippy::cast_possible_truncation, reason = "scores and pixels need no more")]
    let values = match ty {
        TensorElementType::Float32 => Cow::Borrowed(extract::<f32>(value)?),
        TensorElementType::Float16 => {
            extract::<f16>(value)?.iter().map(|half| half.to_f32()).collect()
        }
        TensorElementType::Float64 => {
            extract::<f64>(value)?.iter().map(|number| *number as f32).collect()
        }
        TensorElementType::Int64 => {
            extract::<i64>(value)?.iter().map(|number| *number as f32).collect()
        }
        TensorElementType::Int32 => {
            extract::<i32>(value)?.iter().map(|number| *number as f32).collect()
        }
        TensorElementType::Uint8 => {
            extract::<u8>(value)?.iter().map(|number| f32::from(*number)).collect()
        }
        _ => return Err(InferenceError::OutputType(value.dtype().to_string())),
    };
    Ok(Output { shape, values })
}

fn extract<T: ort::value::PrimitiveTensorElementType>(
    value: &DynValue,
) -> Result<&[T], InferenceError> {
    value.try_extract_tensor::<T>().map(|(_, values)| values).map_err(|error| failed(&error))
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
