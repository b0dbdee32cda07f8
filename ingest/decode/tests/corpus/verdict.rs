//! What became of a file, and whether that is right.

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use moliceiro_decode::{
    DecodeError, DecodeSettings, DecodedVideo, FrameSelection, Incomplete, Size, start,
};
use url::Url;

use crate::cases::Case;
use crate::ffmpeg;
use crate::film::{self, HEIGHT, WIDTH};
use crate::known;

/// Every how many frames are selected, in addition to all.
const EVERY: usize = 3;

/// How long nothing may happen.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// How many milliseconds are no difference: containers round times, and GStreamer shows a Matroska
/// file that begins a few milliseconds late from its start.
const ROUNDING: f64 = 5.0;

/// A decoded file.
pub struct Report {
    pub name: String,
    /// For a frame, or for the end.
    pub longest_wait: Duration,
    outcome: Outcome,
}

enum Outcome {
    /// The frames that a player shows, and no notice.
    Right {
        frames: usize,
    },
    /// A damage has a notice.
    Noticed {
        frames: usize,
        expected: usize,
        notice: String,
    },
    /// There is an error, and no frame.
    Refused {
        expected: usize,
        error: String,
    },
    Wrong(Fault),
}

enum Fault {
    /// Frames are missing, doubled or in another order, and nobody said so.
    Silent {
        decoded: Vec<usize>,
        expected: Vec<usize>,
    },
    /// Nothing is wrong with the file.
    FalseAlarm {
        frames: usize,
        expected: usize,
        notice: String,
    },
    /// The file is whole.
    NeedlesslyRefused {
        error: String,
    },
    /// Frames are shown at other times than in a player. Both are in milliseconds.
    Times {
        decoded: Vec<f64>,
        expected: Vec<Option<f64>>,
    },
    Stalled,
    Panicked,
    /// A selection does not give the frames that it says.
    Selection {
        decoded: Vec<usize>,
        expected: Vec<usize>,
    },
}

struct Decoded {
    numbers: Vec<usize>,
    times: Vec<u64>,
    longest_wait: Duration,
    outcome: Result<DecodedVideo, DecodeError>,
}

fn frames(file: &Path, selection: FrameSelection) -> Decoded {
    let [width, height] = [WIDTH, HEIGHT].map(|side| u32::try_from(side).unwrap());
    let size = Size { width, height };
    let stall_timeout = LONGEST_WAIT;
    let settings = DecodeSettings { selection, stall_timeout, ..DecodeSettings::new(size) };
    let mut since = Instant::now();
    let decoding = start(&Url::from_file_path(file).unwrap(), settings);
    let mut numbers = Vec::new();
    let mut times = Vec::new();
    let mut longest = Duration::ZERO;
    while let Ok(frame) = decoding.frames.recv_blocking() {
        longest = longest.max(since.elapsed());
        since = Instant::now();
        numbers.extend(frame.iter().map(film::number_on));
        times.extend(frame.iter().filter_map(|frame| frame.pts));
    }
    let outcome = decoding.outcome_blocking();
    Decoded { numbers, times, longest_wait: longest.max(since.elapsed()), outcome }
}

/// Decodes a file whose frames are known.
pub fn decode(case: &Case, file: &Path, expected: Vec<usize>) -> Report {
    let Decoded { numbers: decoded, times, longest_wait, outcome } =
        frames(file, FrameSelection::every(1));
    let outcome = match outcome {
        Ok(DecodedVideo { incomplete: Some(Incomplete::Stalled { .. }), .. })
        | Err(DecodeError::Stalled { .. }) => Outcome::Wrong(Fault::Stalled),
        Err(DecodeError::Panicked) => Outcome::Wrong(Fault::Panicked),
        _ if longest_wait > LONGEST_WAIT => Outcome::Wrong(Fault::Stalled),
        Err(error) if case.is_intact() && !known::is_refused(&case.name, &error.to_string()) => {
            Outcome::Wrong(Fault::NeedlesslyRefused { error: error.to_string() })
        }
        Err(error) => Outcome::Refused { expected: expected.len(), error: error.to_string() },
        Ok(DecodedVideo { incomplete: Some(notice), .. }) => {
            let (frames, notice) = (decoded.len(), notice.to_string());
            let expected = expected.len();
            if case.is_intact() {
                Outcome::Wrong(Fault::FalseAlarm { frames, expected, notice })
            } else {
                Outcome::Noticed { frames, expected, notice }
            }
        }
        Ok(_) if differs(case, &decoded, &times, &expected) => {
            Outcome::Wrong(Fault::Silent { decoded, expected })
        }
        Ok(_) if case.is_intact() => match wrong_times(case, file, &decoded, &times) {
            Some(fault) => Outcome::Wrong(fault),
            None => selected(file, decoded),
        },
        Ok(_) => Outcome::Right { frames: decoded.len() },
    };
    Report { name: case.name.clone(), longest_wait, outcome }
}

