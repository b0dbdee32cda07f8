use gstreamer as gst;
use gstreamer_video::VideoInfo;
use moliceiro_messages::{Encoding, thumbnail_slot};

use super::chooser::{Chosen, FrameSelector};
use super::error::{DecodeError, Problem};
use super::geometry::Orientation;
use super::jpeg::JpegEncoder;
use super::picture::{Chroma, PictureMaker};
use super::verdict::Covered;
use super::{
    Announced, DecodeEvent, DecodeSettings, Decoded, DecodedFrame, DecodedThumbnail, LostFrame,
    still,
};

pub(super) type Frames = async_channel::Sender<Result<DecodedFrame, LostFrame>>;

/// Why there are no more frames.
pub(super) enum End {
    OfVideo,
    /// Of the part that is wanted.
    OfRange,
    Problem(Problem),
}

/// A frame as a decoder gives it.
pub(super) struct RawFrame<'a> {
    pub(super) buffer: &'a gst::BufferRef,
    /// How it lies in the buffer.
    pub(super) info: VideoInfo,
    pub(super) orientation: Orientation,
    /// When it is shown, and how long, in nanoseconds.
    pub(super) pts: Option<u64>,
    pub(super) length: Option<u64>,
}

/// What is to be done with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    HandOver,
    CountOnly,
    /// Nothing, and with those behind it neither.
    Over,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Totals {
    pub(super) decoded: u64,
    pub(super) frames: u64,
    pub(super) covered: Covered,
    in_range: Covered,
}

/// Where a video's frames go: it counts them, makes pictures of those that are chosen, and hands
/// these over.
pub(super) struct Output {
    settings: DecodeSettings,
    pub(super) announced: Announced,
    frames: Frames,
    jpeg: Option<JpegEncoder>,
    chooser: FrameSelector,
    /// Whether the frame whose turn it is was chosen.
    chosen: bool,
    maker: Option<PictureMaker>,
    pub(super) totals: Totals,
}

impl Output {
    pub(super) fn new(
        settings: DecodeSettings,
        announced: Announced,
        frames: Frames,
    ) -> Result<Self, String> {
        let jpeg = match settings.encoding {
            Encoding::Jpeg => Some(
                JpegEncoder::new(settings.size, settings.jpeg_quality)
                    .map_err(|error| error.to_string())?,
            ),
            Encoding::I420 => None,
        };
        let chooser = FrameSelector::new(settings.choice);
        Ok(Self {
            settings,
            announced,
            frames,
            jpeg,
            chooser,
            chosen: false,
            maker: None,
            totals: Totals::default(),
        })
    }

    /// Whether nobody wants the frames any more.
    pub(super) fn is_closed(&self) -> bool {
        self.frames.is_closed()
    }

    /// Counts a frame, and hands it over if it is wanted. Gives the end if this was it.
    pub(super) fn take(&mut self, frame: &RawFrame<'_>) -> Result<Option<End>, DecodeError> {
        match self.turn(frame.pts) {
            Turn::Over => return Ok(Some(End::OfRange)),
            Turn::CountOnly => {}
            Turn::HandOver => match self.hand_over(frame)? {
                Ok(()) => {}
                Err(reason) => return Ok(Some(End::Problem(Problem::Broken { reason }))),
            },
        }
        self.count(frame.pts, frame.length);
        Ok(None)
    }

    /// Chooses whether the next frame is wanted. It is to be counted then.
    pub(super) fn turn(&mut self, pts: Option<u64>) -> Turn {
        let index = self.totals.decoded;
        let chosen = self.chooser.choose(index, pts.or_else(|| self.nominal_start(index)));
        self.chosen = chosen == Chosen::Yes;
        match chosen {
            Chosen::Over => Turn::Over,
            Chosen::Yes if index >= self.settings.skip_before => Turn::HandOver,
            Chosen::Yes | Chosen::No => Turn::CountOnly,
        }
    }

    /// Hands over a picture of the frame whose turn it is. The inner error says why there can be
    /// none.
    pub(super) fn hand_over(
        &mut self,
        frame: &RawFrame<'_>,
    ) -> Result<Result<(), String>, DecodeError> {
        match self.picture(frame) {
            Ok(picture) => self.send(Ok(picture)).map(Ok),
            Err(reason) => Ok(Err(reason)),
        }
    }

    /// Tells that the frame whose turn it is cannot be had.
    pub(super) fn lose(&self, reason: String) -> Result<(), DecodeError> {
        self.send(Err(LostFrame { index: self.totals.decoded, number: self.totals.frames, reason }))
    }

    fn send(&self, frame: Result<DecodedFrame, LostFrame>) -> Result<(), DecodeError> {
        self.frames.send_blocking(frame).map_err(|_| DecodeError::Cancelled)
    }

    /// Counts the frame whose turn it is.
    pub(super) fn count(&mut self, pts: Option<u64>, length: Option<u64>) {
        self.totals.decoded += 1;
        self.settings.observer.report(DecodeEvent::FrameDecoded);
        self.totals.frames += u64::from(self.chosen);
        let rate = self.announced.frame_rate();
        self.totals.covered.add(pts, length, rate);
        if self.chooser.is_in_range(pts) {
            self.totals.in_range.add(pts, length, rate);
        }
    }

    /// What the video turned out to be. `name` is what errors call it.
    pub(super) fn finish(
        self,
        name: String,
        problem: Option<Problem>,
    ) -> Result<Decoded, DecodeError> {
        let Totals { decoded, frames, in_range, .. } = self.totals;
        match problem {
            Some(problem) if frames == 0 => Err(problem.into_error(&name)),
            None if frames == 0 => Err(DecodeError::OutOfRange { video: name }),
            problem => Ok(Decoded { frames, decoded, duration: in_range.duration(), problem }),
        }
    }

    /// When a frame would be shown whose container says nothing but the rate.
    fn nominal_start(&self, index: u64) -> Option<u64> {
        let (numerator, denominator) = self.announced.frame_rate()?;
        u64::try_from(
            u128::from(index) * u128::from(denominator) * 1_000_000_000 / u128::from(numerator),
        )
        .ok()
    }

    fn picture(&mut self, frame: &RawFrame<'_>) -> Result<DecodedFrame, String> {
        let text = |error: gst::glib::BoolError| error.to_string();
        let &RawFrame { buffer, ref info, orientation, pts, .. } = frame;
        let DecodeSettings { size: most, fit, .. } = self.settings;
        let fitting = self.maker.take().filter(|maker| maker.fits(info, orientation)).map(Ok);
        let maker = self.maker.insert(
            fitting
                .unwrap_or_else(|| PictureMaker::new(info, orientation, most, fit))
                .map_err(text)?,
        );
        let (size, letterbox, color) = (maker.size(), maker.letterbox(), maker.color());
        let (encoding, pixels) = match &mut self.jpeg {
            Some(encoder) => (
                Encoding::Jpeg,
                encoder.encode(maker.make(buffer, Chroma::Full).map_err(text)?, size)?,
            ),
            None => (Encoding::I420, maker.make(buffer, Chroma::Halved).map_err(text)?),
        };
        let (index, number) = (self.totals.decoded, self.totals.frames);
        let still = match thumbnail_slot(number).filter(|_| self.settings.stills) {
            Some(slot) => {
                let planes = maker.make(buffer, Chroma::Full).map_err(text)?;
                Some(DecodedThumbnail {
                    slot,
                    jpeg: still::encode(&planes, size, letterbox, color)?,
                })
            }
            None => None,
        };
        Ok(DecodedFrame { index, number, pts, size, letterbox, color, encoding, pixels, still })
    }
}
