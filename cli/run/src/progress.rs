use std::collections::HashMap;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use moliceiro_nats::VideoId;
use moliceiro_nats::messages::{VideoEntry, VideoProgress};
use tracing_subscriber::fmt::MakeWriter;

/// How often each video prints a line where standard error is not a terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(5);
const BAR: &str = "{prefix:20!} {wide_bar} {msg}";
const SPINNER: &str = "{prefix:20!} {spinner} {msg}";

/// Shows on standard error how far the videos are: bars on a terminal, lines elsewhere.
pub(crate) struct Progress {
    bars: MultiProgress,
    terminal: bool,
    videos: Mutex<HashMap<VideoId, Video>>,
}

struct Video {
    name: String,
    bar: ProgressBar,
    /// When its first entry arrived, and how many frames were counted by then.
    first_seen: Option<(Instant, u64)>,
    last_line: Instant,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self {
            bars: MultiProgress::new(),
            terminal: io::stderr().is_terminal(),
            videos: Mutex::default(),
        }
    }

    fn videos(&self) -> MutexGuard<'_, HashMap<VideoId, Video>> {
        self.videos.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, video: &VideoId, name: &str) {
        let bar = if self.terminal {
            self.bars.add(ProgressBar::new_spinner())
        } else {
            ProgressBar::hidden()
        };
        bar.set_style(style(SPINNER));
        bar.set_prefix(name.to_owned());
        bar.set_message("waiting");
        self.videos().insert(
            video.clone(),
            Video { name: name.to_owned(), bar, first_seen: None, last_line: Instant::now() },
        );
    }

    pub(crate) fn update(&self, entry: &VideoEntry) {
        let mut videos = self.videos();
        let Some(video) = videos.get_mut(&entry.video) else { return };
        let figures = entry.progress();
        let (since, before) = *video.first_seen.get_or_insert((Instant::now(), figures.counted));
        let text = match &entry.live {
            Some(live) => live.to_string(),
            None => text(&figures, figures.counted - before.min(figures.counted), since.elapsed()),
        };
        if let Some(total) = figures.total
            && self.terminal
        {
            if video.bar.length() != Some(total) {
                video.bar.set_style(style(BAR));
                video.bar.set_length(total);
            }
            video.bar.set_position(figures.settled().min(total));
        }
        video.bar.set_message(text.clone());
        if !self.terminal && video.last_line.elapsed() >= LINE_INTERVAL {
            video.last_line = Instant::now();
            let line = format!("{}: {text}", video.name);
            drop(videos);
            self.print(&line);
        }
    }

    pub(crate) fn finish(&self, video: &VideoId) {
        if let Some(video) = self.videos().remove(video) {
            video.bar.finish_and_clear();
        }
    }

    /// Prints a line on standard error, above the bars.
    pub(crate) fn print(&self, line: &str) {
        // If standard error is closed, nobody reads it.
        self.suspended(|| drop(writeln!(io::stderr(), "{line}")));
    }

    /// Writes text to standard output at once, above the bars.
    pub(crate) fn print_result(&self, text: &str) -> io::Result<()> {
        self.suspended(|| {
            let mut out = moliceiro_service::stdout();
            writeln!(out, "{text}")?;
            out.flush()
        })
    }

    /// Hides the bars while something else writes to the terminal.
    fn suspended<T>(&self, write: impl FnOnce() -> T) -> T {
        self.bars.suspend(write)
    }

    pub(crate) fn close(&self) {
        for (_, video) in self.videos().drain() {
            video.bar.finish_and_clear();
        }
    }

    /// A writer for logs, which appear above the bars too.
    pub(crate) fn writer(&self) -> AboveBars {
        AboveBars(self.bars.clone())
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn text(figures: &VideoProgress, counted_since: u64, elapsed: Duration) -> String {
    let rate = counted_since as f64 / elapsed.as_secs_f64().max(0.001);
    let mut text = format!(
        "{} decoded, {} counted, {} failed",
        figures.decoded, figures.counted, figures.failed
    );
    if counted_since > 0 && elapsed >= Duration::from_millis(500) {
        text += &format!(", {rate:.0} frames/s");
        if let Some(total) = figures.total {
            text +=
                &format!(", {} left", clock(total.saturating_sub(figures.settled()) as f64 / rate));
        }
    }
    text
}

fn clock(seconds: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
    let seconds = seconds.ceil() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, minutes, seconds) => format!("{minutes}:{seconds:02}"),
        (hours, minutes, seconds) => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

/// Standard error, with the bars hidden during each write.
#[derive(Clone)]
pub(crate) struct AboveBars(MultiProgress);

impl Write for AboveBars {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl<'a> MakeWriter<'a> for AboveBars {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
