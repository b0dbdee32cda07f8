//! Middleware that decides which requests are answered.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::problem::Problem;
use crate::scope;
use crate::state::SharedState;

/// Rejects requests without a valid token, if the settings have tokens, and those that the token is
/// not for.
pub(crate) async fn check_token(
    State(state): State<SharedState>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let Some(caller) = state.tokens.caller(bearer_token(request.headers())) else {
        let detail = "send one of the tokens in http.tokens or http.tokens_file, as: \
                      Authorization: Bearer TOKEN";
        return Err(Problem::new(StatusCode::UNAUTHORIZED, detail)
            .with(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
    };
    if let Some(scope) = scope::needed(request.method(), request.uri().path())
        && !caller.may(scope)
    {
        let detail =
            format!("the token {} does not have the scope that this needs: {scope}", caller.name);
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
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

/// Rejects requests that do not say once which host they are for (RFC 9112, section 3.2), and names
/// that the owner of any domain can point at this machine (DNS rebinding): the browser would treat
/// that domain's pages as this service's own. With tokens this is unnecessary: such a page has
/// none.
pub(crate) async fn check_host(
    State(state): State<SharedState>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let host = host(&request)?;
    if let Some(host) = host
        && !state.tokens.are_required()
        && !is_known(&host, &state.origins)
    {
        let detail = format!(
            "this service does not answer to the name {host}: \
             add http://{host} to http.origins, or set http.tokens"
        );
        return Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, detail));
    }
    Ok(next.run(request).await)
}

/// The host that a request is for. An address in the request line holds instead of the header
/// (RFC 9112, section 3.2.2). HTTP/1.0 does not need either.
fn host(request: &Request) -> Result<Option<Authority>, Problem> {
    let mut lines = request.headers().get_all(header::HOST).iter();
    let host = match (lines.next(), lines.next()) {
        (Some(line), None) => {
            let host = line.to_str().ok().and_then(|line| line.parse::<Authority>().ok());
            let valid = host.filter(|host| !host.as_str().contains('@'));
            Some(valid.ok_or_else(|| Problem::bad_request("Host must be HOST or HOST:PORT"))?)
        }
        (None, _) if request.version() < Version::HTTP_11 => None,
        (None, _) => return Err(Problem::bad_request("a request needs a Host line")),
        (Some(_), Some(_)) => {
            return Err(Problem::bad_request("a request has one Host line, not several"));
        }
    };
    Ok(request.uri().authority().cloned().or(host))
}

/// True for addresses, for names without a domain, for those of the local network (RFC 6761, RFC
/// 6762), and for those in the settings.
fn is_known(host: &Authority, origins: &[HeaderValue]) -> bool {
    let name = host.host().trim_end_matches('.').to_ascii_lowercase();
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(&name);
    address.parse::<IpAddr>().is_ok()
        || !name.contains('.')
        || [".localhost", ".local"].iter().any(|domain| name.ends_with(domain))
        || origins
            .iter()
            .any(|origin| is_own(origin, HeaderValue::from_str(host.as_str()).ok().as_ref()))
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
            assert!(is_known(&host.parse().unwrap(), &origins), "{host}");
        }
        for host in [
            "foe.example:5000",
            "videos.example.org",
            "127.0.0.1.foe.example",
            "localhost.foe.example",
            "foe.example.",
        ] {
            assert!(!is_known(&host.parse().unwrap(), &origins), "{host}");
        }
    }
}
