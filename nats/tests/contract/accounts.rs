//! What each user of `nats/accounts.conf` cannot do, on a real server.

use async_nats::jetstream;
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use moliceiro_nats::messages::{VideoEvent, to_cbor};
use moliceiro_nats::{Streams, StreamsSettings, VideoId, subjects};
use moliceiro_testing::accounts::{Connected, ServerWithAccounts};
use moliceiro_testing::events;

const IN_FLIGHT: usize = 4;

async fn with_streams() -> (ServerWithAccounts, jetstream::Context) {
    let server = ServerWithAccounts::start();
    let aggregator = server.connect("aggregator").await;
    Streams::open(aggregator.client, &StreamsSettings::default(), IN_FLIGHT).await.unwrap();
    let operator = server.jetstream("operator").await;
    (server, operator)
}

/// Publishes, and waits until the server has answered that it may not.
async fn denied(of: &Connected, subject: &str, reply: Option<&str>, payload: &str) {
    let (subject, payload) = (subject.to_owned(), Bytes::from(payload.to_owned()));
    match reply {
        Some(reply) => {
            of.client.publish_with_reply(subject.clone(), reply.to_owned(), payload).await
        }
        None => of.client.publish(subject.clone(), payload).await,
    }
    .unwrap();
    of.client.flush().await.unwrap();
    moliceiro_testing::until(&format!("{subject} is denied"), async || {
        of.permissions.is_denied(&subject).then_some(())
    })
    .await;
}

async fn messages(operator: &jetstream::Context, stream: &str) -> u64 {
    operator.get_stream(stream).await.unwrap().cached_info().state.messages
}

fn ended(video: &VideoId) -> Bytes {
    to_cbor(&VideoEvent::new(video.clone(), events::ended(1)), 64).into()
}

#[tokio::test]
async fn only_the_operator_purges_and_deletes_what_is_kept() {
    let (server, operator) = with_streams().await;
    operator.publish("summaries.a-1", "{}".into()).await.unwrap().await.unwrap();
    for user in ["uploader", "viewer", "ingest", "detector", "aggregator"] {
        let user = server.connect(user).await;
        for stream in ["SUMMARIES", "TRACKS", "STILLS", "DEAD", "KV_videos", "OBJ_models"] {
            for request in ["STREAM.PURGE", "STREAM.MSG.DELETE", "STREAM.DELETE"] {
                denied(&user, &format!("$JS.API.{request}.{stream}"), None, "").await;
            }
        }
        denied(&user, "$JS.API.STREAM.DELETE.RESULTS", None, "").await;
    }
    assert_eq!(messages(&operator, "SUMMARIES").await, 1);
    operator.get_stream("SUMMARIES").await.unwrap().purge().await.unwrap();
    assert_eq!(messages(&operator, "SUMMARIES").await, 0);
}

