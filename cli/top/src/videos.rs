//! The videos on the server, as their entries report them.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::{Instant, SystemTime};

use moliceiro_nats::messages::{VideoEntry, VideoProgress, VideoState};

use crate::meter::Meter;

const TOP_CLASSES: usize = 3;

/// The latest entry of a video, reduced to what the screen shows.
#[derive(Clone, Debug)]
pub(crate) struct Video {
    pub(crate) name: String,
    pub(crate) state: VideoState,
    pub(crate) figures: VideoProgress,
    /// The most frequent classes, each with the number of its objects.
    pub(crate) top: Vec<(String, u64)>,
    /// Mean frames per second of the whole video, once it is finished.
    final_rate: Option<f64>,
    uploaded_at: u64,
    written: SystemTime,
    decoded: Meter,
    counted: Meter,
}

impl Video {
    /// Frames counted per second: now, or over the whole video once it is finished.
    pub(crate) fn rate(&self) -> Option<f64> {
        self.final_rate.or_else(|| self.counted.rate())
    }

    /// Progress, 0 to 1; `None` until the number of frames is known.
    pub(crate) fn share(&self) -> Option<f64> {
        if self.state.is_final() {
            return Some(1.0);
        }
        let total = self.figures.total.filter(|total| *total > 0)?;
        Some((self.figures.settled() as f64 / total as f64).min(1.0))
    }

    fn sample(&mut self, now: Instant) {
        self.decoded.read(now, self.figures.decoded);
        self.counted.read(now, self.figures.settled());
    }
}

/// The order of the list of videos.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Order {
    /// Unfinished videos first, then by time of upload, newest first.
    #[default]
    Newest,
    Name,
    /// Fastest first.
    Rate,
}

impl Order {
    pub(crate) fn next(self) -> Self {
        match self {
            Self::Newest => Self::Name,
            Self::Name => Self::Rate,
            Self::Rate => Self::Newest,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Newest => "newest first",
            Self::Name => "by name",
            Self::Rate => "fastest first",
        }
    }
}

/// All videos by id, kept up to date from their entries.
#[derive(Clone, Debug, Default)]
pub(crate) struct Videos(BTreeMap<String, Video>);

impl Videos {
    /// An entry was written.
    pub(crate) fn update(&mut self, now: Instant, entry: &VideoEntry, written: SystemTime) {
        let figures = entry.progress();
        let mut classes: Vec<_> =
            entry.classes.iter().map(|(label, n)| (printable(label), *n)).collect();
        classes.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        classes.truncate(TOP_CLASSES);
        let before = self.0.remove(entry.video.as_str());
        let is_new = before.is_none();
        let (decoded, counted) =
            before.map(|video| (video.decoded, video.counted)).unwrap_or_default();
        let mut video = Video {
            name: printable(&entry.started.name),
            state: entry.state,
            figures,
            top: classes,
            final_rate: entry.summary.as_ref().map(|summary| summary.frames_per_second),
            uploaded_at: entry.started.uploaded_at,
            written,
            decoded,
            counted,
        };
        if is_new {
            video.sample(now);
        }
        self.0.insert(entry.video.to_string(), video);
    }

    pub(crate) fn remove(&mut self, video: &str) {
        self.0.remove(video);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Removes videos whose entry was written before `oldest`.
    pub(crate) fn expire(&mut self, oldest: SystemTime) {
        self.0.retain(|_, video| video.written >= oldest);
    }

    /// Reads the counters of all videos, for their rates.
    pub(crate) fn sample(&mut self, now: Instant) {
        self.0.values_mut().for_each(|video| video.sample(now));
    }

    /// Frames decoded per second, in all videos.
    pub(crate) fn decoded_rate(&self) -> f64 {
        self.0.values().filter_map(|video| video.decoded.rate()).sum()
    }

    /// Frames counted per second, in all videos.
    pub(crate) fn counted_rate(&self) -> f64 {
        self.0.values().filter_map(|video| video.counted.rate()).sum()
    }

    pub(crate) fn in_state(&self, state: VideoState) -> usize {
        self.0.values().filter(|video| video.state == state).count()
    }

    /// How many videos are in each state, in the order of a video's life.
    pub(crate) fn by_state(&self) -> [(VideoState, usize); VideoState::ALL.len()] {
        VideoState::ALL.map(|state| (state, self.in_state(state)))
    }

    pub(crate) fn sorted(&self, order: Order) -> Vec<&Video> {
        let mut videos: Vec<_> = self.0.values().collect();
        match order {
            Order::Newest => {
                videos.sort_by_key(|video| (video.state.is_final(), Reverse(video.uploaded_at)))
            }
            Order::Name => videos.sort_by(|a, b| a.name.cmp(&b.name)),
            Order::Rate => {
                videos.sort_by(|a, b| b.rate().unwrap_or(0.0).total_cmp(&a.rate().unwrap_or(0.0)))
            }
        }
        videos
    }
}

/// A text from someone else, made safe for a terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;

    #[test]
    fn videos_are_sorted_with_the_unfinished_first() {
        let state = example::running();
        let names = |order| {
            let videos = state.videos.sorted(order);
            videos.iter().map(|video| video.name.as_str()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(Order::Newest), "bikes.mp4 aveiro.mkv");
        assert_eq!(names(Order::Name), "aveiro.mkv bikes.mp4");
        assert_eq!(names(Order::Rate), "aveiro.mkv bikes.mp4");
    }

    #[test]
    fn every_state_is_counted() {
        let mut videos = Videos::default();
        for state in VideoState::ALL {
            let entry = example::entry(state.name(), state, 1, 1);
            videos.update(Instant::now(), &entry, SystemTime::now());
        }
        assert_eq!(videos.by_state(), VideoState::ALL.map(|state| (state, 1)));
    }

    #[test]
    fn a_strangers_text_cannot_control_the_terminal() {
        let mut videos = Videos::default();
        let mut entry = example::entry("evil", VideoState::Decoding, 1, 1);
        entry.started.name = "\u{1b}[2Jgone\u{7}".into();
        videos.update(Instant::now(), &entry, SystemTime::now());
        assert_eq!(videos.sorted(Order::Newest)[0].name, "\u{fffd}[2Jgone\u{fffd}");
    }
}
