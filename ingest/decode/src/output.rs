//! The way of one frame after the decoder: selected, made a picture, delivered, counted.

use gstreamer_video::VideoFormat;
use moliceiro_messages::{CarriedRun, Encoding, Size, Skipped, thumbnail_slot};

use crate::container_info::ContainerInfo;
use crate::decoded::{DecodedFrame, DecodedThumbnail, DecodedVideo, Notice, UndecodableFrame};
use crate::decoding::{DecodingSender, FrameSender};
use crate::error::{Cancelled, DecodeError, Incomplete, PictureError};
use crate::frame_selector::{FrameSelector, LeftOut, Selected};
use crate::interlacing;
use crate::jpeg::JpegEncoder;
use crate::observer::DecodeEvent;
use crate::picture::{Chroma, PictureMaker};
use crate::raw_frame::RawFrame;
use crate::settings::DecodeSettings;
use crate::still::StillFilter;
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
    /// If still frames are skipped.
    still: Option<StillFilter>,
    /// Of a still frame: the next one that is analysed is shown in its place.
    due_thumbnail: Option<u8>,
    timeline: Timeline,
    picture_maker: Option<PictureMaker>,
    totals: Totals,
    notices: Vec<Notice>,
}

#[derive(Clone, Debug, Default)]
struct Totals {
    decoded: u64,
    selected: u64,
    /// Those that are not selected.
    skipped: Skipped,
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
    /// Left out if an earlier run delivered it.
    reason: Option<LeftOut>,
}

