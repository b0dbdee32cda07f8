//! Who may ask.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use ring::digest::{SHA256, digest};
use subtle::{Choice, ConstantTimeEq};

use super::Api;
use super::problem::Problem;
use crate::settings::Token;

/// Of each token its digest, so that comparing takes the same time for all lengths.
#[derive(Clone)]
pub(super) struct Tokens(Vec<[u8; 32]>);

impl Tokens {
    pub(super) fn new(tokens: &[Token]) -> Self {
        Self(tokens.iter().map(|token| sha256(token.as_ref().as_bytes())).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn holds(&self, token: &[u8]) -> bool {
        let shown = sha256(token);
        self.0.iter().fold(Choice::from(0), |found, known| found | known.ct_eq(&shown)).into()
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

/// Lets a request through that shows a token, if tokens are asked for.
pub(super) async fn check_token(
    State(api): State<Api>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if api.tokens.is_empty()
        || shown_token(request.headers()).is_some_and(|token| api.tokens.holds(token))
    {
        return Ok(next.run(request).await);
    }
    let detail = "show a token that ingest.tokens has, as: Authorization: Bearer TOKEN";
    Err(Problem::new(StatusCode::UNAUTHORIZED, detail)
        .with(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")))
}

fn shown_token(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, token) =
        headers.get(header::AUTHORIZATION)?.as_bytes().split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

/// Refuses what a browser sends for the page of another site: without this, any web page could
/// upload to `localhost`.
pub(super) async fn check_origin(
    State(api): State<Api>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let harmless = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let headers = request.headers();
    match headers.get(header::ORIGIN) {
        Some(origin)
            if !harmless
                && !is_own(origin, headers.get(header::HOST))
                && !api.origins.contains(origin) =>
        {
            Err(Problem::new(
                StatusCode::FORBIDDEN,
                "pages of this web site may not send anything here (ingest.origins)",
            ))
        }
        _ => Ok(next.run(request).await),
    }
}

/// Refuses names that whoever has a domain can give to this machine: a page of that domain would be
/// taken for this service's own, and could read and upload. Who shows a token is no such page.
pub(super) async fn check_host(
    State(api): State<Api>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let named = request.headers().get(header::HOST).map(|host| host.to_str().unwrap_or_default());
    match named {
        Some(host) if api.tokens.is_empty() && !is_known(host, &api.origins) => {
            let detail = format!(
                "this service is not known as {host}: name http://{host} in ingest.origins, or ask for ingest.tokens"
            );
            Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, detail))
        }
        _ => Ok(next.run(request).await),
    }
}

/// True for addresses, for names without a domain, for those of the local network (RFC 6761, RFC
/// 6762), and for those in the settings.
fn is_known(host: &str, origins: &[HeaderValue]) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host().trim_end_matches('.').to_ascii_lowercase();
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(&name);
    address.parse::<IpAddr>().is_ok()
        || !name.contains('.')
        || [".localhost", ".local"].iter().any(|domain| name.ends_with(domain))
        || origins.iter().any(|origin| is_own(origin, HeaderValue::from_str(host).ok().as_ref()))
}

fn is_own(origin: &HeaderValue, host: Option<&HeaderValue>) -> bool {
    let (Ok(origin), Some(Ok(host))) = (origin.to_str(), host.map(HeaderValue::to_str)) else {
        return false;
    };
    origin.split_once("://").is_some_and(|(_, site)| site.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_nobody_else_can_give_are_known() {
        let origins = [HeaderValue::from_static("https://videos.example.org:5000")];
        for host in [
            "127.0.0.1:5000",
            "[::1]:5000",
            "192.168.1.7",
            "localhost:5000",
            "server",
            "a.localhost",
            "pi.local.",
            "videos.example.org:5000",
        ] {
            assert!(is_known(host, &origins), "{host}");
        }
        for host in [
            "foe.example:5000",
            "videos.example.org",
            "127.0.0.1.foe.example",
            "localhost.foe.example",
            "foe.example.",
            "",
            "a b",
        ] {
            assert!(!is_known(host, &origins), "{host}");
        }
    }
}
