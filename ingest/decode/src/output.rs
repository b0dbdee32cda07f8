//! The way of one frame after the decoder: selected, made a picture, delivered, counted.

use gstreamer_video::VideoFormat;
use moliceiro_messages::{Encoding, Size, thumbnail_slot};

use crate::container_info::ContainerInfo;
use crate::decoded::{DecodedFrame, DecodedThumbnail, DecodedVideo, Notice, UndecodableFrame};
use crate::decoding::{DecodingSender, FrameSender};
use crate::error::{Cancelled, DecodeError, Incomplete, PictureError};
use crate::frame_selector::{FrameSelector, Selected};
use crate::interlacing;
use crate::jpeg::JpegEncoder;
use crate::observer::DecodeEvent;
use crate::picture::{Chroma, PictureMaker};
use crate::raw_frame::RawFrame;
use crate::settings::DecodeSettings;
use crate::thumbnail;
use crate::timeline::{Coverage, Timeline};

/// Where a video's frames go. Call [`next_frame`](Self::next_frame) for each frame, in decode
/// order; the value that it returns delivers and counts that frame.
pub(crate) struct Output {
    settings: DecodeSettings,
    container_info: ContainerInfo,
    frames: FrameSender,
    jpeg: Option<JpegEncoder>,
    selector: FrameSelector,
    timeline: Timeline,
    picture_maker: Option<PictureMaker>,
    totals: Totals,
    notices: Vec<Notice>,
}

#[derive(Clone, Debug, Default)]
struct Totals {
    decoded: u64,
    selected: u64,
    covered: Coverage,
    covered_in_range: Coverage,
}

/// What to do with the next frame.
pub(crate) enum NextFrame<'a> {
    Selected(SelectedFrame<'a>),
    Skipped(SkippedFrame<'a>),
    /// This frame and all after it lie past the end of the range.
    EndOfRange,
}

/// A frame that is to be delivered. It is counted by [`deliver`](Self::deliver) or
/// [`fail`](Self::fail).
#[must_use]
pub(crate) struct SelectedFrame<'a>(&'a mut Output);

/// A frame that is only counted, by [`count`](Self::count).
#[must_use]
pub(crate) struct SkippedFrame<'a> {
    output: &'a mut Output,
    /// Whether it was delivered by an earlier run.
    is_selected: bool,
}

/// A picture of a selected frame.
pub(crate) struct Picture {
    frame: DecodedFrame,
    /// Display time of the frame, in nanoseconds.
    length: Option<u64>,
}

/// What [`Output::take`] did with a frame.
pub(crate) enum Taken {
    Counted,
    EndOfRange,
    /// No picture could be made of it.
    Broken(PictureError),
}

impl Output {
    pub(crate) fn new(
        settings: DecodeSettings,
        sender: &DecodingSender,
    ) -> Result<Self, PictureError> {
        let jpeg = match settings.encoding {
            Encoding::Jpeg => Some(JpegEncoder::new(settings.size, settings.jpeg_quality)?),
            Encoding::I420 => None,
        };
        let selector = FrameSelector::new(settings.selection);
        Ok(Self {
            settings,
            container_info: sender.container_info().clone(),
            frames: sender.frames().clone(),
            jpeg,
            selector,
            timeline: Timeline::default(),
            picture_maker: None,
            totals: Totals::default(),
            notices: Vec::new(),
        })
    }

    /// The size that pictures have at most.
    pub(crate) fn picture_size(&self) -> Size {
        self.settings.size
    }

    /// Whether the consumer has dropped its [`Decoding`](crate::Decoding).
    pub(crate) fn is_cancelled(&self) -> bool {
        self.frames.is_closed()
    }

    pub(crate) fn container_info(&self) -> &ContainerInfo {
        &self.container_info
    }

    /// Number of frames so far, selected or not.
    pub(crate) fn decoded(&self) -> u64 {
        self.totals.decoded
    }

    /// The part of the timeline that the frames so far cover.
    pub(crate) fn covered(&self) -> &Coverage {
        &self.totals.covered
    }

    /// Adds something that a user should know about the video.
    pub(crate) fn notice(&mut self, notice: Notice) {
        if !self.notices.contains(&notice) {
            self.notices.push(notice);
        }
    }

    /// Counts a frame, and delivers it if it is selected.
    pub(crate) fn take(&mut self, mut frame: RawFrame) -> Result<Taken, Cancelled> {
        let nominal = self.nominal_start(self.totals.decoded);
        frame.pts = self.timeline.place(frame.pts, nominal);
        let (width, height) = (frame.info.width(), frame.info.height());
        self.container_info.set_pixels(u64::from(width) * u64::from(height));
        match self.next_frame(frame.pts) {
            NextFrame::EndOfRange => return Ok(Taken::EndOfRange),
            NextFrame::Skipped(skipped) => skipped.count(frame.pts, frame.length),
            NextFrame::Selected(mut selected) => match selected.picture(&frame) {
                Ok(picture) => selected.deliver(picture)?,
                Err(error) => return Ok(Taken::Broken(error)),
            },
        }
        Ok(Taken::Counted)
    }

