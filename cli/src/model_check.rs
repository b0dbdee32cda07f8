mod drawing;
mod picture;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use moliceiro_detector::{DetectorSettings, load_runtime};
use moliceiro_nats::messages::Detection;
use moliceiro_service::{CommonArguments, stdout};
use moliceiro_vision::{Detector, Image, Model, ModelError, Options, Phases, Unrecognised};

/// The exit code for a model that can be read in several ways.
const AMBIGUOUS: u8 = 2;
/// Runs with the picture, of which the fastest is printed: the first ones warm up.
const RUNS: usize = 5;

/// Reports how a model is fed and read, and what it finds in an image
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
A manifest (.toml) beside the file overrides what the file says; see docs/models.md.

Exit codes: 0 the model can be used, 1 it cannot, 2 it can be read in several ways and a manifest \
has to choose, 64 wrong arguments or settings.

Example:
  moliceiro model check yolov8n.onnx street.jpg   writes street-yolov8n.png")]
pub(crate) struct CheckArguments {
    /// The model: an .onnx file, its manifest (.toml), or the name of a built-in one
    #[arg(value_name = "FILE")]
    model: PathBuf,
    /// A JPEG or PNG to find objects in
    image: Option<PathBuf>,
    /// PNG file to write, with the boxes [default: IMAGE-MODEL.png beside the image]
    #[arg(long, short, value_name = "FILE", requires = "image")]
    output: Option<PathBuf>,
    /// Report objects whose score is above this, 0 to 1 [default: the model's]
    #[arg(long, value_name = "SCORE")]
    threshold: Option<f32>,
    #[command(flatten)]
    common: CommonArguments,
}

pub(crate) fn run(arguments: &CheckArguments) -> anyhow::Result<ExitCode> {
    let settings: DetectorSettings = arguments.common.loader().load()?.section()?;
    match check(arguments, &settings) {
        Err(error) if is_ambiguous(&error) => {
            // If standard error is closed, nobody reads it.
            drop(writeln!(std::io::stderr(), "error: {error}"));
            Ok(ExitCode::from(AMBIGUOUS))
        }
        Err(error) => Err(error),
        Ok(()) => Ok(ExitCode::SUCCESS),
    }
}

fn is_ambiguous(error: &anyhow::Error) -> bool {
    match error.downcast_ref() {
        Some(ModelError::Unrecognised { source, .. }) => {
            matches!(**source, Unrecognised::Ambiguous(_))
        }
        _ => false,
    }
}

fn check(arguments: &CheckArguments, settings: &DetectorSettings) -> anyhow::Result<()> {
    let model = Model::resolve(Some(&arguments.model))?;
    let runtime = load_runtime(settings)?;
    let threshold = arguments.threshold;
    let options = Options { threshold, ..Options::default() };
    let mut detector = Detector::new(&runtime, &model, options)?;
    let mut out = stdout();
    writeln!(out, "{}", detector.model().description())?;
    let Some(path) = &arguments.image else { return Ok(()) };
    let image = picture::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let (found, phases) = detect(&mut detector, &image)?;
    let output = arguments.output.clone().unwrap_or_else(|| beside(path, &arguments.model));
    writeln!(out, "\n{} objects in {}", found.len(), path.display())?;
    for (index, Detection { label, score, bounds }) in found.iter().enumerate() {
        let [left, top, right, bottom] = bounds.map(|side| side.round());
        writeln!(out, "{:>3} {label} {score:.3} at {left}, {top} to {right}, {bottom}", index + 1)?;
    }
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    writeln!(
        out,
        "\n{:.2} ms to scale, {:.2} ms to normalise, {:.2} ms to run the model, {:.2} ms to read \
         its output",
        ms(phases.payload),
        ms(phases.tensor),
        ms(phases.inference),
        ms(phases.boxes)
    )?;
    let boxes: Vec<[f32; 4]> = found.iter().map(|detection| detection.bounds).collect();
    let drawn = drawing::with_boxes(&image, &boxes);
    picture::write(&drawn, &output)
        .with_context(|| format!("cannot write {}", output.display()))?;
    writeln!(out, "wrote {}", output.display())?;
    Ok(())
}

/// The objects in the image, and the times of the fastest run.
fn detect(detector: &mut Detector, image: &Image) -> anyhow::Result<(Vec<Detection>, Phases)> {
    let mut best = detector.detect_image(image)?;
    for _ in 1..RUNS {
        let run = detector.detect_image(image)?;
        if run.1.total() < best.1.total() {
            best = run;
        }
    }
    Ok(best)
}

/// A file beside the image with the names of both.
fn beside(image: &Path, model: &Path) -> PathBuf {
    let stem = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    image.with_file_name(format!("{}-{}.png", stem(image), stem(model)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drawing_is_beside_the_image() {
        let output = beside(Path::new("a/street.jpg"), Path::new("b/yolov8n.onnx"));
        assert_eq!(output, Path::new("a/street-yolov8n.png"));
    }
}
