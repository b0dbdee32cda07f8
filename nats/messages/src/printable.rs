/// The name of a file, or another text of unknown origin, on one line of text.
///
/// Bytes that are not UTF-8 become `\xE9`, and control characters, which could move the cursor or
/// reverse the text around them, `\u{202e}`.
pub fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if is_control(c) { text.extend(c.escape_default()) } else { text.push(c) }
        }
        for byte in chunk.invalid() {
            text += &format!("\\x{byte:02X}");
        }
    }
    text
}

fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2028}' | '\u{2029}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn what_cannot_be_shown_is_escaped() {
        for (bytes, text) in [
            (&b"a b.mp4"[..], "a b.mp4"),
            ("日本.mp4".as_bytes(), "日本.mp4"),
            (b"caf\xe9.mp4", "caf\\xE9.mp4"),
            (b"a\nb\x1b", "a\\nb\\u{1b}"),
            ("a\u{202e}4pm".as_bytes(), "a\\u{202e}4pm"),
        ] {
            assert_eq!(printable(bytes), text);
        }
    }
}
