//! Decodes a file or a folder, from its first byte to the verdict on whether it is complete.

use std::path::Path;
use std::time::Duration;

use gstreamer_video::VideoInfo;
use moliceiro_containers::mp4::FlatMovie;
use moliceiro_containers::{Container, Contents};
use moliceiro_messages::{Deinterlace, FrameSelection};
use tracing::{debug, info};

use crate::avi;
use crate::completeness;
use crate::container_info::ContainerInfo;
use crate::decoded::{DecodedVideo, Notice};
use crate::decoding::DecodingSender;
use crate::elements;
use crate::error::{Cancelled, DecodeError, Incomplete, PictureError};
use crate::explain;
use crate::file::{self, CheckedInput, Input, LocalFile};
use crate::file_source::FileSource;
use crate::folder::{self, Folder, Ignored};
use crate::format::{FileFormat, ImageFormat, Unsupported};
use crate::geometry::Orientation;
use crate::images::{self, Image, Opened};
use crate::interlacing;
use crate::mp4;
use crate::output::{NextFrame, Output, Picture, SelectedFrame, Taken};
use crate::pes;
use crate::pipeline::{FilePipeline, Next};
use crate::probes::Probes;
use crate::raw_frame::RawFrame;
use crate::settings::DecodeSettings;
use crate::timeline::Timeline;
use crate::tracks;
use crate::unsupported;

/// Decodes a whole video on this thread.
pub(crate) fn decode(
    input: &Input,
    settings: DecodeSettings,
    sender: &DecodingSender,
) -> Result<DecodedVideo, DecodeError> {
    elements::init()?;
    let checked = file::check(input)?;
    let name = checked.name().to_owned();
    let (stall_timeout, deinterlace) = (settings.stall_timeout, settings.deinterlace);
    let FrameSelection { fps, start, end, video_track: requested_track, .. } = settings.selection;
    let has_times = fps.is_some() || start.is_some() || end.is_some();
    let output = Output::new(settings, sender).map_err(|error| error.into_decode_error(&name))?;
    let mut run = Run {
        stall_timeout,
        deinterlace,
        requested_track,
        stored_frames: 0,
        output,
        is_past_range: false,
    };
    let incomplete = match checked {
        CheckedInput::Folder { path, name } => {
            if has_times {
                return Err(DecodeError::NoTimes { path: name });
            }
            run.decode_folder(&folder::read(&path)?)
        }
        CheckedInput::File(file) => match file.format {
            FileFormat::Image(format) => run.decode_image(&file, format),
            FileFormat::ImageSequence => run.decode_sequence(&file),
            FileFormat::Unsupported(format) => Err(unsupported_picture(&file, format)),
            FileFormat::Other => run.decode_video(&file),
        },
    }?;
    info!(
        name,
        decoded = run.output.decoded(),
        problem = incomplete.as_ref().map(tracing::field::display),
        "decoded a video"
    );
    run.output.finish(&name, incomplete)
}

/// What the container holds. Without it, the decoder's own count is all there is.
fn inspect(file: &LocalFile) -> Option<Contents> {
    let read = std::fs::File::open(&file.path)
        .and_then(|mut file| moliceiro_containers::inspect(&mut file));
    read.unwrap_or_else(|error| {
        debug!(name = file.name, %error, "cannot read the container");
        None
    })
}

/// GStreamer 1.22 ignores how a Matroska file turns its pictures. Reproduced by
/// `a_matroska_video_is_turned_as_its_projection_says`.
fn matroska_orientation(
    file: &LocalFile,
    track: u32,
    contents: Option<&Contents>,
) -> Option<Orientation> {
    contents.filter(|contents| contents.container == Container::Matroska)?;
    let rotation = std::fs::File::open(&file.path)
        .and_then(|mut file| moliceiro_containers::rotation(&mut file, track))
        .ok()??;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below 65537")]
    let anticlockwise = (rotation.anticlockwise.rem_euclid(360.0) / 360.0 * 65_536.0) as u32;
    Some(Orientation::flipped_then_rotated(rotation.is_mirrored, false, anticlockwise))
}

/// A video that is being decoded.
pub(crate) struct Run {
    pub(crate) stall_timeout: Duration,
    pub(crate) deinterlace: Deinterlace,
    pub(crate) requested_track: Option<u32>,
    /// Frames that GStreamer returned: fewer than are analysed if their fields are separated.
    pub(crate) stored_frames: u64,
    pub(crate) output: Output,
    /// Whether all selected frames are decoded.
    is_past_range: bool,
}

