//! Models by name on a real server: versions, removal, and a frame queue with a consumer for each.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use bytes::Bytes;
use futures_util::StreamExt;
use moliceiro_nats::messages::{
    DEFAULT_MODEL, Event, Fit, ModelDescription, ModelId, Scaling, Size, Started, Upload,
    UsedModel, VideoEntry, VideoState, to_json,
};
use moliceiro_nats::models::NewModel;
use moliceiro_nats::{ModelsError, Streams, StreamsSettings, VideoId, subjects};
use moliceiro_testing::server::Server;

fn id(text: &str) -> ModelId {
    text.parse().unwrap()
}

fn new(name: &str) -> NewModel {
    NewModel {
        name: id(name),
        size: Size { width: 64, height: 32 },
        multiple_of: Some(32),
        fit: Fit::Letterbox,
        scaling: Scaling::Linear,
        classes: 2,
        manifest: Some("labels = [\"boat\", \"net\"]".into()),
    }
}

async fn open(server: &Server) -> Streams {
    Streams::open(server.client().await, &StreamsSettings::default(), 16).await.unwrap()
}

/// Adds a model whose file has this content.
async fn add(
    streams: &Streams,
    new: &NewModel,
    content: &str,
) -> Result<ModelDescription, ModelsError> {
    let folder = tempfile::tempdir().unwrap();
    let file: PathBuf = folder.path().join("a.onnx");
    std::fs::write(&file, content).unwrap();
    let bytes = streams.models.upload(&file).await?;
    streams.models.add(new, bytes).await
}

#[tokio::test]
async fn a_model_has_versions_and_its_name_is_the_latest() {
    let server = Server::start();
    let streams = open(&server).await;
    let models = &streams.models;
    let first = add(&streams, &new("boats"), "one").await.unwrap();
    assert_eq!(first.model, id("boats@1"));
    assert_eq!(first.bytes, 3);
    // printf one | sha256sum
    assert_eq!(first.digest, "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed");
    let again = add(&streams, &new("boats"), "one").await.unwrap();
    assert_eq!(again, first, "the same file is the same version");
    let second = add(&streams, &new("boats"), "two").await.unwrap();
    assert_eq!(second.model, id("boats@2"));
    assert_eq!(models.find(&id("boats")).await.unwrap(), second);
    assert_eq!(models.find(&id("boats@1")).await.unwrap(), first);
    let names: Vec<_> =
        models.list().await.unwrap().into_iter().map(|model| model.model.to_string()).collect();
    assert_eq!(names, [DEFAULT_MODEL, "nanodet-int8", "boats@1", "boats@2"]);

    // A removed version is never another model.
    models.remove(&streams, &id("boats@2")).await.unwrap();
    assert_eq!(models.find(&id("boats")).await.unwrap(), first);
    assert_eq!(add(&streams, &new("boats"), "three").await.unwrap().model, id("boats@3"));
    let removed = models.remove(&streams, &id("boats")).await.unwrap();
    assert_eq!(removed, [id("boats@1"), id("boats@3")]);
    assert!(matches!(models.find(&id("boats")).await, Err(ModelsError::Unknown { .. })));
    let chunks = streams.models.stream().info_with_subjects("$O.models.C.>").await.unwrap();
    assert_eq!(chunks.count().await, 0, "no bytes stay behind");
}

#[tokio::test]
async fn the_same_file_added_twice_at_the_same_time_is_one_version() {
    let server = Server::start();
    let streams = open(&server).await;
    let (boats, ships) = (new("boats"), new("ships"));
    let added = futures_util::future::join_all((0..8).map(|_| add(&streams, &boats, "one"))).await;
    let versions: Vec<_> = added.into_iter().map(|added| added.unwrap().model).collect();
    assert_eq!(versions, vec![id("boats@1"); 8]);
    let contents = ["one", "two", "three", "four"];
    let added = contents.map(|content| add(&streams, &ships, content));
    let added = futures_util::future::join_all(added).await;
    let mut versions: Vec<_> = added.into_iter().map(|added| added.unwrap().model).collect();
    versions.sort();
    assert_eq!(versions, [1, 2, 3, 4].map(|version| id("ships").at(version)));
}

