//! Opens durable consumers: each is created if it is missing.

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::consumer::{Consumer, pull};
use async_nats::jetstream::stream::{ConsumerErrorKind, Stream};
use tracing::warn;

use super::error::{may_pass, refused, unavailable};
use super::{StreamsError, StreamsSettings, check};

/// The consumer that `config` describes, and errors call `what`.
pub(super) async fn open(
    stream: &Stream,
    what: &str,
    config: pull::Config,
    settings: &StreamsSettings,
) -> Result<Consumer<pull::Config>, StreamsError> {
    let name = config.durable_name.clone().unwrap_or_default();
    let mut opened = stream.get_or_create_consumer(&name, config.clone()).await;
    if opened.as_ref().is_err_and(|error| is_damaged(&error.kind())) {
        // The server neither reads nor replaces the file of its state.
        warn!(
            what,
            "the state of a consumer is damaged on the disk of the NATS server: its state is in \
             memory from now on; remove its folder while the server is stopped"
        );
        let in_memory = pull::Config { memory_storage: true, ..config.clone() };
        opened = stream.get_or_create_consumer(&name, in_memory).await;
    }
    let consumer = opened.map_err(|error| match error.kind() {
        ConsumerErrorKind::JetStream(reason)
            if !may_pass(&reason) && !is_damaged(&error.kind()) =>
        {
            refused(what, &reason, settings)
        }
        _ => unavailable(what)(error),
    })?;
    check::consumer(what, &consumer.cached_info().config, &config)?;
    Ok(consumer)
}

fn is_damaged(error: &ConsumerErrorKind) -> bool {
    matches!(error, ConsumerErrorKind::JetStream(reason) if reason.error_code() == ErrorCode::CONSUMER_CREATE)
}
