//! The consumers of `FRAMES`: one for each model, so that a video's frames meet only detectors that
//! have its model.

use std::time::{Duration, SystemTime};

use async_nats::jetstream::consumer::{Consumer, Info, pull};
use async_nats::jetstream::stream::ConsumerErrorKind;
use futures_util::TryStreamExt;

use super::error::unavailable;
use super::{Streams, StreamsError, consumers};
use crate::messages::ModelId;
use crate::subjects::{FRAMES, detectors_consumer, frames_for, model_of_consumer};

/// A consumer whose frames nobody takes for so long does not have a detector. Detectors pull a few
/// times a second.
const UNSERVED_AFTER: Duration = Duration::from_secs(5);

/// The consumer of a model, as the server describes it.
#[derive(Clone, Debug)]
pub struct DetectorsConsumer {
    /// The model.
    pub model: ModelId,
    /// How far it is.
    pub info: Info,
}

impl DetectorsConsumer {
    /// True if frames wait and no detector takes any.
    pub fn is_unserved(&self) -> bool {
        is_left(&self.info) || self.is_abandoned()
    }

    /// True if frames wait that a detector has to load the model for: also those of a detector that
    /// died when it had the last ones.
    pub fn has_waiting_frames(&self) -> bool {
        self.info.num_pending > 0 || self.info.num_redelivered > 0 || self.is_abandoned()
    }

    /// Frames that wait, also those of a detector that died.
    pub fn waiting_frames(&self) -> u64 {
        match self.is_abandoned() {
            true => self.info.num_pending + self.info.num_ack_pending as u64,
            false => self.info.num_pending,
        }
    }

    /// True if a detector had frames for longer than it may, and none asks for any.
    fn is_abandoned(&self) -> bool {
        let Info { num_waiting, num_ack_pending, config, .. } = &self.info;
        *num_ack_pending > 0
            && *num_waiting == 0
            && idle(&self.info) > config.ack_wait + UNSERVED_AFTER
    }
}

/// True if messages wait and nobody takes any.
pub(crate) fn is_left(info: &Info) -> bool {
    let Info { num_pending, num_waiting, num_ack_pending, .. } = info;
    *num_pending > 0 && *num_waiting == 0 && *num_ack_pending == 0 && idle(info) > UNSERVED_AFTER
}

fn idle(info: &Info) -> Duration {
    let since = info.delivered.last_active.unwrap_or(info.created);
    SystemTime::now().duration_since(since.into()).unwrap_or_default()
}

impl Streams {
    /// The consumer that delivers a model's frames to its detectors; created if it is missing.
    pub async fn detectors(&self, model: &ModelId) -> Result<Consumer<pull::Config>, StreamsError> {
        let storage = self.frames.cached_info().config.storage;
        let config = self.settings.detectors_config(model, storage);
        let name = detectors_consumer(model);
        let what = format!("consumer {name} of stream {FRAMES}");
        Box::pin(consumers::open(&self.frames, &what, config, &self.settings)).await
    }

    /// The consumers of all models that were needed so far.
    pub async fn all_detectors(&self) -> Result<Vec<DetectorsConsumer>, StreamsError> {
        let infos: Vec<Info> = self
            .frames
            .consumers()
            .try_collect()
            .await
            .map_err(unavailable(format!("stream {FRAMES}")))?;
        let of_model =
            |info: Info| Some(DetectorsConsumer { model: model_of_consumer(&info.name)?, info });
        let mut found: Vec<_> = infos.into_iter().filter_map(of_model).collect();
        found.sort_by(|a, b| a.model.cmp(&b.model));
        Ok(found)
    }

    /// Deletes a model's consumer, and the frames that nobody can analyse any more.
    pub(crate) async fn delete_detectors(&self, model: &ModelId) -> Result<(), StreamsError> {
        let name = detectors_consumer(model);
        let what = format!("consumer {name} of stream {FRAMES}");
        match self.frames.delete_consumer(&name).await {
            Err(error) if !is_missing(&error.kind()) => return Err(unavailable(&what)(error)),
            _ => {}
        }
        let purged = self.frames.purge().filter(frames_for(model)).await;
        purged.map(drop).map_err(unavailable(format!("stream {FRAMES}")))
    }
}

pub(super) fn is_missing(error: &ConsumerErrorKind) -> bool {
    const NOT_FOUND: usize = 404;
    matches!(error, ConsumerErrorKind::JetStream(reason) if reason.code() == NOT_FOUND)
}
