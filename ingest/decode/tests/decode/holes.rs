//! Transport streams and program streams with holes that their packets do not show.

use crate::videos::{SOURCE, Videos, decode};

const PACKET: usize = 188;
/// A packet of a program stream, as ffmpeg and discs have them.
const PACK: usize = 2048;
/// Frames of the film.
const FRAMES: usize = 100;

/// Name and arguments. Groups of the same length, without what depends on the picture.
const STREAMS: &[(&str, &str)] = &[
    ("b.ts", "-c:v libx264 -preset veryfast -bf 3 -g 12 -pix_fmt yuv420p"),
    ("p.ts", "-c:v libx264 -preset ultrafast -g 25 -pix_fmt yuv420p"),
    ("open.ts", "-c:v libx264 -preset veryfast -x264-params open-gop=1:keyint=10:bframes=3"),
    ("hevc.ts", "-c:v libx265 -preset fast -x265-params log-level=none:bframes=4:keyint=12"),
    ("mpeg2.ts", "-c:v mpeg2video -bf 2 -g 10 -q:v 5"),
    ("mpeg4.ts", "-c:v mpeg4 -bf 2 -g 12 -q:v 5"),
    ("mpeg2.mpg", "-c:v mpeg2video -bf 2 -g 12 -q:v 5"),
    ("mpeg1.mpg", "-c:v mpeg1video -g 12 -q:v 5"),
    ("dvd.vob", "-c:v mpeg2video -bf 2 -g 15 -q:v 5 -f vob"),
];

/// Without 16 packets of the video, so that the next one continues to count, or without packs.
fn with_hole(whole: &[u8], is_transport: bool, random: &mut fastrand::Rng) -> Vec<u8> {
    if !is_transport {
        let packs = whole.len() / PACK;
        let from = random.usize(packs / 6..packs * 4 / 5) * PACK;
        let to = from + random.usize(1..12) * PACK;
        return [&whole[..from], &whole[to..]].concat();
    }
    let is_video = |packet: &[u8]| packet[1] & 0x1f == 1 && packet[2] == 0;
    let count = whole.chunks(PACKET).filter(|packet| is_video(packet)).count();
    let from = random.usize(count / 6..count * 4 / 5);
    let mut number = 0;
    let is_kept = |packet: &&[u8]| {
        number += usize::from(is_video(packet));
        !is_video(packet) || !(from..from + 16).contains(&number)
    };
    whole.chunks(PACKET).filter(is_kept).flatten().copied().collect()
}

#[tokio::test]
async fn frames_in_a_hole_that_no_counter_shows_are_noticed() {
    let videos = Videos::new();
    let (mut lossy, mut silent) = (0, Vec::new());
    for (name, codec) in STREAMS {
        let source = SOURCE.replace("duration=2", "duration=4");
        let whole = std::fs::read(videos.make(name, &format!("{source} {codec}"))).unwrap();
        for seed in 0..4 {
            let mut random = fastrand::Rng::with_seed(seed);
            let bytes = with_hole(&whole, name.ends_with("ts"), &mut random);
            let (frames, decoded) = decode(&videos.write(&format!("{seed}-{name}"), &bytes)).await;
            let is_silent = decoded.incomplete.is_none() && decoded.notices.is_empty();
            lossy += usize::from(frames.len() < FRAMES);
            if is_silent && frames.len() < FRAMES {
                silent.push(format!("{name} {seed}: {} frames", frames.len()));
            }
        }
    }
    // Where a group loses its end only, and another one begins, there is a note.
    assert!(lossy > 20, "{lossy} holes lost frames");
    assert!(silent.is_empty(), "of {lossy} holes:\n{}", silent.join("\n"));
}

#[tokio::test]
async fn a_film_that_was_cut_joined_or_recorded_with_pauses_has_no_holes() {
    let videos = Videos::new();
    for (name, codec) in STREAMS {
        let drop = "-vf select='not(eq(n,20)+eq(n,21)+eq(n,33))' -fps_mode passthrough";
        let dropped = videos.make(&format!("drop-{name}"), &format!("{SOURCE} {drop} {codec}"));
        let source = SOURCE.replace("duration=2", "duration=4");
        let whole = videos.make(name, &format!("{source} {codec}"));
        let format = if name.ends_with("vob") { "-f vob" } else { "" };
        let copy = |cut: &str, target: &str| {
            let input = whole.display();
            videos.make(&format!("{target}-{name}"), &format!("-i {input} {cut} -c copy {format}"))
        };
        let wrapped = copy("-output_ts_offset 95442", "wrap");
        let cut = copy("-t 1.1", "cut");
        let mut files = vec![dropped, wrapped, cut.clone()];
        if name.ends_with(".ts") {
            let middle = copy("-ss 0.6", "middle");
            let later = copy("-ss 1.1", "later");
            for (one, other) in [(&cut, &whole), (&later, &middle)] {
                let joined = [std::fs::read(one).unwrap(), std::fs::read(other).unwrap()].concat();
                files.push(videos.write(&format!("{}-join-{name}", files.len()), &joined));
            }
            let list = format!("file '{}'\nfile '{}'\n", cut.display(), middle.display());
            let list = videos.write(&format!("{name}.txt"), list.as_bytes());
            let input = format!("-f concat -safe 0 -i {} -c copy", list.display());
            files.push(videos.make(&format!("concat-{name}"), &input));
        }
        for file in files {
            let (frames, decoded) = decode(&file).await;
            let path = file.display();
            assert_eq!(decoded.incomplete, None, "{path}: {} frames", frames.len());
        }
    }
}
