//! Connects to a server, and checks that it has what the streams need.

use std::path::PathBuf;
use std::time::Duration;

use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, ServerAddr};
use backon::Retryable;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;
use tracing::{info, warn};

use crate::backoff::backoff;
use crate::permissions::Permissions;

/// The oldest server with every feature that streams and readers use: batched direct get.
pub(crate) const OLDEST_SERVER: semver::Version = semver::Version::new(2, 11, 0);
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Settings `[nats]`: the server, and the credentials for it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NatsSettings {
    /// `nats://host:port` or `tls://host:port`; several servers of one cluster separated by commas.
    /// User and password, or a token, may precede the host: `nats://user:password@host:port`.
    pub url: String,
    /// File with credentials from the server's operator (`.creds`).
    pub credentials: Option<PathBuf>,
}

impl Default for NatsSettings {
    fn default() -> Self {
        Self { url: "nats://127.0.0.1:4222".into(), credentials: None }
    }
}

/// What to do while the server is unavailable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Retry forever, and log each attempt: for services.
    WaitForServer,
    /// Return the error: for commands.
    FailAtOnce,
}

/// Why a server cannot be used.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// `nats.url` is not an address.
    #[error("nats.url {url:?} is not a server address ({reason}): give nats://HOST:PORT")]
    Url {
        /// The setting's value, without passwords.
        url: String,
        /// Why it does not parse.
        reason: std::io::Error,
    },
    /// The credentials file cannot be used.
    #[error("nats.credentials {} cannot be used: {source}", file.display())]
    Credentials {
        /// The setting's value.
        file: PathBuf,
        /// Why it cannot be read.
        source: std::io::Error,
    },
    /// The server refuses the user, the password, the token or the credentials file.
    #[error("the server at {servers} refuses this user or password: see {setting}")]
    Unauthorized {
        /// The addresses tried, without passwords.
        servers: String,
        /// The setting to correct.
        setting: &'static str,
    },
    /// No server answers at the addresses.
    #[error("cannot connect to a NATS server at {servers}: {source}")]
    Refused {
        /// The addresses tried, without passwords.
        servers: String,
        /// What the client library reports.
        source: async_nats::ConnectError,
    },
    /// The server lacks features that the streams need.
    #[error(
        "the nats-server at {servers} is version {found}; Moliceiro needs {OLDEST_SERVER} or newer"
    )]
    TooOld {
        /// The addresses tried, without passwords.
        servers: String,
        /// The version that it reports.
        found: String,
    },
    /// The server runs without JetStream.
    #[error(
        "the nats-server at {servers} runs without JetStream: \
         start it with --jetstream, or set jetstream {{}} in its configuration"
    )]
    NoJetStream {
        /// The addresses tried, without passwords.
        servers: String,
    },
}

impl ConnectError {
    /// True when a later attempt may succeed.
    fn may_pass(&self) -> bool {
        use ConnectErrorKind::{Dns, Io, MaxReconnects, TimedOut};
        let Self::Refused { source, .. } = self else { return false };
        matches!(source.kind(), Dns | Io | MaxReconnects | TimedOut)
    }
}

/// Connects, and checks that the server is new enough and has JetStream. `name` is the connection's
/// name in the server's monitoring.
///
/// The client reconnects forever when the connection is lost later.
pub async fn connect(
    settings: &NatsSettings,
    name: &str,
    patience: Patience,
) -> Result<Client, ConnectError> {
    connect_reporting(settings, name, patience, &Permissions::default()).await
}

/// As [`connect`]. `permissions` reports what the server denies this connection later.
pub async fn connect_reporting(
    settings: &NatsSettings,
    name: &str,
    patience: Patience,
    permissions: &Permissions,
) -> Result<Client, ConnectError> {
    let attempt = || connect_once(settings, name, permissions);
    let client = match patience {
        Patience::FailAtOnce => attempt().await?,
        Patience::WaitForServer => {
            let pauses = backoff(FIRST_PAUSE, LONGEST_PAUSE);
            let waiting = |error: &ConnectError, pause: Duration| {
                warn!(%error, retry_in = ?pause, "waiting for the NATS server");
            };
            attempt.retry(pauses).when(ConnectError::may_pass).notify(waiting).await?
        }
    };
    let server = client.server_info();
    info!(server = %server.server_name, version = %server.version, "connected to NATS");
    Ok(client)
}

