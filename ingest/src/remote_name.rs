//! The name that a web server gives a video: addresses such as `/download?id=7` do not have one.

use std::time::Duration;

use moliceiro_nats::messages::{Upload, printable};
use percent_encoding::percent_decode_str;
use reqwest::header::{CONTENT_DISPOSITION, LOCATION};
use reqwest::{Client, Method, redirect};
use url::Url;

use crate::allow::Allowed;
use crate::fetch::{MAX_REDIRECTS, is_http};

/// A name is not worth a long wait: the download has its own limits.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The file name in the `Content-Disposition` of an HTTP address; `None` if it has none.
pub(crate) async fn remote_name(uri: &Url, allowed: &Allowed) -> Option<String> {
    let client = Client::builder()
        .user_agent(concat!("moliceiro/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .timeout(TIMEOUT)
        .build()
        .ok()?;
    match file_name(&client, Method::HEAD, uri, allowed).await {
        // Some servers answer nothing but GET. Its body is not read.
        Answer::Refused => match file_name(&client, Method::GET, uri, allowed).await {
            Answer::Name(name) => Some(name),
            Answer::NoName | Answer::Refused => None,
        },
        Answer::Name(name) => Some(name),
        Answer::NoName => None,
    }
}

enum Answer {
    Name(String),
    NoName,
    Refused,
}

async fn file_name(client: &Client, method: Method, uri: &Url, allowed: &Allowed) -> Answer {
    let mut place = uri.clone();
    for _ in 0..=MAX_REDIRECTS {
        let Ok(response) = client.request(method.clone(), place.clone()).send().await else {
            return Answer::NoName;
        };
        let header = |name| response.headers().get(name);
        if response.status().is_redirection() {
            let next = header(LOCATION)
                .and_then(|next| next.to_str().ok())
                .and_then(|next| place.join(next).ok())
                .filter(is_http);
            let Some(next) = next else { return Answer::NoName };
            match allowed.check_redirect(uri, next).await {
                Ok(next) => place = next,
                Err(_) => return Answer::NoName,
            }
            continue;
        }
        if !response.status().is_success() {
            return Answer::Refused;
        }
        let name = header(CONTENT_DISPOSITION).and_then(|value| parse(value.as_bytes()));
        return name.map_or(Answer::NoName, Answer::Name);
    }
    Answer::NoName
}

/// The file name of a `Content-Disposition` (RFC 6266): `filename*` before `filename`.
fn parse(header: &[u8]) -> Option<String> {
    let header = printable(header);
    let (mut plain, mut extended) = (None, None);
    for (name, value) in parameters(&header) {
        match name.to_ascii_lowercase().as_str() {
            "filename" => plain = Some(percent_decode_str(&value).collect()),
            "filename*" => extended = extended_value(&value),
            _ => {}
        }
    }
    let name = printable(&extended.or(plain)?);
    // A path could pretend that the video comes from somewhere else.
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default().trim();
    (!last.is_empty()).then(|| Upload::shortened(last.to_owned()))
}

/// Splits `attachment; filename="a;b.mp4"; size=7` into names and unquoted values.
fn parameters(header: &str) -> Vec<(String, String)> {
    let (mut parameters, mut current, mut quoted, mut escaped) =
        (vec![], String::new(), false, false);
    for c in header.chars().chain([';']) {
        match c {
            _ if escaped => {
                current.push(c);
                escaped = false;
            }
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ';' if !quoted => {
                if let Some((name, value)) = current.split_once('=') {
                    parameters.push((name.trim().to_owned(), value.trim().to_owned()));
                }
                current.clear();
            }
            c => current.push(c),
        }
    }
    parameters
}

/// The bytes of such as `UTF-8'en'na%C3%AFve.mp4` (RFC 8187).
fn extended_value(value: &str) -> Option<Vec<u8>> {
    let mut parts = value.splitn(3, '\'');
    let charset = parts.next()?;
    let bytes = percent_decode_str(parts.nth(1)?).collect::<Vec<_>>();
    if charset.eq_ignore_ascii_case("iso-8859-1") {
        return Some(bytes.into_iter().map(char::from).collect::<String>().into_bytes());
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_name_of_a_download_is_decoded() {
        for (header, name) in [
            ("attachment; filename=\"a b.mp4\"", Some("a b.mp4")),
            ("attachment; filename=a.mp4; size=7", Some("a.mp4")),
            ("attachment; filename=\"a;b\\\"c.mp4\"", Some("a;b\"c.mp4")),
            ("inline; filename=\"fair%20day.mp4\"", Some("fair day.mp4")),
            ("attachment; filename=x.mp4; filename*=UTF-8''na%C3%AFve.mp4", Some("naïve.mp4")),
            ("attachment; FileName*=iso-8859-1'de'M%FCll.mp4", Some("Müll.mp4")),
            ("attachment; filename=\"../../etc/a.mp4\"", Some("a.mp4")),
            ("attachment", None),
            ("attachment; filename=\"\"", None),
        ] {
            assert_eq!(parse(header.as_bytes()).as_deref(), name, "{header}");
        }
        assert_eq!(parse("attachment; filename=\"ü.mp4\"".as_bytes()).as_deref(), Some("ü.mp4"));
    }
}
