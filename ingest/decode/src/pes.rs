//! Decodes transport streams and program streams, which are read without GStreamer's demuxers.

use std::fs::File;

use moliceiro_containers::{PesPart, PesVideo, PictureCount};
use tracing::debug;

use crate::completeness;
use crate::decoded::Notice;
use crate::error::{DecodeError, Incomplete};
use crate::explain;
use crate::file::{LocalFile, unreadable};
use crate::packet_source;
use crate::pipeline::FilePipeline;
use crate::probes::Probes;
use crate::raw_frame::RawFrame;
use crate::run::{FramesEnd, Run};
use crate::timeline::Timeline;
use crate::tracks;

/// Frames that a decoder may need after the middle of a recording to begin with.
const WARM_UP: u64 = 64;
/// Pictures that a decoder keeps (ITU-T H.265, A.4.2), and may mistake those of another film for.
const DROPPED: u64 = 16;

/// The video of a file in one of these containers, if it is one.
pub(crate) fn open(file: &LocalFile) -> Option<PesVideo> {
    let read = File::open(&file.path).and_then(|mut file| PesVideo::open(&mut file));
    read.unwrap_or_else(|error| {
        debug!(name = file.name, %error, "cannot read the container");
        None
    })
}

/// What became of a part of a video.
enum PartEnd {
    Whole,
    /// Frames of this part are missing, but not those of the next one.
    Lacking(Incomplete),
    /// The end of the range.
    EndOfRange,
    Stopped(Incomplete),
}

impl Run {
    pub(crate) fn decode_pes(
        &mut self,
        file: &LocalFile,
        video: &PesVideo,
    ) -> Result<Option<Incomplete>, DecodeError> {
        let tracks = u32::try_from(video.programs.len()).unwrap_or(u32::MAX);
        let track = tracks::wanted(self.requested_track, Some(&video.contents));
        let index = usize::try_from(track).unwrap_or(usize::MAX).checked_sub(1);
        let Some(program) = index.and_then(|index| video.programs.get(index)) else {
            let video = file.name.clone();
            return Err(DecodeError::NoSuchTrack { video, wanted: track, tracks });
        };
        if let Some(notice) = tracks::notice(track, tracks, Some(&video.contents)) {
            self.output.notice(notice);
        }
        let duration =
            program.parts.iter().try_fold(0, |sum: u64, part| sum.checked_add(part.duration?));
        let mut lacking = None;
        let key_frames = self.key_frames;
        let probes = || Probes::new(key_frames);
        for part in &program.parts {
            let open = |excluded: &[String]| {
                let input =
                    File::open(&file.path).map_err(|error| unreadable(&file.name, &error))?;
                let packets = video.packets(input, part);
                let caps = packet_source::caps(part.codec);
                FilePipeline::open_packets(&file.name, caps, packets, probes(), excluded)
            };
            let decode =
                |run: &mut Self, pipeline| run.decode_pes_part(file, pipeline, part, duration);
            match self.with_fallback(file, open, decode)? {
                PartEnd::Whole => {}
                PartEnd::EndOfRange => return Ok(None),
                PartEnd::Lacking(incomplete) => {
                    lacking.get_or_insert(incomplete);
                }
                PartEnd::Stopped(incomplete) => return Ok(Some(incomplete)),
            }
        }
        let fault = program.faults.first().cloned().map(Incomplete::Container);
        if self.output.decoded() == 0 {
            let error = fault.or(lacking).map(|incomplete| incomplete.into_error(&file.name));
            return Err(error.unwrap_or(DecodeError::NoFrames { video: file.name.clone() }));
        }
        Ok(fault.or(lacking))
    }

    /// Decodes a part after the ones before.
    fn decode_pes_part(
        &mut self,
        file: &LocalFile,
        mut pipeline: FilePipeline,
        part: &PesPart,
        duration: Option<u64>,
    ) -> Result<PartEnd, DecodeError> {
        let before = self.stored_frames;
        let start = self.output.covered().end().unwrap_or_default();
        let mut timeline = Timeline::default();
        let mut is_interlaced = false;
        let place = |mut frame: RawFrame| {
            is_interlaced |= frame.info.is_interlaced();
            frame.pts = timeline.place(frame.pts, None).map(|time| start.saturating_add(time));
            Some(frame)
        };
        match self.take_frames(&mut pipeline, place, |_| duration)? {
            FramesEnd::Last => {}
            FramesEnd::OfRange => return Ok(PartEnd::EndOfRange),
            FramesEnd::Stopped(incomplete) if self.output.decoded() == 0 => {
                return Err(incomplete.into_error(&file.name));
            }
            FramesEnd::Stopped(incomplete) => return Ok(PartEnd::Stopped(incomplete)),
            FramesEnd::Broken(error) => {
                return Ok(PartEnd::Stopped(Incomplete::Broken { reason: error.to_string() }));
            }
        }
        let decoded = self.stored_frames - before;
        let probes = pipeline.probes().clone();
        if let Some(error) = pipeline.into_failure(decoded == 0) {
            if self.output.decoded() == 0 {
                return Err(explain::without_frames(error, file, Some(part.codec.name()), &probes));
            }
            return Ok(PartEnd::Lacking(Incomplete::Broken { reason: error.into_reason() }));
        }
        // Damaged bytes may resemble the start of a picture. A recording may begin within one.
        let expected = part.pictures.pictures;
        if decoded > expected + 1 {
            return Ok(PartEnd::Lacking(Incomplete::Miscounted { decoded, expected }));
        }
        let Missing { at_start, lost } = missing(part, decoded, is_interlaced);
        if at_start > 0 {
            self.output.notice(Notice::BeginsBetweenKeyFrames { frames: at_start });
        }
        // A damage that is known says enough.
        if let (frames @ 1.., 0) = (part.pictures.passed_over, lost) {
            self.output.notice(Notice::TimesPassOver { frames });
        }
        let lost = (lost > 0).then_some(Incomplete::Damaged { lost });
        let PictureCount { before_key, leading, joins, .. } = part.pictures;
        let are_all_shown = before_key + leading + joins == 0;
        let damaged = || completeness::damaged(decoded, &probes).filter(|_| are_all_shown);
        Ok(lost.or_else(damaged).map_or(PartEnd::Whole, PartEnd::Lacking))
    }
}

/// How many frames a part lacks.
struct Missing {
    /// Those that nobody can decode, because the recording begins between two key frames.
    at_start: u64,
    lost: u64,
}

fn missing(part: &PesPart, decoded: u64, is_interlaced: bool) -> Missing {
    let PictureCount { pictures, before_key, leading, joins, .. } = part.pictures;
    // Pictures of an interlaced video may be fields.
    let are_fields = is_interlaced && decoded <= pictures.div_ceil(2);
    let frames = if are_fields { pictures.div_ceil(2) } else { pictures };
    let missing = frames.saturating_sub(decoded);
    let warm_up = if before_key > 0 { before_key.saturating_add(WARM_UP) } else { 0 };
    let dropped = joins.saturating_mul(DROPPED);
    let unshown = missing.min(warm_up.saturating_add(leading).saturating_add(dropped));
    let at_start = if before_key > 0 { unshown } else { 0 };
    Missing { at_start, lost: missing - unshown }
}
