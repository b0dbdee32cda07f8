//! The reader of videos against a real server: its requests are bounded, and malformed entries are
//! reported.

use std::collections::BTreeSet;
use std::time::SystemTime;

use async_nats::jetstream::kv;
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use moliceiro_nats::detections::detections;
use moliceiro_nats::messages::{
    Event, Started, Upload, VERSION, VideoEntry, VideoState, from_json, to_json,
};
use moliceiro_nats::subjects::VIDEOS_BUCKET;
use moliceiro_nats::{
    KnownVideo, StoredEntry, Streams, StreamsSettings, VideoChange, VideoError, VideoId, subjects,
};
use moliceiro_testing::server::Server;
use moliceiro_testing::until;

async fn start() -> (Server, Streams) {
    let server = Server::start();
    let streams =
        Streams::open(server.client().await, &StreamsSettings::default(), 256).await.unwrap();
    (server, streams)
}

fn video(name: impl Into<String>) -> VideoId {
    VideoId::try_from(name.into()).unwrap()
}

fn started(name: &str) -> Started {
    let uri = format!("file:///{name}.mp4").parse().unwrap();
    Upload::of(uri).started(SystemTime::UNIX_EPOCH, 1)
}

pub fn entry(id: &str, state: VideoState) -> VideoEntry {
    let json = serde_json::json!({
        "version": VERSION, "video": id, "state": state, "started": started(id), "published": 0,
        "announced": null, "ended": null, "counted": 0, "failed": 0, "failures": [],
        "unconfirmed": [], "counted_frames": "", "failed_frames": "", "corrections": 0,
        "processing_us": 0, "classes": {}, "finished_at": null, "summary_published": false,
        "summary": null,
    });
    from_json(json.to_string().as_bytes()).unwrap()
}

async fn bucket(streams: &Streams) -> kv::Store {
    streams.jetstream.get_key_value(VIDEOS_BUCKET).await.unwrap()
}

async fn put_raw(streams: &Streams, key: &str, value: Bytes) {
    bucket(streams).await.put(key, value).await.unwrap();
}

async fn put(streams: &Streams, entry: &VideoEntry) {
    put_raw(streams, entry.video.as_str(), to_json(entry).into()).await;
}

/// Counts the requests that JetStream receives from now on.
async fn count_requests(server: &Server) -> impl AsyncFnMut() -> usize {
    let client = server.client().await;
    let mut requests = client.subscribe("$JS.API.>").await.unwrap();
    client.flush().await.unwrap();
    async move || {
        client.flush().await.unwrap();
        std::iter::from_fn(|| requests.next().now_or_never().flatten()).count()
    }
}

