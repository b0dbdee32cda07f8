//! Events of a video, as ingest and detectors publish them.

use moliceiro_nats::VideoId;
use moliceiro_nats::messages::{
    Detection, Ended, Event, FrameResult, FrameSelection, Progress, Started, Tracking,
};

pub fn video(name: &str) -> VideoId {
    VideoId::for_name(name, "1")
}

/// A video of which every frame is analysed.
pub fn started() -> Event {
    Event::Started(Started {
        name: "a.mp4".into(),
        uri: "file:///a.mp4".into(),
        selection: FrameSelection::every(1),
        uploaded_at: 0,
        alarms: None,
        tracking: Tracking::default(),
        window: None,
        labels: vec![],
        fingerprint: None,
        model: None,
    })
}

/// A frame with one object of each label.
pub fn frame(index: u64, labels: &[&str]) -> Event {
    let detection = |label: &&str| Detection {
        label: (*label).into(),
        score: 0.5,
        bounds: [0.0, 0.0, 1.0, 1.0],
    };
    let detections: Vec<_> = labels.iter().map(detection).collect();
    Event::Frame(FrameResult {
        index,
        pts: None,
        decoded_at: None,
        objects: detections.try_into().expect("valid objects"),
        size: None,
        processing_us: 1000,
        detector: "test".into(),
        model: None,
    })
}

/// So many frames are published, and more will follow.
pub fn progress(published: u64) -> Event {
    Event::Progress(Progress { published, frames: None, announced: None })
}

/// The video's end, without a problem.
pub fn ended(frames: u64) -> Event {
    Event::Ended(Ended {
        frames,
        decoded: frames,
        duration: None,
        problem: None,
        notices: vec![],
        skipped: None,
    })
}
