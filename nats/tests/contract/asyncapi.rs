//! `docs/asyncapi.yaml` describes what the code does: every subject, every message, every field.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::Path;

use crate::support::document::{Document, Schema, cbor_of, changed, fields, json_of};
use crate::support::samples;
use async_nats::header::NATS_MESSAGE_ID;
use bytes::Bytes;
use futures_util::TryStreamExt;
use moliceiro_nats::dead::{FrameIdentity, dead_letter};
use moliceiro_nats::embedded::EmbeddedServer;
use moliceiro_nats::messages::{
    Alarm, AlarmRule, AuditRecord, DetectorRates, Failed, Frame, MalformedMessage, ModelId,
    QueuedWork, STILLS, Summary, Thumbnail, Upload, Versioned, VideoEntry, VideoEvent, VideoStatus,
    VideoTrack, from_cbor, from_json, to_cbor, to_json,
};
use moliceiro_nats::subjects::{
    self, ATTEMPTS_BUCKET, FOLDS_BUCKET, FRAMES, MODELS_BUCKET, REQUESTS_BUCKET, UPLOADS,
    UPLOADS_BUCKET, VIDEOS_BUCKET,
};
use moliceiro_nats::{NatsSettings, Patience, Streams, StreamsSettings, VideoId, connect};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// The schema of a message accepts and refuses the same variants as the code: with each field left
/// out, or with a value of another type.
fn agrees(
    document: &Document,
    message: &str,
    sample: &Value,
    reads: impl Fn(&Value) -> Result<(), String>,
) {
    let payload = document.payload(message);
    payload.accepts(sample);
    reads(sample).unwrap_or_else(|error| panic!("{message}: {error}: {sample}"));
    for (path, changed) in changed(sample) {
        let (by_schema, by_code) = (payload.is_valid(&changed), reads(&changed));
        assert_eq!(
            by_schema,
            by_code.is_ok(),
            "{message} with another {path}: the code returns {by_code:?}: {changed}"
        );
    }
}

/// No field is described that the code never writes.
fn assert_all_used<'a>(
    document: &Document,
    message: &str,
    samples: impl IntoIterator<Item = &'a Value>,
) {
    let written = samples.into_iter().flat_map(fields).collect();
    let described = document.fields(message);
    assert!(
        described.is_subset(&written),
        "{message}: {:?} is never written",
        described.difference(&written).collect::<Vec<_>>()
    );
}

fn json_agrees<T: Serialize + DeserializeOwned + Versioned + PartialEq + Debug>(
    document: &Document,
    message: &str,
    samples: Vec<T>,
) {
    let read = |value: &Value| from_json::<T>(value.to_string().as_bytes());
    let values: Vec<Value> =
        samples.iter().map(|sample| serde_json::from_slice(&to_json(sample)).unwrap()).collect();
    assert_all_used(document, message, &values);
    for (sample, value) in samples.iter().zip(&values) {
        assert_eq!(read(value).unwrap(), *sample);
        agrees(document, message, value, |value| {
            read(value).map(drop).map_err(|error| error.to_string())
        });
    }
}

fn cbor_agrees<T>(
    document: &Document,
    message: &str,
    samples: &[Vec<u8>],
    read: impl Fn(&[u8]) -> Result<T, MalformedMessage>,
) {
    let values: Vec<Value> =
        samples.iter().map(|bytes| json_of(ciborium::from_reader(&bytes[..]).unwrap())).collect();
    assert_all_used(document, message, &values);
    for value in &values {
        agrees(document, message, value, |value| {
            read(&cbor_of(value)).map(drop).map_err(|error| error.to_string())
        });
    }
}

#[test]
fn the_document_is_an_asyncapi_document() {
    let document = Document::read();
    let schemas = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../.deps-tests/asyncapi/node_modules/@asyncapi/specs/schemas");
    let schema =
        std::fs::read(schemas.join("3.0.0-without-$id.json")).expect("run scripts/setup-tests.sh");
    let schema = Schema::new("AsyncAPI 3.0.0", serde_json::from_slice(&schema).unwrap());
    schema.accepts(document.root());
    assert!(
        !schema.is_valid(&json!({ "asyncapi": "3.0.0", "info": { "title": "without a version" } }))
    );
    document.assert_references();
}

