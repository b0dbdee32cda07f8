//! Alarms are printed and published in frame order, each once, whichever process is killed.

use std::path::Path;
use std::time::Duration;

use async_nats::jetstream;
use moliceiro_nats::embedded::EmbeddedServer;
use moliceiro_nats::messages::{Alarm, VideoState, from_json};
use moliceiro_nats::{Streams, StreamsSettings};
use moliceiro_testing::deployment::{Deployment, VIDEO};
use moliceiro_testing::ingest::IngestApi;
use moliceiro_testing::observed::ObservedService;
use moliceiro_testing::paths::{nats_server, sample};
use moliceiro_testing::process::{self, Process, SLOWER, run, summaries};
use moliceiro_testing::server::{Server, client};
use moliceiro_testing::video::file_uri;
use rustix::process::Signal;
use serde_json::json;
use tokio::time::sleep;

fn alarm_lines(lines: &[String]) -> Vec<String> {
    lines.iter().filter(|line| line.starts_with("Frame ")).cloned().collect()
}

fn run_sample(data: &Path, arguments: &[&str]) -> Vec<String> {
    Process::start(run(data).args(SLOWER).args(arguments).arg(sample(VIDEO))).expect_code(0)
}

#[test]
fn a_run_prints_the_requested_alarms_before_the_summary() {
    let data = tempfile::tempdir().unwrap();
    let lines = run_sample(data.path(), &["--every", "6", "--max", "0"]);
    let alarms = alarm_lines(&lines);
    assert_eq!(alarms, lines[..lines.len() - 6], "{lines:#?}");
    assert_eq!(lines[lines.len() - 6], VIDEO);
    let frame = |line: &String| {
        line.strip_prefix("Frame ").unwrap().split_once(": ").unwrap().0.parse::<u64>().unwrap()
    };
    let frames: Vec<_> = alarms.iter().map(frame).collect();
    assert!(
        frames.len() > 10 && frames.is_sorted() && frames.iter().all(|frame| frame % 6 == 0),
        "{frames:?}"
    );
    assert!(alarms[0].ends_with(" <person> detected"), "{alarms:?}");

    let lines = run_sample(data.path(), &["--every", "6", "--json", "--alarm", "person > 0"]);
    let [summary] = &summaries(&lines)[..] else { panic!("{lines:#?}") };
    assert_eq!(summary.alarms, alarms.len() as u64);

    let lines = run_sample(
        data.path(),
        &[
            "--every",
            "6",
            "--alarm",
            "person >= 1 for 5 frames",
            "--alarm",
            "boat > 7",
            "--max",
            "90",
        ],
    );
    assert_eq!(alarm_lines(&lines).len(), lines.len() - 6);
    assert!(lines.len() > 6 && alarm_lines(&lines).len() < alarms.len() / 2, "{lines:#?}");

    assert_eq!(
        run_sample(data.path(), &["--every", "6"]).len(),
        6,
        "more than ten persons are in no frame"
    );
}

#[test]
fn alarms_are_counted_in_the_metrics() {
    let server = Server::start();
    let rules = ["--set", "aggregator.alarms=person >= 1", "--set", "aggregator.output=json"];
    let aggregator = ObservedService::start_with("aggregator", &server.url(), &rules);
    let _detector = Process::start(process::service("detector").args([
        "--nats",
        &server.url(),
        "--set",
        "metrics.listen=off",
    ]));
    let http = IngestApi::start(&server, &[]);
    http.upload(&["POST /videos?every=10"], &std::fs::read(sample(VIDEO)).unwrap());
    let [summary] = &summaries(&aggregator.process.wait_for_stdout(1))[..] else {
        panic!("one summary")
    };
    let metrics = aggregator.get("/metrics").1;
    let counted = metrics
        .lines()
        .find_map(|line| line.strip_prefix("moliceiro_aggregator_alarms_total "))
        .unwrap();
    assert!(summary.alarms > 0 && counted == summary.alarms.to_string(), "{counted} {summary:?}");
}

#[test]
fn an_invalid_alarm_rule_is_refused_with_an_example() {
    let data = tempfile::tempdir().unwrap();
    for arguments in [["--alarm", "person"], ["--set", "aggregator.alarms=person > 3; person = 3"]]
    {
        let mut process = Process::start(run(data.path()).args(arguments));
        process.expect_code(64);
        let said = process.stderr().join("\n");
        assert!(
            said.contains("is not an alarm rule") && said.contains("boat >= 1 for 3 frames"),
            "{said}"
        );
    }
}