/// The pictures of a damaged file may be wrong in themselves, so a number may be that of another
/// frame. ffmpeg may lose more of them than another decoder, but of more frames than ffmpeg returns,
/// none comes twice.
fn differs(case: &Case, decoded: &[usize], times: &[u64], expected: &[usize]) -> bool {
    if case.is_intact() {
        return decoded != expected;
    }
    let mut frames: Vec<_> = times.iter().zip(decoded).collect();
    frames.sort_unstable();
    let comes_twice = case.most_times() == 1
        && decoded.len() > expected.len()
        && frames.windows(2).any(|pair| pair[0] == pair[1]);
    let most = case.most_times() * film::FRAMES;
    !(expected.len()..=most).contains(&decoded.len()) || comes_twice
}

/// Whether frames are shown at other times than in a player, and than in the film.
fn wrong_times(case: &Case, file: &Path, numbers: &[usize], times: &[u64]) -> Option<Fault> {
    // Raw streams have no times.
    if times.len() < numbers.len() {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "films are short")]
    let decoded: Vec<f64> = times.iter().map(|time| *time as f64 / 1e6).collect();
    let shown = if case.is_unreadable_to_ffmpeg() { Vec::new() } else { ffmpeg::times(file) };
    let film: Vec<_> = numbers.iter().map(|number| Some(case.time_of(*number))).collect();
    let are_right = [&shown, &film].into_iter().any(|expected| {
        let known =
            decoded.iter().zip(expected).filter_map(|(time, known)| Some((time, (*known)?)));
        let mut differences = known.map(|(time, known)| time - known);
        let Some(first) = differences.next() else { return false };
        // ffmpeg also counts the frames that an edit list hides.
        expected.len() == decoded.len()
            && differences.all(|difference| (difference - first).abs() <= ROUNDING)
    });
    // ffmpeg does not know the times of some cuts.
    let is_known = shown.iter().any(Option::is_some);
    let are_right = are_right || !is_known && times.is_sorted_by(|one, next| one < next);
    (!are_right).then_some(Fault::Times { decoded, expected: shown })
}

fn selected(file: &Path, all: Vec<usize>) -> Outcome {
    let every = FrameSelection::every(EVERY as u64);
    let decoded = frames(file, every).numbers;
    let expected: Vec<usize> = all.iter().copied().step_by(EVERY).collect();
    if decoded == expected {
        Outcome::Right { frames: all.len() }
    } else {
        Outcome::Wrong(Fault::Selection { decoded, expected })
    }
}

impl Report {
    pub fn is_wrong(&self) -> bool {
        matches!(self.outcome, Outcome::Wrong(_))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.name)?;
        match &self.outcome {
            Outcome::Right { frames } => write!(f, "{frames} frames"),
            Outcome::Noticed { frames, expected, notice } => {
                write!(f, "{frames} of {expected} frames: {notice}")
            }
            Outcome::Refused { expected, error } => write!(f, "0 of {expected} frames: {error}"),
            Outcome::Wrong(fault) => write!(f, "WRONG: {fault}"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent { decoded, expected } => write!(
                f,
                "{} frames without a notice, a player shows {}: {decoded:?} instead of \
                 {expected:?}",
                decoded.len(),
                expected.len()
            ),
            Self::FalseAlarm { frames, expected, notice } => {
                write!(f, "the file is whole, and {frames} of {expected} frames: {notice}")
            }
            Self::NeedlesslyRefused { error } => write!(f, "refused: {error}"),
            Self::Times { decoded, expected } => {
                let decoded: Vec<_> = decoded.iter().map(|time| time.round()).collect();
                let expected: Vec<_> = expected.iter().map(|time| time.map(f64::round)).collect();
                write!(f, "the times of frames are {decoded:?} instead of {expected:?} ms")
            }
            Self::Stalled => write!(f, "stalled"),
            Self::Panicked => write!(f, "panicked"),
            Self::Selection { decoded, expected } => {
                write!(f, "every {EVERY}rd frame is {decoded:?} instead of {expected:?}")
            }
        }
    }
}