/// A picture of a selected frame.
pub(crate) struct Picture {
    /// Left out if it equals an analysed one.
    frame: Option<DecodedFrame>,
    pts: Option<u64>,
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
        let still = settings.selection.skip_still.then(StillFilter::default);
        Ok(Self {
            settings,
            container_info: sender.container_info().clone(),
            frames: sender.frames().clone(),
            jpeg,
            selector,
            still,
            due_thumbnail: None,
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
        let nominal = self.nominal_start(self.totals.decoded + self.totals.skipped.not_key);
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
        let nominal = self.nominal_start(index + self.totals.skipped.not_key);
        match self.selector.select(index, pts.or(nominal)) {
            Selected::EndOfRange => NextFrame::EndOfRange,
            Selected::Yes if index >= self.settings.skip_before => {
                NextFrame::Selected(SelectedFrame(self))
            }
            Selected::Yes => NextFrame::Skipped(SkippedFrame { output: self, reason: None }),
            Selected::No(reason) => {
                NextFrame::Skipped(SkippedFrame { output: self, reason: Some(reason) })
            }
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

    /// Counts a frame that was not decoded because it is not a key frame. `pts` is on the same
    /// timeline as those of decoded frames.
    pub(crate) fn leave_out(&mut self, pts: Option<u64>, length: Option<u64>) {
        let pts = self.timeline.place(pts, None);
        let end = self.settings.selection.end;
        if pts.zip(end).is_some_and(|(pts, end)| pts >= end.nanoseconds()) {
            return;
        }
        self.totals.skipped.not_key += 1;
        self.cover(pts, length);
    }

    /// The same of frames of a live source.
    pub(crate) fn leave_out_untimed(&mut self, frames: u64) {
        self.totals.skipped.not_key += frames;
    }

    fn count(&mut self, left_out: Option<LeftOut>, pts: Option<u64>, length: Option<u64>) {
        self.totals.decoded += 1;
        self.settings.observer.report(DecodeEvent::FrameDecoded);
        match left_out {
            None => self.totals.selected += 1,
            Some(LeftOut::BeforeStart) => self.totals.skipped.before_start += 1,
            Some(LeftOut::Every) => self.totals.skipped.every += 1,
            Some(LeftOut::Fps) => self.totals.skipped.fps += 1,
        }
        self.cover(pts, length);
    }

    fn cover(&mut self, pts: Option<u64>, length: Option<u64>) {
        let rate = self.container_info.frame_rate();
        self.totals.covered.add(pts, length, rate);
        if self.selector.is_in_range(pts) {
            self.totals.covered_in_range.add(pts, length, rate);
        }
    }

    fn take_runs(&mut self) -> Vec<CarriedRun> {
        self.still.as_mut().map(StillFilter::take_runs).unwrap_or_default()
    }

    /// The outcome of the video, which errors call `name`.
    pub(crate) fn finish(
        self,
        name: &str,
        incomplete: Option<Incomplete>,
    ) -> Result<DecodedVideo, DecodeError> {
        let Totals { decoded, selected, skipped, covered_in_range, .. } = self.totals;
        match incomplete {
            Some(incomplete) if selected == 0 => Err(incomplete.into_error(name)),
            None if selected == 0 => Err(DecodeError::OutOfRange { video: name.to_owned() }),
            incomplete => Ok(DecodedVideo {
                frames: selected,
                decoded,
                duration: covered_in_range.duration(),
                incomplete,
                notices: self.notices,
                carried: self.still.map(|mut still| still.take_runs()).unwrap_or_default(),
                skipped: Some(skipped),
            }),
        }
    }
}

impl SkippedFrame<'_> {
    /// Counts it. Times are in nanoseconds.
    pub(crate) fn count(self, pts: Option<u64>, length: Option<u64>) {
        self.output.count(self.reason, pts, length);
    }
}

impl SelectedFrame<'_> {
    pub(crate) fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Scales, turns upright, letterboxes and encodes it, unless it equals an analysed one.
    pub(crate) fn picture(&mut self, frame: &RawFrame) -> Result<Picture, PictureError> {
        let output = &mut *self.0;
        let &RawFrame { pts, length, .. } = frame;
        let DecodeSettings { size, fit, scaling, .. } = output.settings;
        if frame.info.format() == VideoFormat::Rgb8p && frame.buffer.size() < frame.info.size() {
            return Err(PictureError::Palette);
        }
        let field = interlacing::one_field(frame, || PictureMaker::rows(frame, size, fit));
        let frame = field.as_ref().unwrap_or(frame);
        let fitting = output.picture_maker.take().filter(|maker| maker.fits(frame));
        let maker = output.picture_maker.insert(match fitting {
            Some(maker) => maker,
            None => PictureMaker::new(frame, size, fit, scaling)?,
        });
        maker.scale(frame)?;
        let (index, number) = (output.totals.decoded, output.totals.selected);
        let slot = thumbnail_slot(number).filter(|_| output.settings.thumbnails);
        if let Some(still) = &mut output.still
            && still.is_still(index, number, pts, maker.cells()?)
        {
            output.due_thumbnail = slot.or(output.due_thumbnail);
            return Ok(Picture { frame: None, pts, length });
        }
        let (size, letterbox, color) = (maker.size(), maker.letterbox(), maker.color());
        let (encoding, pixels) = match &mut output.jpeg {
            Some(encoder) => (Encoding::Jpeg, encoder.encode(maker.compose(Chroma::Full)?, size)?),
            None => (Encoding::I420, maker.compose(Chroma::Halved)?),
        };
        let thumbnail = match slot.or(output.due_thumbnail.take()) {
            Some(slot) => {
                let planes = maker.compose(Chroma::Full)?;
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
            carried: output.take_runs(),
        };
        Ok(Picture { frame: Some(frame), pts, length })
    }

    /// Delivers and counts it. Blocks while the consumer's buffer is full.
    pub(crate) fn deliver(self, picture: Picture) -> Result<(), Cancelled> {
        let Picture { frame, pts, length } = picture;
        if let Some(frame) = frame {
            self.send(Ok(frame))?;
        }
        self.0.count(None, pts, length);
        Ok(())
    }

    /// Reports that it cannot be decoded, and counts it.
    pub(crate) fn fail(self, reason: String) -> Result<(), Cancelled> {
        let Totals { decoded: index, selected: number, .. } = self.0.totals;
        let carried = self.0.take_runs();
        if let Some(still) = &mut self.0.still {
            still.reset();
        }
        self.send(Err(UndecodableFrame { index, number, reason, carried }))?;
        self.0.count(None, None, None);
        Ok(())
    }

    fn send(&self, frame: Result<DecodedFrame, UndecodableFrame>) -> Result<(), Cancelled> {
        self.0.frames.send_blocking(frame).map_err(|_| Cancelled)
    }
}
