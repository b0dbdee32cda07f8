use std::thread;

use bytes::Bytes;
use moliceiro_nats::VideoId;
use moliceiro_nats::messages::{Detection, Frame, Size};
use tokio::sync::oneshot;
use tracing::{info, warn};

use crate::report;
use crate::settings::DetectorSettings;
use crate::{DetectorError, load_runtime, open_model};
use moliceiro_vision::{Detector, Lap, Model, Options};

/// Threads that each own a session, fed by one bounded queue.
pub(crate) struct Inference {
    jobs: async_channel::Sender<Job>,
    model: Model,
    runtime: String,
}

struct Job {
    video: VideoId,
    index: u64,
    payload: Bytes,
    reply: oneshot::Sender<Looked>,
}

/// What came of looking at a frame.
pub(crate) enum Looked {
    /// What is in it.
    Found {
        pts: Option<u64>,
        decoded_at: Option<u64>,
        detections: Vec<Detection>,
        /// Of the video's own upright frame.
        size: Size,
        /// Time from payload to detections, in microseconds.
        processing_us: u64,
    },
    /// No detector can ever look at it.
    Impossible(String),
    /// Another try may succeed.
    Failed(String),
}

impl Inference {
    /// Loads the model once for each session. Blocks while it does.
    pub(crate) fn start(
        settings: &DetectorSettings,
        sessions: usize,
    ) -> Result<Self, DetectorError> {
        let model = open_model(settings)?;
        let runtime = load_runtime(settings)?;
        info!(library = %runtime.library().display(), runtime = runtime.description(), model = model.name(), "loading the model");
        if !model.suits_processor() {
            let model = model.name();
            warn!(
                model,
                "this processor lacks the instructions for 8-bit models: it may be slower than nanodet, and see other objects"
            );
        }
        let options = Options {
            intra_threads: settings.threads,
            threshold: settings.threshold,
            iou: settings.iou,
        };
        let (jobs, queue) = async_channel::bounded::<Job>(sessions);
        for number in 0..sessions {
            let mut detector = Detector::new(&runtime, &model, options)?;
            let queue = queue.clone();
            let look_at_all = move || {
                while let Ok(Job { video, index, payload, reply }) = queue.recv_blocking() {
                    // Nobody waits any more when the service is ending: the frame goes to another
                    // detector.
                    let _ = reply.send(look(&mut detector, &video, index, &payload));
                }
            };
            thread::Builder::new()
                .name(format!("inference-{number}"))
                .spawn(look_at_all)
                .map_err(DetectorError::Thread)?;
        }
        Ok(Self { jobs, model, runtime: runtime.description().to_owned() })
    }

    pub(crate) fn runtime(&self) -> &str {
        &self.runtime
    }

    pub(crate) fn model(&self) -> &Model {
        &self.model
    }

    /// Looks at a frame as soon as a session is free. `None` when the thread that had it died.
    pub(crate) async fn look(&self, video: VideoId, index: u64, payload: Bytes) -> Option<Looked> {
        let (reply, looked) = oneshot::channel();
        self.jobs.send(Job { video, index, payload, reply }).await.ok()?;
        looked.await.ok()
    }
}

fn look(detector: &mut Detector, video: &VideoId, index: u64, payload: &[u8]) -> Looked {
    let mut lap = Lap::begin();
    let frame = match Frame::from_cbor(payload) {
        Ok(frame) => frame,
        Err(error) => return Looked::Impossible(error.to_string()),
    };
    if frame.video != *video || frame.index != index {
        return Looked::Impossible(format!(
            "the frame says that it is frame {} of {}",
            frame.index, frame.video
        ));
    }
    let reading = lap.take();
    match detector.detect_timed(&frame) {
        Ok((detections, mut phases)) => {
            phases.payload += reading;
            report::looked_at(&phases, &detections);
            let processing_us = u64::try_from(phases.total().as_micros()).unwrap_or(u64::MAX);
            let size = frame.letterbox.source;
            Looked::Found {
                pts: frame.pts,
                decoded_at: frame.decoded_at,
                detections,
                size,
                processing_us,
            }
        }
        Err(error) if error.is_permanent() => Looked::Impossible(error.to_string()),
        Err(error) => Looked::Failed(error.to_string()),
    }
}
