//! Decodes Flash Video that is damaged.
//!
//! GStreamer 1.22's `flvdemux` ends at the first damaged tag. Reproduced by
//! `what_is_left_of_damaged_flash_video_is_decoded`.

use std::fs::File;

use moliceiro_containers::{FlvCodec, FlvVideo};
use tracing::debug;

use crate::error::{DecodeError, Incomplete};
use crate::explain;
use crate::file::{LocalFile, unreadable};
use crate::packet_source;
use crate::pipeline::FilePipeline;
use crate::probes::Probes;
use crate::raw_frame::RawFrame;
use crate::run::{FramesEnd, Run};
use crate::timeline::Timeline;

/// The video of such a file, if it is one.
pub(crate) fn open(file: &LocalFile) -> Option<FlvVideo> {
    let read = File::open(&file.path).and_then(FlvVideo::open_damaged);
    read.unwrap_or_else(|error| {
        debug!(name = file.name, %error, "cannot read the container");
        None
    })
}

impl Run {
    pub(crate) fn decode_flv(
        &mut self,
        file: &LocalFile,
        video: &FlvVideo,
    ) -> Result<Option<Incomplete>, DecodeError> {
        let key_frames = self.key_frames;
        let open = |excluded: &[String]| {
            let packets = File::open(&file.path)
                .and_then(FlvVideo::packets)
                .map_err(|error| unreadable(&file.name, &error))?;
            let caps = packet_source::flv_caps(&video.codec);
            FilePipeline::open_packets(&file.name, caps, packets, Probes::new(key_frames), excluded)
        };
        self.with_fallback(file, open, |run, pipeline| run.decode_flv_once(file, pipeline, video))
    }

    fn decode_flv_once(
        &mut self,
        file: &LocalFile,
        mut pipeline: FilePipeline,
        video: &FlvVideo,
    ) -> Result<Option<Incomplete>, DecodeError> {
        let mut timeline = Timeline::default();
        let place = |mut frame: RawFrame| {
            frame.pts = timeline.place(frame.pts, None);
            Some(frame)
        };
        let stopped = match self.take_frames(&mut pipeline, place, |_| None)? {
            FramesEnd::Last => None,
            FramesEnd::OfRange => return Ok(None),
            FramesEnd::Stopped(incomplete) => Some(incomplete),
            FramesEnd::Broken(error) => Some(Incomplete::Broken { reason: error.to_string() }),
        };
        let decoded = self.stored_frames;
        let probes = pipeline.probes().clone();
        let failure = pipeline.into_failure(decoded == 0);
        let fault = video.faults.first().cloned().map(Incomplete::Container);
        if decoded == 0 {
            let codec = match video.codec {
                FlvCodec::H264(_) => "H.264",
                FlvCodec::Sorenson => "Sorenson H.263",
            };
            let error = failure
                .or(stopped.or(fault).map(|incomplete| incomplete.into_error(&file.name)))
                .unwrap_or(DecodeError::NoFrames { video: file.name.clone() });
            return Err(explain::without_frames(error, file, Some(codec), &probes));
        }
        let lost = video.frames.saturating_sub(decoded);
        Ok(stopped
            .or(fault)
            .or_else(|| failure.map(|error| Incomplete::Broken { reason: error.into_reason() }))
            .or((lost > 0).then_some(Incomplete::Damaged { lost })))
    }
}
