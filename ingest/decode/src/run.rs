//! A video that is being decoded: how its frames get from a pipeline to its output.

use std::time::Duration;

use gstreamer_video::VideoInfo;
use moliceiro_messages::Deinterlace;
use tracing::debug;

use crate::container_info::ContainerInfo;
use crate::elements;
use crate::error::{Cancelled, DecodeError, Incomplete, PictureError};
use crate::file::LocalFile;
use crate::interlacing::{self, Before};
use crate::output::{Output, Taken};
use crate::pipeline::{FilePipeline, Next};
use crate::raw_frame::RawFrame;

/// A video that is being decoded.
pub(crate) struct Run {
    pub(crate) stall_timeout: Duration,
    pub(crate) deinterlace: Deinterlace,
    pub(crate) before: Before,
    /// Whether only key frames are decoded.
    pub(crate) key_frames: bool,
    pub(crate) requested_track: Option<u32>,
    /// Frames that GStreamer returned, or did not get because they are not key frames: fewer than
    /// are analysed if their fields are separated.
    pub(crate) stored_frames: u64,
    pub(crate) output: Output,
    /// Whether all selected frames are decoded.
    pub(crate) is_past_range: bool,
}

/// Why no more frames of a pipeline are taken.
pub(crate) enum FramesEnd {
    /// There are no more.
    Last,
    /// The next ones lie past the end of the range.
    OfRange,
    /// Frames are missing from here on.
    Stopped(Incomplete),
    /// No picture can be made of the next one.
    Broken(PictureError),
}

impl Run {
    /// Decodes with another decoder if the first one has no format for its frames. `open` gets the
    /// names of decoders that are excluded.
    pub(crate) fn with_fallback<T>(
        &mut self,
        file: &LocalFile,
        open: impl Fn(&[String]) -> Result<FilePipeline, DecodeError>,
        decode: impl Fn(&mut Self, FilePipeline) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        let mut excluded = Vec::new();
        loop {
            let pipeline = open(&excluded)?;
            let probes = pipeline.probes().clone();
            match decode(self, pipeline) {
                Err(error) if error.is_of_decoder() && self.output.decoded() == 0 => {
                    let tried = probes.decoder().filter(|name| elements::has_fallback(name));
                    let Some(tried) = tried.filter(|name| !excluded.contains(name)) else {
                        return Err(error);
                    };
                    debug!(name = file.name, decoder = tried, %error, "trying another decoder");
                    excluded.push(tried);
                }
                decoded => return decoded,
            }
        }
    }

    /// Takes the frames of a pipeline as `place` changes them; those that it returns `None` for are
    /// not shown. Once the video has a frame, its duration is declared, in nanoseconds.
    pub(crate) fn take_frames(
        &mut self,
        pipeline: &mut FilePipeline,
        mut place: impl FnMut(RawFrame) -> Option<RawFrame>,
        duration: impl Fn(&FilePipeline) -> Option<u64>,
    ) -> Result<FramesEnd, Cancelled> {
        let mut last = None::<RawFrame>;
        loop {
            let next = pipeline.next_frame(self.stall_timeout, || self.output.is_cancelled())?;
            let frame = match next {
                Next::End => {
                    self.leave_out(pipeline, last.as_ref(), None, &mut place);
                    if let Some(notice) = pipeline.probes().unknown_key_frames() {
                        self.output.notice(notice);
                    }
                    return Ok(FramesEnd::Last);
                }
                Next::Stopped(incomplete) => return Ok(FramesEnd::Stopped(incomplete)),
                Next::Frame(frame) => frame,
            };
            if self.key_frames {
                match (&last, frame.pts) {
                    (_, None) => {}
                    (None, Some(before)) => pipeline.probes().forget_undecoded(before),
                    (last, before) => self.leave_out(pipeline, last.as_ref(), before, &mut place),
                }
                last = Some(frame.same());
            }
            let Some(frame) = place(frame) else { continue };
            if self.output.decoded() == 0 {
                let doubled = interlacing::doubles(&frame, self.deinterlace);
                let container_info = self.output.container_info();
                record_format(container_info, &frame.info, doubled);
                if let Some(duration) = duration(pipeline) {
                    container_info.set_duration(duration);
                }
            }
            match self.take(frame)? {
                Taken::Counted => {}
                Taken::EndOfRange => return Ok(FramesEnd::OfRange),
                Taken::Broken(error) => return Ok(FramesEnd::Broken(error)),
            }
        }
    }

    /// Counts the frames that were kept from the decoder since `last`, and are shown before a time.
    fn leave_out(
        &mut self,
        pipeline: &FilePipeline,
        last: Option<&RawFrame>,
        before: Option<u64>,
        place: &mut impl FnMut(RawFrame) -> Option<RawFrame>,
    ) {
        // Without a key frame, they could not be decoded.
        let Some(last) = last else { return };
        for (pts, length) in pipeline.probes().take_undecoded(before) {
            let Some(frame) = place(RawFrame { pts, length, ..last.same() }) else { continue };
            self.stored_frames += 1;
            self.output.leave_out(frame.pts, frame.length);
        }
    }

    /// Takes a frame, or its fields.
    fn take(&mut self, frame: RawFrame) -> Result<Taken, Cancelled> {
        let (first, second) = interlacing::separate(frame, self.deinterlace, &mut self.before);
        let taken = match (self.output.take(first)?, second) {
            (Taken::Counted, Some(second)) => self.output.take(second)?,
            (taken, _) => taken,
        };
        self.stored_frames += u64::from(matches!(taken, Taken::Counted));
        Ok(taken)
    }
}

/// `doubled` says that there are two frames to analyse for each.
fn record_format(container_info: &ContainerInfo, info: &VideoInfo, doubled: bool) {
    let rate = info.fps();
    let frames = if doubled { 2 } else { 1 };
    container_info.set_frame_rate(
        rate.numer().unsigned_abs().saturating_mul(frames),
        rate.denom().unsigned_abs(),
    );
    debug!(
        format = info.name(),
        width = info.width(),
        height = info.height(),
        colors = %info.colorimetry(),
        frame_rate = ?container_info.frame_rate(),
        "first frame"
    );
}
