//! The memory of an aggregator does not depend on the length of a video.

use futures_util::{StreamExt, stream};
use moliceiro_nats::messages::{
    Ended, Event, FrameResult, FrameSelection, Limits, Object, Objects, Progress, Score, Size,
    Started, Tracking,
};
use moliceiro_testing::events::{started, video};
use moliceiro_testing::process::{Process, service};

use crate::site::Site;

const SIZE: Size = Size { width: 1280, height: 720 };
/// Every fifth of 25 frames per second.
const EVERY: u64 = 5;
const TEN_MINUTES: u64 = 600 * 5;
const TEN_HOURS: u64 = 36_000 * 5;
/// An object enters this often, and stays for eight times as long.
const ENTRY_SECONDS: f32 = 3.0;
const MOST_GROWTH: u64 = 5 << 20;

/// The `n`th analysed frame: eight persons and cars that cross the picture one behind the other.
fn frame(n: u64) -> Event {
    let limits = Limits { floor: Score::nearest(0.1), threshold: Score::nearest(0.4) };
    let mut objects = Objects::new(limits);
    let entered = (n as f32 / 5.0) / ENTRY_SECONDS;
    for back in 0..8_u16 {
        let number = entered.floor() - f32::from(back);
        if number < 0.0 {
            continue;
        }
        let left = (entered - number) / 8.0 * 1200.0;
        let is_car = number % 4.0 == 0.0;
        let top = 50.0 + (number % 8.0) * 80.0;
        let (class, label) = if is_car { (2, "car") } else { (0, "person") };
        let bounds = [left, top, left + 60.0, top + 75.0];
        objects.push(SIZE, Object { class, label, score: 0.8, bounds });
    }
    Event::Frame(FrameResult {
        index: n * EVERY,
        pts: Some(n * EVERY * 40_000_000),
        decoded_at: None,
        objects,
        size: Some(SIZE),
        processing_us: 1000,
        detector: "test".into(),
        model: None,
    })
}

fn resident_bytes(process: &Process) -> u64 {
    let pid = process.pid().as_raw_nonzero();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
}

/// Prints figures for docs/performance.md:
/// `cargo test -p moliceiro-aggregator --test server -- memory:: --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "it takes minutes"]
async fn ten_hours_take_as_much_memory_as_ten_minutes() {
    let site = Site::start().await;
    let aggregator =
        Process::start(service("aggregator").args(["--nats", &site.url(), "--log", "warn"]));
    let video = video("long");
    let Event::Started(started) = started() else { unreachable!() };
    let tracking = Tracking {
        tracker: None,
        lines: vec!["gate: 0.5,0 0.5,1".parse().unwrap()],
        zones: vec!["quay: 0.3,0 0.7,0 0.7,1 0.3,1".parse().unwrap()],
    };
    let alarms = Some(vec!["person in quay for 5s".parse().unwrap()]);
    let selection = FrameSelection::every(EVERY);
    site.store(&video, Event::Started(Started { tracking, alarms, selection, ..started })).await;
    let mut after_ten_minutes = 0;
    for part in 0..TEN_HOURS / TEN_MINUTES {
        let (from, below) = (part * TEN_MINUTES, (part + 1) * TEN_MINUTES);
        let progress = Progress { published: below * EVERY, frames: Some(below), announced: None };
        site.store(&video, Event::Progress(progress)).await;
        stream::iter(from..below).for_each_concurrent(64, |n| site.store(&video, frame(n))).await;
        site.entry_where(&video, |entry| entry.counted >= below).await;
        let bytes = resident_bytes(&aggregator);
        if part == 0 {
            after_ten_minutes = bytes;
        }
        if part % 6 == 0 {
            println!("after {} minutes: {:.1} MB", (part + 1) * 10, bytes as f64 / 1e6);
        }
    }
    let after_ten_hours = resident_bytes(&aggregator);
    println!("after ten hours: {:.1} MB", after_ten_hours as f64 / 1e6);
    let (frames, decoded) = (TEN_HOURS, TEN_HOURS * EVERY);
    let end =
        Ended { frames, decoded, duration: None, problem: None, notices: vec![], skipped: None };
    site.store(&video, Event::Ended(end)).await;
    let summary = site.summary(&video).await;
    let tracks = summary.tracked.tracks.unwrap().values().sum::<u64>();
    println!("{tracks} tracks, {} alarms", summary.alarms);
    assert!(tracks > 11_000, "{tracks} tracks");
    assert!(
        after_ten_hours <= after_ten_minutes + MOST_GROWTH,
        "{after_ten_minutes} bytes grew to {after_ten_hours}"
    );
}
