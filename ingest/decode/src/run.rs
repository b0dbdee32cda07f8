use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer_video::VideoInfo;
use tracing::{debug, info};

use super::error::{DecodeError, Problem};
use super::file::{self, Checked, Kind, LocalFile, Origin};
use super::geometry::Orientation;
use super::output::{End, Frames, Output, RawFrame, Turn};
use super::pipeline::{Next, Source};
use super::watch::timeline;
use super::{Announced, DecodeSettings, Decoded, claims, elements, folder, images, verdict};

/// How often a wait is interrupted to look whether anybody still wants the video.
const POLL: gst::ClockTime = gst::ClockTime::from_mseconds(50);
/// How long frames that were decoded before an error may take to arrive.
const GRACE: Duration = Duration::from_secs(1);

/// Decodes a whole video on this thread.
pub(super) fn decode(
    origin: &Origin,
    settings: &DecodeSettings,
    announced: &Announced,
    frames: &Frames,
) -> Result<Decoded, DecodeError> {
    elements::init()?;
    let checked = file::check(origin)?;
    let video = checked.name().to_owned();
    let output = Output::new(settings.clone(), announced.clone(), frames.clone())
        .map_err(|reason| DecodeError::Failed { video: video.clone(), reason })?;
    let mut run = Run { stall_timeout: settings.stall_timeout, output };
    let problem = match checked {
        Checked::Folder { path, .. } => run.folder(&folder::pictures(&path)?).map(|()| None),
        Checked::File(file) => match file.kind {
            Kind::Image(format) => run.images(&file, format),
            Kind::Jpeg | Kind::Other => run.video(&file),
        },
    }?;
    let decoded = run.output.totals.decoded;
    info!(
        name = video,
        decoded,
        problem = problem.as_ref().map(tracing::field::display),
        "a video is decoded"
    );
    run.output.finish(video, problem)
}

struct Run {
    stall_timeout: Duration,
    output: Output,
}

impl Run {
    /// Decodes a file with GStreamer. Gives what is wrong with it, if there are frames all the
    /// same.
    fn video(&mut self, file: &LocalFile) -> Result<Option<Problem>, DecodeError> {
        let name = &file.name;
        let mut source = Source::open(&file.uri, file.kind, name)?;
        // Duration that the file's header claims, where GStreamer doesn't tell.
        let claimed = claims::avi_duration(&file.path);
        let end = self.drain(&mut source, |output, source, frame| {
            if output.totals.decoded == 0 {
                announce(&output.announced, source, claimed, &frame.info);
            }
            Ok(output.take(&frame)?.map_or(ControlFlow::Continue(()), ControlFlow::Break))
        })?;
        announce_duration(&self.output.announced, &source, claimed);
        let stopped = match end {
            // What lies behind the range is nobody's business.
            End::OfRange => return Ok(None),
            End::OfVideo => None,
            End::Problem(problem) => Some(problem),
        };
        let (totals, watch) = (&self.output.totals, source.watch().clone());
        let failure = source.into_failure(totals.decoded == 0);
        if totals.decoded == 0 {
            let error = failure.or(stopped.map(|problem| problem.into_error(name)));
            return Err(error.unwrap_or(DecodeError::NoFrames { video: name.clone() }));
        }
        Ok(stopped
            .or_else(|| failure.map(|error| Problem::Broken { reason: error.into_reason() }))
            .or_else(|| verdict::cut_short(&totals.covered, &self.output.announced, &watch))
            .or_else(|| verdict::damaged(totals.decoded, &watch)))
    }

    /// Decodes a file of one of the formats that are read without GStreamer.
    fn images(
        &mut self,
        file: &LocalFile,
        format: images::Format,
    ) -> Result<Option<Problem>, DecodeError> {
        for image in images::open(file, format)? {
            let image = match image {
                Ok(image) => image,
                Err(error) if self.output.totals.decoded == 0 => return Err(error),
                Err(error) => return Ok(Some(Problem::Broken { reason: error.into_reason() })),
            };
            if self.output.is_closed() {
                return Err(DecodeError::Cancelled);
            }
            match self.output.take(&image.frame())? {
                None => {}
                Some(End::Problem(problem)) => return Ok(Some(problem)),
                Some(End::OfVideo | End::OfRange) => break,
            }
        }
        Ok(None)
    }

