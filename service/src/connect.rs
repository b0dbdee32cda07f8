use moliceiro_nats::{ConnectError, Patience, Streams, StreamsError, connect_reporting};
use thiserror::Error;

use crate::readiness::{connected, streams_available};
use crate::service::{Service, ServiceSection};
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
/// The name of the service's section names the connection in the server's monitoring and in
/// metrics. `publishes_in_flight` bounds the unacknowledged publishes.
pub async fn connect_streams<S: ServiceSection>(
    service: &Service<S>,
    publishes_in_flight: usize,
    telemetry: &Telemetry,
) -> Result<Streams, OpenError> {
    let Service { nats, streams, .. } = service;
    let name = S::NAME;
    let readiness = &telemetry.readiness;
    let (connection, opened) = (format!("{name} connection"), format!("{name} streams"));
    readiness.not_yet(&connection, "waiting for a NATS server");
    readiness.not_yet(&opened, "waiting for the connection");
    // Both futures are large: boxed, they do not enlarge the caller's.
    let connecting = format!("moliceiro-{name}");
    let connecting =
        connect_reporting(nats, &connecting, Patience::WaitForServer, &telemetry.permissions);
    let client = Box::pin(connecting).await?;
    telemetry.watch_connection(name, client.clone());
    let watched = client.clone();
    readiness.checked_by(&connection, move || std::future::ready(connected(&watched)));
    readiness.not_yet(&opened, "they are being opened");
    let streams = Box::pin(Streams::wait_for(client.clone(), streams, publishes_in_flight)).await?;
    telemetry.watch_streams(name, &streams);
    streams.storage.tolerate(&telemetry.permissions, S::DELETES_FROM);
    // They end with the streams.
    tokio::spawn(streams.storage.watch());
    tokio::spawn(streams.watch_restarts());
    let watched = streams.clone();
    readiness.checked_by(&opened, move || streams_available(client.clone(), watched.clone()));
    Ok(streams)
}
