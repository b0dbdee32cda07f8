//! The contract against a real server: streams are created once and always checked, and messages
//! are stored for certain.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::stream::{Config, RetentionPolicy};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use moliceiro_nats::dead::{FrameIdentity, dead_letter};
use moliceiro_nats::embedded::{EmbeddedError, EmbeddedServer};
use moliceiro_nats::messages::{Failed, ModelId};
use moliceiro_nats::publish::{StoreError, Turnstile};
use moliceiro_nats::{
    ConnectError, NatsSettings, Patience, Streams, StreamsError, StreamsSettings, VideoId, connect,
    subjects,
};
use moliceiro_testing::events;
use moliceiro_testing::paths::nats_server;
use moliceiro_testing::server::{self, RestartableServer, Server};

const IN_FLIGHT: usize = 64;

#[tokio::test]
async fn nothing_on_the_server_grows_without_bound_by_itself() {
    let server = Server::start();
    let settings = StreamsSettings::default();
    let streams = Streams::open(server.client().await, &settings, IN_FLIGHT).await.unwrap();
    let configs: Vec<Config> =
        streams.jetstream.streams().map(|info| info.unwrap().config).collect().await;
    let names: BTreeSet<_> = configs.iter().map(|config| config.name.as_str()).collect();
    let all = [
        "ADVISORIES",
        "AUDIT",
        "DEAD",
        "FRAMES",
        "KV_attempts",
        "KV_folds",
        "KV_requests",
        "KV_videos",
        "OBJ_models",
        "OBJ_uploads",
        "RESULTS",
        "STILLS",
        "SUMMARIES",
        "TRACKS",
        "UPLOADS",
    ];
    assert_eq!(names, BTreeSet::from(all));
    for config in configs {
        let work_queue = config.retention == RetentionPolicy::WorkQueue && config.max_bytes > 0;
        // Models stay until people remove them.
        let by_people = config.name == "OBJ_models";
        assert!(work_queue || by_people || !config.max_age.is_zero(), "{config:?}");
        assert!(
            !config.duplicate_window.is_zero()
                && config.duplicate_window <= settings.duplicate_window,
            "{config:?}"
        );
    }
}

#[tokio::test]
async fn retention_and_redelivery_follow_the_settings() {
    const HOUR: Duration = Duration::from_secs(3600);
    let server = Server::start();
    let settings = StreamsSettings {
        keep_detections: HOUR,
        keep: 2 * HOUR,
        frame_ack_wait: Duration::from_secs(7),
        ..Default::default()
    };
    let streams = Streams::open(server.client().await, &settings, IN_FLIGHT).await.unwrap();
    let max_age =
        |stream: &async_nats::jetstream::stream::Stream| stream.cached_info().config.max_age;
    assert_eq!((max_age(&streams.results), max_age(&streams.summaries)), (HOUR, 2 * HOUR));
    assert_eq!((max_age(&streams.stills), max_age(streams.objects.stream())), (2 * HOUR, 2 * HOUR));
    let detectors = streams.detectors(&ModelId::default()).await.unwrap();
    let frames = &detectors.cached_info().config;
    assert_eq!(frames.max_deliver, 5);
    assert_eq!(frames.backoff, [7, 7, 21].map(Duration::from_secs), "each redelivery is later");
}

#[tokio::test]
async fn several_services_may_create_the_streams_at_once() {
    let server = Server::start();
    let settings = StreamsSettings::default();
    // Boxed, because three of them do not fit on the stack of a test.
    let open = || {
        let opening = async || Streams::open(server.client().await, &settings, IN_FLIGHT).await;
        Box::pin(async move { Box::new(opening().await) })
    };
    let (a, b, c) = tokio::join!(open(), open(), open());
    for streams in [a, b, c] {
        let frames = streams.unwrap().frames.get_info().await.unwrap();
        assert_eq!(frames.config.retention, RetentionPolicy::WorkQueue);
        assert_eq!(frames.config.max_messages_per_subject, 256);
    }
}

