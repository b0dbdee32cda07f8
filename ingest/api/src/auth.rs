//! Middleware that decides which requests are answered.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::problem::Problem;
use crate::state::SharedState;

/// Rejects requests without a valid token, if the settings have tokens.
pub(crate) async fn check_token(
    State(state): State<SharedState>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if state.tokens.is_empty()
        || bearer_token(request.headers()).is_some_and(|token| state.tokens.contains(token))
    {
        return Ok(next.run(request).await);
    }
    let detail = "send one of the tokens in http.tokens, as: Authorization: Bearer TOKEN";
    Err(Problem::new(StatusCode::UNAUTHORIZED, detail)
        .with(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")))
}

fn bearer_token(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, token) =
        headers.get(header::AUTHORIZATION)?.as_bytes().split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

/// Rejects changes that a browser sends for a page of another site: otherwise any web page could
/// upload to `localhost`.
pub(crate) async fn check_origin(
    State(state): State<SharedState>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let headers = request.headers();
    match headers.get(header::ORIGIN) {
        Some(origin)
            if !is_read
                && !is_own(origin, headers.get(header::HOST))
                && !state.origins.contains(origin) =>
        {
            Err(Problem::new(
                StatusCode::FORBIDDEN,
                "pages of this web site may not send requests here (http.origins)",
            ))
        }
        _ => Ok(next.run(request).await),
    }
}

/// Rejects names that the owner of any domain can point at this machine (DNS rebinding): the
/// browser would treat that domain's pages as this service's own. With tokens this is unnecessary:
/// such a page has none.
pub(crate) async fn check_host(
    State(state): State<SharedState>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let host = request.headers().get(header::HOST).map(|host| host.to_str().unwrap_or_default());
    match host {
        Some(host) if state.tokens.is_empty() && !is_known(host, &state.origins) => {
            let detail = format!(
                "this service does not answer to the name {host}: \
                 add http://{host} to http.origins, or set http.tokens"
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
    fn only_names_that_strangers_cannot_point_here_are_known() {
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
