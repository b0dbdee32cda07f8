//! Aggregators on a real server, with messages that no ingest or detector would send.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use futures_util::{StreamExt, stream};

use support::{Site, ended, frame, started, video};

/// More results than the server would once hand out unacknowledged.
#[tokio::test]
async fn a_video_that_cannot_be_counted_does_not_hold_up_the_others() {
    const RESULTS: u64 = 4_200;
    let site = Site::start().await;
    let (broken, whole) = (video("broken"), video("whole"));
    site.streams.videos.put(broken.as_str(), "no entry".into()).await.unwrap();
    stream::iter(0..RESULTS).for_each_concurrent(16, |index| site.store(&broken, frame(index, &[]))).await;
    site.store(&whole, started()).await;
    site.store(&whole, frame(0, &["person"])).await;
    site.store(&whole, ended(1)).await;

    let aggregator = site.aggregator();
    assert_eq!(site.summary(&whole).await.processed_frames, 1);
    aggregator.stop().await;
    assert_eq!(site.streams.results.get_info().await.unwrap().state.messages, RESULTS + 3);
}
