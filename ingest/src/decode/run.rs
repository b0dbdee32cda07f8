use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer_video::VideoInfo;
use moliceiro_nats::messages::{Encoding, still_slot};
use tracing::{debug, info};

use super::error::{DecodeError, Problem};
use super::file::{self, Checked, Origin};
use super::geometry::Orientation;
use super::jpeg::JpegEncoder;
use super::picture::{Chroma, PictureMaker};
use super::pipeline::{Next, Source};
use super::still;
use super::verdict::{self, Covered};
use super::watch::timeline;
use super::{Announced, DecodeSettings, Decoded, DecodedFrame, DecodedStill, claims, elements};
use crate::report;

/// How often a wait is interrupted to look whether anybody still wants the video.
const POLL: gst::ClockTime = gst::ClockTime::from_mseconds(50);
/// How long frames that were decoded before an error may take to arrive.
const GRACE: Duration = Duration::from_secs(1);

type Frames = async_channel::Sender<DecodedFrame>;

/// Decodes a whole video on this thread.
pub(super) fn decode(origin: &Origin, settings: &DecodeSettings, announced: &Announced, frames: &Frames) -> Result<Decoded, DecodeError> {
    elements::init()?;
    let Checked { uri, name, path, kind } = file::check(origin)?;
    let mut source = Source::open(&uri, kind, &name)?;
    let jpeg = match settings.encoding {
        Encoding::Jpeg => Some(
            JpegEncoder::new(settings.size, settings.jpeg_quality)
                .map_err(|error| DecodeError::Failed { video: name.clone(), reason: error.to_string() })?,
        ),
        Encoding::I420 => None,
    };
    let mut run = Run {
        settings,
        announced,
        frames,
        jpeg,
        maker: None,
        orientation: Orientation::default(),
        totals: Totals::default(),
        claimed: claims::avi_duration(&path),
    };
    let stopped = run.drain(&mut source)?;
    run.announce_duration(&source);
    let Run { totals, .. } = run;
    let watch = source.watch().clone();
    let failure = source.into_failure(totals.decoded == 0);
    if totals.decoded == 0 {
        let error = failure.or(stopped.map(|problem| problem.into_error(&name)));
        return Err(error.unwrap_or(DecodeError::NoFrames { video: name }));
    }
    let problem = stopped
        .or_else(|| failure.map(|error| Problem::Broken { reason: error.into_reason() }))
        .or_else(|| verdict::cut_short(&totals.covered, announced, &watch))
        .or_else(|| verdict::damaged(totals.decoded, &watch));
    info!(name, decoded = totals.decoded, problem = problem.as_ref().map(tracing::field::display), "a video is decoded");
    Ok(Decoded { frames: totals.frames, decoded: totals.decoded, duration: totals.covered.duration(), problem })
}

#[derive(Default)]
struct Totals {
    decoded: u64,
    frames: u64,
    covered: Covered,
}

struct Run<'a> {
    settings: &'a DecodeSettings,
    announced: &'a Announced,
    frames: &'a Frames,
    jpeg: Option<JpegEncoder>,
    maker: Option<PictureMaker>,
    orientation: Orientation,
    totals: Totals,
    /// Duration that the file's header claims, where GStreamer doesn't tell.
    claimed: Option<u64>,
}

impl Run<'_> {
    /// Takes frames until there are no more. Gives what else ended them.
    fn drain(&mut self, source: &mut Source) -> Result<Option<Problem>, DecodeError> {
        let mut since = Instant::now();
        while !self.frames.is_closed() {
            match source.next(POLL) {
                Next::Frame(sample) => {
                    if let Err(problem) = self.take(&sample, source)? {
                        return Ok(Some(problem));
                    }
                    since = Instant::now();
                }
                Next::Orientation(orientation) => self.orientation = orientation,
                Next::End => return Ok(None),
                Next::Nothing if source.is_failing() && since.elapsed() > GRACE => return Ok(None),
                Next::Nothing if since.elapsed() > self.settings.stall_timeout => {
                    return Ok(Some(Problem::Stalled { after: self.settings.stall_timeout }));
                }
                Next::Nothing => {}
            }
        }
        Err(DecodeError::Cancelled)
    }

    /// Counts a frame, and hands it over if it is wanted.
    fn take(&mut self, sample: &gst::Sample, source: &Source) -> Result<Result<(), Problem>, DecodeError> {
        let info = sample.caps().and_then(|caps| VideoInfo::from_caps(caps).ok());
        let (Some(buffer), Some(info)) = (sample.buffer(), info) else {
            return Ok(Err(Problem::Broken { reason: "the decoder gave a frame without a format".into() }));
        };
        if self.totals.decoded == 0 {
            self.announce(source, &info);
        }
        let index = self.totals.decoded;
        let wanted = index.is_multiple_of(self.settings.every.max(1));
        let pts = start_of(sample, buffer);
        if wanted && index >= self.settings.skip_before {
            let frame = match self.picture(index, pts, buffer, &info) {
                Ok(frame) => frame,
                Err(reason) => return Ok(Err(Problem::Broken { reason })),
            };
            self.frames.send_blocking(frame).map_err(|_| DecodeError::Cancelled)?;
        }
        self.totals.decoded += 1;
        report::frame_decoded();
        self.totals.frames += u64::from(wanted);
        self.totals.covered.add(pts, buffer.duration().map(gst::ClockTime::nseconds), self.announced.frame_rate());
        Ok(Ok(()))
    }

    fn announce(&self, source: &Source, info: &VideoInfo) {
        let rate = info.fps();
        self.announced.set_frame_rate(rate.numer().unsigned_abs(), rate.denom().unsigned_abs());
        self.announce_duration(source);
        debug!(format = info.name(), width = info.width(), height = info.height(), colors = %info.colorimetry(), announced = ?self.announced, "the first frame");
    }

    fn announce_duration(&self, source: &Source) {
        if let Some(duration) = source.announced_duration().max(self.claimed) {
            self.announced.set_duration(duration);
        }
    }

    fn picture(&mut self, index: u64, pts: Option<u64>, buffer: &gst::BufferRef, info: &VideoInfo) -> Result<DecodedFrame, String> {
        let text = |error: gst::glib::BoolError| error.to_string();
        let (orientation, size) = (self.orientation, self.settings.size);
        let fitting = self.maker.take().filter(|maker| maker.fits(info, orientation)).map(Ok);
        let maker = self.maker.insert(fitting.unwrap_or_else(|| PictureMaker::new(info, orientation, size)).map_err(text)?);
        let (letterbox, color) = (maker.letterbox(), maker.color());
        let (encoding, pixels) = match &mut self.jpeg {
            Some(encoder) => (Encoding::Jpeg, encoder.encode(maker.make(buffer, Chroma::Full).map_err(text)?)?),
            None => (Encoding::I420, maker.make(buffer, Chroma::Halved).map_err(text)?),
        };
        let still = match still_slot(self.totals.frames).filter(|_| self.settings.stills) {
            Some(slot) => {
                let planes = maker.make(buffer, Chroma::Full).map_err(text)?;
                Some(DecodedStill { slot, jpeg: still::encode(&planes, size, letterbox, color)? })
            }
            None => None,
        };
        Ok(DecodedFrame { index, pts, size, letterbox, color, encoding, pixels, still })
    }
}

fn start_of(sample: &gst::Sample, buffer: &gst::BufferRef) -> Option<u64> {
    let pts = buffer.pts()?;
    match sample.segment().and_then(|segment| segment.downcast_ref::<gst::ClockTime>()) {
        Some(segment) => timeline(segment, pts),
        None => Some(pts.nseconds()),
    }
}