#[tokio::test]
async fn labels_that_do_not_fit_into_a_message_are_an_error_and_leave_nothing() {
    let server = Server::start();
    let streams = open(&server).await;
    let manifest = Some(format!("labels = {:?}", vec!["a rather long name of a class"; 400_000]));
    let refused = add(&streams, &NewModel { manifest, ..new("boats") }, "one").await.unwrap_err();
    assert!(matches!(refused, ModelsError::Full(_)), "{refused:?}");
    assert!(refused.to_string().contains("max_payload"), "{refused}");
    let chunks = streams.models.stream().info_with_subjects("$O.models.>").await.unwrap();
    assert_eq!(chunks.count().await, 0, "nothing stays behind");
}

#[tokio::test]
async fn bytes_that_a_killed_program_wrote_are_deleted() {
    let server = Server::start();
    let streams = open(&server).await;
    let added = add(&streams, &new("boats"), "one").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.onnx");
    std::fs::write(&file, "two").unwrap();
    // As if it were killed before they got a name.
    drop(streams.models.upload(&file).await.unwrap());
    let models = &streams.models;
    assert_eq!(models.purge_abandoned(Duration::from_secs(3600)).await.unwrap(), 0);
    assert_eq!(models.purge_abandoned(Duration::ZERO).await.unwrap(), 1);
    let stored = models.find_stored(&added.model).await.unwrap();
    models.fetch(&stored, folder.path()).await.unwrap();
    assert_eq!(models.purge_abandoned(Duration::ZERO).await.unwrap(), 0);
}

/// What a run adds stays while a stored video is analysed by it, or once it is added by its user.
#[tokio::test]
async fn models_of_runs_are_removed_when_no_video_needs_them() {
    let server = Server::start();
    let streams = open(&server).await;
    let models = &streams.models;
    let folder = tempfile::tempdir().unwrap();
    let run = async |content: &str| {
        let file = folder.path().join("a.onnx");
        std::fs::write(&file, content).unwrap();
        let bytes = models.upload(&file).await.unwrap();
        models.add_for_run(&new("boats"), bytes).await.unwrap().model
    };
    let [first, second, third] = [run("one").await, run("two").await, run("three").await];
    let unused = async |current: &ModelId| {
        models.remove_unused_of_runs(&streams, std::slice::from_ref(current)).await.unwrap()
    };
    let video = VideoId::for_name("a", "1");
    let upload = Upload::of("file:///a.mp4".parse().unwrap());
    let used = models.find(&first).await.unwrap().used();
    let started = Started { model: Some(used), ..upload.started(std::time::SystemTime::now(), 1) };
    let event = Event::Started(started.clone());
    streams.publisher.publish_event(&video, None, event).await.unwrap();
    assert_eq!(
        unused(&third).await,
        std::slice::from_ref(&second),
        "its log says that a video needs the first"
    );
    let entry = VideoEntry {
        video,
        started,
        summary_published: true,
        ..crate::videos::entry("a", VideoState::Done)
    };
    streams.videos().write(&entry, None).await.unwrap();
    assert_eq!(unused(&third).await, []);
    streams.videos().forget(&entry.video).await.unwrap();
    add(&streams, &new("boats"), "three").await.unwrap();
    let fourth = run("four").await;
    assert_eq!(unused(&fourth).await, [first]);
    assert_eq!(models.find(&third).await.unwrap().model, third);
}

