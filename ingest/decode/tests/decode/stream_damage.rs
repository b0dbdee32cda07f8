//! Transport streams and program streams that are damaged in random places: as many frames as
//! ffmpeg decodes, and never a loss without a notice. `MOLICEIRO_SEEDS=N` tries N of each.

use std::path::Path;

use crate::videos::{SOURCE, Videos, decode_with, settings};

const PACKET: usize = 188;

/// Name and arguments.
const STREAMS: &[(&str, &str)] = &[
    ("b.ts", "-c:v libx264 -preset veryfast -bf 3 -g 12 -pix_fmt yuv420p"),
    ("open.ts", "-c:v libx264 -preset veryfast -x264-params open-gop=1:keyint=10:bframes=3"),
    ("hevc.ts", "-c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=15"),
    ("hevc-b.ts", "-c:v libx265 -preset fast -x265-params log-level=none:bframes=4:keyint=12"),
    ("mpeg2.ts", "-c:v mpeg2video -bf 2 -g 10 -q:v 5"),
    ("mpeg4.ts", "-c:v mpeg4 -bf 2 -g 12 -q:v 5"),
    ("mpeg2.m2ts", "-c:v mpeg2video -bf 2 -g 10 -q:v 5 -mpegts_m2ts_mode 1 -f mpegts"),
    ("mpeg2.mpg", "-c:v mpeg2video -bf 2 -g 10 -q:v 5"),
    ("mpeg1.mpg", "-c:v mpeg1video -g 10 -q:v 5"),
    ("dvd.vob", "-c:v mpeg2video -bf 2 -g 15 -q:v 5 -f vob"),
];

/// A damage, by its number.
fn damaged(whole: &[u8], stride: usize, random: &mut fastrand::Rng) -> (&'static str, Vec<u8>) {
    let mut bytes = whole.to_vec();
    let place = |random: &mut fastrand::Rng| random.usize(bytes.len() / 5..bytes.len() * 9 / 10);
    match random.u8(0..4) {
        0 => {
            let from = place(random) / stride * stride;
            bytes.drain(from..(from + random.usize(1..14) * stride).min(whole.len()));
            ("lost", bytes)
        }
        1 => {
            for _ in 0..10 {
                let at = random.usize(bytes.len() / 5..bytes.len() * 9 / 10);
                bytes[at] ^= random.u8(1..);
            }
            ("flipped", bytes)
        }
        2 => {
            let at = random.usize(bytes.len() / 10..bytes.len() / 2) / stride * stride;
            bytes.drain(..at);
            ("cut", bytes)
        }
        _ => {
            let from = place(random);
            let to = (from + random.usize(100..3000)).min(bytes.len());
            bytes[from..to].fill(0);
            ("zeroed", bytes)
        }
    }
}

fn shown(path: &Path) -> Option<usize> {
    let probe = std::process::Command::new("ffprobe")
        .args(["-v", "quiet", "-count_frames", "-select_streams", "v:0"])
        .args(["-show_entries", "stream=nb_read_frames", "-of", "csv=nokey=1:p=0"])
        .arg(path)
        .output()
        .unwrap();
    String::from_utf8(probe.stdout).unwrap().lines().next()?.trim_matches(',').parse().ok()
}

#[tokio::test]
async fn a_damaged_stream_loses_no_frame_that_can_be_decoded_and_none_in_silence() {
    let seeds = std::env::var("MOLICEIRO_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    let videos = Videos::new();
    let mut wrong = Vec::new();
    let mut count = 0;
    for (name, codec) in STREAMS {
        let whole = std::fs::read(videos.make(name, &format!("{SOURCE} {codec}"))).unwrap();
        let (mut stride, mut whole) = (if name.ends_with("m2ts") { 192 } else { PACKET }, whole);
        if *name == "open.ts" {
            let packets = whole.chunks(PACKET);
            whole = packets.flat_map(|packet| [packet, &[0; 16]].concat()).collect();
            stride = 204;
        }
        for seed in 0..seeds.unwrap_or(2) {
            let mut random = fastrand::Rng::with_seed(seed);
            let (damage, bytes) = damaged(&whole, stride, &mut random);
            let path = videos.write(&format!("{seed}-{name}"), &bytes);
            let expected = shown(&path).unwrap_or_default();
            let (frames, outcome) = decode_with(&path, settings()).await;
            let notice = match outcome {
                Ok(decoded) => match decoded.incomplete {
                    Some(incomplete) => Some(incomplete.to_string()),
                    None => decoded.notices.first().map(ToString::to_string),
                },
                Err(error) => Some(error.to_string()),
            };
            count += 1;
            // A cut may lie before a key frame: what follows is whole.
            let is_silent = notice.is_none() && frames.len() < 50 && damage != "cut";
            let report = format!(
                "{name} {damage} {seed}: {} of {expected}: {}",
                frames.len(),
                notice.unwrap_or_default()
            );
            println!("{report}");
            if frames.len() < expected || is_silent {
                wrong.push(report);
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
}
