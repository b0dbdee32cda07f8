//! The page for browsers: files that are compiled into the program.

use std::sync::LazyLock;

use axum::extract::{Path, Request};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};

use crate::negotiation::preferred;
use crate::problem::Problem;

/// The page connects to this server only, and runs scripts of this server only.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data:; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

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

    /// The file, or 304 if the client has it. `no-cache` makes browsers revalidate each file each
    /// time, so that an upgrade never mixes old files with new ones.
    fn respond(&self, headers: &HeaderMap) -> Response {
        let is_cached = headers.get(header::IF_NONE_MATCH).is_some_and(|tags| tags == self.tag);
        let caching = [
            (header::ETAG, self.tag.clone()),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
            (header::VARY, HeaderValue::from_static("accept")),
        ];
        if is_cached {
            return (StatusCode::NOT_MODIFIED, caching).into_response();
        }
        let guards = [
            (header::CONTENT_TYPE, self.content_type),
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
        ];
        (caching, guards, self.bytes).into_response()
    }
}

macro_rules! files {
    ($($content_type:ident $name:literal)*) => {
        vec![$(File::new($name, $content_type, include_bytes!(concat!("../page/", $name)))),*]
    };
}

static FILES: LazyLock<Vec<File>> = LazyLock::new(|| {
    files! {
        HTML "index.html"
        CSS "style.css"
        SVG "icon.svg"
        SCRIPT "again.js"
        SCRIPT "app.js"
        SCRIPT "api.js"
        SCRIPT "ask.js"
        SCRIPT "board.js"
        SCRIPT "charts.js"
        SCRIPT "compare.js"
        SCRIPT "copy.js"
        SCRIPT "detail.js"
        SCRIPT "detections.js"
        SCRIPT "dom.js"
        SCRIPT "line.js"
        SCRIPT "options.js"
        SCRIPT "places.js"
        SCRIPT "thumbnails.js"
        SCRIPT "uploads.js"
        SCRIPT "videos.js"
        SCRIPT "vendor/uPlot.iife.min.js"
        CSS "vendor/uPlot.min.css"
    }
});

fn find(name: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.name == name)
}

/// Serves the page at `/` to clients that prefer HTML to JSON: browsers do, programs do not. The
/// page has no secrets, so it needs no token; it asks the user for one.
pub(crate) async fn at_root(request: Request, next: Next) -> Response {
    let is_root =
        request.uri().path() == "/" && matches!(*request.method(), Method::GET | Method::HEAD);
    if is_root
        && preferred(request.headers(), &["application/json", "text/html"]) == Some("text/html")
        && let Some(page) = find("index.html")
    {
        return page.respond(request.headers());
    }
    next.run(request).await
}

/// Serves one of the page's files.
pub(crate) async fn file(
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let found = find(&name).map(|file| file.respond(&headers));
    found.ok_or_else(|| {
        Problem::new(StatusCode::NOT_FOUND, format!("the page does not have a file {name}"))
    })
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
