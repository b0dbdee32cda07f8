use std::sync::{Arc, Mutex, PoisonError};

use async_nats::Client;
use moliceiro_nats::{Permissions, Streams};
use prometheus::{Encoder, Registry, TextEncoder};

use crate::metrics::{Catalogue, Connection, ConnectionMetrics, ProcessMetrics};
use crate::readiness::Readiness;

/// A service's readiness and metrics. Cheap to clone.
///
/// Each new value has its own registry. Different services in one process may share a value;
/// services of the same kind must not.
#[derive(Clone)]
pub struct Telemetry {
    /// Conditions for the service to be ready.
    pub readiness: Readiness,
    /// What the server denies the service's connections.
    pub permissions: Permissions,
    registry: Registry,
    shared: Arc<Shared>,
}

struct Shared {
    process: ProcessMetrics,
    connection: ConnectionMetrics,
    /// Locked while metrics are read: concurrent scrapes must not both raise a counter.
    connections: Mutex<Vec<Connection>>,
}

impl Default for Telemetry {
    fn default() -> Self {
        let registry = Registry::new();
        let mut catalogue = Catalogue::new(&registry);
        let shared = Shared {
            process: ProcessMetrics::new(&mut catalogue),
            connection: ConnectionMetrics::new(&mut catalogue),
            connections: Mutex::default(),
        };
        #[cfg(target_os = "linux")]
        {
            let process = prometheus::process_collector::ProcessCollector::for_self();
            // It fails only for names that are already registered, and the registry is new.
            registry.register(Box::new(process)).ok();
        }
        Self {
            readiness: Readiness::default(),
            permissions: Permissions::default(),
            registry,
            shared: Arc::new(shared),
        }
    }
}

impl Telemetry {
    /// A catalogue for the service's own metrics.
    pub fn catalogue(&self) -> Catalogue {
        Catalogue::new(&self.registry)
    }

    /// Exports the state of a connection. `name` must be unique in this telemetry.
    pub(crate) fn watch_connection(&self, name: &'static str, client: Client) {
        let connection = Connection { name, client, publisher: None, storage: None };
        self.shared.connections.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }

    /// Exports the publish statistics of a connection, and whether its streams can be written.
    pub(crate) fn watch_streams(&self, name: &'static str, streams: &Streams) {
        let mut connections =
            self.shared.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connection) = connections.iter_mut().find(|found| found.name == name) {
            connection.publisher = Some(streams.publisher.clone());
            connection.storage = Some(streams.storage.clone());
        }
    }

    /// The metrics, in the text format of Prometheus. Must be called on a tokio runtime.
    pub fn exposition(&self) -> prometheus::Result<String> {
        let connections = self.shared.connections.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.process.refresh();
        self.shared.connection.refresh(&connections);
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}