#[test]
fn a_killed_run_and_the_next_print_each_alarm_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let start = |data: &Path| {
        let arguments = ["--max", "0", "--log", "debug"];
        Process::start(run(data).args(SLOWER).args(arguments).arg(sample(VIDEO)))
    };
    let whole = alarm_lines(&start(&folder.path().join("whole")).expect_code(0));
    let data = folder.path().join("data");
    let mut killed = start(&data);
    killed.wait_for_stdout(20);
    killed.signal(Signal::KILL);
    killed.wait();
    let printed = alarm_lines(&killed.stdout());
    assert!(printed.len() < whole.len(), "it was killed too late");
    let resumed = alarm_lines(&Process::start(run(&data).args(SLOWER)).expect_code(0));
    // The server died with the run, so alarms not yet recorded as printed are printed again.
    assert!(whole.starts_with(&printed) && whole.ends_with(&resumed), "{printed:#?}\n{resumed:#?}");
    assert!(
        printed.len() + resumed.len() >= whole.len(),
        "{} and {} of {}",
        printed.len(),
        resumed.len(),
        whole.len()
    );
}

/// A release without alarms left a consumer of summaries only.
#[tokio::test(flavor = "multi_thread")]
async fn a_data_folder_from_a_release_without_alarms_prints_alarms_too() {
    let data = tempfile::tempdir().unwrap();
    let server = EmbeddedServer::start(&nats_server(), data.path()).unwrap();
    let client = client(server.url()).await;
    let streams = Streams::open(client, &StreamsSettings::default(), 4).await.unwrap();
    let printed = jetstream::consumer::pull::Config {
        durable_name: Some("printed".into()),
        filter_subject: "summaries.*".into(),
        ack_wait: Duration::from_secs(2),
        ..Default::default()
    };
    streams.summaries.create_consumer(printed).await.unwrap();
    drop(streams);
    server.stop();
    let lines = run_sample(data.path(), &["--every", "20", "--max", "0"]);
    assert!(!alarm_lines(&lines).is_empty(), "{lines:#?}");
}

async fn published(site: &Deployment) -> Vec<Alarm> {
    let stream = site.jetstream().await.get_stream("SUMMARIES").await.unwrap();
    let mut alarms = Vec::new();
    let mut next = 1;
    while let Ok(message) = stream.get_first_raw_message_by_subject("alarms.*", next).await {
        next = message.sequence + 1;
        let alarm: Alarm = from_json(&message.payload).unwrap();
        assert_eq!(message.subject.as_str(), format!("alarms.{}", alarm.video));
        alarms.push(alarm);
    }
    alarms
}

fn frames(alarms: &[Alarm]) -> Vec<(u64, String)> {
    alarms.iter().map(|alarm| (alarm.number, alarm.to_string())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aggregator_killed_many_times_publishes_each_alarm_once() {
    let upload = json!({
        "uri": file_uri(&sample(VIDEO)), "name": "harbour",
        "labels": ["person"],
        "alarms": ["person > 0", "person >= 1 in 0,0 1,0 1,1 0,1 for 7 frames"],
    });
    let faultless = {
        let server = Server::start();
        let site = Deployment::new(server.url(), &[]);
        let _all = ["aggregator", "detector", "ingest"].map(|service| site.ready(service));
        site.upload_json(&upload).await;
        site.summaries(1).await;
        published(&site).await
    };
    let server = Server::start();
    let site = Deployment::new(server.url(), &["--set", "aggregator.linger=10ms"]);
    let _others = ["detector", "ingest"].map(|service| site.ready(service));
    site.upload_json(&upload).await;
    let mut printed = Vec::new();
    for milliseconds in [60, 150, 230, 310, 90, 420, 180, 270] {
        let mut aggregator = site.ready("aggregator");
        sleep(Duration::from_millis(milliseconds)).await;
        aggregator.signal(Signal::KILL);
        aggregator.wait();
        printed.extend(alarm_lines(&aggregator.stdout()));
    }
    let last = site.ready("aggregator");
    let summary = site.summaries(1).await.remove(0);
    let alarms = published(&site).await;
    assert_eq!(frames(&alarms), frames(&faultless));
    assert_eq!((summary.state, summary.alarms), (VideoState::Done, alarms.len() as u64));
    assert_eq!(summary.classes.keys().collect::<Vec<_>>(), ["person"]);
    assert!(
        alarms.len() > 100 && alarms.iter().any(|alarm| alarm.rule.frames() == 7),
        "{alarms:?}"
    );
    assert!(
        alarms.iter().all(|alarm| alarm.name == "harbour" && alarm.time_s.is_some()),
        "{alarms:?}"
    );

    last.wait_for_stderr("video is done", 1);
    printed.extend(alarm_lines(&last.stdout()));
    let mut expected = alarms.iter().map(ToString::to_string);
    assert!(
        printed.iter().all(|line| expected.any(|alarm| alarm == *line)),
        "in order, none twice: {printed:#?}"
    );
}