    /// Decides about the next frame. `pts` is in nanoseconds from the first frame.
    pub(crate) fn next_frame(&mut self, pts: Option<u64>) -> NextFrame<'_> {
        let index = self.totals.decoded;
        match self.selector.select(index, pts.or_else(|| self.nominal_start(index))) {
            Selected::EndOfRange => NextFrame::EndOfRange,
            Selected::Yes if index >= self.settings.skip_before => {
                NextFrame::Selected(SelectedFrame(self))
            }
            Selected::Yes => NextFrame::Skipped(SkippedFrame { output: self, is_selected: true }),
            Selected::No => NextFrame::Skipped(SkippedFrame { output: self, is_selected: false }),
        }
    }

    /// When a frame is shown if the container has no times but a frame rate.
    fn nominal_start(&self, index: u64) -> Option<u64> {
        let (numerator, denominator) = self.container_info.frame_rate()?;
        u64::try_from(
            u128::from(index) * u128::from(denominator) * 1_000_000_000 / u128::from(numerator),
        )
        .ok()
    }

    fn count(&mut self, is_selected: bool, pts: Option<u64>, length: Option<u64>) {
        self.totals.decoded += 1;
        self.settings.observer.report(DecodeEvent::FrameDecoded);
        self.totals.selected += u64::from(is_selected);
        let rate = self.container_info.frame_rate();
        self.totals.covered.add(pts, length, rate);
        if self.selector.is_in_range(pts) {
            self.totals.covered_in_range.add(pts, length, rate);
        }
    }

    /// The outcome of the video, which errors call `name`.
    pub(crate) fn finish(
        self,
        name: &str,
        incomplete: Option<Incomplete>,
    ) -> Result<DecodedVideo, DecodeError> {
        let Totals { decoded, selected, covered_in_range, .. } = self.totals;
        match incomplete {
            Some(incomplete) if selected == 0 => Err(incomplete.into_error(name)),
            None if selected == 0 => Err(DecodeError::OutOfRange { video: name.to_owned() }),
            incomplete => Ok(DecodedVideo {
                frames: selected,
                decoded,
                duration: covered_in_range.duration(),
                incomplete,
                notices: self.notices,
            }),
        }
    }
}

impl SkippedFrame<'_> {
    /// Counts it. Times are in nanoseconds.
    pub(crate) fn count(self, pts: Option<u64>, length: Option<u64>) {
        self.output.count(self.is_selected, pts, length);
    }
}

impl SelectedFrame<'_> {
    pub(crate) fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Scales, turns upright, letterboxes and encodes it.
    pub(crate) fn picture(&mut self, frame: &RawFrame) -> Result<Picture, PictureError> {
        let output = &mut *self.0;
        let &RawFrame { pts, length, .. } = frame;
        let DecodeSettings { size, fit, .. } = output.settings;
        if frame.info.format() == VideoFormat::Rgb8p && frame.buffer.size() < frame.info.size() {
            return Err(PictureError::Palette);
        }
        let field = interlacing::one_field(frame, || PictureMaker::rows(frame, size, fit));
        let frame = field.as_ref().unwrap_or(frame);
        let fitting = output.picture_maker.take().filter(|maker| maker.fits(frame));
        let maker = output.picture_maker.insert(match fitting {
            Some(maker) => maker,
            None => PictureMaker::new(frame, size, fit)?,
        });
        let (size, letterbox, color) = (maker.size(), maker.letterbox(), maker.color());
        let (encoding, pixels) = match &mut output.jpeg {
            Some(encoder) => {
                (Encoding::Jpeg, encoder.encode(maker.make(frame, Chroma::Full)?, size)?)
            }
            None => (Encoding::I420, maker.make(frame, Chroma::Halved)?),
        };
        let (index, number) = (output.totals.decoded, output.totals.selected);
        let thumbnail = match thumbnail_slot(number).filter(|_| output.settings.thumbnails) {
            Some(slot) => {
                let planes = maker.make(frame, Chroma::Full)?;
                let jpeg = thumbnail::encode(&planes, size, letterbox, color)?;
                Some(DecodedThumbnail { slot, jpeg })
            }
            None => None,
        };
        let frame = DecodedFrame {
            index,
            number,
            pts,
            size,
            letterbox,
            color,
            encoding,
            pixels,
            thumbnail,
        };
        Ok(Picture { frame, length })
    }

    /// Delivers and counts it. Blocks while the consumer's buffer is full.
    pub(crate) fn deliver(self, picture: Picture) -> Result<(), Cancelled> {
        let (pts, length) = (picture.frame.pts, picture.length);
        self.send(Ok(picture.frame))?;
        self.0.count(true, pts, length);
        Ok(())
    }

    /// Reports that it cannot be decoded, and counts it.
    pub(crate) fn fail(self, reason: String) -> Result<(), Cancelled> {
        let Totals { decoded: index, selected: number, .. } = self.0.totals;
        self.send(Err(UndecodableFrame { index, number, reason }))?;
        self.0.count(true, None, None);
        Ok(())
    }

    fn send(&self, frame: Result<DecodedFrame, UndecodableFrame>) -> Result<(), Cancelled> {
        self.0.frames.send_blocking(frame).map_err(|_| Cancelled)
    }
}
