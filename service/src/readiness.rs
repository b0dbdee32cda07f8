use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_nats::Client;
use async_nats::connection::State;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use moliceiro_nats::{Streams, StreamsError};
use thiserror::Error;

/// Why a condition of readiness is not met. The text is shown by `/readyz`.
#[derive(Debug, Error)]
pub enum NotReady {
    /// The service has not got that far.
    #[error("{0}")]
    NotYet(&'static str),
    /// The connection was lost.
    #[error("the connection to NATS is down; reconnecting")]
    Disconnected,
    /// A stream was deleted, or is unavailable.
    #[error(transparent)]
    Streams(#[from] StreamsError),
}

/// Whether a service can do its work now, and if not, why. Cheap to clone.
#[derive(Clone, Default)]
pub struct Readiness(Arc<Mutex<BTreeMap<String, Condition>>>);

#[derive(Clone)]
enum Condition {
    NotYet(&'static str),
    Met,
    Checked(Arc<dyn Fn() -> BoxFuture<'static, Result<(), NotReady>> + Send + Sync>),
}

impl Readiness {
    /// Sets a condition that is not met yet.
    pub fn not_yet(&self, what: &str, reason: &'static str) {
        self.set(what, Condition::NotYet(reason));
    }

    /// Sets a condition that stays met.
    pub fn met(&self, what: &str) {
        self.set(what, Condition::Met);
    }

    /// Sets a condition that is checked at each request.
    pub fn checked_by<F>(&self, what: &str, check: impl Fn() -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<(), NotReady>> + Send + 'static,
    {
        self.set(what, Condition::Checked(Arc::new(move || check().boxed())));
    }

    fn set(&self, what: &str, condition: Condition) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(what.to_owned(), condition);
    }

    /// Checks all conditions, at the same time.
    pub(crate) async fn check(&self) -> BTreeMap<String, Result<(), NotReady>> {
        let conditions = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let check = |(what, condition): (String, Condition)| async {
            let met = match condition {
                Condition::NotYet(reason) => Err(NotReady::NotYet(reason)),
                Condition::Met => Ok(()),
                Condition::Checked(check) => check().await,
            };
            (what, met)
        };
        let checks = conditions.into_iter().map(check);
        futures_util::future::join_all(checks).await.into_iter().collect()
    }
}

/// The condition that the connection is up.
pub(crate) fn connected(client: &Client) -> Result<(), NotReady> {
    match client.connection_state() {
        State::Connected => Ok(()),
        State::Pending | State::Disconnected => Err(NotReady::Disconnected),
    }
}

/// The condition that the streams exist and answer.
pub(crate) async fn streams_available(client: Client, streams: Streams) -> Result<(), NotReady> {
    connected(&client)?;
    Ok(streams.check().await?)
}
