//! Runs ffmpeg, which makes the files and says what is in them.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::film::{self, HEIGHT, WIDTH};

/// Seconds after which ffmpeg is stopped: some encoders hang when the container refuses them.
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

/// The numbers on the frames that a player shows of a file's first video stream.
///
/// ffmpeg's demuxer marks the packets that an edit list hides, and its decoder of AV1 returns them
/// all the same.
pub fn shown(file: &Path) -> Vec<usize> {
    let numbers = numbers(file);
    let probed = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "v:0"])
        .args(["-show_entries", "stream=codec_name:packet=pts,flags", "-of", "csv"])
        .arg(file)
        .output()
        .expect("ffprobe runs");
    let probed = String::from_utf8_lossy(&probed.stdout);
    let mut packets: Vec<(i64, bool)> = probed
        .lines()
        .filter_map(|line| line.strip_prefix("packet,")?.split_once(','))
        .filter_map(|(pts, flags)| Some((pts.parse().ok()?, flags.contains('D'))))
        .collect();
    packets.sort_unstable();
    if !probed.contains("stream,av1") || packets.len() != numbers.len() {
        return numbers;
    }
    let hidden = packets.into_iter().map(|(_, is_hidden)| is_hidden);
    numbers.into_iter().zip(hidden).filter(|(_, is_hidden)| !is_hidden).map(|(n, _)| n).collect()
}

/// When ffmpeg shows each frame of a file's first video stream, in milliseconds. It does not know
/// that of all frames.
pub fn times(file: &Path) -> Vec<Option<f64>> {
    let probed = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "v:0"])
        .args(["-show_entries", "frame=best_effort_timestamp_time", "-of", "csv=p=0"])
        .arg(file)
        .output()
        .expect("ffprobe runs");
    let probed = String::from_utf8_lossy(&probed.stdout);
    let lines = probed.lines().map(|line| line.trim_end_matches(','));
    let seconds = lines.filter(|line| !line.is_empty()).map(|line| line.parse::<f64>().ok());
    seconds.map(|seconds| seconds.map(|seconds| seconds * 1000.0)).collect()
}

/// The numbers on the frames that ffmpeg decodes.
fn numbers(file: &Path) -> Vec<usize> {
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
