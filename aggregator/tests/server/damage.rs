//! The store of a server that was stopped is damaged, or replaced by an older one, as if power was
//! lost and not all of it was on the disk.
//!
//! Each seed is a run with one damage. A few run by default, as many as `MOLICEIRO_DAMAGE_SEEDS` says
//! otherwise.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fastrand::Rng;
use futures_util::{StreamExt, stream};
use moliceiro_nats::StreamsSettings;
use moliceiro_nats::VideoId;
use moliceiro_nats::messages::{Event, Summary, VideoState};
use moliceiro_testing::events::{started, video};
use moliceiro_testing::server::RestartableServer;
use tokio::time::timeout;

use crate::repair::impatient;
use crate::services::{Service, assert_whole, detector, ingest, persons, upload};
use crate::site::{Aggregator, Site};

const FRAMES: u64 = 40;
/// Far longer than a run takes, on a busy machine too.
const LONGEST: Duration = Duration::from_secs(120);
const PACE: Duration = Duration::from_millis(10);
const STREAMS: [&str; 15] = [
    "FRAMES",
    "RESULTS",
    "KV_videos",
    "UPLOADS",
    "SUMMARIES",
    "ADVISORIES",
    "TRACKS",
    "DEAD",
    "AUDIT",
    "KV_folds",
    "KV_attempts",
    "KV_requests",
    "STILLS",
    "OBJ_uploads",
    "OBJ_models",
];

fn seeds() -> std::ops::Range<u64> {
    let seeds = std::env::var("MOLICEIRO_DAMAGE_SEEDS");
    let first = std::env::var("MOLICEIRO_DAMAGE_SEED").ok().map(|first| first.parse().unwrap());
    let first = first.unwrap_or(0);
    first..first + seeds.map_or(5, |seeds| seeds.parse().unwrap())
}

struct Run {
    rng: Rng,
    server: RestartableServer,
    site: Site,
    videos: Vec<VideoId>,
    _services: (Aggregator, Service, Service),
}

impl Run {
    async fn start(seed: u64) -> Self {
        let server = RestartableServer::start();
        let wait = Duration::from_millis(500);
        let settings = StreamsSettings {
            frame_ack_wait: wait,
            upload_ack_wait: wait,
            ..StreamsSettings::default()
        };
        let site = Site::at(&server.url(), settings).await;
        let services = (
            site.aggregator_with(impatient()),
            ingest(&site.streams, FRAMES, PACE),
            detector(&site.streams, PACE),
        );
        let videos: Vec<_> = ["a", "b"].map(video).to_vec();
        let Event::Started(queued) = started() else { unreachable!() };
        for video in &videos {
            site.store(video, Event::Queued(queued.clone())).await;
            upload(&site.streams, video).await;
        }
        for video in &videos {
            site.entry_where(video, |_| true).await;
        }
        Self { rng: Rng::with_seed(seed), server, site, videos, _services: services }
    }

    /// At any time of the run, and a while after it.
    async fn some_time(&mut self) {
        tokio::time::sleep(Duration::from_millis(self.rng.u64(0..1_600))).await;
    }

    async fn summaries(&self, context: &str) -> Vec<Summary> {
        let all = stream::iter(&self.videos).then(|video| self.site.summary(video)).collect();
        match timeout(LONGEST, all).await {
            Ok(summaries) => summaries,
            Err(_) => panic!("{context}: {}", self.state().await),
        }
    }

    /// What the server has, to see why a run does not end.
    async fn state(&self) -> String {
        let mut state = String::new();
        for video in &self.videos {
            let entry = self.site.streams.videos().entry(video).await;
            state += &format!("{video}: {entry:?}\n");
        }
        for stream in self.site.streams.streams() {
            let info = stream.get_info().await.map(|info| (info.config.name, info.state));
            state += &format!("{info:?}\n");
        }
        let consumers = [&self.site.streams.aggregator, &self.site.streams.ingest];
        for consumer in consumers {
            state += &format!("{:?}\n", consumer.get_info().await);
        }
        state + &format!("{:?}\n", self.site.streams.all_detectors().await)
    }

