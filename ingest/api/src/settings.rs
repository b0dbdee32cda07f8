use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use moliceiro_service::Section;
use moliceiro_service::settings::{Problem, list};
use serde::{Deserialize, Serialize};

const SHORTEST_TOKEN: usize = 8;
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(100);
const GIB: u64 = 1 << 30;

/// Settings `[http]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpSettings {
    /// Address for uploads and queries, such as `0.0.0.0:5000`. Empty: HTTP is off.
    pub listen: String,
    /// Maximum size of one request, and of a video that ingest fetches from a web server, in bytes.
    pub upload_max_bytes: u64,
    /// Maximum number of uploads received at the same time.
    pub uploads: usize,
    /// Time limit for a request's header, and for an idle connection between two requests.
    #[serde(with = "humantime_serde")]
    pub header_timeout: Duration,
    /// Longest pause of a client within an upload.
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Duration,
    /// Tokens of which a client has to send one. Empty: clients need none.
    #[serde(with = "list")]
    pub tokens: Vec<Token>,
    /// TOML file with more tokens, each with a name and what it is for; it is read again when it
    /// changes. With it, clients need a token.
    pub tokens_file: Option<PathBuf>,
    /// PEM file with the server's certificate, followed by any intermediate ones. With it, the
    /// server speaks HTTPS only.
    pub tls_certificate: Option<PathBuf>,
    /// PEM file with the certificate's private key.
    pub tls_key: Option<PathBuf>,
    /// Web sites, such as `https://example.org`, whose pages may use this service from a browser.
    /// Their host names are also valid names of this service.
    #[serde(with = "list")]
    pub origins: Vec<String>,
}

/// A secret that clients send. Neither logs nor errors show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl AsRef<str> for Token {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl From<String> for Token {
    fn from(secret: String) -> Self {
        Self(secret)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:5000".into(),
            upload_max_bytes: 16 * GIB,
            uploads: 64,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            tokens: vec![],
            tokens_file: None,
            tls_certificate: None,
            tls_key: None,
            origins: vec![],
        }
    }
}

impl Section for HttpSettings {
    const NAME: &'static str = "http";
    const SECRETS: &'static [&'static str] = &["tokens"];

    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut check = |ok: bool, key, what: &str| {
            if !ok {
                problems.push(Problem::new(key, what));
            }
        };
        check(
            self.listen.is_empty() || self.address().is_some(),
            "listen",
            "HOST:PORT, or nothing to turn HTTP off",
        );
        check(
            (1..=i64::MAX as u64).contains(&self.upload_max_bytes),
            "upload_max_bytes",
            "1 or more",
        );
        check((1..=1024).contains(&self.uploads), "uploads", "1 to 1024");
        for (key, timeout) in
            [("header_timeout", self.header_timeout), ("idle_timeout", self.idle_timeout)]
        {
            check(timeout >= SHORTEST_TIMEOUT, key, "100ms or longer");
        }
        check(
            self.tokens.iter().all(Token::is_usable),
            "tokens",
            "at least 8 printable ASCII characters each, without blanks",
        );
        check(
            self.tls_certificate.is_some() == self.tls_key.is_some(),
            "tls_key",
            "http.tls_certificate and http.tls_key, both or none",
        );
        let is_origin = |text: &String| {
            url::Url::parse(text).is_ok_and(|url| url.origin().ascii_serialization() == *text)
        };
        check(
            self.origins.iter().all(is_origin),
            "origins",
            "origins such as https://example.org, without a slash at the end",
        );
        problems
    }
}

impl Token {
    pub(crate) fn is_usable(&self) -> bool {
        self.0.len() >= SHORTEST_TOKEN && self.0.bytes().all(|b| b.is_ascii_graphic())
    }
}

impl HttpSettings {
    /// The resolved address; `None` if `listen` is not HOST:PORT or the name is unknown.
    fn address(&self) -> Option<SocketAddr> {
        self.listen.to_socket_addrs().ok()?.next()
    }
}
