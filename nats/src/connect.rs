//! Reaching a server that can do the work.

use std::path::PathBuf;
use std::time::Duration;

use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, ServerAddr};
use backon::{ExponentialBuilder, Retryable};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tracing::{info, warn};

/// The oldest server that knows all that the streams and consumers ask for.
const OLDEST_SERVER: semver::Version = semver::Version::new(2, 11, 0);
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Settings `[nats]`: where the server is and who we are to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NatsSettings {
    /// `nats://host:port` or `tls://host:port`; several servers of one cluster with commas between.
    /// User and password, or a token, may stand before an `@`.
    pub url: String,
    /// File with the credentials that the server's operator gave out (`.creds`).
    pub credentials: Option<PathBuf>,
}

impl Default for NatsSettings {
    fn default() -> Self {
        Self { url: "nats://127.0.0.1:4222".into(), credentials: None }
    }
}

/// What to do while no server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// A service waits, and says so.
    WaitForServer,
    /// A person's command tells them at once.
    FailAtOnce,
}

/// Why there is no usable server.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The setting names no server.
    #[error("nats.url {url:?} is no server address ({reason}): give nats://HOST:PORT")]
    Url {
        /// The setting.
        url: String,
        /// What is wrong with it.
        reason: std::io::Error,
    },
    /// The credentials file cannot be used.
    #[error("nats.credentials {} cannot be used: {source}", file.display())]
    Credentials {
        /// The setting.
        file: PathBuf,
        /// What is wrong with it.
        source: std::io::Error,
    },
    /// Nobody answers there, or not to us.
    #[error("no NATS server to be had at {servers}: {source}")]
    Refused {
        /// The addresses tried, without passwords.
        servers: String,
        /// What the client library says.
        source: async_nats::ConnectError,
    },
    /// It answers, but lacks what the streams need.
    #[error(
        "the nats-server at {servers} is version {found}; Moliceiro needs {OLDEST_SERVER} or newer"
    )]
    TooOld {
        /// The addresses tried, without passwords.
        servers: String,
        /// What it says of itself.
        found: String,
    },
    /// It answers, but keeps no streams.
    #[error(
        "the nats-server at {servers} runs without JetStream: start it with --jetstream, or set jetstream {{}} in its configuration"
    )]
    NoJetStream {
        /// The addresses tried, without passwords.
        servers: String,
    },
}

impl ConnectError {
    /// True when waiting may help.
    fn may_pass(&self) -> bool {
        use ConnectErrorKind::{Dns, Io, MaxReconnects, TimedOut};
        matches!(self, Self::Refused { source, .. } if matches!(source.kind(), Dns | Io | MaxReconnects | TimedOut))
    }
}

/// Connects, and checks that the server is new enough and has JetStream. `name` is what the server
/// lists us as.
///
/// A connection that is lost later is taken up again by itself, for ever.
pub async fn connect(
    settings: &NatsSettings,
    name: &str,
    patience: Patience,
) -> Result<Client, ConnectError> {
    let attempt = || connect_once(settings, name);
    let client = match patience {
        Patience::FailAtOnce => attempt().await?,
        Patience::WaitForServer => {
            let pauses = ExponentialBuilder::default()
                .with_max_delay(LONGEST_PAUSE)
                .with_jitter()
                .without_max_times();
            let waiting = |error: &ConnectError, pause: Duration| warn!(%error, retry_in = ?pause, "waiting for the NATS server");
            attempt.retry(pauses).when(ConnectError::may_pass).notify(waiting).await?
        }
    };
    let server = client.server_info();
    info!(server = %server.server_name, version = %server.version, "connected to NATS");
    Ok(client)
}

async fn connect_once(settings: &NatsSettings, name: &str) -> Result<Client, ConnectError> {
    let addresses = parse_addresses(&settings.url)?;
    let servers = addresses
        .iter()
        .map(|a| format!("{}:{}", a.host(), a.port()))
        .collect::<Vec<_>>()
        .join(", ");
    let mut options = ConnectOptions::new()
        .name(name)
        .connection_timeout(CONNECTION_TIMEOUT)
        .event_callback(log_event);
    if let Some(file) = &settings.credentials {
        let unusable = |source| ConnectError::Credentials { file: file.clone(), source };
        options = options.credentials_file(file).await.map_err(unusable)?;
    }
    // The client library reads the address of a URL only.
    options = match addresses
        .iter()
        .find_map(|a| Some((a.username()?.to_owned(), a.password().map(str::to_owned))))
    {
        Some((user, Some(password))) => options.user_and_password(user, password),
        Some((token, None)) => options.token(token),
        None => options,
    };
    let client = options
        .connect(addresses)
        .await
        .map_err(|source| ConnectError::Refused { servers: servers.clone(), source })?;
    let server = client.server_info();
    // A version that doesn't parse is a build of somebody's own: JetStream will tell.
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
            Err(refused(std::io::Error::other("it names no host")))
        }
        Ok(address) => Ok(address),
        Err(reason) => Err(refused(reason)),
    };
    url.split(',').map(parse).collect()
}

impl NatsSettings {
    /// Checks what can be checked without a server.
    pub fn check(&self) -> Result<(), ConnectError> {
        parse_addresses(&self.url).map(drop)
    }
}

/// A server URL as it may be shown.
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
        Event::LameDuckMode => warn!("the NATS server is about to stop; moving to another"),
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
    fn an_address_that_is_none_is_refused_before_anything_is_tried() {
        for url in ["", "nats://", "nats://:4222", "a b", "nats://a:99999", "nats://a:1,,"] {
            let settings = NatsSettings { url: url.into(), credentials: None };
            assert!(matches!(settings.check(), Err(ConnectError::Url { .. })), "{url}");
        }
    }
}
