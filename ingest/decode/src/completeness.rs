use moliceiro_containers::mp4::FlatMovie;
use moliceiro_containers::{Container, Contents, Fault, VideoTrack};

use crate::container_info::ContainerInfo;
use crate::error::Incomplete;
use crate::probes::Probes;
use crate::timeline::Coverage;

/// How much earlier than declared a video may end, in nanoseconds: containers round times, and
/// sound comes in packets.
const TOLERANCE: u64 = 200_000_000;

/// When the timeline of a Matroska or ASF file starts, in nanoseconds. Some programs write the end
/// as the duration, and GStreamer's times start at 0.
pub(crate) fn start(contents: Option<&Contents>, track: Option<&VideoTrack>) -> u64 {
    let counts_start = contents
        .is_some_and(|known| matches!(known.container, Container::Matroska | Container::Asf));
    track.filter(|_| counts_start).and_then(|track| track.start).unwrap_or(0)
}

/// Whether the video ends before the end that its container declares.
///
/// Sound that is longer than the pictures does not make a video incomplete: if any stream reaches
/// the declared end, the file is whole.
pub(crate) fn truncated(
    covered: &Coverage,
    start: u64,
    container_info: &ContainerInfo,
    probes: &Probes,
) -> Option<Incomplete> {
    let (decoded, declared) = (covered.end()?, container_info.duration()?);
    let step = covered.last_length().max(covered.last_distance());
    let tolerance = TOLERANCE.max(step.saturating_mul(2));
    let reaches_end = |end: u64| end.saturating_add(start).saturating_add(tolerance) >= declared;
    // Without a demuxer, GStreamer estimates the duration from the bit rate.
    let demuxed = probes.demuxed_end()?;
    (!reaches_end(decoded) && !reaches_end(demuxed))
        .then_some(Incomplete::Truncated { decoded, declared })
}

/// Whether the decoder received more frames than it returned.
pub(crate) fn damaged(decoded: u64, probes: &Probes) -> Option<Incomplete> {
    let lost = probes.packets()?.checked_sub(decoded).filter(|lost| *lost > 0)?;
    Some(Incomplete::Damaged { lost })
}

/// What the container's own tables say about a video that was decoded to its end.
pub(crate) fn disagreement(
    decoded: u64,
    contents: &Contents,
    track: Option<&VideoTrack>,
    probes: &Probes,
) -> Option<Incomplete> {
    let fault = contents.faults.first().cloned().map(Incomplete::Container);
    let counted = track.and_then(|track| Some((track.frames?, track.maybe_hidden)));
    let codec = track.and_then(|track| track.codec);
    let is_mpeg = codec.is_some_and(|codec| ["MPEG-1", "MPEG-2"].contains(&codec));
    let miscounted = counted.and_then(|(frames, maybe_hidden)| {
        // Each picture is a frame, unless it is a field.
        let are_frames = is_mpeg && maybe_hidden == frames && !probes.is_interlaced();
        let maybe_hidden = if are_frames { probes.maybe_unshown() } else { maybe_hidden };
        let most = frames.saturating_sub(probes.unshown());
        let expected = decoded.clamp(most.saturating_sub(maybe_hidden), most);
        (expected != decoded).then_some(Incomplete::Miscounted { decoded, expected })
    });
    fault.or(miscounted)
}

/// What the tables of an MP4 say about a track that was decoded to its end.
pub(crate) fn of_movie(
    decoded: u64,
    covered: &Coverage,
    contents: &Contents,
    movie: &FlatMovie,
    probes: &Probes,
) -> Option<Incomplete> {
    let expected = movie.frames();
    let lost = expected.checked_sub(decoded);
    if let Some(fault) = contents.faults.first() {
        let tolerance = TOLERANCE.max(covered.last_length().saturating_mul(2));
        let (end, declared) = (covered.end()?, movie.duration());
        let ends_early = end.saturating_add(tolerance) < declared;
        return Some(match fault {
            Fault::FramesMissing { .. } if ends_early => {
                Incomplete::Truncated { decoded: end, declared }
            }
            fault => Incomplete::Container(fault.clone()),
        });
    }
    match lost {
        Some(0) => None,
        // Its edit list need not hide them.
        Some(lost) if lost <= probes.unshown() => None,
        // Each of the two fields of a frame may be a sample.
        Some(lost) if probes.is_interlaced() && lost.abs_diff(decoded) <= 1 => None,
        Some(lost) => Some(Incomplete::Damaged { lost }),
        None => Some(Incomplete::Miscounted { decoded, expected }),
    }
}
