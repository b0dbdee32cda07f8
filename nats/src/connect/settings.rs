//! Settings `[nats]`.

use std::fmt;
use std::path::PathBuf;

use async_nats::ServerAddr;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

use super::ConnectError;

/// A password or a token. Neither logs nor errors show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The secret itself, to be sent to the server.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(secret: String) -> Self {
        Self(secret)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Settings `[nats]`: the server, and how a service proves who it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NatsSettings {
    /// `nats://host:port` or `tls://host:port`; several servers of one cluster separated by commas.
    /// User and password, or a token, may precede the host: `nats://user:password@host:port`.
    pub url: String,
    /// The context of the `nats` command that the other values of this table come from: its name,
    /// or the path of its file.
    pub context: Option<String>,
    /// User, with `password`.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// Token, where the server asks for one.
    pub token: Option<Secret>,
    /// File with credentials from the server's operator (`.creds`): a JWT and its key.
    pub credentials: Option<PathBuf>,
    /// File with the seed of an nkey.
    pub nkey: Option<PathBuf>,
    /// PEM file with the certificates of the authorities that may sign the server's. Left out:
    /// those of the system.
    pub tls_ca: Option<PathBuf>,
    /// PEM file with this client's certificate.
    pub tls_certificate: Option<PathBuf>,
    /// PEM file with the key of `tls_certificate`.
    pub tls_key: Option<PathBuf>,
    /// Whether TLS starts before the server says anything (its `handshake_first`).
    pub tls_first: bool,
    /// How the subjects of answers begin, instead of `_INBOX`.
    pub inbox_prefix: Option<String>,
}

impl Default for NatsSettings {
    fn default() -> Self {
        Self::at("nats://127.0.0.1:4222")
    }
}

/// How a connection proves who it is.
pub(super) enum Identity {
    Password { user: String, password: String },
    Token(String),
    Credentials(PathBuf),
    Nkey(PathBuf),
    None,
}

impl Identity {
    /// The setting to correct if the server refuses it.
    pub(super) fn setting(&self) -> &'static str {
        match self {
            Self::Credentials(_) => "nats.credentials",
            Self::Nkey(_) => "nats.nkey",
            _ => "nats.url",
        }
    }

    /// Who that is, for messages.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Password { user, .. } => format!("user {user}"),
            Self::Token(_) => "the owner of the token".into(),
            Self::Credentials(file) => format!("the user of {}", file.display()),
            Self::Nkey(file) => format!("the user of {}", file.display()),
            Self::None => "a client without a name".into(),
        }
    }
}

impl NatsSettings {
    /// This server, without anything else.
    pub fn at(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            context: None,
            user: None,
            password: None,
            token: None,
            credentials: None,
            nkey: None,
            tls_ca: None,
            tls_certificate: None,
            tls_key: None,
            tls_first: false,
            inbox_prefix: None,
        }
    }

    /// Checks that `url` parses.
    pub fn check(&self) -> Result<(), ConnectError> {
        parse_addresses(&self.url).map(drop)
    }

    /// The keys whose values are invalid, each with what is allowed.
    pub fn problems(&self) -> Vec<(&'static str, &'static str)> {
        let mut problems = Vec::new();
        if self.check().is_err() {
            problems.push(("url", "nats://HOST:PORT, or several separated by commas"));
        }
        let given = [
            self.user.is_some(),
            self.token.is_some(),
            self.credentials.is_some(),
            self.nkey.is_some(),
        ];
        if given.iter().filter(|given| **given).count() > 1 {
            problems.push((
                "user",
                "one way to prove who this is: nats.user with nats.password, nats.token, \
                 nats.credentials or nats.nkey",
            ));
        }
        if self.password.is_some() != self.user.is_some() {
            problems.push(("password", "nats.user and nats.password, or neither"));
        }
        if self.tls_certificate.is_some() != self.tls_key.is_some() {
            problems.push(("tls_key", "nats.tls_certificate and nats.tls_key, or neither"));
        }
        if self.inbox_prefix.as_deref().is_some_and(|prefix| !is_subject(prefix)) {
            problems.push(("inbox_prefix", "a subject without wildcards, such as _INBOX.ingest"));
        }
        problems
    }

    /// Who connects with these settings, such as `user operator`.
    pub fn who(&self) -> String {
        self.identity(&parse_addresses(&self.url).unwrap_or_default()).name()
    }

    pub(super) fn identity(&self, addresses: &[ServerAddr]) -> Identity {
        let secret = |secret: &Option<Secret>| secret.as_ref().map(|of| of.reveal().to_owned());
        if let Some(file) = &self.credentials {
            return Identity::Credentials(file.clone());
        }
        if let Some(file) = &self.nkey {
            return Identity::Nkey(file.clone());
        }
        if let Some((user, password)) = self.user.clone().zip(secret(&self.password)) {
            return Identity::Password { user, password };
        }
        if let Some(token) = secret(&self.token) {
            return Identity::Token(token);
        }
        // The client library ignores the user and password of a URL.
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let of_url = addresses.iter().find_map(|address| {
            Some((decoded(address.username()?), address.password().map(decoded)))
        });
        match of_url {
            Some((user, Some(password))) => Identity::Password { user, password },
            Some((token, None)) => Identity::Token(token),
            None => Identity::None,
        }
    }
}