#[tokio::test]
async fn a_name_can_be_given_back_and_a_number_never_comes_again() {
    let server = Server::start();
    let streams = open(&server).await;
    let models = &streams.models;
    for content in ["one", "two"] {
        add(&streams, &new("boats"), content).await.unwrap();
    }
    let rename = async |from: &str, to: &str| {
        let renamed = models.rename(&streams, &id(from), &id(to)).await;
        renamed.map(|ids| ids.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    assert_eq!(rename("boats", "ships").await.unwrap(), ["ships@1", "ships@2"]);
    assert_eq!(rename("ships", "boats").await.unwrap(), ["boats@3", "boats@4"]);
    assert!(matches!(rename("boats", "boats").await, Err(ModelsError::Exists(_))));
    add(&streams, &new("nets"), "three").await.unwrap();
    assert!(matches!(rename("nets", "boats").await, Err(ModelsError::Exists(_))));
    let folder = tempfile::tempdir().unwrap();
    for (version, content) in [("boats@3", "one"), ("boats@4", "two")] {
        let stored = models.find_stored(&id(version)).await.unwrap();
        let path = models.fetch(&stored, folder.path()).await.unwrap();
        assert_eq!(std::fs::read_to_string(path).unwrap(), content);
    }
}

/// Killed between the two names, a renaming leaves both: it can be repeated, and removing one of
/// them leaves the other whole.
#[tokio::test]
async fn an_interrupted_renaming_loses_nothing() {
    let server = Server::start();
    let streams = open(&server).await;
    let models = &streams.models;
    let interrupt = async |from: &str, to: &str| {
        let subject = |name: &str| format!("$O.models.M.{}", URL_SAFE.encode(name));
        let stream = models.stream();
        let message = stream.direct_get_last_for_subject(&subject(from)).await.unwrap();
        let text = String::from_utf8(message.payload.to_vec()).unwrap().replace(from, to);
        let stored = streams.jetstream.publish(subject(to), text.into()).await.unwrap();
        stored.await.unwrap();
    };
    for content in ["one", "two"] {
        add(&streams, &new("boats"), content).await.unwrap();
    }
    interrupt("boats@1", "ships@1").await;
    let renamed = models.rename(&streams, &id("boats"), &id("ships")).await.unwrap();
    assert_eq!(renamed, [id("ships@1"), id("ships@2")]);
    assert!(models.find(&id("boats")).await.is_err());
    interrupt("ships@2", "nets@2").await;
    models.remove(&streams, &id("ships")).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let stored = models.find_stored(&id("nets")).await.unwrap();
    let path = models.fetch(&stored, folder.path()).await.unwrap();
    assert_eq!(std::fs::read_to_string(path).unwrap(), "two");
    models.remove(&streams, &id("nets")).await.unwrap();
    let chunks = models.stream().info_with_subjects("$O.models.C.>").await.unwrap();
    assert_eq!(chunks.count().await, 0, "no bytes stay behind");
}

#[tokio::test]
async fn what_is_added_is_read_back_and_checked() {
    let server = Server::start();
    let streams = open(&server).await;
    let large = "x".repeat(1 << 20);
    let added = add(&streams, &new("boats"), &large).await.unwrap();
    let stored = streams.models.find_stored(&added.model).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = streams.models.fetch(&stored, folder.path()).await.unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), large);
    let manifest = std::fs::read_to_string(path.with_extension("toml")).unwrap();
    assert_eq!(Some(manifest), new("boats").manifest);

    // A chunk that is missing.
    streams.models.stream().purge().filter("$O.models.C.>").keep(2).await.unwrap();
    let damaged = streams.models.fetch(&stored, folder.path()).await;
    assert!(matches!(damaged, Err(ModelsError::Damaged { .. })), "{damaged:?}");
}

#[tokio::test]
async fn an_unknown_name_is_refused_with_the_nearest_one() {
    let server = Server::start();
    let streams = open(&server).await;
    add(&streams, &new("boats"), "one").await.unwrap();
    for (asked, nearest) in [
        ("boat", Some("boats")),
        ("boats@9", Some("boats@1")),
        ("nanodet-int", Some("nanodet-int8")),
        ("nanodet@1", Some("nanodet")),
        ("zzz", None),
    ] {
        match streams.models.find(&id(asked)).await {
            Err(ModelsError::Unknown { nearest: found, .. }) => {
                assert_eq!(found, nearest.map(id), "{asked}");
            }
            other => panic!("{asked}: {other:?}"),
        }
    }
    for name in [DEFAULT_MODEL, "nanodet-int8"] {
        let refused = add(&streams, &new(name), "one").await;
        assert!(matches!(refused, Err(ModelsError::BuiltIn(_))), "{refused:?}");
        let refused = streams.models.remove(&streams, &id(name)).await;
        assert!(matches!(refused, Err(ModelsError::BuiltIn(_))), "{refused:?}");
    }
}

