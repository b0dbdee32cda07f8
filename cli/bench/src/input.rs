//! The videos that everything is measured with.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use indicatif::ProgressBar;
use moliceiro_decode::cut;
use moliceiro_decode::{self as decode, DecodeSettings, DecodedFrame};
use moliceiro_ingest::IngestSettings;
use moliceiro_nats::VideoId;
use moliceiro_nats::messages::{
    Encoding, Frame, FrameSelection, ModelDescription, Size, VERSION, milliseconds_now,
};
use tokio::runtime::Handle;
use url::Url;

const TICK_INTERVAL: Duration = Duration::from_millis(200);

/// The videos, or shortened copies of them in `folder`, and how many frames they have together.
pub(crate) fn prepare(
    videos: impl Iterator<Item = Url>,
    frames: Option<u32>,
    folder: &Path,
) -> anyhow::Result<(Vec<Url>, u64)> {
    let spinner = ProgressBar::new_spinner().with_message("counting the frames");
    spinner.enable_steady_tick(TICK_INTERVAL);
    let (mut inputs, mut total) = (Vec::new(), 0);
    for (n, uri) in videos.enumerate() {
        let (input, cut_frames) = match frames {
            Some(frames) => {
                let file = folder.join(format!("cut-{n}.mkv"));
                let cut_frames = cut(&uri, frames, &file)?;
                let cut = Url::from_file_path(&file)
                    .ok()
                    .with_context(|| format!("{} is not an absolute path", file.display()))?;
                (cut, Some(cut_frames))
            }
            None => (uri.clone(), None),
        };
        let decoded =
            number_of_frames(&input).with_context(|| format!("cannot benchmark with {uri}"))?;
        if let Some(cut_frames) = cut_frames.filter(|cut_frames| *cut_frames != decoded) {
            bail!(
                "only {decoded} of the first {cut_frames} frames of {uri} can be decoded: \
                 give a short video instead of --frames"
            );
        }
        total += decoded;
        inputs.push(input);
    }
    spinner.finish_and_clear();
    Ok((inputs, total))
}

/// As an ingest decodes for the model that it has by default.
fn settings(skip_before: u64) -> DecodeSettings {
    let [model, _] = ModelDescription::builtin();
    IngestSettings::default().decoding(&model, FrameSelection::every(1), skip_before)
}

fn number_of_frames(uri: &Url) -> anyhow::Result<u64> {
    let settings = settings(u64::MAX);
    let decoding = decode::start(uri, settings);
    while decoding.frames.recv_blocking().is_ok() {}
    let video = decoding.outcome_blocking()?;
    match video.incomplete {
        None => Ok(video.decoded),
        Some(incomplete) => bail!("{incomplete}"),
    }
}

/// The first frames of a video, as an ingest publishes them to detectors.
pub(crate) async fn jpegs(
    uri: &Url,
    size: Size,
    limit: usize,
) -> anyhow::Result<Vec<DecodedFrame>> {
    let settings = DecodeSettings { size, encoding: Encoding::Jpeg, ..settings(0) };
    let source = uri.clone();
    let decode = move || {
        let decoding = decode::start(&source, settings);
        std::iter::from_fn(|| decoding.frames.recv_blocking().ok()?.ok())
            .take(limit)
            .collect::<Vec<_>>()
    };
    let frames = Handle::current().spawn_blocking(decode).await?;
    if frames.is_empty() { bail!("{uri} has no frames") } else { Ok(frames) }
}

/// A frame as a message, as if it were the frame `index` of `video`.
pub(crate) fn message(frame: &DecodedFrame, video: &VideoId, index: u64) -> Frame {
    let DecodedFrame { pts, size, letterbox, color, encoding, pixels, .. } = frame.clone();
    let decoded_at = Some(milliseconds_now());
    Frame {
        version: VERSION,
        video: video.clone(),
        index,
        pts,
        decoded_at,
        encoding,
        size,
        letterbox,
        color,
        pixels,
    }
}