/// A file, or one of several that are appended to each other.
struct Part<'a> {
    track: u32,
    /// Where it starts on the video's timeline, in nanoseconds.
    shift: u64,
    avi_duration: Option<u64>,
    /// How to turn its frames, where GStreamer does not know.
    orientation: Option<Orientation>,
    contents: Option<&'a Contents>,
    movie: Option<&'a FlatMovie>,
}

/// What is known at the end of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    /// It is the whole file.
    Whole,
    /// Another part follows.
    Part,
    /// It is the last of several.
    LastPart,
}

impl Run {
    /// Decodes a file with GStreamer. Files that are appended to each other are decoded one after
    /// the other, on one timeline.
    fn decode_video(&mut self, file: &LocalFile) -> Result<Option<Incomplete>, DecodeError> {
        unsupported::check(file)?;
        if let Some(video) = pes::open(file) {
            return self.decode_pes(file, &video);
        }
        let contents = inspect(file);
        let contents = contents.as_ref();
        let track = tracks::wanted(self.requested_track, contents);
        if let Some(error) = mp4::hopeless(file, contents, track) {
            return Err(error);
        }
        let movie = mp4::flat_movie(file, contents, track);
        let movie = movie.as_ref();
        if let Some(movie) = movie {
            self.output.container_info().set_duration(movie.duration());
            if self.deinterlace != Deinterlace::Fields {
                self.output.container_info().set_frames(movie.frames());
            }
        }
        let parts = contents.map(Contents::appended).unwrap_or_default();
        let avi_duration = avi::declared_duration(&file.path);
        let orientation = matroska_orientation(file, track, contents);
        let source = match (movie, contents.map(|contents| contents.container)) {
            (Some(movie), _) => FileSource::Movie(movie),
            (None, Some(Container::Obu)) => FileSource::Obu,
            _ => FileSource::Whole,
        };
        let Some((last, earlier)) = parts.split_last() else {
            let part = Part { track, shift: 0, avi_duration, orientation, contents, movie };
            // A flat movie has only the track that is wanted.
            let track = if movie.is_some() { 1 } else { track };
            return self.with_fallback(
                file,
                |excluded| FilePipeline::open(file, track, source, excluded),
                |run, pipeline| run.decode_part(file, pipeline, &part, Check::Whole),
            );
        };
        for (bytes, check) in
            earlier.iter().map(|bytes| (bytes, Check::Part)).chain([(last, Check::LastPart)])
        {
            let shift = self.output.covered().end().unwrap_or(0);
            let part = Part { track, shift, avi_duration, orientation, contents, movie: None };
            let decoded = FilePipeline::open(file, track, FileSource::Part(bytes), &[])
                .and_then(|pipeline| self.decode_part(file, pipeline, &part, check));
            match decoded {
                Ok(None) if self.is_past_range => return Ok(None),
                Ok(None) => {}
                Err(error) if error != DecodeError::Cancelled && self.output.decoded() > 0 => {
                    return Ok(Some(Incomplete::Broken { reason: error.into_reason() }));
                }
                other => return other,
            }
        }
        Ok(None)
    }

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

    fn decode_part(
        &mut self,
        file: &LocalFile,
        mut pipeline: FilePipeline,
        part: &Part<'_>,
        check: Check,
    ) -> Result<Option<Incomplete>, DecodeError> {
        let before = self.stored_frames;
        let mut timeline = Timeline::default();
        let stopped = loop {
            match pipeline.next_frame(self.stall_timeout, || self.output.is_cancelled())? {
                Next::End => break None,
                Next::Stopped(incomplete) => break Some(incomplete),
                Next::Frame(frame) => {
                    let Some(mut frame) = mp4::shown(part.movie, frame) else { continue };
                    if self.output.decoded() == 0 {
                        let doubled = interlacing::doubles(&frame, self.deinterlace);
                        record_format(self.output.container_info(), &frame.info, doubled);
                        self.record_duration(&pipeline, part.avi_duration);
                    }
                    if check != Check::Whole {
                        let time = timeline.place(frame.pts, None);
                        frame.pts = time.map(|time| time.saturating_add(part.shift));
                    }
                    frame.orientation = part.orientation.unwrap_or(frame.orientation);
                    match self.take(frame)? {
                        Taken::Counted => {}
                        Taken::EndOfRange => {
                            self.record_duration(&pipeline, part.avi_duration);
                            self.notice_tracks(part.track, &pipeline, part.contents);
                            self.is_past_range = true;
                            // Whatever is wrong past the range does not matter.
                            return Ok(None);
                        }
                        Taken::Broken(error) => {
                            break Some(Incomplete::Broken { reason: error.to_string() });
                        }
                    }
                }
            }
        };
        self.record_duration(&pipeline, part.avi_duration);
        self.notice_tracks(part.track, &pipeline, part.contents);
        self.verdict(file, pipeline, stopped, before, part, check)
    }