#[tokio::test]
async fn a_model_that_videos_need_stays() {
    let server = Server::start();
    let streams = open(&server).await;
    let added = add(&streams, &new("boats"), "one").await.unwrap();
    let (queued, started) = (VideoId::for_name("a", "1"), VideoId::for_name("b", "1"));
    let upload = Upload {
        id: Some(queued.clone()),
        model: Some(id("boats")),
        ..Upload::of("file:///a.mp4".parse().unwrap())
    };
    let payload: Bytes = to_json(&upload).into();
    streams.publisher.publish(subjects::UPLOAD_SUBJECT, "1", payload).await.unwrap();
    let event =
        Started { model: Some(added.used()), ..upload.started(std::time::SystemTime::now(), 1) };
    let publish = |event| streams.publisher.publish_event(&started, None, event);
    publish(Event::Started(event)).await.unwrap();
    for name in ["boats", "boats@1"] {
        match streams.models.remove(&streams, &id(name)).await {
            Err(ModelsError::InUse { videos, .. }) => {
                assert_eq!(videos, [queued.clone(), started.clone()]);
            }
            other => panic!("{other:?}"),
        }
        let renamed = streams.models.rename(&streams, &id("boats"), &id("ships")).await;
        assert!(matches!(renamed, Err(ModelsError::InUse { .. })), "{renamed:?}");
    }
    streams.uploads.purge().await.unwrap();
    streams.results.purge().await.unwrap();
    let renamed = streams.models.rename(&streams, &id("boats"), &id("ships")).await.unwrap();
    assert_eq!(renamed, [id("ships@1")]);
    assert!(streams.models.find(&id("boats")).await.is_err());
    let stored = streams.models.find_stored(&id("ships")).await.unwrap();
    let used = UsedModel { name: id("ships@1"), digest: added.digest };
    assert_eq!(stored.description.used(), used);
    let folder = tempfile::tempdir().unwrap();
    streams.models.fetch(&stored, folder.path()).await.unwrap();
}

#[tokio::test]
async fn frames_meet_only_detectors_that_have_their_model() {
    let server = Server::start();
    let streams = open(&server).await;
    let video = VideoId::for_name("a", "1");
    let (boats, nets) = (id("boats@3"), id("nets@1"));
    for (model, index) in [(&boats, 0), (&nets, 1), (&boats, 2)] {
        let subject = subjects::frames(model, &video);
        let message_id = subjects::frame_message_id(&video, index);
        streams.publisher.publish(&subject, &message_id, Bytes::new()).await.unwrap();
    }
    let consumer = streams.detectors(&boats).await.unwrap();
    let mut taken = consumer.fetch().max_messages(10).messages().await.unwrap();
    let mut found = Vec::new();
    while let Some(message) = taken.next().await {
        let message = message.unwrap();
        let frame =
            moliceiro_nats::dead::FrameIdentity::of(&message.subject, message.headers.as_ref());
        found.extend(frame.map(|frame| (frame.model, frame.index)));
        message.double_ack().await.unwrap();
    }
    assert_eq!(found, [(boats.clone(), 0), (boats.clone(), 2)]);
    streams.detectors(&nets).await.unwrap();
    let pending: Vec<_> = streams
        .all_detectors()
        .await
        .unwrap()
        .into_iter()
        .map(|of| (of.model.clone(), of.info.num_pending, of.is_unserved()))
        .collect();
    assert_eq!(pending, [(boats, 0, false), (nets, 1, false)]);
}

/// As version 0.1 left it: frames without a model in their subject, and one consumer for all.
#[tokio::test]
async fn the_frame_queue_of_the_release_before_is_brought_to_this_one() {
    let server = Server::start();
    let streams = open(&server).await;
    let jetstream = &streams.jetstream;
    let mut old = streams.frames.cached_info().config.clone();
    jetstream.delete_stream("FRAMES").await.unwrap();
    old.subjects = vec!["frames.*".into()];
    let frames = jetstream.create_stream(old).await.unwrap();
    let config = async_nats::jetstream::consumer::pull::Config {
        durable_name: Some("detectors".into()),
        ..Default::default()
    };
    frames.create_consumer(config).await.unwrap();
    let video = VideoId::for_name("a", "1");
    for index in 0..3 {
        let message_id = subjects::frame_message_id(&video, index);
        let subject = format!("frames.{video}");
        streams.publisher.publish(&subject, &message_id, Bytes::new()).await.unwrap();
    }
    let streams = open(&server).await;
    let consumer = streams.detectors(&ModelId::default()).await.unwrap();
    let expires = Duration::from_millis(200);
    let mut moved = consumer.batch().max_messages(10).expires(expires).messages().await.unwrap();
    let mut indexes = Vec::new();
    while let Some(message) = moved.next().await {
        let message = message.unwrap();
        let frame =
            moliceiro_nats::dead::FrameIdentity::of(&message.subject, message.headers.as_ref());
        indexes.push(frame.unwrap().index);
    }
    assert_eq!(indexes, [0, 1, 2]);
    let info = streams.frames.get_info().await.unwrap();
    assert_eq!(info.config.subjects, ["frames.*.*"]);
    assert_eq!(info.state.messages, 3);
}
