//! Makes videos with ffmpeg, and decodes them.
#![allow(dead_code, clippy::unwrap_used, reason = "each test uses a part of it, and may panic")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use moliceiro_decode::{
    DecodeError, DecodeSettings, DecodedFrame, DecodedVideo, UndecodableFrame, start,
};
use moliceiro_messages::{Area, Size};
use tempfile::TempDir;
use url::Url;

/// Two seconds of a moving test picture.
pub const SOURCE: &str = "-f lavfi -i testsrc2=size=320x240:rate=25:duration=2";
/// As much sound.
pub const SOUND: &str = "-f lavfi -i sine=duration=2";
pub const H264: &str = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p";

pub fn settings() -> DecodeSettings {
    let size = Size { width: 416, height: 416 };
    let stall_timeout = Duration::from_secs(60);
    DecodeSettings { queue: 4, stall_timeout, ..DecodeSettings::new(size) }
}

pub fn uri(path: &Path) -> Url {
    Url::from_file_path(path).unwrap()
}

/// A file of the test data.
pub fn media(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/media").join(name)
}

/// All frames, and how it ended.
pub async fn decode_with(
    path: &Path,
    settings: DecodeSettings,
) -> (Vec<DecodedFrame>, Result<DecodedVideo, DecodeError>) {
    let (frames, lost, outcome) = decode_folder(path, settings).await;
    assert_eq!(lost, []);
    (frames, outcome)
}

/// As [`decode_with`], for a folder in which some pictures cannot be decoded.
pub async fn decode_folder(
    path: &Path,
    settings: DecodeSettings,
) -> (Vec<DecodedFrame>, Vec<UndecodableFrame>, Result<DecodedVideo, DecodeError>) {
    let decoding = start(&uri(path), settings);
    let (mut frames, mut lost) = (Vec::new(), Vec::new());
    while let Ok(frame) = decoding.frames.recv().await {
        match frame {
            Ok(frame) => frames.push(frame),
            Err(frame) => lost.push(frame),
        }
    }
    (frames, lost, decoding.outcome().await)
}

/// As [`decode_with`], for a video with at least one decodable frame.
pub async fn decode(path: &Path) -> (Vec<DecodedFrame>, DecodedVideo) {
    let (frames, outcome) = decode_with(path, settings()).await;
    (frames, outcome.unwrap_or_else(|error| panic!("{error}")))
}

/// A folder for videos.
pub struct Videos(TempDir);

impl Videos {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Makes a video with ffmpeg. Spaces separate the arguments.
    pub fn make(&self, name: &str, arguments: &str) -> PathBuf {
        let path = self.path(name);
        run("ffmpeg", &format!("-v error -y {arguments}"), &path);
        path
    }

    /// Makes several videos of the same input with one ffmpeg: most of the time that it takes for a
    /// short one is that of its start.
    pub fn make_all(&self, input: &str, videos: &[(&str, &str)]) -> Vec<PathBuf> {
        let paths: Vec<_> = videos.iter().map(|(name, _)| self.path(name)).collect();
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error", "-y"]).args(input.split_ascii_whitespace());
        for ((_, arguments), path) in videos.iter().zip(&paths) {
            command.args(arguments.split_ascii_whitespace()).arg(path);
        }
        let done = command.output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        paths
    }

    pub fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

/// The bytes that ffmpeg writes to standard output.
pub fn ffmpeg_output(input: &Path, arguments: &str) -> Vec<u8> {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(input)
        .args(arguments.split(' '))
        .arg("-")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}: {}",
        input.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// The output of a program that gets the file as its last argument.
pub fn run(program: &str, arguments: &str, file: &Path) -> String {
    let arguments = arguments.split_ascii_whitespace();
    let done = Command::new(program).args(arguments).arg(file).output().unwrap();
    assert!(
        done.status.success(),
        "{program} {}: {}",
        file.display(),
        String::from_utf8_lossy(&done.stderr)
    );
    String::from_utf8(done.stdout).unwrap()
}

/// The luma value of a pixel in an I420 picture.
pub fn luma(frame: &DecodedFrame, x: u32, y: u32) -> u8 {
    let Area { left, top, size } = frame.letterbox.sampled(frame.size);
    let inside = (left..left + size.width).contains(&x) && (top..top + size.height).contains(&y);
    if inside { frame.pixels[((y - top) * size.width + x - left) as usize] } else { 16 }
}
