//! Which services answer. Aggregators and detectors do, as [NATS services] do.
//!
//! [NATS services]: https://docs.nats.io/using-nats/developer/services

use std::time::Duration;

use async_nats::Client;
use futures_util::StreamExt;
use serde::Deserialize;

const PING_SUBJECT: &str = "$SRV.PING";
/// Everything that answers does so at once.
const SILENCE: Duration = Duration::from_millis(500);
/// More than any deployment has.
const MOST: usize = 10_000;

/// A service that runs somewhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct RunningService {
    /// What it does, such as `moliceiro-models`.
    pub name: String,
    /// The version of its program.
    pub version: String,
}

/// The services that answer, of Moliceiro only. Waits for half a second after the last one.
pub async fn running_services(client: &Client) -> Vec<RunningService> {
    let inbox = client.new_inbox();
    let Ok(mut answers) = client.subscribe(inbox.clone()).await else { return vec![] };
    if client.publish_with_reply(PING_SUBJECT, inbox, Default::default()).await.is_err() {
        return vec![];
    }
    let mut found = Vec::new();
    while found.len() < MOST
        && let Ok(Some(answer)) = tokio::time::timeout(SILENCE, answers.next()).await
    {
        // Without any service, the server answers with an empty message.
        if let Ok(service) = serde_json::from_slice::<RunningService>(&answer.payload)
            && service.name.starts_with("moliceiro")
        {
            found.push(service);
        }
    }
    found.sort();
    found
}
