//! Runs ffmpeg, which makes the files and says what is in them.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::film::{self, HEIGHT, WIDTH};

/// Seconds after which ffmpeg is stopped: some of its encoders hang when the container refuses them.
const PATIENCE: &str = "20";

fn command() -> Command {
    let mut command = Command::new("timeout");
    command.args(["--signal=KILL", PATIENCE, "ffmpeg", "-nostdin", "-v", "error", "-y"]);
    command.stdin(Stdio::null());
    command
}

/// Writes `output`; `None` if ffmpeg cannot make such a file.
pub fn run(arguments: &[&str], output: &Path) -> Option<()> {
    let done: Output = command().args(arguments).arg(output).output().expect("ffmpeg runs");
    let is_written = std::fs::metadata(output).is_ok_and(|metadata| metadata.len() > 0);
    (done.status.success() && is_written).then_some(())
}

/// The numbers on the frames that ffmpeg decodes of a file's first video stream.
pub fn numbers(file: &Path) -> Vec<usize> {
    let scale = format!("scale={WIDTH}:{HEIGHT}:flags=area,format=gray");
    let decoded = command()
        .args(["-noautorotate", "-i"])
        .arg(file)
        .args(["-map", "0:v:0", "-fps_mode", "passthrough", "-vf", &scale])
        .args(["-f", "rawvideo", "-"])
        .output()
        .expect("ffmpeg runs");
    film::numbers_in(&decoded.stdout)
}
