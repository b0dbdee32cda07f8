//! What became of a file, and whether that is right.

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use moliceiro_decode::{
    DecodeError, DecodeSettings, DecodedVideo, FrameSelection, Incomplete, Size, start,
};
use url::Url;

use crate::cases::Case;
use crate::film::{self, HEIGHT, WIDTH};
use crate::known;

/// Every how many frames are selected, in addition to all.
const EVERY: usize = 3;

/// How long nothing may happen.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

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
    /// Others, with a notice; or a damage has one.
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
        notice: String,
    },
    /// The file is whole.
    NeedlesslyRefused {
        error: String,
    },
    Stalled,
    Panicked,
    /// A selection does not give the frames that it says.
    Selection {
        decoded: Vec<usize>,
        expected: Vec<usize>,
    },
}

fn frames(
    file: &Path,
    selection: FrameSelection,
) -> (Vec<usize>, Duration, Result<DecodedVideo, DecodeError>) {
    let [width, height] = [WIDTH, HEIGHT].map(|side| u32::try_from(side).unwrap());
    let size = Size { width, height };
    let stall_timeout = LONGEST_WAIT;
    let settings = DecodeSettings { selection, stall_timeout, ..DecodeSettings::new(size) };
    let mut since = Instant::now();
    let decoding = start(&Url::from_file_path(file).unwrap(), settings);
    let mut numbers = Vec::new();
    let mut longest = Duration::ZERO;
    while let Ok(frame) = decoding.frames.recv_blocking() {
        longest = longest.max(since.elapsed());
        since = Instant::now();
        numbers.extend(frame.iter().map(film::number_on));
    }
    let outcome = decoding.outcome_blocking();
    (numbers, longest.max(since.elapsed()), outcome)
}

/// Decodes a file whose frames are known.
pub fn decode(case: &Case, file: &Path, expected: Vec<usize>) -> Report {
    let (decoded, longest_wait, outcome) = frames(file, FrameSelection::every(1));
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
            if case.is_intact() && decoded == expected {
                Outcome::Wrong(Fault::FalseAlarm { frames, notice })
            } else {
                Outcome::Noticed { frames, expected: expected.len(), notice }
            }
        }
        Ok(_) if differs(case, &decoded, &expected) => {
            Outcome::Wrong(Fault::Silent { decoded, expected })
        }
        Ok(_) if case.is_intact() => selected(file, decoded),
        Ok(_) => Outcome::Right { frames: decoded.len() },
    };
    Report { name: case.name.clone(), longest_wait, outcome }
}

/// The pictures of a damaged file may be wrong in themselves, so only their number counts. ffmpeg
/// may lose more of them than another decoder, but there are no more than the film has.
fn differs(case: &Case, decoded: &[usize], expected: &[usize]) -> bool {
    if case.is_intact() {
        decoded != expected && !known::is_edited(&case.name, decoded, expected)
    } else {
        decoded.len() < expected.len() || decoded.len() > case.most_frames()
    }
}

fn selected(file: &Path, all: Vec<usize>) -> Outcome {
    let every = FrameSelection::every(EVERY as u64);
    let (decoded, ..) = frames(file, every);
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
            Self::FalseAlarm { frames, notice } => {
                write!(f, "all {frames} frames, and yet: {notice}")
            }
            Self::NeedlesslyRefused { error } => write!(f, "refused: {error}"),
            Self::Stalled => write!(f, "stalled"),
            Self::Panicked => write!(f, "panicked"),
            Self::Selection { decoded, expected } => {
                write!(f, "every {EVERY}rd frame is {decoded:?} instead of {expected:?}")
            }
        }
    }
}
