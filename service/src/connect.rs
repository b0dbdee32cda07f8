use moliceiro_nats::{
    ConnectError, NatsSettings, Patience, Streams, StreamsError, StreamsSettings, connect,
};
use thiserror::Error;

use crate::readiness::{connected, streams_available};
use crate::telemetry::Telemetry;

/// Why a service cannot start.
#[derive(Debug, Error)]
pub enum OpenError {
    /// It cannot connect to a usable server.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// It cannot use the server's streams.
    #[error(transparent)]
    Streams(#[from] StreamsError),
}

/// Connects a service and opens its streams. Waits while the server is unavailable; `telemetry`
/// reports readiness meanwhile, and connection metrics afterwards.
///
/// `service` names the connection in the server's monitoring and in metrics, such as `ingest`.
/// `publishes_in_flight` bounds its unacknowledged publishes.
pub async fn connect_streams(
    service: &'static str,
    nats: &NatsSettings,
    streams: &StreamsSettings,
    publishes_in_flight: usize,
    telemetry: &Telemetry,
) -> Result<Streams, OpenError> {
    let readiness = &telemetry.readiness;
    let (connection, opened) = (format!("{service} connection"), format!("{service} streams"));
    readiness.not_yet(&connection, "waiting for a NATS server");
    readiness.not_yet(&opened, "waiting for the connection");
    // Both futures are large: boxed, they do not enlarge the caller's.
    let client =
        Box::pin(connect(nats, &format!("moliceiro-{service}"), Patience::WaitForServer)).await?;
    telemetry.watch_connection(service, client.clone());
    let watched = client.clone();
    readiness.checked_by(&connection, move || std::future::ready(connected(&watched)));
    readiness.not_yet(&opened, "they are being opened");
    let streams = Box::pin(Streams::wait_for(client.clone(), streams, publishes_in_flight)).await?;
    telemetry.watch_publisher(service, streams.publisher.clone());
    let watched = streams.clone();
    readiness.checked_by(&opened, move || streams_available(client.clone(), watched.clone()));
    Ok(streams)
}