    fn stream_folder(&self, stream: &str) -> PathBuf {
        self.server.store().join("jetstream/$G/streams").join(stream)
    }

    /// Damages something of a stream, and says what.
    fn damage(&mut self, stream: &str) -> String {
        let folder = self.stream_folder(stream);
        if self.rng.u8(0..6) == 0 {
            fs::remove_dir_all(&folder).unwrap();
            return format!("{stream} is deleted");
        }
        let mut files = files_in(&folder);
        files.sort();
        // What is written in blocks and states of consumers; what describes a stream is small.
        files.retain(|file| fs::metadata(file).unwrap().len() > 0);
        let file = &files[self.rng.usize(0..files.len())];
        let length = fs::metadata(file).unwrap().len();
        let at = self.rng.u64(0..length);
        let name = file.strip_prefix(self.server.store()).unwrap().display();
        // nats-server 2.15.1 takes all memory at its start if a number in this state is too large.
        let is_state = file.ends_with("o.dat");
        match self.rng.u8(0..3) {
            0 if !is_state => {
                let mut bytes = fs::read(file).unwrap();
                bytes[usize::try_from(at).unwrap()] ^= 1 << self.rng.u8(0..8);
                fs::write(file, bytes).unwrap();
                format!("byte {at} of {length} of {name} is flipped")
            }
            0 | 1 => {
                OpenOptions::new().write(true).open(file).unwrap().set_len(at).unwrap();
                format!("{name} of {length} bytes is truncated at {at}")
            }
            _ => {
                fs::remove_file(file).unwrap();
                format!("{name} is deleted")
            }
        }
    }
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_in(&path) } else { vec![path] }).collect()
}

fn copy(from: &Path, to: &Path) {
    for file in files_in(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(&file, target).unwrap();
    }
}

/// Every frame is counted or named.
fn assert_accounted(summary: &Summary, context: &str) {
    let counted = (summary.processed_frames, summary.failed_frames);
    assert_eq!(counted.0 + counted.1, FRAMES, "{context}: {summary:?}");
    assert_eq!(summary.failed.len() as u64, counted.1.min(20), "{context}: {summary:?}");
    if counted.1 == 0 {
        assert_eq!(summary.state, VideoState::Done, "{context}");
        assert_eq!(summary.count("person"), persons(FRAMES), "{context}");
    } else {
        assert!(!summary.notices.is_empty(), "{context}: {summary:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_store_changes_no_summary_or_its_frames_fail_by_name() {
    let run = async |seed: u64| {
        let mut run = Run::start(seed).await;
        let stream = STREAMS[usize::try_from(seed).unwrap() % STREAMS.len()];
        run.some_time().await;
        run.server.kill();
        let damage = run.damage(stream);
        println!("seed {seed}: {damage}");
        run.server.restart();
        let context = format!("seed {seed}: {damage}");
        for summary in run.summaries(&context).await {
            assert_accounted(&summary, &context);
            println!("seed {seed}: {} frames failed", summary.failed_frames);
        }
    };
    stream::iter(seeds()).for_each_concurrent(3, run).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_that_takes_the_store_back_in_time_changes_no_summary() {
    let run = async |seed: u64| {
        let mut run = Run::start(seed).await;
        let old = tempfile::tempdir().unwrap();
        run.some_time().await;
        run.server.kill();
        copy(&run.server.store(), old.path());
        run.server.restart();
        run.some_time().await;
        run.server.kill();
        fs::remove_dir_all(run.server.store()).unwrap();
        copy(old.path(), &run.server.store());
        run.server.restart();
        for summary in run.summaries(&format!("seed {seed}")).await {
            assert_whole(&summary, FRAMES);
        }
        println!("seed {seed}: whole");
    };
    stream::iter(seeds()).for_each_concurrent(3, run).await;
}
