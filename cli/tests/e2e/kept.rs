//! What is known of a video is available during and after its counting.

use std::collections::BTreeMap;
use std::time::SystemTime;

use async_nats::service::{NATS_SERVICE_ERROR, NATS_SERVICE_ERROR_CODE};
use moliceiro_nats::VideoId;
use moliceiro_nats::messages::{
    Detection, Ended, Event, FrameResult, Progress, Upload, VideoState, VideoStatus, from_json,
};
use moliceiro_nats::publish::Publisher;
use moliceiro_nats::subjects::event_message_id;
use moliceiro_testing::HANG_GUARD;
use moliceiro_testing::deployment::{Deployment, VIDEO};
use moliceiro_testing::paths::sample;
use moliceiro_testing::process::{Process, moliceiro};
use moliceiro_testing::server::Server;
use moliceiro_testing::video::file_uri;
use serde_json::{Value, json};
use tokio::time::timeout;
use url::Url;

/// Runs a command on the deployment's server.
fn command(site: &Deployment, arguments: &[&str], code: i32) -> (Vec<String>, String) {
    let mut program = moliceiro();
    let mut process =
        Process::start(program.args(arguments).args(["--nats", &site.url]).args(&site.settings));
    let lines = process.expect_code(code);
    (lines, process.stderr().join("\n"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_video_has_a_status_and_the_objects_of_each_frame() {
    let server = Server::start();
    let site = Deployment::new(server.url(), &[]);
    let _all = ["aggregator", "detector", "ingest"].map(|service| site.ready(service));
    site.upload_json(&json!({"uri": file_uri(&sample(VIDEO)), "name": "harbour", "every": 10}))
        .await;
    let summary = site.summaries(1).await.remove(0);
    let video = summary.video.as_str();

    let (rows, _) = command(&site, &["detections", video], 0);
    let rows: Vec<Value> = rows.iter().map(|row| serde_json::from_str(row).unwrap()).collect();
    let mut classes = BTreeMap::new();
    for row in &rows {
        *classes.entry(row["label"].as_str().unwrap().to_owned()).or_insert(0) += 1;
        assert!(
            row["score"].as_f64().unwrap() > 0.0 && row["box"].as_array().unwrap().len() == 4,
            "{row}"
        );
        assert!(row["time_s"].as_f64().is_some(), "{row}");
    }
    assert_eq!(classes, summary.classes);
    let frames: Vec<_> = rows.iter().map(|row| row["frame"].as_u64().unwrap()).collect();
    assert!(frames.is_sorted() && frames.iter().all(|frame| frame % 10 == 0), "{frames:?}");
    let (csv, _) = command(&site, &["detections", video, "--csv"], 0);
    assert_eq!(
        (csv[0].as_str(), csv.len()),
        ("frame,time_s,label,score,left,top,right,bottom", rows.len() + 1)
    );
    let (_, said) = command(&site, &["detections", "nobody"], 1);
    assert!(said.contains("no results of video nobody are kept"), "{said}");

    let (table, _) = command(&site, &["status"], 0);
    assert_eq!(table.len(), 2, "{table:#?}");
    assert_eq!(
        table[1].split_whitespace().collect::<Vec<_>>(),
        [video, "done", "12/12", "0", "harbour"]
    );
    let (lines, _) = command(&site, &["status", video], 0);
    assert!(
        lines.contains(&"state    done".to_owned()) && lines.contains(&"frames   12/12".to_owned()),
        "{lines:#?}"
    );
    let (_, said) = command(&site, &["status", "nobody"], 1);
    assert!(said.contains("video nobody does not exist"), "{said}");

    let client = site.client().await;
    let answer = client.request("videos.status", format!("{video}\n").into()).await.unwrap();
    let status: VideoStatus = from_json(&answer.payload).unwrap();
    assert_eq!(
        (status.state, status.processed_frames, status.frames),
        (VideoState::Done, 12, Some(12))
    );
    assert_eq!(status.summary, Some(summary));
    for (id, code, part) in [
        ("nobody", "404", "video nobody does not exist"),
        ("", "400", "is not a video id"),
        ("a.b", "400", "is not a video id"),
    ] {
        let headers =
            client.request("videos.status", id.to_owned().into()).await.unwrap().headers.unwrap();
        assert_eq!(headers.get(NATS_SERVICE_ERROR_CODE).unwrap().as_str(), code, "{id}");
        assert!(headers.get(NATS_SERVICE_ERROR).unwrap().as_str().contains(part), "{headers:?}");
    }
    // What `nats micro ls` and `nats micro info` ask.
    let info = client.request("$SRV.INFO.moliceiro", "".into()).await.unwrap();
    let info: Value = serde_json::from_slice(&info.payload).unwrap();
    let endpoints = info["endpoints"].as_array().unwrap();
    assert!(endpoints.iter().any(|endpoint| endpoint["subject"] == "videos.status"), "{info}");
}

/// Results of a video with crowded frames, without an ingest or a detector: more than their stream
/// holds.
#[tokio::test(flavor = "multi_thread")]
async fn a_video_with_more_results_than_their_stream_holds_is_counted_completely() {
    const FRAMES: u64 = 600;
    const OBJECTS: u64 = 100;
    let server = Server::start();
    let site = Deployment::new(server.url(), &["--set", "streams.results_max_bytes=1048576"]);
    let aggregator = site.ready("aggregator");
    let jetstream = site.jetstream().await;
    let publisher = Publisher::new(jetstream.clone());
    let video = VideoId::for_name("long", "1");
    let publish_event = async |id: Option<String>, event: Event| {
        publisher.publish_event(&video, id.as_deref(), event).await.unwrap()
    };
    let started = Upload::of(Url::parse("file:///long.mp4").unwrap()).started(SystemTime::now(), 1);
    publish_event(Some(event_message_id(&video, "started")), Event::Started(started)).await;
    let found = Detection { label: "person".into(), score: 0.5, bounds: [0.1, 0.2, 0.3, 0.4] };
    let publish = async {
        for index in 0..FRAMES {
            let detections = vec![found.clone(); OBJECTS as usize];
            let (pts, decoded_at, size, detector) = (Some(index), None, None, "test".into());
            let frame = FrameResult {
                index,
                pts,
                decoded_at,
                objects: detections.try_into().unwrap(),
                size,
                processing_us: 1,
                detector,
                model: None,
            };
            publish_event(Some(format!("{video}/{index}")), Event::Frame(frame)).await;
            if index % 50 == 49 {
                publish_event(
                    None,
                    Event::Progress(Progress {
                        published: index + 1,
                        frames: None,
                        announced: None,
                    }),
                )
                .await;
            }
        }
        publish_event(
            None,
            Event::Ended(Ended {
                frames: FRAMES,
                decoded: FRAMES,
                duration: None,
                problem: None,
                notices: vec![],
                skipped: None,
            }),
        )
        .await;
    };
    timeout(HANG_GUARD, publish).await.expect("counted results are removed as others arrive");
    let summary = site.summaries(1).await.remove(0);
    assert_eq!(
        (summary.state, summary.processed_frames, summary.failed_frames),
        (VideoState::Done, FRAMES, 0)
    );
    assert_eq!(summary.count("person"), FRAMES * OBJECTS);
    assert_eq!(summary.alarms, FRAMES, "more than ten persons are in each frame");
    aggregator.wait_for_stderr("removed the oldest results to free space", 2);

    let log = jetstream.get_stream("RESULTS").await.unwrap().get_info().await.unwrap();
    assert!(log.state.first_sequence > 1 && log.state.bytes <= 1 << 20, "{:?}", log.state);
    let (rows, _) = command(&site, &["detections", video.as_str()], 0);
    let last: Value = serde_json::from_str(rows.last().unwrap()).unwrap();
    assert_eq!(last["frame"], FRAMES - 1, "the newest are kept");
    assert!(
        rows.len() as u64 >= 20 * OBJECTS && (rows.len() as u64) < FRAMES * OBJECTS,
        "{}",
        rows.len()
    );
}