#[tokio::test]
async fn a_detector_reports_frames_and_nothing_else() {
    let (server, operator) = with_streams().await;
    let detector = server.connect("detector").await;
    let video = VideoId::for_name("a", "1");
    for subject in [
        subjects::results(&video),
        subjects::summary(&video),
        subjects::alarms(&video),
        subjects::tracks(&video),
        format!("$KV.videos.{video}"),
        "frames.nanodet.a-1".to_owned(),
        "$O.models.M.a".to_owned(),
        "videos.upload".to_owned(),
    ] {
        denied(&detector, &subject, None, "forged").await;
    }
    // What it may write, the server must not send elsewhere on its behalf.
    let its_own = jetstream::new(detector.client.clone());
    its_own.publish(subjects::detections(&video), ended(&video)).await.unwrap().await.unwrap();
    let (forged, last) = (subjects::results(&video), r#"{"last_by_subj": "detections.*"}"#);
    let push =
        format!(r#"{{"stream_name": "RESULTS", "config": {{"deliver_subject": "{forged}"}}}}"#);
    for (request, payload) in [
        ("DIRECT.GET.RESULTS", last),
        ("DIRECT.GET.KV_attempts", last),
        ("DIRECT.GET.DEAD", last),
        ("STREAM.MSG.GET.RESULTS", last),
        ("CONSUMER.CREATE.RESULTS", &push),
        ("CONSUMER.CREATE.RESULTS.x", &push),
        ("CONSUMER.DURABLE.CREATE.RESULTS.x", &push),
        ("CONSUMER.MSG.NEXT.RESULTS.aggregator", "1"),
        ("STREAM.CREATE.FORGED", r#"{"name": "FORGED", "subjects": ["x"]}"#),
        ("STREAM.UPDATE.RESULTS", "{}"),
    ] {
        denied(&detector, &format!("$JS.API.{request}"), Some(&forged), payload).await;
    }
    let results = operator.get_stream("RESULTS").await.unwrap();
    assert_eq!(results.cached_info().state.messages, 1, "its own, which aggregators drop");
    assert!(results.get_last_raw_message_by_subject(&forged).await.is_err());
}

#[tokio::test]
async fn an_uploader_reads_nothing_and_publishes_uploads_only() {
    let (server, operator) = with_streams().await;
    operator.publish("summaries.a-1", "{}".into()).await.unwrap().await.unwrap();
    let uploader = server.connect("uploader").await;
    let its_own = jetstream::new(uploader.client.clone());
    its_own.publish("videos.upload", "file:///a.mp4".into()).await.unwrap().await.unwrap();
    for subject in [
        "frames.nanodet.a-1",
        "results.a-1",
        "detections.a-1",
        "summaries.a-1",
        "$KV.videos.a-1",
        "$O.uploads.C.a",
        "$JS.API.STREAM.INFO.RESULTS",
        "$JS.API.DIRECT.GET.SUMMARIES.summaries.a-1",
        "$JS.API.DIRECT.GET.UPLOADS.videos.upload",
        "$JS.API.STREAM.MSG.GET.RESULTS",
        "$JS.API.CONSUMER.CREATE.SUMMARIES",
        "videos.status",
        "models.work",
        "models.rates",
    ] {
        denied(&uploader, subject, Some("videos.upload"), "{}").await;
    }
    // Neither the messages themselves nor the answers that others get.
    for subject in [">", "summaries.*", "results.*", "detections.*", "_INBOX.>", "_INBOX.viewer.>"]
    {
        let mut subscription = uploader.client.subscribe(subject).await.unwrap();
        uploader.client.flush().await.unwrap();
        operator.publish("summaries.b-1", "{}".into()).await.unwrap().await.unwrap();
        // What the server sends before its answer to this was received before it.
        uploader.client.flush().await.unwrap();
        let got = subscription.next().now_or_never();
        assert!(got.is_none(), "{subject}: {got:?}");
    }
    assert_eq!(messages(&operator, "UPLOADS").await, 1);
}

#[tokio::test]
async fn a_viewer_follows_summaries_and_cannot_publish() {
    let (server, operator) = with_streams().await;
    let viewer = server.connect("viewer").await;
    let mut summaries = viewer.client.subscribe("summaries.*").await.unwrap();
    // Nobody answers, so the server has the subscription when this fails.
    viewer.client.request("videos.status", "".into()).await.unwrap_err();
    operator.publish("summaries.a-1", "{}".into()).await.unwrap().await.unwrap();
    assert_eq!(summaries.next().await.unwrap().subject.as_str(), "summaries.a-1");
    for subject in [
        "videos.upload",
        "models.rates",
        "frames.nanodet.a-1",
        "results.a-1",
        "detections.a-1",
        "summaries.a-1",
        "alarms.a-1",
        "$KV.videos.a-1",
        "$JS.API.DIRECT.GET.SUMMARIES.summaries.a-1",
        "$JS.API.CONSUMER.CREATE.SUMMARIES",
        "$JS.ACK.RESULTS.aggregator.1.1.1.1.1",
    ] {
        denied(&viewer, subject, Some("results.a-1"), "{}").await;
    }
    let all: Vec<_> = operator.streams().map(|info| info.unwrap()).collect().await;
    let stored: u64 = all.iter().map(|info| info.state.messages).sum();
    assert_eq!(stored, 1, "the summary");
}

#[tokio::test]
async fn an_answer_cannot_become_a_message() {
    for subject in
        ["results.a", "summaries.a", "videos.upload", "$KV.videos.a", "$JS.API.X", "$O.a"]
    {
        assert!(subjects::is_reserved(subject), "{subject}");
    }
    for subject in ["_INBOX.a.b", "_R_.x", "mine"] {
        assert!(!subjects::is_reserved(subject), "{subject}");
    }
    // The server sends what is stored anywhere on behalf of a user who may read it: that is why
    // nobody but services may. If this ever fails, viewers can be given access to JetStream.
    let (server, operator) = with_streams().await;
    operator.publish("summaries.a-1", "{}".into()).await.unwrap().await.unwrap();
    let reader = server.connect("ingest").await;
    let request = "$JS.API.DIRECT.GET.SUMMARIES.summaries.a-1";
    reader.client.publish_with_reply(request, "alarms.a-1", "".into()).await.unwrap();
    moliceiro_testing::until("the message is stored again", async || {
        (messages(&operator, "SUMMARIES").await == 2).then_some(())
    })
    .await;
}