#[tokio::test]
async fn ten_thousand_videos_are_listed_in_few_requests() {
    const VIDEOS: usize = 10_000;
    let (server, streams) = start().await;
    let mut acks = vec![];
    for n in 0..VIDEOS {
        let entry = entry(&format!("video-{n}"), VideoState::Decoding);
        let key = format!("$KV.videos.{}", entry.video);
        let payload = match n {
            5000 => "malformed".into(),
            _ => Bytes::from(to_json(&entry)),
        };
        acks.push(streams.jetstream.publish(key, payload).await.unwrap());
        if acks.len() == 200 {
            futures_util::future::try_join_all(acks.drain(..).map(IntoFuture::into_future))
                .await
                .unwrap();
        }
    }
    bucket(&streams).await.delete("video-7").await.unwrap();
    put(&streams, &entry("video-3", VideoState::Done)).await;

    let mut requests = count_requests(&server).await;
    let entries: Vec<_> = streams.videos().entries().collect().await;
    let made = requests().await;
    assert!(made <= 12, "{made} requests");
    let mut malformed = vec![];
    let mut listed = BTreeSet::new();
    for entry in entries {
        match entry {
            Ok(StoredEntry { entry, .. }) => {
                assert_eq!(entry.state == VideoState::Done, entry.video.as_str() == "video-3");
                assert!(listed.insert(entry.video));
            }
            Err(VideoError::Malformed { key, .. }) => malformed.push(key),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(malformed, ["video-5000"]);
    assert_eq!(listed.len(), VIDEOS - 2, "all but the malformed and the deleted one");

    let mut requests = count_requests(&server).await;
    let unfinished = streams.videos().unfinished().await.unwrap();
    let made = requests().await;
    assert!(made <= 20, "{made} requests");
    assert_eq!(unfinished.len(), VIDEOS - 2);
}

#[tokio::test]
async fn large_entries_are_listed_whole() {
    let (_server, streams) = start().await;
    for n in 0..40 {
        let large = VideoEntry {
            counted_frames: "A".repeat(700_000),
            ..entry(&format!("video-{n}"), VideoState::Decoding)
        };
        put(&streams, &large).await;
    }
    let entries: Vec<_> = streams.videos().entries().collect().await;
    assert_eq!(entries.into_iter().filter(Result::is_ok).count(), 40);
}

#[tokio::test]
async fn an_empty_bucket_lists_nothing_and_its_watch_is_loaded_at_once() {
    let (_server, streams) = start().await;
    assert_eq!(streams.videos().entries().count().await, 0);
    assert!(streams.videos().unfinished().await.unwrap().is_empty());
    assert!(streams.videos().entry(&video("a")).await.unwrap().is_none());
    assert_eq!(streams.videos().find(&video("a")).await.unwrap(), None);
    let mut changes = streams.videos().watch_all().await.unwrap();
    assert_eq!(changes.next().await.unwrap().unwrap(), VideoChange::Loaded);
}

#[tokio::test]
async fn a_watch_yields_what_is_there_then_that_it_is_loaded_then_changes() {
    let (_server, streams) = start().await;
    put(&streams, &entry("a", VideoState::Decoding)).await;
    put_raw(&streams, "b", "malformed".into()).await;
    let mut changes = streams.videos().watch_all().await.unwrap();
    let written = |change: VideoChange| match change {
        VideoChange::Written(stored) => (stored.entry.video.to_string(), stored.entry.state),
        other => panic!("{other:?}"),
    };
    let first = changes.next().await.unwrap().unwrap();
    assert_eq!(written(first), ("a".into(), VideoState::Decoding));
    let second = changes.next().await.unwrap();
    assert!(matches!(second, Err(VideoError::Malformed { key, .. }) if key == "b"));
    assert_eq!(changes.next().await.unwrap().unwrap(), VideoChange::Loaded);
    put(&streams, &entry("a", VideoState::Done)).await;
    let changed = changes.next().await.unwrap().unwrap();
    assert_eq!(written(changed), ("a".into(), VideoState::Done));
    bucket(&streams).await.delete("b").await.unwrap();
    assert_eq!(changes.next().await.unwrap().unwrap(), VideoChange::Deleted("b".into()));
}

/// The server deletes the consumers of readers that are gone only after a while.
#[tokio::test]
async fn watches_and_readers_leave_no_consumer_on_the_server() {
    let (server, streams) = start().await;
    let client = server.client().await;
    let mut deletions = client.subscribe("$JS.API.CONSUMER.DELETE.>").await.unwrap();
    client.flush().await.unwrap();
    let consumers = async || {
        let mut count = 0;
        for name in ["KV_videos", "RESULTS"] {
            let stream = streams.jetstream.get_stream(name).await.unwrap();
            count += stream.cached_info().state.consumer_count;
        }
        count
    };
    let are_left = async |count: usize| {
        let is_so = async || (consumers().await <= count).then_some(());
        until("the others are deleted", is_so).await;
    };
    let before = consumers().await;
    let (one, other) = (video("one"), video("other"));
    let watches = [
        streams.videos().watch(&one).await.unwrap(),
        streams.videos().watch(&other).await.unwrap(),
    ];
    assert_eq!(consumers().await, before + 2);
    let mut reader = Box::pin(detections(&streams, &one));
    assert!(reader.next().await.is_none());
    let deleted = deletions.next().await.unwrap();
    assert!(deleted.subject.contains(".RESULTS."), "{}", deleted.subject);
    are_left(before + 2).await;
    drop(watches);
    for _ in 0..2 {
        deletions.next().await.unwrap();
    }
    are_left(before).await;
}

#[tokio::test]
async fn an_uploaded_file_that_is_deleted_leaves_nothing() {
    let (_server, streams) = start().await;
    for name in ["kept", "deleted"] {
        let mut writer = streams.objects.draft();
        writer.write(name.into()).await.unwrap();
        let Ok(bytes) = writer.finish().await else { panic!("it is not stored") };
        bytes.keep(name, name).await.unwrap();
    }
    let uri = |name: &str| format!("obj://uploads/{name}").parse().unwrap();
    let messages = async || streams.objects.stream().get_info().await.unwrap().state.messages;
    assert_eq!(messages().await, 4);
    streams.objects.remove_of(&uri("deleted"), "another").await.unwrap();
    assert_eq!(messages().await, 4, "it is of another video");
    for _ in 0..2 {
        streams.objects.remove_of(&uri("deleted"), "deleted").await.unwrap();
        assert_eq!(messages().await, 2);
    }
    streams.objects.info(&uri("kept")).await.unwrap();
}

#[tokio::test]
async fn a_wait_for_a_cancel_ends_with_it_and_with_no_other_change() {
    let (_server, streams) = start().await;
    let waited = video("a");
    streams.videos().cancel(&waited, "not needed").await.unwrap();
    streams.videos().cancel(&waited, "not needed").await.unwrap();
    let events = streams.results.get_info().await.unwrap().state.messages;
    assert_eq!(events, 1, "a second cancel is a duplicate");

    let mut waiting = Box::pin(streams.videos().until_cancelled(&waited));
    for entry in [
        entry("a", VideoState::Decoding),
        entry("b", VideoState::Cancelled),
        entry("a", VideoState::Counting),
    ] {
        put(&streams, &entry).await;
        let mut seen = streams.videos().watch(&entry.video).await.unwrap();
        tokio::select! {
            () = &mut waiting => panic!("cancelled by {:?} of {}", entry.state, entry.video),
            _ = seen.next() => {}
        }
    }
    put(&streams, &entry("a", VideoState::Cancelled)).await;
    waiting.await;
}

#[tokio::test]
async fn how_a_video_started_is_in_its_entry_unless_queued_and_else_in_its_log() {
    let (_server, streams) = start().await;
    let id = video("a");
    let (queued, first_start) = (started("queued"), started("start"));
    let log = async |event| streams.publisher.publish_event(&id, None, event).await.unwrap();
    log(Event::Queued(queued.clone())).await;
    streams
        .publisher
        .publish(&subjects::results(&id), "malformed", "not CBOR".into())
        .await
        .unwrap();
    assert_eq!(streams.videos().started(&id).await.unwrap(), None);
    let found = streams.videos().find(&id).await.unwrap();
    assert_eq!(found, Some(KnownVideo::Queued(queued.clone())));
    log(Event::Started(first_start.clone())).await;
    let found = streams.videos().find(&id).await.unwrap();
    assert_eq!(found, Some(KnownVideo::Started(first_start.clone())));
    put(&streams, &VideoEntry { started: queued, ..entry("a", VideoState::Queued) }).await;
    assert_eq!(streams.videos().started(&id).await.unwrap(), Some(first_start.clone()));
    put(&streams, &entry("a", VideoState::Decoding)).await;
    assert_eq!(streams.videos().started(&id).await.unwrap(), Some(started("a")));
}

#[tokio::test]
async fn unfinished_videos_are_queued_logged_or_have_an_entry_but_not_a_summary() {
    let (_server, streams) = start().await;
    let summarised = |id| VideoEntry { summary_published: true, ..entry(id, VideoState::Done) };
    put(&streams, &entry("entry", VideoState::Counting)).await;
    put(&streams, &summarised("published")).await;
    put(&streams, &entry("summary", VideoState::Counting)).await;
    let summary = subjects::summary(&video("summary"));
    streams.publisher.publish(&summary, "summary", "{}".into()).await.unwrap();
    for id in ["log", "published"] {
        let event = Event::Started(started(id));
        streams.publisher.publish_event(&video(id), None, event).await.unwrap();
    }
    let mut upload =
        Upload { id: Some(video("upload")), ..Upload::of("file:///upload.mp4".parse().unwrap()) };
    upload.selection.every = Some(7);
    let (subject, json) = (subjects::UPLOAD_SUBJECT, to_json(&upload));
    streams.publisher.publish(subject, "upload", json.into()).await.unwrap();

    let unfinished = streams.videos().unfinished().await.unwrap();
    let ids: Vec<_> = unfinished.keys().map(VideoId::as_str).collect();
    assert_eq!(ids, ["entry", "log", "upload"]);
    assert_eq!(unfinished[&video("upload")].selection.every, Some(7));
    assert_eq!(unfinished[&video("log")].uri, "file:///log.mp4");
}
