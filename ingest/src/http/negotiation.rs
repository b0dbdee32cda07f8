//! Which of several representations a client likes best (RFC 9110, section 12.5.1).

use axum::http::{HeaderMap, header};

/// The best of `offers`, which are media types in lower case; of those that are liked equally, the
/// first. `None` if it takes none of them. A client that says nothing takes anything.
pub(super) fn preferred<'a>(headers: &HeaderMap, offers: &[&'a str]) -> Option<&'a str> {
    let accepts: Vec<_> =
        headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let ranges: Vec<_> =
        accepts.iter().flat_map(|value| value.split(',')).filter_map(Range::read).collect();
    if ranges.is_empty() {
        return offers.first().copied();
    }
    let liked = offers
        .iter()
        .map(|offer| (*offer, quality(&ranges, offer)))
        .filter(|(_, quality)| *quality > 0.0);
    liked.reduce(|best, next| if next.1 > best.1 { next } else { best }).map(|(offer, _)| offer)
}

struct Range {
    name: String,
    quality: f32,
}

impl Range {
    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let name = parts.next().filter(|name| !name.is_empty())?.to_ascii_lowercase();
        let quality = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok()).unwrap_or(1.0);
        Some(Self { name, quality })
    }

    /// How closely the range names a media type, if it does.
    fn closeness(&self, offer: &str) -> Option<u8> {
        match self.name.strip_suffix('*') {
            _ if self.name == offer => Some(2),
            Some("*/") => Some(0),
            Some(kind) if kind.ends_with('/') && offer.starts_with(kind) => Some(1),
            _ => None,
        }
    }
}

/// That of the range which names the offer most closely.
fn quality(ranges: &[Range], offer: &str) -> f32 {
    let named = ranges.iter().filter_map(|range| Some((range.closeness(offer)?, range.quality)));
    named.max_by_key(|(closeness, _)| *closeness).map_or(0.0, |(_, quality)| quality)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_representation_is_the_one_that_the_client_likes_best() {
        let offers = ["application/json", "text/html", "text/plain"];
        for (accept, wanted) in [
            ("*/*", Some("application/json")),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Some("text/html")),
            ("text/plain;q=0.9, application/json;q=0.2", Some("text/plain")),
            ("text/*", Some("text/html")),
            ("text/*;q=0.5, text/html;q=0", Some("text/plain")),
            ("Text/HTML ; q=0.3, application/*;q=0.1", Some("text/html")),
            ("image/png", None),
            ("*/*;q=0", None),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT, accept.parse().unwrap())]);
            assert_eq!(preferred(&headers, &offers), wanted, "{accept}");
        }
        assert_eq!(preferred(&HeaderMap::new(), &offers), Some("application/json"));
    }
}