#[tokio::test]
async fn a_deleted_stream_or_bucket_is_reported() {
    for name in ["ADVISORIES", "KV_videos", "STILLS", "OBJ_uploads"] {
        let server = Server::start();
        let streams = Streams::open(server.client().await, &StreamsSettings::default(), IN_FLIGHT)
            .await
            .unwrap();
        streams.check().await.unwrap();
        streams.jetstream.delete_stream(name).await.unwrap();
        let error = streams.check().await.unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[tokio::test]
async fn an_incompatible_stream_is_refused_with_its_field() {
    for (spoil, field) in [
        ((|c| c.subjects = vec!["frames.>".into()]) as fn(&mut Config), "subjects"),
        (|c| c.retention = RetentionPolicy::Limits, "retention"),
        (|c| c.discard_new_per_subject = false, "discard_new_per_subject"),
    ] {
        let server = Server::start();
        let settings = StreamsSettings::default();
        let streams = Streams::open(server.client().await, &settings, IN_FLIGHT).await.unwrap();
        let mut config = streams.frames.cached_info().config.clone();
        streams.jetstream.delete_stream("FRAMES").await.unwrap();
        spoil(&mut config);
        streams.jetstream.create_stream(config).await.unwrap();
        match Streams::open(server.client().await, &settings, IN_FLIGHT).await {
            Err(StreamsError::Incompatible { what, field: found, .. }) => {
                assert_eq!((what.as_str(), found), ("stream FRAMES", field))
            }
            other => panic!("{:?}", other.err()),
        }
    }
}

#[tokio::test]
async fn limits_set_by_an_operator_are_kept() {
    let server = Server::start();
    let chosen = StreamsSettings {
        frames_max_per_video: 3,
        frame_ack_wait: Duration::from_secs(77),
        ..StreamsSettings::default()
    };
    let streams = Streams::open(server.client().await, &chosen, IN_FLIGHT).await.unwrap();
    streams.detectors(&ModelId::default()).await.unwrap();
    let streams =
        Streams::open(server.client().await, &StreamsSettings::default(), IN_FLIGHT).await.unwrap();
    assert_eq!(streams.frames.get_info().await.unwrap().config.max_messages_per_subject, 3);
    let detectors = streams.detectors(&ModelId::default()).await.unwrap();
    assert_eq!(detectors.cached_info().config.ack_wait, Duration::from_secs(77));
}

#[tokio::test]
async fn a_full_queue_holds_up_its_own_publisher_only() {
    let server = Server::start();
    let settings = StreamsSettings { frames_max_per_video: 2, ..StreamsSettings::default() };
    let streams = Streams::open(server.client().await, &settings, IN_FLIGHT).await.unwrap();
    let publish = |subject: &'static str, index: usize| {
        let (publisher, id) = (streams.publisher.clone(), format!("{subject}/{index}"));
        async move { publisher.publish(subject, &id, Bytes::from_static(b"frame")).await.unwrap() }
    };
    publish("frames.nanodet.a", 0).await;
    publish("frames.nanodet.a", 1).await;
    let blocked = tokio::spawn(publish("frames.nanodet.a", 2));
    publish("frames.nanodet.b", 0).await;
    assert!(!blocked.is_finished());

    let detectors = streams.detectors(&ModelId::default()).await.unwrap();
    let mut messages = detectors.messages().await.unwrap();
    let first = messages.next().await.unwrap().unwrap();
    first.double_ack().await.unwrap();
    assert!(!blocked.await.unwrap().duplicate);
    assert_eq!(streams.frames.get_info().await.unwrap().state.messages, 3);
    assert!(publish("frames.nanodet.b", 0).await.duplicate);
}

#[tokio::test]
async fn of_messages_that_wait_for_space_only_one_is_sent_again_and_again() {
    const WAITING: usize = 8;
    const SUBJECT: &str = "frames.nanodet.a";
    let server = Server::start();
    let settings = StreamsSettings { frames_max_per_video: 1, ..StreamsSettings::default() };
    let streams = Streams::open(server.client().await, &settings, IN_FLIGHT).await.unwrap();
    let turnstile = Arc::new(Turnstile::default());
    let publish = |index: usize| {
        let (publisher, turnstile) = (streams.publisher.clone(), Arc::clone(&turnstile));
        let (id, payload) = (format!("a/{index}"), Bytes::from_static(b"frame"));
        async move {
            publisher.publish_in_turn(SUBJECT, &id, payload, &turnstile).await.unwrap();
            index
        }
    };
    publish(0).await;
    // All that is sent, refused messages too: of the same connection, so that none is missed.
    let mut sent = streams.jetstream.client().subscribe(SUBJECT).await.unwrap();
    let mut waiting: FuturesUnordered<_> =
        (1..=WAITING).map(|index| tokio::spawn(publish(index))).collect();
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    while times.len() < WAITING || times.values().sum::<usize>() < WAITING + 4 {
        let message = sent.next().await.unwrap();
        let id = message.headers.unwrap().get("Nats-Msg-Id").unwrap().to_string();
        *times.entry(id).or_default() += 1;
    }
    assert_eq!(times.values().filter(|times| **times == 1).count(), WAITING - 1, "{times:?}");
    while streams.publisher.statistics().waiting_for_space < 8 {
        sent.next().await.unwrap();
    }

    let mut stored = BTreeSet::new();
    while stored.len() < WAITING {
        streams.frames.purge().await.unwrap();
        stored.insert(waiting.next().await.unwrap().unwrap());
    }
    assert_eq!(stored, (1..=WAITING).collect());
    assert_eq!(streams.publisher.statistics().waiting_for_space, 0);
}

#[tokio::test]
async fn a_message_that_is_too_large_is_an_error_and_not_a_wait() {
    let server = Server::start();
    let streams =
        Streams::open(server.client().await, &StreamsSettings::default(), IN_FLIGHT).await.unwrap();
    let payload = Bytes::from(vec![0; 9 << 20]);
    assert!(matches!(
        streams.publisher.publish("frames.nanodet.a", "a/0", payload).await,
        Err(StoreError::TooLarge { .. })
    ));
}

#[tokio::test]
async fn a_result_that_comes_after_its_frame_was_dead_lettered_is_stored() {
    let server = Server::start();
    let streams =
        Streams::open(server.client().await, &StreamsSettings::default(), IN_FLIGHT).await.unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Msg-Id", "a-1/7");
    let frame = FrameIdentity::of("frames.nanodet.a-1", Some(&headers)).unwrap();
    let failed = Failed { index: 7, reason: "too slow".into(), detector: None, deliveries: 5 };
    dead_letter(&streams.publisher, &frame, &failed, Bytes::new()).await.unwrap();
    dead_letter(&streams.publisher, &frame, &failed, Bytes::new()).await.unwrap();
    streams
        .publisher
        .publish_event(&frame.video, Some(&frame.message_id), events::frame(7, &[]))
        .await
        .unwrap();
    assert_eq!(streams.results.get_info().await.unwrap().state.messages, 2);
}

#[tokio::test]
async fn a_restarted_server_has_everything_that_was_stored() {
    let server = Server::start();
    let streams =
        Streams::open(server.client().await, &StreamsSettings::default(), IN_FLIGHT).await.unwrap();
    streams
        .publisher
        .publish("frames.nanodet.a", "a/0", Bytes::from_static(b"frame"))
        .await
        .unwrap();
    let server = server.restart();
    let streams =
        Streams::open(server.client().await, &StreamsSettings::default(), IN_FLIGHT).await.unwrap();
    assert_eq!(streams.frames.get_info().await.unwrap().state.messages, 1);
}

#[tokio::test]
async fn one_folder_has_one_server() {
    let server = Server::start();
    let second = EmbeddedServer::start(&nats_server(), server.folder());
    assert!(matches!(second, Err(EmbeddedError::InUse { .. })), "{:?}", second.err());
}

#[tokio::test]
async fn a_program_that_is_missing_or_not_a_server_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let missing = EmbeddedServer::start(Path::new("/nonexistent/nats-server"), folder.path());
    assert!(matches!(missing, Err(EmbeddedError::Missing { .. })), "{:?}", missing.err());
    let other = EmbeddedServer::start(Path::new("/bin/false"), folder.path());
    assert!(matches!(other, Err(EmbeddedError::Ended { .. })), "{:?}", other.err());
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(matches!(
        EmbeddedServer::start(&nats_server(), &file),
        Err(EmbeddedError::Folder { .. })
    ));
}

