//! What is lost is noticed, counted again, decoded again, or failed by name.

use std::time::Duration;

use futures_util::StreamExt;
use moliceiro_aggregator::AggregatorSettings;
use moliceiro_nats::messages::{
    Cancelled, Event, FrameRange, ModelId, Repair, Started, Upload, VideoState,
};
use moliceiro_nats::subjects;
use moliceiro_testing::events::{ended, frame, progress, started, video};
use moliceiro_testing::{HANG_GUARD, until};

use crate::services::{assert_whole, detector, ingest, upload};
use crate::site::Site;

const PACE: Duration = Duration::from_millis(2);

pub fn impatient() -> AggregatorSettings {
    AggregatorSettings { repair_after: Duration::from_millis(400), ..AggregatorSettings::default() }
}

impl Site {
    /// Takes the next upload, as an ingest that publishes nothing.
    async fn next_upload(&self) -> Upload {
        let batch = self.streams.ingest.batch().max_messages(1).expires(HANG_GUARD);
        let message = batch.messages().await.unwrap().next().await.unwrap().unwrap();
        message.double_ack().await.unwrap();
        Upload::parse(&message.payload).unwrap()
    }
}

#[tokio::test]
async fn frames_that_were_lost_are_asked_for_by_name_and_counted_once() {
    let site = Site::start().await;
    let video = video("holes");
    let _two = [site.aggregator_with(impatient()), site.aggregator_with(impatient())];
    site.store(&video, started()).await;
    for index in (0..10).filter(|index| ![3, 7, 8].contains(index)) {
        site.store(&video, frame(index, &["person"])).await;
    }
    site.store(&video, ended(10)).await;
    let upload = site.next_upload().await;
    assert_eq!((upload.id.as_ref(), upload.uri.as_str()), (Some(&video), "file:///a.mp4"));
    let frames = vec![FrameRange(3, 3), FrameRange(7, 8)];
    assert_eq!(upload.repair, Some(Repair { round: 1, frames }));
    for index in [3, 7, 8, 7] {
        site.store(&video, frame(index, &["person"])).await;
    }
    let summary = site.summary(&video).await;
    assert_eq!((summary.state, summary.processed_frames), (VideoState::Done, 10));
    assert_eq!((summary.count("person"), summary.notices.len()), (10, 0));
    assert_eq!(site.streams.uploads.get_info().await.unwrap().state.last_sequence, 1, "one asks");
}

#[tokio::test]
async fn frames_that_no_round_brings_back_fail_by_name() {
    let site = Site::start().await;
    let video = video("lost");
    let settings = AggregatorSettings { repair_rounds: 2, ..impatient() };
    let _aggregator = site.aggregator_with(settings);
    site.store(&video, started()).await;
    site.store(&video, frame(0, &[])).await;
    site.store(&video, ended(3)).await;
    for round in [1, 2] {
        let repair = site.next_upload().await.repair.unwrap();
        assert_eq!((repair.round, repair.frames), (round, vec![FrameRange(1, 2)]));
    }
    let summary = site.summary(&video).await;
    assert_eq!((summary.state, summary.processed_frames), (VideoState::Done, 1));
    let failed: Vec<_> = summary.failed.iter().map(|failed| failed.index).collect();
    assert_eq!(failed, [1, 2]);
    let reason = "decoding them again 2 times did not help";
    assert_eq!(summary.notices, [format!("2 frames were lost and not decoded again: {reason}")]);
}

#[tokio::test]
async fn a_live_source_cannot_be_decoded_again() {
    let site = Site::start().await;
    let source = video("harbour");
    let window = source.window(1_795_409_643_547).unwrap();
    let Event::Started(of) = started() else { unreachable!() };
    let of_source = moliceiro_nats::messages::LiveWindow { source, follows: None };
    let _aggregator = site.aggregator_with(impatient());
    site.store(&window, Event::Started(Started { window: Some(of_source), ..of })).await;
    site.store(&window, frame(0, &[])).await;
    site.store(&window, ended(2)).await;
    let summary = site.summary(&window).await;
    assert_eq!((summary.processed_frames, summary.failed_frames), (1, 1));
    assert!(summary.notices[0].contains("the source is live"), "{:?}", summary.notices);
}

