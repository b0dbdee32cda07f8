//! The page that a browser is given: files that are part of this program.

use std::sync::LazyLock;

use axum::extract::{Path, Request};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};

use super::negotiation::preferred;
use super::problem::Problem;

/// The page asks this server and nobody else, and runs what comes from here and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

struct File {
    name: &'static str,
    content_type: &'static str,
    bytes: &'static [u8],
    tag: HeaderValue,
}

impl File {
    fn new(name: &'static str, content_type: &'static str, bytes: &'static [u8]) -> Self {
        let tag = format!("\"{}\"", BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, bytes)));
        Self {
            name,
            content_type,
            bytes,
            tag: HeaderValue::from_str(&tag).unwrap_or(HeaderValue::from_static("*")),
        }
    }

    /// The file, or nothing if the client has it already. Each time it is asked whether it still
    /// holds: after an upgrade no part of the page is older than the others.
    fn answer(&self, headers: &HeaderMap) -> Response {
        let known = headers.get(header::IF_NONE_MATCH).is_some_and(|tags| tags == self.tag);
        let common = [
            (header::ETAG, self.tag.clone()),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
            (header::VARY, HeaderValue::from_static("accept")),
        ];
        if known {
            return (StatusCode::NOT_MODIFIED, common).into_response();
        }
        let guards = [
            (header::CONTENT_TYPE, self.content_type),
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
        ];
        (common, guards, self.bytes).into_response()
    }
}

macro_rules! files {
    ($($content_type:ident $name:literal)*) => {
        vec![$(File::new($name, $content_type, include_bytes!(concat!("../../page/", $name)))),*]
    };
}

static FILES: LazyLock<Vec<File>> = LazyLock::new(|| {
    files! {
        HTML "index.html"
        CSS "style.css"
        SVG "icon.svg"
        SCRIPT "app.js"
        SCRIPT "api.js"
        SCRIPT "detail.js"
        SCRIPT "detections.js"
        SCRIPT "dom.js"
        SCRIPT "line.js"
        SCRIPT "stills.js"
        SCRIPT "uploads.js"
        SCRIPT "videos.js"
        SCRIPT "vendor/uPlot.iife.min.js"
        CSS "vendor/uPlot.min.css"
    }
});

fn find(name: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.name == name)
}

/// Gives the page to who likes HTML better than JSON at `/`: browsers do, programs do not. It holds
/// no secret, so it needs no token: it asks for one.
pub(super) async fn at_root(request: Request, next: Next) -> Response {
    let asked =
        request.uri().path() == "/" && matches!(*request.method(), Method::GET | Method::HEAD);
    if asked
        && preferred(request.headers(), &["application/json", "text/html"]) == Some("text/html")
        && let Some(page) = find("index.html")
    {
        return page.answer(request.headers());
    }
    next.run(request).await
}

/// What the page is made of.
pub(super) async fn file(
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let found = find(&name).map(|file| file.answer(&headers));
    found.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, format!("the page has no file {name}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_page_is_served() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("page");
        for folder in [folder.clone(), folder.join("vendor")] {
            for entry in std::fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path
                    .strip_prefix(concat!(env!("CARGO_MANIFEST_DIR"), "/page"))
                    .unwrap()
                    .to_str()
                    .unwrap();
                assert!(path.is_dir() || name.ends_with(".txt") || find(name).is_some(), "{name}");
            }
        }
    }
}
