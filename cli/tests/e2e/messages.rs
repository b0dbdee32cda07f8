//! Whatever messages arrive, how often and in which order, the summary is right.

use std::process::Command;
use std::time::Duration;

use async_nats::jetstream;
use bytes::Bytes;
use futures_util::StreamExt;
use moliceiro_nats::VideoId;
use moliceiro_nats::messages::{
    Color, Detection, Encoding, Event, Frame, FrameResult, Letterbox, Matrix, Size, VideoEvent,
    VideoState, from_cbor, to_cbor,
};
use moliceiro_testing::deployment::{Deployment, FRAMES, VIDEO, counts, without_faults};
use moliceiro_testing::duplicates::{duplicate_messages, seeded};
use moliceiro_testing::paths::sample;
use moliceiro_testing::process::{Process, moliceiro};
use moliceiro_testing::server::Server;
use moliceiro_testing::video::file_uri;
use moliceiro_testing::{HANG_GUARD, until};
use rustix::process::Signal;
use serde_json::json;
use tokio::time::{sleep, timeout};

/// A frame as a faulty client might publish it.
fn invalid_frame(video: &VideoId, index: u64) -> Frame {
    let size = Size { width: 416, height: 416 };
    Frame {
        version: 1,
        video: video.clone(),
        index,
        pts: None,
        decoded_at: None,
        encoding: Encoding::Jpeg,
        size,
        letterbox: Letterbox { source: size, left: 0, top: 0, content: size },
        color: Color { matrix: Matrix::Bt601, full_range: false },
        pixels: b"not a JPEG".to_vec(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_messages_harm_nothing() {
    let server = Server::start();
    let site = Deployment::new(server.url(), &[]);
    let all = ["aggregator", "detector", "ingest"].map(|service| site.ready(service));
    let jetstream = site.jetstream().await;
    let publish = async |subject: String, id: Option<String>, payload: Bytes| {
        let message = jetstream::message::PublishMessage::build().payload(payload);
        let message = match id {
            Some(id) => message.message_id(id),
            None => message,
        };
        jetstream.send_publish(subject, message).await.unwrap().await.unwrap();
    };
    site.upload(VIDEO).await;
    // The id depends on the server's clock, so it is read from the video's entry.
    let mut watch =
        jetstream.get_key_value("videos").await.unwrap().watch_all_from_revision(1).await.unwrap();
    let entry = timeout(HANG_GUARD, watch.next()).await.unwrap().unwrap().unwrap();
    let video = VideoId::try_from(entry.key).unwrap();
    let nobody = VideoId::for_name("nobody", "1");
    let result = |video: &VideoId, index: u64| {
        let detections = vec![Detection { label: "ghost".into(), score: 1.0, bounds: [0.0; 4] }];
        let result = FrameResult {
            index,
            pts: None,
            decoded_at: None,
            objects: detections.try_into().unwrap(),
            size: None,
            processing_us: 1,
            detector: "test".into(),
            model: None,
        };
        Bytes::from(to_cbor(&VideoEvent::new(video.clone(), Event::Frame(result)), 64))
    };
    publish(format!("results.{video}"), None, "no CBOR".into()).await;
    publish(format!("results.{video}"), None, result(&nobody, 0)).await;
    publish(format!("results.{video}"), None, result(&video, 1_000_000)).await;
    publish(format!("results.{nobody}"), None, result(&nobody, 0)).await;
    publish(format!("frames.nanodet.{video}"), None, "no CBOR and no identity".into()).await;
    publish(format!("frames.nanodet.{nobody}"), Some(format!("{nobody}/0")), "no CBOR".into())
        .await;
    publish(
        format!("frames.nanodet.{nobody}"),
        Some(format!("{nobody}/1")),
        invalid_frame(&nobody, 1).to_cbor().into(),
    )
    .await;
    publish(
        format!("frames.nanodet.{nobody}"),
        Some(format!("{nobody}/2")),
        invalid_frame(&nobody, 7).to_cbor().into(),
    )
    .await;
    site.assert_unharmed().await;
    all[1].wait_for_stderr("giving up a frame", 3);
    all[0].wait_for_stderr("dropping a malformed result", 2);
    all[0].wait_for_stderr("its video is unknown", 1);
    let dead = jetstream.get_stream("DEAD").await.unwrap().get_info().await.unwrap();
    assert_eq!(dead.state.messages, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_cannot_be_analysed_is_counted_as_failed() {
    let server = Server::start();
    let site = Deployment::new(server.url(), &["--set", "streams.duplicate_window=500ms"]);
    // The detector starts when the ingest has finished: in between, the payload of one frame is
    // replaced.
    let _others = ["aggregator", "ingest"].map(|service| site.ready(service));
    site.upload(VIDEO).await;
    let jetstream = site.jetstream().await;
    let frames = jetstream.get_stream("FRAMES").await.unwrap();
    let message = until("frame 50", async || frames.get_raw_message(50).await.ok()).await;
    let mut frame = Frame::from_cbor(&message.payload).unwrap();
    frame.pixels.truncate(100);
    frames.delete_message(50).await.unwrap();
    let spoiled = Bytes::from(frame.to_cbor());
    // Until the first one's id is out of the duplicate window.
    until("another payload is stored", async || {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("Nats-Msg-Id", format!("{}/{}", frame.video, frame.index));
        let publish =
            jetstream.publish_with_headers(message.subject.clone(), headers, spoiled.clone());
        (!publish.await.unwrap().await.unwrap().duplicate).then_some(())
    })
    .await;
    let _detector = site.start("detector");
    let summary = site.summaries(1).await.remove(0);
    assert_eq!(
        (summary.state, summary.processed_frames, summary.failed_frames),
        (VideoState::Done, FRAMES - 1, 1)
    );
    assert_eq!(summary.failed[0].index, frame.index);
    assert!(summary.failed[0].reason.contains("pixels"), "{summary:?}");
    let dead = jetstream.get_stream("DEAD").await.unwrap();
    let dead =
        dead.get_last_raw_message_by_subject(&format!("dead.{}", frame.video)).await.unwrap();
    assert_eq!(dead.payload, spoiled, "its payload is kept");
    let (_, _, _, all) = without_faults();
    assert!(
        summary.classes.iter().all(|(label, n)| all.get(label).is_some_and(|all| n <= all)),
        "{:?} of {all:?}",
        summary.classes
    );
    // There twice if it was delivered twice, because the duplicate window is so short here.
    let dropped = self::dead(&site, &["drop", summary.video.as_str()]);
    let its_own = format!("dropped {} {}", summary.video, frame.index);
    assert!(!dropped.is_empty() && dropped.iter().all(|line| *line == its_own), "{dropped:#?}");
    assert!(self::dead(&site, &["list"]).is_empty());
    assert_eq!(jetstream.get_stream("DEAD").await.unwrap().cached_info().state.messages, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_message_is_delivered_twice() {
    let server = Server::start();
    let site = Deployment::new(server.url(), &[]);
    let [_aggregator, detector, ingest] =
        ["aggregator", "detector", "ingest"].map(|service| site.ready(service));
    let duplicate_messages = duplicate_messages(site.client().await, seeded()).await;
    let uri = file_uri(&sample(VIDEO));
    site.upload_json(&json!({"uri": uri, "id": "twice-1"})).await;
    site.assert_unharmed().await;
    detector.wait_for_stderr("frame done", 2 * FRAMES as usize);
    let started = ["decoding", "all frames of the video are published already"];
    let started = |lines: Vec<String>| {
        lines.iter().filter(|line| started.iter().any(|part| line.contains(part))).count()
    };
    assert!(started(ingest.stderr()) >= 2, "{:#?}", ingest.stderr());
    duplicate_messages.abort();
}

/// Results are taken out of their stream before an aggregator starts, and published again in
/// another order, each of them twice.
#[tokio::test(flavor = "multi_thread")]
async fn results_delivered_twice_and_in_any_order() {
    let server = Server::start();
    let site = Deployment::new(server.url(), &["--set", "aggregator.linger=0ms"]);
    let [detector, ingest] = ["detector", "ingest"].map(|service| site.ready(service));
    site.upload(VIDEO).await;
    ingest.wait_for_stderr("all frames are published", 1);
    detector.wait_for_stderr("frame done", FRAMES as usize);
    let jetstream = site.jetstream().await;
    let log = jetstream.get_stream("RESULTS").await.unwrap();
    // A detector logs a frame before its result is stored.
    until("all frames are acknowledged", async || {
        let frames = jetstream.get_stream("FRAMES").await.unwrap();
        (frames.cached_info().state.messages == 0).then_some(())
    })
    .await;
    let mut results = Vec::new();
    for sequence in 1..=log.get_info().await.unwrap().state.last_sequence {
        let message = log.get_raw_message(sequence).await.unwrap();
        results.extend([
            (message.subject.clone(), message.payload.clone()),
            (message.subject, message.payload),
        ]);
    }
    assert!(results.len() as u64 >= 2 * (FRAMES + 2), "{}", results.len());
    log.purge().await.unwrap();
    seeded().shuffle(&mut results);
    let _aggregator = site.ready("aggregator");
    for some in results.chunks(10) {
        for (subject, payload) in some {
            jetstream.publish(subject.clone(), payload.clone()).await.unwrap().await.unwrap();
        }
        sleep(Duration::from_millis(20)).await;
    }
    site.assert_unharmed().await;
}

fn dead(site: &Deployment, arguments: &[&str]) -> Vec<String> {
    let mut command = moliceiro();
    Process::start(
        command.arg("dead").args(arguments).args(["--nats", &site.url]).args(&site.settings),
    )
    .expect_code(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_can_be_listed_shown_replayed_and_counted_after_all() {
    let server = Server::start();
    let site = Deployment::new(server.url(), &["--set", "streams.frame_max_deliver=1"]);
    let [aggregator, detector, _ingest] =
        ["aggregator", "detector", "ingest"].map(|service| site.ready(service));
    site.upload(VIDEO).await;
    detector.wait_for_stderr("frame done", 20);
    detector.signal(Signal::KILL);
    let _second = site.ready("detector");
    let summary = site.summaries(1).await.remove(0);
    assert_eq!(
        (summary.state, summary.processed_frames + summary.failed_frames),
        (VideoState::Done, FRAMES)
    );
    assert!(summary.failed_frames > 0, "{summary:?}");
    assert!(summary.failed[0].reason.contains("no detector finished it"), "{summary:?}");

    let video = summary.video.as_str();
    let listed = dead(&site, &["list"]);
    // A frame whose result was stored just before the detector was killed also runs out of
    // deliveries, but is counted.
    assert!(listed.len() as u64 >= summary.failed_frames, "{listed:#?}");
    let first = summary.failed[0].index.to_string();
    assert!(
        listed.iter().any(|line| line.starts_with(&format!("{video}\t{first}\t1\t"))),
        "{listed:#?}"
    );

    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("frame.jpg");
    dead(&site, &["show", video, &first, "--output", image.to_str().unwrap()]);
    let probed = Command::new("ffprobe")
        .args(["-v", "error", "-show_entries", "stream=width,height", "-of", "csv=p=0"])
        .arg(&image)
        .output();
    assert_eq!(String::from_utf8(probed.unwrap().stdout).unwrap().trim(), "288,224");

    assert_eq!(dead(&site, &["replay", video]).len(), listed.len());
    assert!(dead(&site, &["list"]).is_empty());
    // There is a correction for each frame, or one for several.
    let corrected = async {
        for n in 2.. {
            let summary = site.summaries(n).await.remove(n - 1);
            if summary.failed_frames == 0 {
                return summary;
            }
        }
        unreachable!("corrections end")
    };
    let corrected = timeout(HANG_GUARD, corrected).await.unwrap();
    assert_eq!(counts(&corrected), without_faults());
    assert_eq!(corrected.corrections, summary.failed_frames);
    aggregator.wait_for_stdout(12);
    assert!(aggregator.stdout().contains(&format!("{VIDEO} (corrected)")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_event_held_for_long_loses_no_result() {
    /// Longer than an aggregator waits for the start event of a result, and than the server waits
    /// for an acknowledgement.
    const HELD: Duration = Duration::from_secs(9);
    let server = Server::start();
    let site = Deployment::new(server.url(), &[]);
    let _ingest = site.ready("ingest");
    site.upload(VIDEO).await;
    let jetstream = site.jetstream().await;
    let results = jetstream.get_stream("RESULTS").await.unwrap();
    let consumer: jetstream::consumer::PullConsumer =
        results.get_consumer("aggregator").await.unwrap();
    let mut messages = consumer.stream().max_messages_per_batch(1).messages().await.unwrap();
    let started = timeout(HANG_GUARD, messages.next()).await.unwrap().unwrap().unwrap();
    assert!(matches!(from_cbor::<VideoEvent>(&started.payload).unwrap().event, Event::Started(_)));
    drop(messages);

    let _others = ["aggregator", "detector"].map(|service| site.ready(service));
    let holding = async {
        loop {
            started.ack_with(jetstream::AckKind::Progress).await.unwrap();
            sleep(Duration::from_secs(1)).await;
        }
    };
    // `holding` never ends by itself.
    timeout(HELD, holding).await.ok();
    site.assert_unharmed().await;
}
