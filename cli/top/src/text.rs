//! The figures as text, the same on the screen and in the snapshot.

use std::fmt::Write;
use std::time::Duration;

use crate::queues::Queues;
use crate::state::State;
use crate::videos::{Order, Video};

/// A rate, or a dash if it is unknown.
pub(crate) fn rate(rate: Option<f64>) -> String {
    rate.map_or_else(|| "-".into(), |rate| format!("{rate:.1}"))
}

/// Bytes in the unit that fits.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 999.95 && unit + 1 < UNITS.len() {
        (value, unit) = (value / 1000.0, unit + 1);
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// A time in the unit that fits.
pub(crate) fn time(time: Duration) -> String {
    match time.as_secs() {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        seconds @ 60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        seconds @ 3600..86400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        seconds => format!("{} d {} h", seconds / 86400, seconds / 3600 % 24),
    }
}

/// A share from 0 to 1 as percent.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// A name such as `queue`, and the text beside it.
pub(crate) type Line = (&'static str, String);

/// The figures of the whole pipeline, one line each.
pub(crate) fn lines(state: &State) -> Vec<Line> {
    let rates = state.rates();
    let flow = format!(
        "decoded {}   published {}   done {}   counted {}",
        rate(rates.decoded),
        rate(rates.published),
        rate(rates.done),
        rate(rates.counted)
    );
    let Some(queues) = &state.queues else { return vec![("frames/s", flow)] };
    let alarm = queues
        .last_alarm
        .as_ref()
        .map_or("none".into(), |alarm| format!("{} ago: {}", time(alarm.age), alarm.video));
    vec![
        ("frames/s", flow),
        ("queue", queue(state, queues)),
        ("detectors", detectors(state, queues)),
        (
            "uploads",
            format!(
                "{} in progress, {} waiting{}",
                queues.uploads_in_flight,
                queues.uploads_waiting,
                back_pressure(state)
            ),
        ),
        ("results", format!("{} waiting to be counted", queues.results_waiting)),
        ("redelivered", format!("{} of the queued frames", queues.redelivered)),
        ("dead letters", queues.dead_letters.to_string()),
        ("last alarm", alarm),
    ]
}

/// How full the queue is.
pub(crate) fn queue(state: &State, queues: &Queues) -> String {
    let level = &queues.frames;
    let of_limit = level.max_bytes.map_or_else(String::new, |limit| {
        format!(" of {} ({})", bytes(limit), percent(level.share()))
    });
    let work = match state.seconds_of_work() {
        Some(seconds) => {
            format!("{} of work", time(Duration::try_from_secs_f64(seconds).unwrap_or_default()))
        }
        None => "no active detector".into(),
    };
    let oldest = level.oldest.map_or_else(String::new, |age| format!(", oldest {}", time(age)));
    format!("{} frames, {}{of_limit}, {work}{oldest}", level.messages, bytes(level.bytes))
}

fn detectors(state: &State, queues: &Queues) -> String {
    let (n, measured) = (state.detectors().len(), time(state.measured_time()));
    format!(
        "{n} active in the last {measured}, {} frames in flight, {} pulls waiting",
        queues.frames_in_flight, queues.pulls
    )
}

fn back_pressure(state: &State) -> &'static str {
    if state.is_queue_full() { "; ingest waits until the queue has space" } else { "" }
}

/// Frames of a video that are done, and of how many, such as `12/250`.
pub(crate) fn done(video: &Video) -> String {
    let total = video.figures.total.map_or_else(|| "?".into(), |total| total.to_string());
    format!("{}/{total}", video.figures.settled())
}

/// The most frequent classes, such as `car 80, person 52`.
pub(crate) fn classes(video: &Video) -> String {
    video.top.iter().map(|(label, n)| format!("{label} {n}")).collect::<Vec<_>>().join(", ")
}

/// How many videos are in each state, without states that have none.
pub(crate) fn states(state: &State) -> String {
    let states = state.videos.by_state().into_iter().filter(|(_, n)| *n > 0);
    let states: Vec<_> = states.map(|(state, n)| format!("{n} {}", state.name())).collect();
    if states.is_empty() { "none".into() } else { states.join(", ") }
}

/// Everything at one time, as plain text.
pub(crate) fn snapshot(state: &State) -> String {
    let mut text = String::new();
    let mut line = |name: &str, what: &str| {
        // `ok`, here and below: writing to a string cannot fail.
        writeln!(text, "{name:12}  {what}").ok();
    };
    line("server", &state.server);
    for (name, what) in lines(state) {
        line(name, &what);
        if name == "detectors" {
            for detector in state.detectors() {
                line(
                    "  detector",
                    &format!(
                        "{}: {:.1} frames/s, {:.1} ms each",
                        detector.name, detector.rate, detector.mean_ms
                    ),
                );
            }
        }
    }
    line("videos", &states(state));
    let videos = state.videos.sorted(Order::Newest);
    let name_width =
        videos.iter().map(|video| video.name.chars().count()).max().unwrap_or(0).max(4);
    if !videos.is_empty() {
        writeln!(
            text,
            "\n{:name_width$}  {:10}  {:>13}  {:>6}  {:>8}  TOP",
            "NAME", "STATE", "DONE", "FAILED", "FRAMES/S"
        )
        .ok();
    }
    for video in videos {
        let (name, state, failed) = (&video.name, video.state.name(), video.figures.failed);
        let row = format!(
            "{name:name_width$}  {state:10}  {:>13}  {failed:>6}  {:>8}  {}",
            done(video),
            rate(video.rate()),
            classes(video)
        );
        writeln!(text, "{}", row.trim_end()).ok();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_shown_in_the_unit_that_fits() {
        assert_eq!(
            [0, 999, 1000, 999_949, 999_950, 536_870_912].map(bytes).join(" | "),
            "0 B | 999 B | 1.0 kB | 999.9 kB | 1.0 MB | 536.9 MB"
        );
        let times = [0, 59, 60, 3599, 3600, 90_000].map(|s| time(Duration::from_secs(s)));
        assert_eq!(
            times.join(" | "),
            "0.0 s | 59.0 s | 1 min 0 s | 59 min 59 s | 1 h 0 min | 1 d 1 h"
        );
    }
}
