//! Formats that are refused before GStreamer opens the file.

use std::fs::File;
use std::io::Read;

use crate::error::DecodeError;
use crate::file::LocalFile;

/// As long as the longest header that is read.
const START: u64 = 256;
/// What GStreamer's `y4mdec` reads.
const Y4M_FORMATS: [&str; 8] =
    ["420", "420jpeg", "420mpeg2", "420paldv", "422", "444", "411", "444alpha"];

/// Fails for a file in a format with which GStreamer 1.22 hangs, or for which its error misleads.
pub(crate) fn check(file: &LocalFile) -> Result<(), DecodeError> {
    let mut start = Vec::new();
    let read = File::open(&file.path).and_then(|opened| opened.take(START).read_to_end(&mut start));
    if read.is_err() {
        return Ok(());
    }
    match format(&start) {
        Some(format) => Err(DecodeError::Unsupported { video: file.name.clone(), format }),
        None => Ok(()),
    }
}

fn format(start: &[u8]) -> Option<String> {
    // Its demuxer, `avdemux_nut`, never ends. Reproduced by
    // `a_format_that_would_hang_is_refused_at_once`.
    if start.starts_with(b"nut/multimedia container\0") {
        return Some("NUT".into());
    }
    let header = start.strip_prefix(b"YUV4MPEG2 ")?.split(|byte| *byte == b'\n').next()?;
    let header = String::from_utf8_lossy(header);
    let colors = header.split(' ').find_map(|field| field.strip_prefix('C'))?;
    (!Y4M_FORMATS.contains(&colors)).then(|| {
        let colors: String = colors.chars().filter(char::is_ascii_alphanumeric).collect();
        format!("YUV4MPEG2 with C{colors}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_gstreamer_cannot_read_is_refused() {
        assert_eq!(format(b"nut/multimedia container\0x").as_deref(), Some("NUT"));
        let y4m =
            |colors: &str| format(format!("YUV4MPEG2 W1 H1 F25:1 {colors}\nFRAME").as_bytes());
        assert_eq!(y4m("C420jpeg"), None);
        assert_eq!(y4m(""), None);
        assert_eq!(y4m("C420p10 XYSCSS=420P10").as_deref(), Some("YUV4MPEG2 with C420p10"));
    }
}