#[tokio::test]
async fn a_lost_end_and_a_lost_upload_are_asked_for_again() {
    let site = Site::start().await;
    let (endless, waiting) = (video("endless"), video("waiting"));
    let Event::Started(queued) = started() else { unreachable!() };
    site.store(&endless, started()).await;
    for index in 0..4 {
        site.store(&endless, frame(index, &[])).await;
    }
    site.store(&endless, progress(3)).await;
    site.store(&waiting, Event::Queued(queued)).await;
    let _aggregator = site.aggregator_with(impatient());
    let _ingest = ingest(&site.streams, 6, PACE);
    let _detector = detector(&site.streams, PACE);
    assert_whole(&site.summary(&waiting).await, 6);
    let summary = site.summary(&endless).await;
    assert_eq!((summary.state, summary.processed_frames), (VideoState::Done, 6));
}

/// No detector is needed to see that.
#[tokio::test]
async fn a_video_whose_frames_or_upload_wait_is_left_alone() {
    let site = Site::start().await;
    let (frames, uploaded) = (video("frames"), video("uploaded"));
    let settings = AggregatorSettings { repair_rounds: 0, ..impatient() };
    let _aggregator = site.aggregator_with(settings);
    site.store(&frames, started()).await;
    let subject = subjects::frames(&ModelId::default(), &frames);
    let id = subjects::frame_message_id(&frames, 0);
    site.streams.publisher.publish(&subject, &id, vec![7; 10].into()).await.unwrap();
    site.store(&frames, ended(1)).await;
    site.store(&uploaded, started()).await;
    upload(&site.streams, &uploaded).await;
    // One that was really lost, to know when the others had their turn.
    let lost = video("lost");
    site.store(&lost, started()).await;
    site.store(&lost, ended(1)).await;
    site.summary(&lost).await;
    tokio::time::sleep(3 * impatient().repair_after).await;
    let uploads = site.streams.uploads.get_info().await.unwrap().state.last_sequence;
    assert_eq!(uploads, 1, "none is asked for");
    for video in [&frames, &uploaded] {
        let entry = site.streams.videos().entry(video).await.unwrap().unwrap();
        assert!(entry.repair.is_none() && !entry.state.is_final(), "{entry:?}");
    }
}

#[tokio::test]
async fn an_entry_that_is_damaged_old_or_missing_is_counted_again_from_the_results() {
    const FRAMES: u64 = 40;
    for damage in ["no entry", "purged", "old", "another release"] {
        let site = Site::start().await;
        let video = video("damaged");
        let bucket = site.streams.jetstream.get_key_value(subjects::VIDEOS_BUCKET).await.unwrap();
        let aggregator = site.aggregator_with(impatient());
        site.store(&video, started()).await;
        for index in 0..FRAMES / 2 {
            site.store(&video, frame(index, &["person"])).await;
        }
        site.store(&video, progress(FRAMES / 2)).await;
        site.entry_where(&video, |entry| entry.counted == 20).await;
        let old = bucket.get(video.as_str()).await.unwrap().unwrap();
        for index in FRAMES / 2..FRAMES - 1 {
            site.store(&video, frame(index, &["person"])).await;
        }
        site.store(&video, ended(FRAMES)).await;
        site.entry_where(&video, |entry| entry.counted == FRAMES - 1).await;
        aggregator.stop().await;
        match damage {
            "purged" => bucket.purge(video.as_str()).await.unwrap(),
            "old" => drop(bucket.put(video.as_str(), old).await.unwrap()),
            "another release" => {
                bucket.put(video.as_str(), "{\"version\": 1, \"video\": 7}".into()).await.unwrap();
            }
            _ => drop(bucket.put(video.as_str(), "no entry".into()).await.unwrap()),
        }
        let aggregator = site.aggregator_with(impatient());
        site.store(&video, frame(FRAMES - 1, &["person"])).await;
        let summary = site.summary(&video).await;
        assert_eq!(
            (summary.state, summary.processed_frames, summary.count("person")),
            (VideoState::Done, FRAMES, FRAMES),
            "{damage}"
        );
        // Its results are still there, and the video is not counted twice.
        site.entry_where(&video, |entry| entry.summary_published).await;
        aggregator.stop().await;
        bucket.purge(video.as_str()).await.unwrap();
        let aggregator = site.aggregator_with(impatient());
        site.entry_where(&video, |entry| entry.summary_published && entry.counted == FRAMES).await;
        let stored = site.streams.summaries.get_info().await.unwrap().state.messages;
        assert_eq!(stored, 1, "{damage}: summaries");
        aggregator.stop().await;
    }
}