    /// Takes a frame, or its fields.
    pub(crate) fn take(&mut self, frame: RawFrame) -> Result<Taken, Cancelled> {
        let (first, second) = interlacing::separate(frame, self.deinterlace);
        let taken = match (self.output.take(first)?, second) {
            (Taken::Counted, Some(second)) => self.output.take(second)?,
            (taken, _) => taken,
        };
        self.stored_frames += u64::from(matches!(taken, Taken::Counted));
        Ok(taken)
    }

    /// Decides whether a video that has ended is complete. `before` is how many frames were decoded
    /// before this part of it.
    fn verdict(
        &self,
        file: &LocalFile,
        pipeline: FilePipeline,
        stopped: Option<Incomplete>,
        before: u64,
        part: &Part<'_>,
        check: Check,
    ) -> Result<Option<Incomplete>, DecodeError> {
        let decoded = self.stored_frames;
        let probes = pipeline.probes().clone();
        let failure = pipeline.into_failure(decoded == before);
        if decoded == before {
            let track = part.contents.and_then(|contents| tracks::find(contents, part.track));
            let codec = track.and_then(|track| track.codec);
            let error = failure.or(stopped.map(|stopped| stopped.into_error(&file.name)));
            let error = error.unwrap_or(DecodeError::NoFrames { video: file.name.clone() });
            return Err(explain::without_frames(error, file, codec, &probes));
        }
        let contents = part.contents;
        Ok(stopped
            .or_else(|| failure.map(|error| Incomplete::Broken { reason: error.into_reason() }))
            .or_else(|| match (part.movie, contents) {
                (Some(movie), Some(contents)) => {
                    completeness::of_movie(decoded, self.output.covered(), contents, movie, &probes)
                }
                _ => self.disagreement(before, part, check, &probes),
            }))
    }

    /// What the decoder's own count and the container say about a part that was decoded to its end.
    fn disagreement(
        &self,
        before: u64,
        part: &Part<'_>,
        check: Check,
        probes: &Probes,
    ) -> Option<Incomplete> {
        let decoded = self.stored_frames;
        let contents = part.contents;
        let track = contents.and_then(|contents| tracks::find(contents, part.track));
        // The duration that is declared is that of one part.
        let truncated = || {
            let start = completeness::start(contents, track);
            let info = self.output.container_info();
            completeness::truncated(self.output.covered(), start, info, probes)
        };
        let is_whole = check == Check::Whole;
        is_whole
            .then(truncated)
            .flatten()
            .or_else(|| completeness::damaged(decoded - before, probes))
            .or_else(|| {
                let contents = contents.filter(|_| check != Check::Part)?;
                completeness::disagreement(decoded, contents, track)
            })
    }

    fn notice_tracks(&mut self, track: u32, pipeline: &FilePipeline, contents: Option<&Contents>) {
        if let Some(notice) = tracks::notice(track, pipeline.tracks(), contents) {
            self.output.notice(notice);
        }
    }

    fn record_duration(&self, pipeline: &FilePipeline, avi_duration: Option<u64>) {
        if let Some(duration) = pipeline.declared_duration().max(avi_duration) {
            self.output.container_info().set_duration(duration);
        }
    }

    /// Decodes a picture or an animation.
    fn decode_image(
        &mut self,
        file: &LocalFile,
        format: ImageFormat,
    ) -> Result<Option<Incomplete>, DecodeError> {
        let picture = Some(self.output.picture_size());
        let frames = match images::open(file, format, self.stall_timeout, picture)? {
            Opened::Frames(frames) => frames,
            Opened::MotionJpeg => return self.decode_video(file),
        };
        let mut missing = None;
        for image in frames {
            let Image { frame, missing: of_frame } = match image {
                Ok(image) => image,
                Err(error) if self.output.decoded() == 0 => return Err(error),
                Err(error) => return Ok(Some(Incomplete::Broken { reason: error.into_reason() })),
            };
            missing = missing.or(of_frame);
            if self.output.is_cancelled() {
                return Err(DecodeError::Cancelled);
            }
            match self.output.take(frame)? {
                Taken::Counted => {}
                Taken::EndOfRange => break,
                Taken::Broken(error) => {
                    return Ok(Some(Incomplete::Broken { reason: error.to_string() }));
                }
            }
        }
        Ok(missing)
    }