#[tokio::test]
async fn every_subject_has_a_channel_and_every_channel_is_a_subject() {
    let document = Document::read();
    let video = VideoId::try_from("x".to_owned()).unwrap();
    let of_video = |subject: String| subject.replace(".x", ".{video}");
    let advisories =
        |stream| subjects::max_deliveries_advisories(stream).replace('*', "{consumer}");
    let known = BTreeMap::from([
        (subjects::UPLOAD_SUBJECT.into(), Some("UPLOADS")),
        (subjects::STATUS_SUBJECT.into(), None),
        (subjects::CHECK_MODEL_SUBJECT.into(), None),
        (subjects::RATES_SUBJECT.into(), None),
        (subjects::WORK_SUBJECT.into(), None),
        (
            of_video(subjects::frames(&ModelId::default(), &video)).replace("nanodet", "{model}"),
            Some("FRAMES"),
        ),
        (of_video(subjects::results(&video)), Some("RESULTS")),
        (of_video(subjects::detections(&video)), Some("RESULTS")),
        (subjects::ALL_AUDIT.replace('*', "{action}"), Some("AUDIT")),
        (of_video(subjects::summary(&video)), Some("SUMMARIES")),
        (of_video(subjects::alarms(&video)), Some("SUMMARIES")),
        (of_video(subjects::tracks(&video)), Some("TRACKS")),
        (of_video(subjects::still(&video, 0)).replace(".0", ".{slot}"), Some("STILLS")),
        (of_video(subjects::dead(&video)), Some("DEAD")),
        (advisories(FRAMES), Some("ADVISORIES")),
        (advisories(UPLOADS), Some("ADVISORIES")),
        (format!("$KV.{VIDEOS_BUCKET}.{{video}}"), Some("KV_videos")),
        (
            format!(
                "$KV.{ATTEMPTS_BUCKET}.{}",
                subjects::attempt(&video, 0).replace("x.0", "{video}.{index}")
            ),
            Some("KV_attempts"),
        ),
        (format!("$KV.{REQUESTS_BUCKET}.{{key}}"), Some("KV_requests")),
        (format!("$KV.{FOLDS_BUCKET}.{{video}}"), Some("KV_folds")),
        (format!("$O.{UPLOADS_BUCKET}.C.{{chunks}}"), Some("OBJ_uploads")),
        (format!("$O.{UPLOADS_BUCKET}.M.{{object}}"), Some("OBJ_uploads")),
        (format!("$O.{MODELS_BUCKET}.C.{{chunks}}"), Some("OBJ_models")),
        (format!("$O.{MODELS_BUCKET}.M.{{object}}"), Some("OBJ_models")),
    ]);
    let known = known
        .into_iter()
        .map(|(subject, stream): (String, _)| (subject, stream.map(str::to_owned)))
        .collect();
    let channels: BTreeMap<String, Option<String>> = document.channels();
    assert_eq!(channels, known);
    let slots: Vec<_> = (0..STILLS).map(|slot| json!(slot.to_string())).collect();
    assert_eq!(document.root()["components"]["parameters"]["slot"]["enum"], json!(slots));

    // No stream takes anything else.
    let server = Server::start();
    let streams = server.streams().await;
    let configs: Vec<_> =
        streams.jetstream.streams().map_ok(|info| info.config).try_collect().await.unwrap();
    let taken: BTreeSet<_> = configs
        .into_iter()
        .flat_map(|c| c.subjects.into_iter().map(move |s| (s, c.name.clone())))
        .collect();
    for (subject, stream) in &taken {
        let prefix = subject.trim_end_matches(['*', '.', '>']);
        let described = channels
            .iter()
            .any(|(address, of)| address.starts_with(prefix) && of.as_ref() == Some(stream));
        assert!(described, "no channel is about {subject} of {stream}");
    }
    for (address, stream) in
        channels.iter().filter_map(|(address, stream)| Some((address, stream.as_ref()?)))
    {
        let taken = taken.iter().any(|(subject, of)| {
            of == stream && address.starts_with(subject.trim_end_matches(['*', '.', '>']))
        });
        assert!(taken, "{stream} does not take {address}");
    }
}