async fn connect_once(
    settings: &NatsSettings,
    name: &str,
    permissions: &Permissions,
) -> Result<Client, ConnectError> {
    let addresses = parse_addresses(&settings.url)?;
    let servers = addresses
        .iter()
        .map(|a| format!("{}:{}", a.host(), a.port()))
        .collect::<Vec<_>>()
        .join(", ");
    let mut options =
        ConnectOptions::new().name(name).connection_timeout(CONNECTION_TIMEOUT).event_callback({
            let permissions = permissions.clone();
            move |event| {
                permissions.observe(&event);
                log_event(event)
            }
        });
    if let Some(file) = &settings.credentials {
        let unusable = |source| ConnectError::Credentials { file: file.clone(), source };
        options = options.credentials_file(file).await.map_err(unusable)?;
    }
    // The client library ignores the user and password of a URL.
    options = match addresses
        .iter()
        .find_map(|a| Some((a.username()?.to_owned(), a.password().map(str::to_owned))))
    {
        Some((user, Some(password))) => options.user_and_password(user, password),
        Some((token, None)) => options.token(token),
        None => options,
    };
    // The library logs its errors besides returning them.
    let connected = options.connect(addresses).with_subscriber(NoSubscriber::default()).await;
    let client = connected.map_err(|source| match source.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
            let credentials = settings.credentials.is_some();
            let setting = if credentials { "nats.credentials" } else { "nats.url" };
            ConnectError::Unauthorized { servers: servers.clone(), setting }
        }
        _ => ConnectError::Refused { servers: servers.clone(), source },
    })?;
    let server = client.server_info();
    // A custom build may have a version that does not parse: JetStream refuses what it lacks.
    if semver::Version::parse(&server.version).is_ok_and(|v| v < OLDEST_SERVER) {
        return Err(ConnectError::TooOld { servers, found: server.version });
    }
    if !server.jetstream {
        return Err(ConnectError::NoJetStream { servers });
    }
    Ok(client)
}

fn parse_addresses(url: &str) -> Result<Vec<ServerAddr>, ConnectError> {
    let refused = |reason| ConnectError::Url { url: without_password(url), reason };
    let parse = |part: &str| match part.trim().parse::<ServerAddr>() {
        Ok(address) if address.host().is_empty() => {
            Err(refused(std::io::Error::other("it does not name a host")))
        }
        Ok(address) => Ok(address),
        Err(reason) => Err(refused(reason)),
    };
    url.split(',').map(parse).collect()
}

impl NatsSettings {
    /// Checks that `url` parses.
    pub fn check(&self) -> Result<(), ConnectError> {
        parse_addresses(&self.url).map(drop)
    }
}

/// A server URL that may be logged.
pub fn without_password(url: &str) -> String {
    let hide = |part: &str| match (part.find("://"), part.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => {
            format!("{}://***{}", &part[..scheme], &part[at..])
        }
        (None, Some(at)) => format!("***{}", &part[at..]),
        _ => part.to_owned(),
    };
    url.split(',').map(hide).collect::<Vec<_>>().join(",")
}

async fn log_event(event: Event) {
    match event {
        Event::Connected => info!("NATS connection is up"),
        Event::Disconnected => warn!("NATS connection lost; reconnecting"),
        Event::LameDuckMode => warn!("the NATS server is stopping; moving to another"),
        Event::SlowConsumer(subscription) => {
            warn!(subscription, "messages arrive faster than they are read")
        }
        Event::ServerError(error) => warn!(%error, "the NATS server reports an error"),
        Event::ClientError(error) => warn!(%error, "NATS client error"),
        Event::Draining | Event::Closed => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(
            without_password("nats://me:secret@a:1,nats://b:2"),
            "nats://***@a:1,nats://b:2"
        );
        assert_eq!(without_password("token@a:1"), "***@a:1");
        assert_eq!(without_password("nats://a:1"), "nats://a:1");
    }

    #[test]
    fn an_invalid_address_is_refused_without_a_connection_attempt() {
        for url in ["", "nats://", "nats://:4222", "a b", "nats://a:99999", "nats://a:1,,"] {
            let settings = NatsSettings { url: url.into(), credentials: None };
            assert!(matches!(settings.check(), Err(ConnectError::Url { .. })), "{url}");
        }
    }
}
