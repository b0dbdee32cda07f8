//! Connects to a server, and checks that it has what the streams need.

mod context;
mod settings;

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event};
use backon::Retryable;
use thiserror::Error;
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;
use tracing::{info, warn};

pub use context::{CONTEXT_VARIABLE, ContextError, context_settings, read_context};
use settings::{Identity, parse_addresses};
pub use settings::{NatsSettings, Secret, without_password};

use crate::backoff::backoff;
use crate::permissions::Permissions;

/// The oldest server with every feature that streams and readers use: batched direct get.
pub(crate) const OLDEST_SERVER: semver::Version = semver::Version::new(2, 11, 0);
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(5);
/// Credentials and certificates are a few thousand bytes.
const LARGEST_FILE: u64 = 1 << 20;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

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
    /// A file that a setting names cannot be used.
    #[error("{setting} {} cannot be used: {source}", file.display())]
    File {
        /// The setting, such as `nats.credentials`.
        setting: &'static str,
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
    let identity = settings.identity(&addresses);
    let who = format!("{} ({name})", identity.name());
    let mut options =
        ConnectOptions::new().name(name).connection_timeout(CONNECTION_TIMEOUT).event_callback({
            let permissions = permissions.clone();
            move |event| {
                let is_denial = permissions.observe(&event, &who);
                async move {
                    if !is_denial {
                        log_event(event);
                    }
                }
            }
        });
    options = match &identity {
        Identity::Password { user, password } => {
            options.user_and_password(user.clone(), password.clone())
        }
        Identity::Token(token) => options.token(token.clone()),
        Identity::Credentials(file) => {
            let text = read_file("nats.credentials", file).await?;
            options.credentials(&text).map_err(unusable("nats.credentials", file))?
        }
        Identity::Nkey(file) => {
            let text = read_file("nats.nkey", file).await?;
            options.nkey(seed("nats.nkey", file, &text)?)
        }
        Identity::None => options,
    };
    options = with_tls(options, settings).await?;
    if let Some(prefix) = &settings.inbox_prefix {
        options = options.custom_inbox_prefix(prefix);
    }
    // The library logs its errors besides returning them.
    let connected = options.connect(addresses).with_subscriber(NoSubscriber::default()).await;
    let client = connected.map_err(|source| match source.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
            let setting = match settings.user.is_some() || settings.token.is_some() {
                true => "the settings in [nats]",
                false => identity.setting(),
            };
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

/// With the certificates that the settings name.
async fn with_tls(
    mut options: ConnectOptions,
    settings: &NatsSettings,
) -> Result<ConnectOptions, ConnectError> {
    if let Some(file) = &settings.tls_ca {
        read_file("nats.tls_ca", file).await?;
        options = options.add_root_certificates(file.clone());
    }
    if let Some((certificate, key)) =
        settings.tls_certificate.as_ref().zip(settings.tls_key.as_ref())
    {
        read_file("nats.tls_certificate", certificate).await?;
        read_file("nats.tls_key", key).await?;
        options = options.add_client_certificate(certificate.clone(), key.clone());
    }
    Ok(if settings.tls_first { options.tls_first() } else { options })
}

/// Reads a small file. The client library's error would not name it.
async fn read_file(setting: &'static str, file: &Path) -> Result<String, ConnectError> {
    let read = async {
        if tokio::fs::metadata(file).await?.len() > LARGEST_FILE {
            return Err(std::io::Error::other("it is too large"));
        }
        tokio::fs::read_to_string(file).await
    };
    read.await.map_err(unusable(setting, file))
}

fn unusable(setting: &'static str, file: &Path) -> impl Fn(std::io::Error) -> ConnectError + use<> {
    let file = file.to_owned();
    move |source| ConnectError::File { setting, file: file.clone(), source }
}

/// The line of a file that is the seed of a user's nkey.
fn seed(setting: &'static str, file: &Path, text: &str) -> Result<String, ConnectError> {
    let seed = text.lines().map(str::trim).find(|line| line.starts_with("SU"));
    seed.map(str::to_owned).ok_or_else(|| {
        unusable(setting, file)(std::io::Error::other("it has no seed of a user's nkey (SU…)"))
    })
}

fn log_event(event: Event) {
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
