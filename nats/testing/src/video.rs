//! Videos that tests make.

use std::path::{Path, PathBuf};
use std::process::Command;

use url::Url;

/// Makes a video with ffmpeg.
pub fn ffmpeg(arguments: &[&str], output: &Path) {
    let done = Command::new("ffmpeg")
        .args(["-v", "error", "-y"])
        .args(arguments)
        .arg(output)
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// One second of a test picture: 10 frames.
pub fn short_video(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    ffmpeg(
        &["-f", "lavfi", "-i", "testsrc2=size=320x240:rate=10:duration=1", "-pix_fmt", "yuv420p"],
        &path,
    );
    path
}

/// The `file:` URI of a path.
pub fn file_uri(path: &Path) -> Url {
    Url::from_file_path(path).unwrap()
}
