use std::time::{Duration, Instant, SystemTime};

use gstreamer as gst;
use moliceiro_messages::Deinterlace;

use super::drop_counter::DropCounter;
use crate::decoding::{Decoding, DecodingSender, channel};
use crate::error::{Incomplete, PictureError};
use crate::geometry::Orientation;
use crate::interlacing::{self, Before};
use crate::output::{Output, Taken};
use crate::raw_frame::RawFrame;
use crate::settings::DecodeSettings;

/// A part of a live source, as a video of its own.
#[derive(Debug)]
pub struct Window {
    /// When its first frame arrived.
    pub began: SystemTime,
    /// Its frames, with indexes from 0.
    pub decoding: Decoding,
}

/// The end of a [`Window`] that receives frames.
pub(super) struct OpenWindow {
    opened: Instant,
    drop_counter: DropCounter,
    dropped_before: u64,
    deinterlace: Deinterlace,
    before: Before,
    output: Output,
    sender: DecodingSender,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offered {
    Accepted,
    /// The window's buffer is full.
    NoSpace,
}

impl OpenWindow {
    /// A window that starts now, for the consumer, and the end that receives its frames.
    pub(super) fn open(
        settings: &DecodeSettings,
        drop_counter: &DropCounter,
    ) -> Result<(Self, Window), PictureError> {
        let (sender, decoding) = channel(settings.queue);
        let window = Window { began: SystemTime::now(), decoding };
        let open = Self {
            opened: Instant::now(),
            drop_counter: drop_counter.clone(),
            dropped_before: drop_counter.total(),
            deinterlace: settings.deinterlace,
            before: Before::default(),
            output: Output::new(settings.clone(), &sender)?,
            sender,
        };
        Ok((open, window))
    }

    pub(super) fn age(&self) -> Duration {
        self.opened.elapsed()
    }

    /// Counts frames that were not decoded.
    pub(super) fn leave_out(&mut self, frames: u64) {
        self.output.leave_out_untimed(frames);
    }

    pub(super) fn offer(&mut self, sample: &gst::Sample) -> Result<Offered, PictureError> {
        if self.sender.frames().is_full() {
            return Ok(Offered::NoSpace);
        }
        let mut frame =
            RawFrame::from_sample(sample, Orientation::default()).ok_or(PictureError::NoFormat)?;
        let age = || u64::try_from(self.age().as_nanos()).unwrap_or(u64::MAX);
        frame.pts = Some(frame.pts.unwrap_or_else(age));
        let (first, second) = interlacing::separate(frame, self.deinterlace, &mut self.before);
        let taken = match (self.output.take(first), second) {
            (Ok(Taken::Counted), Some(second)) => self.output.take(second),
            (taken, _) => taken,
        };
        match taken {
            Ok(Taken::Broken(error)) => Err(error),
            // The window may have been dropped by its consumer, which is not the source's fault.
            Ok(Taken::Counted | Taken::EndOfRange) | Err(_) => Ok(Offered::Accepted),
        }
    }

    /// Ends the window. Errors call the source `name`, and `reason` says why it was interrupted.
    pub(super) fn end(self, name: &str, reason: Option<String>) {
        let dropped = self.drop_counter.total() - self.dropped_before;
        let dropped = (dropped > 0)
            .then(|| format!("{dropped} frames were dropped because the queue was full"));
        let reason = [reason, dropped].into_iter().flatten().reduce(|a, b| format!("{a}; {b}"));
        let incomplete = reason.map(|reason| Incomplete::Interrupted { reason });
        self.sender.finish(self.output.finish(name, incomplete));
    }
}
