//! Brings streams of version 0.1 to this one: a frame queue whose subjects did not have a model,
//! results without a subject of detectors, and streams without batches.

use async_nats::jetstream::Context;
use async_nats::jetstream::stream::{Config, LastRawMessageErrorKind, Stream};
use tracing::{info, warn};

use super::detectors::is_missing;
use super::error::{StreamsError, unavailable};
use crate::messages::ModelId;
use crate::publish::Publisher;
use crate::subjects::{ALL_FRAMES, ALL_RESULTS, FRAMES, RESULTS, frame_message_id, frames};
use crate::{VideoId, dead};

const OLD_FRAMES: &str = "frames.*";
const OLD_CONSUMER: &str = "detectors";

/// The stream as this release needs it: unless it is the old frame queue, unchanged. Several
/// services may do it at once, and one that is killed meanwhile may do it again.
pub(super) async fn frames_queue(
    jetstream: &Context,
    stream: Stream,
    needed: &Config,
) -> Result<Stream, StreamsError> {
    let found = stream.cached_info().config.clone();
    let is_old = found.name == FRAMES && found.subjects.iter().any(|s| s == OLD_FRAMES);
    if !is_old {
        return Ok(stream);
    }
    info!("bringing the frame queue to this release");
    let failed = |error: &dyn std::fmt::Display| unavailable(format!("stream {FRAMES}"))(error);
    match stream.delete_consumer(OLD_CONSUMER).await {
        Err(error) if !is_missing(&error.kind()) => return Err(failed(&error)),
        _ => {}
    }
    let both = vec![OLD_FRAMES.to_owned(), ALL_FRAMES.to_owned()];
    // A full queue has no space for a frame's copy.
    let moving = Config { subjects: both, max_bytes: -1, ..found.clone() };
    jetstream.update_stream(&moving).await.map_err(|error| failed(&error))?;
    let moved = move_frames(jetstream, &stream).await?;
    let max_bytes = if found.max_bytes > 0 { found.max_bytes } else { needed.max_bytes };
    let config = Config { subjects: needed.subjects.clone(), max_bytes, ..found };
    jetstream.update_stream(&config).await.map_err(|error| failed(&error))?;
    info!(moved, "the frame queue has a subject for each model now");
    jetstream.get_stream(FRAMES).await.map_err(|error| failed(&error))
}

/// The stream with what this release adds to its configuration: batches, and to that of results the
/// subject of detectors. A server that does not know batches leaves them out.
pub(super) async fn additions(
    jetstream: &Context,
    stream: Stream,
    needed: &Config,
) -> Result<Stream, StreamsError> {
    let found = &stream.cached_info().config;
    let mut config = found.clone();
    config.allow_atomic_publish |= needed.allow_atomic_publish;
    if found.name == RESULTS && found.subjects == [ALL_RESULTS] {
        config.subjects.clone_from(&needed.subjects);
    }
    if config == *found {
        return Ok(stream);
    }
    info!(stream = found.name, "bringing a stream to this release");
    let failed =
        |error: &dyn std::fmt::Display| unavailable(format!("stream {}", config.name))(error);
    jetstream.update_stream(&config).await.map_err(|error| failed(&error))?;
    jetstream.get_stream(&config.name).await.map_err(|error| failed(&error))
}

/// Queues each old frame for the model that analysed all of them, and deletes it.
async fn move_frames(jetstream: &Context, stream: &Stream) -> Result<u64, StreamsError> {
    let failed = |error: &dyn std::fmt::Display| unavailable(format!("stream {FRAMES}"))(error);
    let publisher = Publisher::new(jetstream.clone());
    let (mut next, mut moved) = (1, 0);
    loop {
        let message = match stream.get_first_raw_message_by_subject(OLD_FRAMES, next).await {
            Ok(message) => message,
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => {
                return Ok(moved);
            }
            Err(error) => return Err(failed(&error)),
        };
        next = message.sequence + 1;
        let video = VideoId::of_subject(&message.subject);
        let index = video.as_ref().and_then(|video| {
            dead::frame_index(video, message.headers.get(async_nats::header::NATS_MESSAGE_ID)?)
        });
        match video.zip(index) {
            Some((video, index)) => {
                let id = format!("{}/moved", frame_message_id(&video, index));
                let subject = frames(&ModelId::default(), &video);
                publisher
                    .publish(&subject, &id, message.payload)
                    .await
                    .map_err(|error| failed(&error))?;
                moved += 1;
            }
            None => warn!(subject = %message.subject, "deleting a message that is not a frame"),
        }
        if let Err(error) = stream.delete_message(message.sequence).await {
            // Another service that does the same may have deleted it.
            warn!(%error, "cannot delete a frame that is queued again");
        }
    }
}
