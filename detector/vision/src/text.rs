/// The text in one line, as messages of errors must be: libraries break theirs into several.
pub(crate) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
