//! Which of several representations a client prefers (RFC 9110, section 12.5.1).

use axum::http::{HeaderMap, header};

/// The media type of JSON lines that this API offers, and another one that clients use for it.
const NDJSON: (&str, &str) = ("application/x-ndjson", "application/ndjson");

/// The preferred one of `offers`, which are media types in lower case; of equally preferred ones
/// the first. `None` if the client accepts none of them. Without an Accept header it accepts all.
pub(crate) fn preferred<'a>(headers: &HeaderMap, offers: &[&'a str]) -> Option<&'a str> {
    let accepts: Vec<_> =
        headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let ranges: Vec<_> =
        accepts.iter().flat_map(|value| value.split(',')).filter_map(MediaRange::parse).collect();
    if ranges.is_empty() {
        return offers.first().copied();
    }
    let acceptable = offers
        .iter()
        .map(|offer| (*offer, quality(&ranges, offer)))
        .filter(|(_, quality)| *quality > 0.0);
    acceptable
        .reduce(|best, next| if next.1 > best.1 { next } else { best })
        .map(|(offer, _)| offer)
}

struct MediaRange {
    name: String,
    /// 0 (not acceptable) to 1.
    quality: f32,
}

impl MediaRange {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let mut name = parts.next().filter(|name| !name.is_empty())?.to_ascii_lowercase();
        if name == NDJSON.1 {
            NDJSON.0.clone_into(&mut name);
        }
        let quality = parts
            .find_map(|part| part.strip_prefix(['q', 'Q'])?.strip_prefix('=')?.parse().ok())
            .unwrap_or(1.0);
        Some(Self { name, quality })
    }

    /// How specifically the range matches a media type, if it does.
    fn specificity(&self, offer: &str) -> Option<u8> {
        match self.name.strip_suffix('*') {
            _ if self.name == offer => Some(2),
            Some("*/") => Some(0),
            Some(kind) if kind.ends_with('/') && offer.starts_with(kind) => Some(1),
            _ => None,
        }
    }
}

/// The quality of an offer: that of the most specific range that matches it.
fn quality(ranges: &[MediaRange], offer: &str) -> f32 {
    let matching =
        ranges.iter().filter_map(|range| Some((range.specificity(offer)?, range.quality)));
    matching.max_by_key(|(specificity, _)| *specificity).map_or(0.0, |(_, quality)| quality)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_representation_is_the_one_the_client_prefers() {
        let offers = ["application/json", "text/html", "text/plain"];
        for (accept, expected) in [
            ("*/*", Some("application/json")),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Some("text/html")),
            ("text/plain;q=0.9, application/json;q=0.2", Some("text/plain")),
            ("text/*", Some("text/html")),
            ("text/*;q=0.5, text/html;q=0", Some("text/plain")),
            ("application/json;q=0, */*", Some("text/html")),
            ("application/json;Q=0.1, text/plain", Some("text/plain")),
            ("Text/HTML ; q=0.3, application/*;q=0.1", Some("text/html")),
            ("image/png", None),
            ("*/*;q=0", None),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT, accept.parse().unwrap())]);
            assert_eq!(preferred(&headers, &offers), expected, "{accept}");
        }
        assert_eq!(preferred(&HeaderMap::new(), &offers), Some("application/json"));
    }
}
