//! Who changed what: a line in the log, and a message in the stream `AUDIT`.

use std::time::Duration;

use async_nats::jetstream::stream::Stream as StoredStream;
use futures_util::{Stream, StreamExt};
use tracing::{info, warn};

use crate::direct::ReadError;
use crate::messages::{AuditRecord, from_json, to_json};
use crate::{Streams, direct, subjects};

/// A change is not held up for longer: it is done already.
const STORE_TIMEOUT: Duration = Duration::from_secs(5);

impl Streams {
    /// Logs and stores that something was changed. If it cannot be stored, the log says so too.
    pub async fn audit(&self, record: AuditRecord) {
        let AuditRecord { who, action, video, model, .. } = &record;
        let video = video.as_ref().map(tracing::field::display);
        let model = model.as_ref().map(tracing::field::display);
        info!(target: "moliceiro_audit", who, %action, video, model, "changed");
        let (subject, payload) = (subjects::audit(*action), to_json(&record).into());
        let publishing = async {
            let sent = self.jetstream.publish(subject, payload).await?;
            sent.await
        };
        match tokio::time::timeout(STORE_TIMEOUT, publishing).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => warn!(who, %action, %error, "this change is not in the stream AUDIT"),
            Err(_) => {
                warn!(who, %action, "this change is not in the stream AUDIT: no answer in time")
            }
        }
    }

    /// The changes that are stored, oldest first. Messages that are not changes are skipped.
    pub fn audited(&self) -> impl Stream<Item = Result<AuditRecord, ReadError>> + Send + use<> {
        let stream: &StoredStream = &self.audit;
        let client = self.jetstream.client();
        direct::messages(client, &self.api, stream, subjects::ALL_AUDIT, 1).filter_map(|message| {
            let record = match message {
                Ok(message) => from_json::<AuditRecord>(&message.payload).ok().map(Ok),
                Err(error) => Some(Err(error)),
            };
            std::future::ready(record)
        })
    }
}
