use moliceiro_nats::{
    ConnectError, NatsSettings, Patience, Streams, StreamsError, StreamsSettings, connect,
};
use thiserror::Error;

use crate::readiness::{connected, streams_there};
use crate::telemetry::Telemetry;

/// Why a service cannot begin.
#[derive(Debug, Error)]
pub enum OpenError {
    /// No usable server.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// No usable streams.
    #[error(transparent)]
    Streams(#[from] StreamsError),
}

/// A service's connection and the streams behind it: waits until the server is there, and tells
/// `telemetry` how it stands.
///
/// `service` is how the server and the metrics call the connection, such as `ingest`.
/// `publishes_in_flight` bounds its unacknowledged publishes.
pub async fn open_streams(
    service: &'static str,
    nats: &NatsSettings,
    streams: &StreamsSettings,
    publishes_in_flight: usize,
    telemetry: &Telemetry,
) -> Result<Streams, OpenError> {
    let readiness = &telemetry.readiness;
    let (connection, opened) = (format!("{service} connection"), format!("{service} streams"));
    readiness.not_yet(&connection, "no NATS server has answered yet");
    readiness.not_yet(&opened, "there is no connection yet");
    // Both are large, and whoever opens would hold them in its own future.
    let client =
        Box::pin(connect(nats, &format!("moliceiro-{service}"), Patience::WaitForServer)).await?;
    telemetry.watch_connection(service, client.clone());
    let watched = client.clone();
    readiness.ask(&connection, move || std::future::ready(connected(&watched)));
    readiness.not_yet(&opened, "they are being opened");
    let streams = Box::pin(Streams::wait_for(client.clone(), streams, publishes_in_flight)).await?;
    telemetry.watch_publisher(service, streams.publisher.clone());
    let watched = streams.clone();
    readiness.ask(&opened, move || streams_there(client.clone(), watched.clone()));
    Ok(streams)
}