#[tokio::test]
async fn a_refusing_server_is_reported_without_the_password() {
    let server = Server::start();
    let address = server.url().rsplit_once('@').unwrap().1.to_owned();
    for (url, is_password) in [
        (format!("nats://moliceiro:wrong@{address}"), true),
        (format!("nats://{address}"), true),
        ("nats://127.0.0.1:1".into(), false),
    ] {
        let settings = NatsSettings::at(url);
        let error = connect(&settings, "test", Patience::FailAtOnce).await.unwrap_err();
        let is_expected = match &error {
            ConnectError::Unauthorized { .. } => is_password,
            ConnectError::Refused { .. } => !is_password,
            _ => false,
        };
        assert!(is_expected, "{error}");
        assert!(!error.to_string().contains("wrong"), "{error}");
    }
}

#[tokio::test]
async fn a_server_without_jetstream_or_too_old_is_reported() {
    for (server, expected) in [
        (RestartableServer::start_old(), "is version 2.10"),
        (RestartableServer::start_without_jetstream(), "runs without JetStream"),
    ] {
        let settings = server::settings(&server.url());
        // Waiting does not help here, and so must not happen.
        let error = connect(&settings, "test", Patience::WaitForServer).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

/// As version 0.1 left it: one subject, for everybody.
#[tokio::test]
async fn the_results_of_the_release_before_are_kept_and_get_the_subject_of_detectors() {
    let server = Server::start();
    let settings = StreamsSettings::default();
    let open = async || {
        let client = server.client().await;
        Box::pin(Streams::open(client, &settings, IN_FLIGHT)).await.unwrap()
    };
    let streams = open().await;
    let needed = streams.results.cached_info().config.clone();
    assert_eq!(needed.subjects, ["results.*", "detections.*"]);
    streams.jetstream.delete_stream("RESULTS").await.unwrap();
    let old = Config { subjects: vec!["results.*".into()], max_bytes: 5 << 20, ..needed.clone() };
    streams.jetstream.create_stream(old).await.unwrap();
    let video = VideoId::for_name("a", "1");
    let publish = async |streams: &Streams, subject: String, id: &str| {
        streams.publisher.publish(&subject, id, Bytes::new()).await.unwrap();
    };
    publish(&streams, subjects::results(&video), "before").await;

    let streams = open().await;
    publish(&streams, subjects::detections(&video), "after").await;
    let info = streams.results.get_info().await.unwrap();
    assert_eq!(info.config.subjects, needed.subjects);
    assert_eq!(info.config.max_bytes, 5 << 20, "an operator's limit");
    assert_eq!(info.state.messages, 2);
}
