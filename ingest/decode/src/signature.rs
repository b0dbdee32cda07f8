//! Files that are often named like a video, and are none.

/// What a file that starts with these bytes is, if that is clear and it is not a video.
pub(crate) fn other_kind(start: &[u8]) -> Option<&'static str> {
    let text = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
    let starts = |tag: &str| {
        text.get(..tag.len()).is_some_and(|found| found.eq_ignore_ascii_case(tag.as_bytes()))
    };
    let any = |tags: &[&str]| tags.iter().any(|tag| starts(tag));
    let mentions = |tag: &str| text.windows(tag.len()).any(|found| found == tag.as_bytes());
    match start {
        [0x1f, 0x8b, ..] => return Some("a gzip file: unpack it first"),
        [b'P', b'K', 3 | 5, 4 | 6, ..] => return Some("a ZIP file: unpack it first"),
        [b'R', b'a', b'r', b'!', ..] => return Some("a RAR file: unpack it first"),
        [b'7', b'z', 0xbc, 0xaf, ..] => return Some("a 7-Zip file: unpack it first"),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => return Some("an xz file: unpack it first"),
        [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, ..] => {
            return Some("a bzip2 file: unpack it first");
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => return Some("a Zstandard file: unpack it first"),
        [0x7f, b'E', b'L', b'F', ..] => return Some("a program"),
        [0xd0, 0xcf, 0x11, 0xe0, ..] => return Some("an office document"),
        _ => {}
    }
    if any(&["<!doctype html", "<html", "<head", "<body", "<title"])
        || (starts("<!--") && mentions("<html"))
    {
        return Some("an HTML page: the address or the server's answer was probably wrong");
    }
    if starts("#extm3u") {
        return Some("a playlist, which is not followed: use the address of the video itself");
    }
    if starts("%PDF-") {
        return Some("a PDF file");
    }
    if any(&["return-path:", "received:", "mime-version:", "delivered-to:", "message-id:"])
        || (starts("from ") && mentions("\nTo:"))
    {
        return Some("an e-mail: save its attachment first");
    }
    if any(&["{\"", "[{"]) && is_text(text) {
        return Some("JSON text: the address or the server's answer was probably wrong");
    }
    if starts("<?xml") {
        return Some("XML text");
    }
    is_text(text).then_some("a text")
}

/// Whether it is UTF-8 without control characters. The last character may be incomplete.
fn is_text(bytes: &[u8]) -> bool {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    !text.is_empty() && text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\r' | '\t'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_name_mp4_by_mistake_is_recognised() {
        for (start, word) in [
            (&b"<!DOCTYPE html><html>"[..], "HTML"),
            (b"\xef\xbb\xbf\n <html lang=en>", "HTML"),
            (b"\x1f\x8b\x08\0", "gzip"),
            (b"PK\x03\x04", "ZIP"),
            (b"%PDF-1.7\n%\xe2\xe3", "PDF"),
            (b"#EXTM3U\na.ts\n", "playlist"),
            (b"Return-Path: <a@example.org>\r\n", "e-mail"),
            (b"{\"error\": \"not found\"}", "JSON"),
            ("Grüße\n".as_bytes(), "text"),
        ] {
            let found = other_kind(start).unwrap_or_default();
            assert!(found.contains(word), "{word}: {found}");
        }
    }

    #[test]
    fn a_video_is_none_of_them() {
        for start in [
            &b"\0\0\0\x20ftypisom"[..],
            b"\x1a\x45\xdf\xa3",
            b"RIFF\0\0\0\0AVI ",
            b"\x47\x40\x11\x10\0\x42\xf0\x25",
            b"",
        ] {
            assert_eq!(other_kind(start), None, "{start:?}");
        }
    }
}