/// The results before its beginning are not dropped.
#[tokio::test]
async fn a_video_whose_first_event_is_lost_is_counted_once_it_comes_again() {
    let site = Site::start().await;
    let video = video("headless");
    let _aggregator = site.aggregator_with(impatient());
    for index in 0..5 {
        site.store(&video, frame(index, &["person"])).await;
    }
    site.store(&video, ended(5)).await;
    until("the results are given up", async || {
        let info = site.streams.aggregator.get_info().await.unwrap();
        (info.ack_floor.stream_sequence == 6).then_some(())
    })
    .await;
    site.store(&video, started()).await;
    let summary = site.summary(&video).await;
    assert_eq!((summary.state, summary.count("person")), (VideoState::Done, 5));
}

#[tokio::test]
async fn streams_that_are_lost_are_created_again_and_what_they_held_is_repaired() {
    const FRAMES: u64 = 60;
    let site = Site::start().await;
    let video = video("streamless");
    let _aggregator = site.aggregator_with(impatient());
    let _ingest = ingest(&site.streams, FRAMES, PACE);
    let _detector = detector(&site.streams, 4 * PACE);
    upload(&site.streams, &video).await;
    site.entry_where(&video, |entry| entry.counted >= 10).await;
    for stream in [subjects::FRAMES, subjects::DEAD] {
        site.streams.jetstream.delete_stream(stream).await.unwrap();
    }
    assert_whole(&site.summary(&video).await, FRAMES);
}

/// One message of each kind.
#[tokio::test]
async fn messages_that_are_deleted_from_any_stream_change_no_summary() {
    const FRAMES: u64 = 40;
    let site = Site::start().await;
    let _aggregator = site.aggregator_with(impatient());
    let _ingest = ingest(&site.streams, FRAMES, PACE);
    let _detector = detector(&site.streams, 2 * PACE);
    for (n, counted) in [0, 3, 17, 30].into_iter().enumerate() {
        let video = video(&format!("v{n}"));
        upload(&site.streams, &video).await;
        site.entry_where(&video, |entry| entry.counted >= counted).await;
        for stream in [&site.streams.frames, &site.streams.results] {
            let state = stream.get_info().await.unwrap().state;
            stream.delete_message(state.last_sequence).await.ok();
        }
        assert_whole(&site.summary(&video).await, FRAMES);
    }
}

#[tokio::test]
async fn uploaded_bytes_are_kept_until_the_summary_and_as_long_as_the_setting_says() {
    for (keep, stays) in [(Duration::ZERO, false), (Duration::from_secs(3600), true)] {
        let site = Site::start().await;
        let settings = AggregatorSettings { keep_uploads: keep, ..impatient() };
        let _aggregator = site.aggregator_with(settings);
        let (first, second) = (video("first"), video("second"));
        let mut draft = site.streams.objects.draft();
        draft.write("bytes".into()).await.unwrap();
        let bytes = draft.finish().await.ok().unwrap();
        bytes.keep(first.as_str(), first.as_str()).await.unwrap();
        let uri = format!("obj://uploads/{first}");
        let Event::Started(of) = started() else { unreachable!() };
        for video in [&first, &second] {
            let of = Started { uri: uri.clone(), ..of.clone() };
            site.store(video, Event::Started(of)).await;
        }
        site.store(&first, ended(0)).await;
        site.summary(&first).await;
        tokio::time::sleep(2 * impatient().repair_after).await;
        let uri = uri.parse().unwrap();
        assert!(site.streams.objects.info(&uri).await.is_ok(), "the second needs them");
        site.store(&second, Event::Cancelled(Cancelled { reason: "enough".into() })).await;
        site.summary(&second).await;
        // It was asked for again, and there is no ingest here.
        site.streams.uploads.purge().await.unwrap();
        if stays {
            tokio::time::sleep(2 * impatient().repair_after).await;
            assert!(site.streams.objects.info(&uri).await.is_ok());
        } else {
            until("the bytes are deleted", async || {
                site.streams.objects.info(&uri).await.is_err().then_some(())
            })
            .await;
        }
    }
}