#[test]
fn every_channel_has_an_operation_and_every_message_is_in_a_channel() {
    let document = Document::read();
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    let root = document.root();
    let operations = root["operations"].as_object().unwrap();
    let name =
        |value: &Value| value["$ref"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    let used = |operation: &Value| {
        [&operation["channel"], &operation["reply"]["channel"]]
            .map(|c| c["$ref"].is_string().then(|| name(c)))
    };
    let used: BTreeSet<_> = operations.values().flat_map(used).flatten().collect();
    assert_eq!(used, names(&root["channels"]));
    let messages: BTreeSet<_> = root["channels"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|channel| names(&channel["messages"]))
        .collect();
    assert_eq!(messages, names(&root["components"]["messages"]));
}

#[test]
fn uploads_are_read_as_described() {
    let document = Document::read();
    let read =
        |text: &str| Upload::parse(text.as_bytes()).map(drop).map_err(|error| error.to_string());
    let values: Vec<Value> = samples::uploads()
        .iter()
        .map(|upload| serde_json::from_slice(&to_json(upload)).unwrap())
        .collect();
    assert_all_used(&document, "upload", &values);
    for value in &values {
        agrees(&document, "upload", value, |value| read(&value.to_string()));
    }
    for (fields, text) in [
        (json!({ "unknown": [1] }), "other fields"),
        (json!({ "every": 2, "fps": 1 }), "both"),
        (json!({ "every": null, "fps": 1 }), "one"),
        (json!({ "fps": 0 }), "none"),
        (json!({ "start": "1m 30s", "end": 100 }), "a part"),
        (json!({ "start": " 7.5 " }), "seconds as text"),
        (json!({ "end": "soon" }), "no time"),
        (json!({ "start": -1 }), "before the beginning"),
        (json!({ "window": "5m" }), "windows"),
        (json!({ "window": 0.5 }), "windows that are too short"),
        (json!({ "window": 86_401 }), "windows that are too long"),
        (json!({ "name": "" }), "no name"),
        (json!({ "labels": [" "] }), "no label"),
    ] {
        let mut upload = json!({ "uri": "file:///a" });
        upload.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let by_code = read(&upload.to_string());
        assert_eq!(
            document.payload("upload").is_valid(&upload),
            by_code.is_ok(),
            "{text}: {by_code:?}"
        );
    }
    for text in [
        "file:///data/a.mp4",
        "  /data/a b.mp4\n",
        "rtsp://127.0.0.1/",
        "obj://uploads/a.mp4",
        "a.mp4",
        "",
        " \n",
        "ü",
    ] {
        assert_eq!(
            document.payload("uploadUri").is_valid(&json!(text)),
            read(text).is_ok(),
            "{text:?}"
        );
    }
    for text in ["a-1", " a_1\n", "", "a.b", "a b", &"x".repeat(65)] {
        let read = VideoId::try_from(text.trim().to_owned());
        assert_eq!(
            document.payload("statusRequest").is_valid(&json!(text)),
            read.is_ok(),
            "{text:?}"
        );
    }
}

#[test]
fn alarm_rules_are_read_as_described() {
    let document = Document::read();
    let rule = document.schema("AlarmRule");
    for text in [
        "person > 10",
        "boat>=1 for 3 frames",
        " traffic   light == 0 ",
        "car <= 2 for 1 frame",
        "car >= 2 in 0,0.5 1,0.5 1,1 0,1 for 2 frames",
        "car < 2 in 0,0 1,1",
        "boat",
        "> 1",
        "boat > many",
        "boat > 1 for 3",
        "boat > 1 2",
        "boat => 1",
        "person crosses gate",
        "traffic light crosses gate-1 inwards",
        "person in quay",
        "person in quay for 1min 30s",
        " 3 persons  in quay for 30s ",
        "car stops for 10s in bay",
        "car stops for 10s",
        "person crosses",
        "crosses gate",
        "person crosses gate sideways",
        "person in quay for ever",
    ] {
        assert_eq!(rule.is_valid(&json!(text)), text.parse::<AlarmRule>().is_ok(), "{text:?}");
    }
}

#[test]
fn messages_for_everyone_are_as_described() {
    let document = Document::read();
    json_agrees(&document, "summary", samples::summaries());
    json_agrees(&document, "alarm", samples::alarms());
    json_agrees(&document, "track", samples::tracks());
    json_agrees(&document, "status", samples::statuses());
    json_agrees(&document, "rates", samples::rates());
    json_agrees(&document, "work", samples::works());
    json_agrees(&document, "entry", samples::entries());
    json_agrees(&document, "change", samples::changes());
}

#[test]
fn messages_between_services_are_as_described() {
    let document = Document::read();
    let frames: Vec<_> = samples::frames().iter().map(Frame::to_cbor).collect();
    cbor_agrees(&document, "frame", &frames, Frame::from_cbor);
    let raw = ciborium::from_reader(&samples::raw_frame().to_cbor()[..]).unwrap();
    document.payload("frame").accepts(&json_of(raw));
    let stills: Vec<_> = samples::stills().iter().map(|still| to_cbor(still, 0)).collect();
    cbor_agrees(&document, "still", &stills, from_cbor::<Thumbnail>);
    let with_objects =
        json_of(ciborium::from_reader(&to_cbor(&samples::result_with_objects(), 0)[..]).unwrap());
    document.payload("frameResult").accepts(&with_objects);
    let mut without_objects = with_objects;
    without_objects["event"]["frame"]["objects"] = json!("");
    for message in samples::EVENTS {
        let mut events: Vec<_> = samples::events()
            .iter()
            .filter(|(name, _)| *name == message)
            .map(|(_, event)| to_cbor(event, 0))
            .collect();
        if message == "frameResult" {
            // Labels that no object has are allowed.
            events.push(cbor_of(&without_objects));
        }
        cbor_agrees(&document, message, &events, from_cbor::<VideoEvent>);
        for event in &events {
            let value = json_of(ciborium::from_reader(&event[..]).unwrap());
            let others = samples::EVENTS.into_iter().filter(|other| *other != message);
            others.for_each(|other| {
                assert!(!document.payload(other).is_valid(&value), "{value} is not {other}")
            });
        }
    }
}

#[test]
fn examples_are_what_the_code_reads_and_writes() {
    let document = Document::read();
    fn written<T: Serialize + DeserializeOwned + Versioned>(payload: &Value) -> Value {
        serde_json::from_slice(&to_json(&from_json::<T>(payload.to_string().as_bytes()).unwrap()))
            .unwrap()
    }
    fn rewritten<T: Serialize>(message: &T) -> Value {
        json_of(ciborium::from_reader(&to_cbor(message, 0)[..]).unwrap())
    }
    for (message, example) in document.examples() {
        let payload = &example["payload"];
        document.payload(&message).accepts(payload);
        if let Some(headers) = example.get("headers") {
            document.headers(&message).accepts(headers);
        }
        let text = || payload.as_str().unwrap();
        let written = match message.as_str() {
            "upload" => Upload::parse(payload.to_string().as_bytes())
                .map(drop)
                .map(|()| payload.clone())
                .unwrap(),
            "uploadUri" => Upload::parse(text().as_bytes()).map(|_| payload.clone()).unwrap(),
            "statusRequest" => VideoId::try_from(text().to_owned()).map(|id| json!(id)).unwrap(),
            "summary" => written::<Summary>(payload),
            "alarm" => written::<Alarm>(payload),
            "track" => written::<VideoTrack>(payload),
            "status" => written::<VideoStatus>(payload),
            "rates" => written::<DetectorRates>(payload),
            "work" => written::<QueuedWork>(payload),
            "entry" => written::<VideoEntry>(payload),
            "change" => written::<AuditRecord>(payload),
            "frame" => rewritten(&Frame::from_cbor(&cbor_of(payload)).unwrap()),
            "still" => rewritten(&from_cbor::<Thumbnail>(&cbor_of(payload)).unwrap()),
            "attempt" | "statusError" | "workRequest" | "workError" | "deadLetter" | "fold" => {
                payload.clone()
            }
            event if samples::EVENTS.contains(&event) => {
                rewritten(&from_cbor::<VideoEvent>(&cbor_of(payload)).unwrap())
            }
            other => panic!("unknown message {other}"),
        };
        assert_eq!(
            samples::rounded(&written),
            samples::rounded(payload),
            "{message} is not written like that"
        );
    }
}

#[test]
fn the_json_of_the_guide_is_as_described() {
    let document = Document::read();
    let guide =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/messages.md"))
            .unwrap();
    let found: BTreeMap<_, _> = guide
        .split("```json\n")
        .skip(1)
        .map(|rest| rest.split_once("```").unwrap().0)
        .map(|text| {
            let value: Value = serde_json::from_str(text).unwrap();
            let kinds = ["summary", "alarm", "status", "entry", "upload"];
            (kinds.into_iter().find(|kind| document.payload(kind).is_valid(&value)), text)
        })
        .collect();
    let detection = found.get(&None).unwrap();
    assert!(detection.starts_with(r#"{"frame":0,"time_s""#), "{detection} is a message");
    assert_eq!(found.len(), 6, "{found:?}");
}

#[tokio::test]
async fn headers_of_dead_letters_are_as_described() {
    let document = Document::read();
    let server = Server::start();
    let streams = server.streams().await;
    let video = VideoId::try_from("quay-7".to_owned()).unwrap();
    for (index, detector, message_id) in
        [(40, Some("den".to_owned()), "quay-7/40"), (41, None, "quay-7/41/b4Xw")]
    {
        let failed = Failed {
            index,
            reason: "no\npixels".into(),
            detector: detector.clone(),
            deliveries: 2,
        };
        let (model, message_id) = ("boats@3".parse().unwrap(), message_id.into());
        let identity = FrameIdentity { model, video: video.clone(), index, message_id };
        dead_letter(&streams.publisher, &identity, &failed, Bytes::from_static(b"payload"))
            .await
            .unwrap();
        let letter = streams.dead.get_last_raw_message_by_subject("dead.quay-7").await.unwrap();
        let result =
            streams.results.get_last_raw_message_by_subject("detections.quay-7").await.unwrap();
        for (message, headers) in [("deadLetter", &letter.headers), ("failed", &result.headers)] {
            let headers: Map<_, _> = headers
                .iter()
                .map(|(name, values)| (name.to_string(), json!(values[0].as_str())))
                .collect();
            let described =
                document.root()["components"]["messages"][message]["headers"]["properties"]
                    .as_object()
                    .unwrap();
            for name in headers.keys() {
                assert!(described.contains_key(name), "{message}: {name} is not described");
            }
            let schema = document.headers(message);
            schema.accepts(&json!(headers));
            let required = |name: &str| name != "Moliceiro-Detector";
            for name in headers.keys() {
                let without: Map<_, _> = headers
                    .iter()
                    .filter(|(other, _)| *other != name)
                    .map(|(n, v)| (n.clone(), v.clone()))
                    .collect();
                assert_eq!(
                    schema.is_valid(&json!(without)),
                    !required(name),
                    "{message} without {name}"
                );
            }
            assert!(headers.contains_key(&NATS_MESSAGE_ID.to_string()));
        }
    }
}

struct Server {
    process: EmbeddedServer,
    _folder: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.deps/bin/nats-server");
        Self { process: EmbeddedServer::start(&program, folder.path()).unwrap(), _folder: folder }
    }

    async fn streams(&self) -> Streams {
        let settings = NatsSettings::at(self.process.url());
        let client = connect(&settings, "test", Patience::FailAtOnce).await.unwrap();
        Streams::open(client, &StreamsSettings::default(), 64).await.unwrap()
    }
}