    /// Decodes an animated AVIF or HEIC.
    fn decode_sequence(&mut self, file: &LocalFile) -> Result<Option<Incomplete>, DecodeError> {
        match images::as_video(file)? {
            Some((_copy, video)) => self.decode_video(&video),
            None => self.decode_image(file, ImageFormat::Heif),
        }
    }

    /// Decodes each picture of a folder as a frame. One that cannot be decoded is reported, and
    /// does not stop the others.
    fn decode_folder(&mut self, folder: &Folder) -> Result<Option<Incomplete>, DecodeError> {
        self.output.container_info().set_frames(folder.pictures.len() as u64);
        if let Ignored { count: count @ 1.., names } = folder.ignored.clone() {
            self.output.notice(Notice::IgnoredFiles { count, names });
        }
        let mut truncated: Option<Incomplete> = None;
        for path in &folder.pictures {
            if self.output.is_cancelled() {
                return Err(DecodeError::Cancelled);
            }
            match self.output.next_frame(None) {
                NextFrame::EndOfRange => break,
                NextFrame::Skipped(skipped) => skipped.count(None, None),
                NextFrame::Selected(mut selected) => {
                    match first_picture(path, &mut selected, self.stall_timeout) {
                        Ok((picture, missing)) => {
                            selected.deliver(picture)?;
                            record_truncated(&mut truncated, path, missing);
                        }
                        Err(DecodeError::Cancelled) => return Err(DecodeError::Cancelled),
                        Err(error) => selected.fail(error.to_string())?,
                    }
                }
            }
        }
        Ok(truncated)
    }
}

/// Counts a picture of a folder that is not whole.
fn record_truncated(all: &mut Option<Incomplete>, path: &Path, missing: Option<Incomplete>) {
    match (all, missing) {
        (Some(Incomplete::PicturesTruncated { count, .. }), Some(_)) => *count += 1,
        (all @ None, Some(problem)) => {
            let first = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let problem = problem.to_string();
            *all = Some(Incomplete::PicturesTruncated { count: 1, first, problem });
        }
        _ => {}
    }
}

/// The first frame of a file, as a picture, and what is missing of it.
fn first_picture(
    path: &Path,
    selected: &mut SelectedFrame<'_>,
    stall_timeout: Duration,
) -> Result<(Picture, Option<Incomplete>), DecodeError> {
    let file = file::check_file(path, None)?;
    let no_frames = || DecodeError::NoFrames { video: file.name.clone() };
    let copy = match file.format {
        FileFormat::ImageSequence => images::as_video(&file)?,
        _ => None,
    };
    let format = match file.format {
        FileFormat::Image(format) => Some(format),
        FileFormat::ImageSequence if copy.is_none() => Some(ImageFormat::Heif),
        FileFormat::Unsupported(format) => return Err(unsupported_picture(&file, format)),
        FileFormat::ImageSequence | FileFormat::Other => None,
    };
    let failed = |error: PictureError| error.into_decode_error(&file.name);
    if let Some(format) = format {
        let Image { frame, missing } = images::first(&file, format, stall_timeout)?;
        let picture = selected.picture(&frame.without_time()).map_err(failed)?;
        return Ok((picture, missing));
    }
    let shown = copy.as_ref().map_or(&file, |(_, video)| video);
    let mut pipeline = FilePipeline::open(shown, 1, FileSource::Whole, &[])?;
    let stopped = match pipeline.next_frame(stall_timeout, || selected.is_cancelled())? {
        Next::Frame(frame) => {
            let picture = selected.picture(&frame.without_time()).map_err(failed)?;
            return Ok((picture, None));
        }
        Next::Stopped(incomplete) => Some(incomplete.into_error(&file.name)),
        Next::End => None,
    };
    let probes = pipeline.probes().clone();
    let error = pipeline.into_failure(true).or(stopped).unwrap_or_else(no_frames);
    Err(explain::without_frames(error, &file, None, &probes))
}

fn unsupported_picture(file: &LocalFile, format: Unsupported) -> DecodeError {
    DecodeError::UnsupportedPicture {
        video: file.name.clone(),
        format: format.name.to_owned(),
        advice: format.advice.into(),
    }
}

/// `doubled` says that there are two frames to analyse for each.
pub(crate) fn record_format(container_info: &ContainerInfo, info: &VideoInfo, doubled: bool) {
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
