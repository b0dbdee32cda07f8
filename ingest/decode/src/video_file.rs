//! Decodes a video file, from its container to the verdict on whether it is complete.

use moliceiro_containers::mp4::FlatMovie;
use moliceiro_containers::{Container, Contents, Description, Fault};
use moliceiro_messages::Deinterlace;
use tracing::debug;

use crate::avi;
use crate::completeness;
use crate::error::{DecodeError, Incomplete};
use crate::explain;
use crate::file::LocalFile;
use crate::file_source::FileSource;
use crate::flv;
use crate::geometry::Orientation;
use crate::mp4;
use crate::pes;
use crate::pipeline::FilePipeline;
use crate::probes::Probes;
use crate::run::{FramesEnd, Run};
use crate::timeline::Timeline;
use crate::tracks;
use crate::unsupported;

/// What loses frames where each packet holds several.
///
/// GStreamer 1.22's parser gives a key frame and the one behind it to the decoder as one packet.
/// Reproduced by `frames_packed_into_a_chunk_are_all_decoded`.
const SEPARATES: &str = "mpeg4videoparse";

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

/// How the container describes the codec of a track.
fn description(
    file: &LocalFile,
    track: u32,
    contents: Option<&Contents>,
    movie: Option<&FlatMovie>,
) -> Option<Description> {
    if let Some(movie) = movie {
        return movie.description().cloned();
    }
    contents.filter(|contents| contents.container == Container::Matroska)?;
    let opened = std::fs::File::open(&file.path);
    opened.and_then(|mut file| moliceiro_containers::description(&mut file, track)).ok()?
}

/// Whether chunks of the container do not follow each other. GStreamer 1.22's `avidemux` refuses
/// such a file if it reads its index. Reproduced by `what_is_left_of_a_damaged_avi_is_decoded`.
fn has_broken_structure(contents: Option<&Contents>) -> bool {
    let faults = contents.map(|contents| &contents.faults[..]).unwrap_or_default();
    faults.iter().any(|fault| matches!(fault, Fault::Damaged { .. }))
}

/// Whether the first header of an AVI is whole.
fn has_avi_header(contents: Option<&Contents>) -> bool {
    let faults = contents.map(|contents| &contents.faults[..]).unwrap_or_default();
    let is_in_header =
        |fault: &Fault| matches!(fault, Fault::Damaged { at } if *at < avi::HEADERS as u64);
    !faults.iter().any(is_in_header)
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
    pub(crate) fn decode_video(
        &mut self,
        file: &LocalFile,
    ) -> Result<Option<Incomplete>, DecodeError> {
        unsupported::check(file)?;
        if let Some(video) = pes::open(file) {
            return self.decode_pes(file, &video);
        }
        if let Some(video) = flv::open(file) {
            return self.decode_flv(file, &video);
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
        let avi_duration = avi::declared_duration(&file.path).filter(|_| has_avi_header(contents));
        let orientation = matroska_orientation(file, track, contents);
        let description = description(file, track, contents, movie);
        let description = description.as_ref();
        let source = match (movie, contents.map(|contents| contents.container)) {
            (Some(movie), _) => FileSource::Movie(movie),
            (None, Some(Container::Obu)) => FileSource::Obu,
            (None, Some(Container::Ogg)) => FileSource::Ogg,
            (None, Some(Container::Avi)) if has_broken_structure(contents) => {
                FileSource::RepairedAvi
            }
            _ => FileSource::Whole,
        };
        let found = contents.and_then(|contents| tracks::find(contents, track));
        let separating: Vec<String> = found
            .filter(|track| track.is_packed)
            .map(|_| SEPARATES.to_owned())
            .into_iter()
            .collect();
        let key_frames = self.key_frames;
        let probes = || Probes::new(key_frames);
        let Some((last, earlier)) = parts.split_last() else {
            let part = Part { track, shift: 0, avi_duration, orientation, contents, movie };
            // A flat movie has only the track that is wanted.
            let track = if movie.is_some() { 1 } else { track };
            let mut decode = |source| {
                self.with_fallback(
                    file,
                    |excluded| {
                        let excluded = [excluded, &separating].concat();
                        FilePipeline::open(file, track, source, description, probes(), &excluded)
                    },
                    |run, pipeline| run.decode_part(file, pipeline, &part, Check::Whole),
                )
            };
            let without_index = match contents.map(|contents| contents.container) {
                Some(Container::Matroska) => Some(FileSource::WithoutIndex),
                Some(Container::Avi) => Some(FileSource::RepairedAvi),
                _ => None,
            };
            return match (decode(source), without_index) {
                // Nothing of it was decoded.
                (Err(error @ DecodeError::Damaged { .. }), Some(source)) => {
                    decode(source).map_err(|_| error)
                }
                (decoded, _) => decoded,
            };
        };
        for (bytes, check) in
            earlier.iter().map(|bytes| (bytes, Check::Part)).chain([(last, Check::LastPart)])
        {
            let shift = self.output.covered().end().unwrap_or(0);
            let part = Part { track, shift, avi_duration, orientation, contents, movie: None };
            let source = FileSource::Part(bytes);
            let decoded =
                FilePipeline::open(file, track, source, description, probes(), &separating)
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

    fn decode_part(
        &mut self,
        file: &LocalFile,
        mut pipeline: FilePipeline,
        part: &Part<'_>,
        check: Check,
    ) -> Result<Option<Incomplete>, DecodeError> {
        let before = self.stored_frames;
        if part.contents.is_some_and(|contents| tracks::find(contents, part.track).is_some()) {
            pipeline.expect_track();
        }
        let mut timeline = Timeline::default();
        let place = |frame| {
            let mut frame = mp4::shown(part.movie, frame)?;
            if check != Check::Whole {
                let time = timeline.place(frame.pts, None);
                frame.pts = time.map(|time| time.saturating_add(part.shift));
            }
            frame.orientation = part.orientation.unwrap_or(frame.orientation);
            Some(frame)
        };
        let duration =
            |pipeline: &FilePipeline| pipeline.declared_duration().max(part.avi_duration);
        let end = self.take_frames(&mut pipeline, place, duration)?;
        if let Some(duration) = duration(&pipeline) {
            self.output.container_info().set_duration(duration);
        }
        if let Some(notice) = tracks::notice(part.track, pipeline.tracks(), part.contents) {
            self.output.notice(notice);
        }
        let stopped = match end {
            FramesEnd::Last => None,
            FramesEnd::OfRange => {
                self.is_past_range = true;
                // Whatever is wrong past the range does not matter.
                return Ok(None);
            }
            FramesEnd::Stopped(incomplete) => Some(incomplete),
            FramesEnd::Broken(error) => Some(Incomplete::Broken { reason: error.to_string() }),
        };
        self.verdict(file, pipeline, stopped, before, part, check)
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
        // IVF declares none, and GStreamer estimates it from the bit rate.
        let has_duration = contents.is_none_or(|known| known.container != Container::Ivf);
        (check == Check::Whole && has_duration)
            .then(truncated)
            .flatten()
            .or_else(|| completeness::damaged(decoded - before, probes))
            .or_else(|| {
                let contents = contents.filter(|_| check != Check::Part)?;
                completeness::disagreement(decoded, contents, track, probes)
            })
    }
}
