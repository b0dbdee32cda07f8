//! Any number of detectors, any batches, and kills of every service: the same bytes of tracks, lines,
//! zones and alarms as of one detector that nothing disturbs.

use std::time::Duration;

use async_nats::jetstream;
use fastrand::Rng;
use moliceiro_nats::messages::{Summary, VideoState, to_json};
use moliceiro_testing::deployment::Deployment;
use moliceiro_testing::paths::sample;
use moliceiro_testing::process::{Process, moliceiro};
use moliceiro_testing::server::Server;
use moliceiro_testing::video::file_uri;
use serde_json::{Value, json};
use tokio::time::sleep;

const ID: &str = "bikes-1";
/// A kill costs the frames that a detector has in flight a delivery.
const PATIENT: [&str; 6] = [
    "--set",
    "streams.frame_max_deliver=1000",
    "--set",
    "streams.upload_max_deliver=1000",
    "--set",
    "detector.threshold=0.3",
];

fn upload() -> Value {
    json!({
        "id": ID,
        "uri": file_uri(&sample("bikes.mp4")),
        "every": 3,
        "lines": ["gate@centre: 0.5,0 0.5,1", "road[bicycle]: 0,0.6 1,0.6"],
        "zones": ["left: 0,0 0.5,0 0.5,1 0,1"],
        "alarms": ["person crosses gate", "2 persons in left", "person > 2", "person in left for 1s"],
    })
}

/// Everything that follows from the results, as bytes.
#[derive(Debug, PartialEq)]
struct Published {
    counts: (VideoState, u64, u64, u64),
    /// Numbers of tracks, lines and zones.
    summary: String,
    tracks: Vec<String>,
    alarms: Vec<String>,
    /// What the stored results come to, folded again in one process.
    crossings: Vec<String>,
    visits: Vec<String>,
}

async fn messages(jetstream: &jetstream::Context, stream: &str, subject: &str) -> Vec<String> {
    let stream = jetstream.get_stream(stream).await.unwrap();
    let (mut found, mut next) = (Vec::new(), 1);
    while let Ok(message) = stream.get_first_raw_message_by_subject(subject, next).await {
        next = message.sequence + 1;
        found.push(String::from_utf8(message.payload.to_vec()).unwrap());
    }
    found
}

async fn published(site: &Deployment, summary: &Summary) -> Published {
    let jetstream = site.jetstream().await;
    let analyse = |kind: &str| {
        let mut command = moliceiro();
        command.args(["analyse", ID, "--records", kind, "--nats", &site.url]).args(&site.settings);
        Process::start(&mut command).expect_code(0)
    };
    let tracks = messages(&jetstream, "TRACKS", &format!("tracks.{ID}")).await;
    let found = Published {
        counts: (summary.state, summary.processed_frames, summary.failed_frames, summary.alarms),
        summary: String::from_utf8(to_json(&summary.tracked)).unwrap(),
        alarms: messages(&jetstream, "SUMMARIES", &format!("alarms.{ID}")).await,
        crossings: analyse("crossings"),
        visits: analyse("visits"),
        tracks,
    };
    let again = analyse("tracks");
    assert_eq!(again.len(), found.tracks.len());
    for (again, track) in again.iter().zip(&found.tracks) {
        // The message has the video, too.
        assert!(track.ends_with(again.strip_prefix('{').unwrap()), "{again} {track}");
    }
    found
}

/// By one detector, and no kill.
async fn undisturbed() -> Published {
    let server = Server::start();
    let site = Deployment::new(server.url(), &PATIENT);
    let _services = ["aggregator", "ingest", "detector"].map(|service| site.ready(service));
    site.upload_json(&upload()).await;
    let found = published(&site, &site.summaries(1).await[0]).await;
    assert_eq!((found.counts.0, found.counts.2), (VideoState::Done, 0));
    assert!(!found.tracks.is_empty() && !found.alarms.is_empty(), "{found:#?}");
    assert!(!found.crossings.is_empty() && !found.visits.is_empty(), "{found:#?}");
    found
}

/// Kills and replaces services until the video is finished.
async fn disturbed(seed: u64) -> Published {
    let mut random = Rng::with_seed(seed);
    let server = Server::start();
    let settings = [
        format!("aggregator.linger={}ms", random.u64(1..200)),
        format!("streams.frames_max_per_video={}", random.u64(2..40)),
        format!("detector.sessions={}", random.u64(1..3)),
    ];
    let settings = settings.iter().flat_map(|setting| ["--set", setting.as_str()]);
    let settings: Vec<&str> = PATIENT.into_iter().chain(settings).collect();
    let site = Deployment::new(server.url(), &settings);
    let detectors = vec!["detector"; random.usize(1..=4)];
    let aggregators = vec!["aggregator"; random.usize(1..=2)];
    let names: Vec<_> = [vec!["ingest"], detectors, aggregators].concat();
    let mut running: Vec<_> = names.iter().map(|service| (*service, site.ready(service))).collect();
    site.upload_json(&upload()).await;
    let mut kills = random.usize(3..12);
    let killing = async {
        while kills > 0 {
            sleep(Duration::from_millis(random.u64(50..900))).await;
            // Each service as often as the others, however many of it there are.
            let meant = ["ingest", "detector", "aggregator"][random.usize(..3)];
            let of_it: Vec<_> = (0..running.len()).filter(|n| running[*n].0 == meant).collect();
            let (service, process) = &mut running[of_it[random.usize(..of_it.len())]];
            process.kill();
            sleep(Duration::from_millis(random.u64(0..300))).await;
            *process = site.start(service);
            kills -= 1;
        }
        std::future::pending::<()>().await;
    };
    let summary = tokio::select! {
        mut summaries = site.summaries(1) => summaries.remove(0),
        () = killing => unreachable!("it never completes"),
    };
    published(&site, &summary).await
}

/// `MOLICEIRO_RANDOM_RUNS=20` makes more of them, from the seed `MOLICEIRO_RANDOM_SEED` on.
#[tokio::test(flavor = "multi_thread")]
async fn any_detectors_batches_and_kills_of_every_service_give_the_same_bytes() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = number("MOLICEIRO_RANDOM_SEED").unwrap_or(1);
    let expected = undisturbed().await;
    for seed in first..first + number("MOLICEIRO_RANDOM_RUNS").unwrap_or(2) {
        assert_eq!(disturbed(seed).await, expected, "seed {seed}");
        println!("seed {seed} gives the same bytes");
    }
}