/// True for tokens that are separated by dots, none of them empty or a wildcard.
fn is_subject(text: &str) -> bool {
    let is_token = |token: &str| {
        !token.is_empty()
            && token.chars().all(|c| !c.is_whitespace() && !c.is_control() && !"*>".contains(c))
    };
    text.split('.').all(is_token)
}

pub(super) fn parse_addresses(url: &str) -> Result<Vec<ServerAddr>, ConnectError> {
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
        let password = Some(Secret::from("hidden".to_owned()));
        let settings = NatsSettings { password, ..NatsSettings::default() };
        assert!(!format!("{settings:?}").contains("hidden"));
    }

    #[test]
    fn an_invalid_address_is_refused_without_a_connection_attempt() {
        for url in ["", "nats://", "nats://:4222", "a b", "nats://a:99999", "nats://a:1,,"] {
            let settings = NatsSettings::at(url);
            assert!(matches!(settings.check(), Err(ConnectError::Url { .. })), "{url}");
        }
    }

    #[test]
    fn a_password_in_a_url_may_have_any_characters() {
        let settings = NatsSettings::at("nats://me%40here:a%2Fb%3A@host:1");
        let addresses = parse_addresses(&settings.url).unwrap();
        let Identity::Password { user, password } = settings.identity(&addresses) else {
            panic!("a user and a password")
        };
        assert_eq!((user.as_str(), password.as_str()), ("me@here", "a/b:"));
    }

    #[test]
    fn values_that_contradict_each_other_are_refused() {
        let keys = |settings: NatsSettings| {
            settings.problems().into_iter().map(|(key, _)| key).collect::<Vec<_>>()
        };
        let of = NatsSettings::default;
        let path = || Some(PathBuf::from("file"));
        assert!(keys(of()).is_empty());
        assert_eq!(keys(NatsSettings { user: Some("me".into()), ..of() }), ["password"]);
        assert_eq!(keys(NatsSettings { tls_certificate: path(), ..of() }), ["tls_key"]);
        let both = NatsSettings { nkey: path(), credentials: path(), ..of() };
        assert_eq!(keys(both), ["user"]);
        for prefix in ["", "_INBOX.", "a b", "a.*", ">"] {
            let settings = NatsSettings { inbox_prefix: Some(prefix.into()), ..of() };
            assert_eq!(keys(settings), ["inbox_prefix"], "{prefix:?}");
        }
        let prefix = Some("_INBOX.ingest".into());
        assert!(keys(NatsSettings { inbox_prefix: prefix, ..of() }).is_empty());
    }
}