    /// Takes each picture of a folder for a frame. One that cannot be decoded is lost, and does not
    /// stop the others.
    fn folder(&mut self, pictures: &[PathBuf]) -> Result<(), DecodeError> {
        self.output.announced.set_frames(pictures.len() as u64);
        for picture in pictures {
            if self.output.is_closed() {
                return Err(DecodeError::Cancelled);
            }
            if self.output.turn(None) == Turn::HandOver {
                match self.first_frame(picture) {
                    Err(DecodeError::Cancelled) => return Err(DecodeError::Cancelled),
                    Err(error) => self.output.lose(error.to_string())?,
                    Ok(()) => {}
                }
            }
            self.output.count(None, None);
        }
        Ok(())
    }

    /// Hands over the first frame of a file.
    fn first_frame(&mut self, path: &std::path::Path) -> Result<(), DecodeError> {
        let file = file::check_file(path, None)?;
        let failed = |reason| DecodeError::Failed { video: file.name.clone(), reason };
        let none = || DecodeError::NoFrames { video: file.name.clone() };
        if let Kind::Image(format) = file.kind {
            let image = images::open(&file, format)?.next().ok_or_else(none)??;
            return self
                .output
                .hand_over(&RawFrame { pts: None, ..image.frame() })?
                .map_err(failed);
        }
        let mut source = Source::open(&file.uri, file.kind, &file.name)?;
        let mut taken = None;
        let end = self.drain(&mut source, |output, _, frame| {
            taken = Some(output.hand_over(&RawFrame { pts: None, ..frame })?);
            Ok(ControlFlow::Break(End::OfRange))
        })?;
        if let Some(taken) = taken {
            return taken.map_err(failed);
        }
        let stopped = if let End::Problem(problem) = end {
            Some(problem.into_error(&file.name))
        } else {
            None
        };
        Err(source.into_failure(true).or(stopped).unwrap_or_else(none))
    }

    /// Takes frames until there are no more, or until `take` breaks off.
    fn drain(
        &mut self,
        source: &mut Source,
        mut take: impl FnMut(
            &mut Output,
            &Source,
            RawFrame<'_>,
        ) -> Result<ControlFlow<End>, DecodeError>,
    ) -> Result<End, DecodeError> {
        let (mut since, mut orientation) = (Instant::now(), Orientation::default());
        while !self.output.is_closed() {
            match source.next(POLL) {
                Next::Frame(sample) => {
                    let Some(frame) = raw_frame(&sample, orientation) else {
                        return Ok(End::Problem(Problem::Broken {
                            reason: "the decoder gave a frame without a format".into(),
                        }));
                    };
                    if let ControlFlow::Break(end) = take(&mut self.output, source, frame)? {
                        return Ok(end);
                    }
                    since = Instant::now();
                }
                Next::Orientation(now) => orientation = now,
                Next::End => return Ok(End::OfVideo),
                Next::Nothing if source.is_failing() && since.elapsed() > GRACE => {
                    return Ok(End::OfVideo);
                }
                Next::Nothing if since.elapsed() > self.stall_timeout => {
                    return Ok(End::Problem(Problem::Stalled { after: self.stall_timeout }));
                }
                Next::Nothing => {}
            }
        }
        Err(DecodeError::Cancelled)
    }
}

fn announce(announced: &Announced, source: &Source, claimed: Option<u64>, info: &VideoInfo) {
    let rate = info.fps();
    announced.set_frame_rate(rate.numer().unsigned_abs(), rate.denom().unsigned_abs());
    announce_duration(announced, source, claimed);
    debug!(format = info.name(), width = info.width(), height = info.height(), colors = %info.colorimetry(), ?announced, "the first frame");
}

fn announce_duration(announced: &Announced, source: &Source, claimed: Option<u64>) {
    if let Some(duration) = source.announced_duration().max(claimed) {
        announced.set_duration(duration);
    }
}

fn raw_frame(sample: &gst::Sample, orientation: Orientation) -> Option<RawFrame<'_>> {
    let info = VideoInfo::from_caps(sample.caps()?).ok()?;
    let buffer = sample.buffer()?;
    let length = buffer.duration().map(gst::ClockTime::nseconds);
    Some(RawFrame { buffer, info, orientation, pts: start_of(sample, buffer), length })
}

pub(super) fn start_of(sample: &gst::Sample, buffer: &gst::BufferRef) -> Option<u64> {
    let pts = buffer.pts()?;
    match sample.segment().and_then(|segment| segment.downcast_ref::<gst::ClockTime>()) {
        Some(segment) => timeline(segment, pts),
        None => Some(pts.nseconds()),
    }
}
