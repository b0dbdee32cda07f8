use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_nats::Client;
use async_nats::connection::State;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use moliceiro_nats::Streams;

/// Whether a service can do its work now, and if not, why. Cheap to clone.
#[derive(Clone, Default)]
pub struct Readiness(Arc<Mutex<BTreeMap<String, Condition>>>);

#[derive(Clone)]
enum Condition {
    NotYet(&'static str),
    Met,
    Asked(Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>),
}

impl Readiness {
    /// What the service needs is not there yet.
    pub fn not_yet(&self, what: &str, reason: &'static str) {
        self.set(what, Condition::NotYet(reason));
    }

    /// It is there, and stays.
    pub fn met(&self, what: &str) {
        self.set(what, Condition::Met);
    }

    /// It is there, and may go: it is looked at anew each time that somebody asks.
    pub fn ask<F>(&self, what: &str, ask: impl Fn() -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.set(what, Condition::Asked(Arc::new(move || ask().boxed())));
    }

    fn set(&self, what: &str, condition: Condition) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(what.to_owned(), condition);
    }

    /// All conditions, each met or with the reason why it is not.
    pub(crate) async fn look(&self) -> BTreeMap<String, Result<(), String>> {
        let conditions = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let look = |(what, condition): (String, Condition)| async {
            let met = match condition {
                Condition::NotYet(reason) => Err(reason.to_owned()),
                Condition::Met => Ok(()),
                Condition::Asked(ask) => ask().await,
            };
            (what, met)
        };
        futures_util::future::join_all(conditions.into_iter().map(look)).await.into_iter().collect()
    }
}

/// The connection's state, as a condition.
pub(crate) fn connected(client: &Client) -> Result<(), String> {
    match client.connection_state() {
        State::Connected => Ok(()),
        State::Pending | State::Disconnected => {
            Err("the connection to NATS is down; reconnecting".into())
        }
    }
}

/// The streams' being there, as a condition.
pub(crate) async fn streams_there(client: Client, streams: Streams) -> Result<(), String> {
    connected(&client)?;
    streams.check().await.map_err(|error| error.to_string())
}
