//! Transport streams, program streams and Flash Video, whole and damaged.

use std::path::{Path, PathBuf};

use crate::videos::{SOUND, SOURCE, Videos, decode, decode_with, media, settings};
use moliceiro_decode::{DecodeError, DecodeSettings, DecodedFrame, FrameSelection};

const H264: &str = "-c:v libx264 -preset ultrafast -bf 2 -g 10 -pix_fmt yuv420p";
const MPEG2: &str = "-c:v mpeg2video -bf 2 -g 10 -q:v 5";
const PACKET: usize = 188;

fn is_in_order(frames: &[DecodedFrame]) -> bool {
    frames.windows(2).all(|pair| pair[0].pts < pair[1].pts)
}

/// Checks that a whole video of 2 seconds at 25 frames/s, or several, give all frames in order.
async fn assert_whole(path: &Path, videos: usize) {
    let (frames, decoded) = decode(path).await;
    let name = path.display();
    assert_eq!((frames.len(), decoded.incomplete), (50 * videos, None), "{name}");
    assert_eq!(frames[0].pts, Some(0), "{name}");
    assert!(is_in_order(&frames), "{name}");
    assert_eq!(decoded.duration, Some(2_000_000_000 * videos as u64), "{name}");
}

async fn assert_lost(path: &Path, expected: usize, reason: &str) {
    let (frames, decoded) = decode(path).await;
    let name = path.display();
    assert_eq!(frames.len(), expected, "{name}");
    let text = decoded.incomplete.map(|incomplete| incomplete.to_string()).unwrap_or_default();
    assert!(text.contains(reason), "{name}: {text}");
}

/// A transport stream in pieces.
fn packets(path: &Path) -> Vec<Vec<u8>> {
    std::fs::read(path).unwrap().chunks(PACKET).map(<[u8]>::to_vec).collect()
}

fn is_video(packet: &[u8]) -> bool {
    packet[1] & 0x1f == 1 && packet[2] == 0
}

fn joined(videos: &Videos, name: &str, parts: &[PathBuf]) -> PathBuf {
    let bytes: Vec<u8> = parts.iter().flat_map(|part| std::fs::read(part).unwrap()).collect();
    videos.write(name, &bytes)
}

#[tokio::test]
async fn a_whole_stream_gives_every_frame_in_order_and_no_notice() {
    let videos = Videos::new();
    for (name, arguments) in [
        ("a.ts", format!("{SOURCE} {SOUND} {H264} -c:a mp2")),
        ("wraps.ts", format!("{SOURCE} {H264} -output_ts_offset 95442")),
        ("stuffed.ts", format!("{SOURCE} {MPEG2} -muxrate 4M")),
        ("a.m2ts", format!("{SOURCE} {H264} -mpegts_m2ts_mode 1 -f mpegts")),
        ("interlaced.ts", format!("{SOURCE} {MPEG2} -flags +ildct+ilme")),
        ("hevc.ts", format!("{SOURCE} -c:v libx265 -preset ultrafast -x265-params log-level=0")),
        ("mpeg4.ts", format!("{SOURCE} -c:v mpeg4 -bf 2 -q:v 5")),
        ("a.mpg", format!("{SOURCE} {SOUND} {MPEG2} -c:a mp2 -f mpeg")),
        ("dvd.mpg", format!("{SOURCE} {MPEG2} -f dvd")),
        ("mpeg1.mpg", format!("{SOURCE} -c:v mpeg1video -q:v 5 -f mpeg")),
        ("a.flv", format!("{SOURCE} {H264}")),
        ("sound.flv", format!("{SOURCE} {SOUND} -c:v flv -q:v 5")),
        ("sorenson.flv", format!("{SOURCE} -c:v flv -q:v 5")),
    ] {
        assert_whole(&videos.make(name, &arguments), 1).await;
    }
}

#[tokio::test]
async fn parity_repeated_packets_and_foreign_bytes_change_nothing() {
    let videos = Videos::new();
    let whole = packets(&videos.make("a.ts", &format!("{SOURCE} {H264}")));
    let parity: Vec<u8> =
        whole.iter().flat_map(|packet| [packet.as_slice(), &[0; 16]].concat()).collect();
    assert_whole(&videos.write("204.ts", &parity), 1).await;
    let repeated: Vec<u8> = whole.iter().flat_map(|packet| packet.repeat(2)).collect();
    assert_whole(&videos.write("repeated.ts", &repeated), 1).await;
    let (first, second) = whole.split_at(40);
    let junk = [&[7; 3333], first.concat().as_slice(), &[7; 333], &second.concat()].concat();
    assert_whole(&videos.write("junk.ts", &junk), 1).await;
    let tables: Vec<u8> =
        whole.iter().filter(|packet| is_video(packet)).flatten().copied().collect();
    assert_whole(&videos.write("without-tables.ts", &tables), 1).await;
}

#[tokio::test]
async fn recordings_that_are_appended_follow_each_other() {
    let videos = Videos::new();
    let h264 = videos.make("a.ts", &format!("{SOURCE} {H264}"));
    let mpeg2 = videos.make("b.ts", &format!("{SOURCE} {MPEG2} -output_ts_offset 3600"));
    let twice = joined(&videos, "twice.ts", &[h264.clone(), h264.clone()]);
    assert_whole(&twice, 2).await;
    assert_whole(&joined(&videos, "codecs.ts", &[h264, mpeg2]), 2).await;
    let segments = videos.path("s%d.ts").display().to_string();
    videos.make("x.csv", &format!("{SOURCE} {H264} -f segment -segment_time 1 {segments} -f null"));
    let parts = [videos.path("s0.ts"), videos.path("s1.ts")];
    assert_whole(&joined(&videos, "segments.ts", &parts), 1).await;
}

#[tokio::test]
async fn what_is_left_of_a_damaged_transport_stream_is_decoded() {
    let lost = "packets of its video were lost or damaged in";
    assert_lost(&media("ts-h264-10-packets-lost.ts"), 40, &format!("{lost} 10 places")).await;
    assert_lost(&media("ts-hevc-10-packets-lost.ts"), 37, &format!("{lost} 10 places")).await;
    assert_lost(&media("ts-h264-bytes-flipped.ts"), 40, &format!("{lost} 2 places")).await;
    let videos = Videos::new();
    let whole = packets(&videos.make("a.ts", &format!("{SOURCE} {H264}")));
    let video: Vec<usize> = (0..whole.len()).filter(|at| is_video(&whole[*at])).collect();
    let mut zeroed = whole.clone();
    zeroed[video[30]].fill(0);
    assert_lost(&videos.write("zeroed.ts", &zeroed.concat()), 50, &format!("{lost} 1 place ("))
        .await;
    let mut marked = whole.clone();
    marked[video[30]][1] |= 0x80;
    assert_lost(&videos.write("marked.ts", &marked.concat()), 50, &format!("{lost} 1 place ("))
        .await;
    let mut scrambled = whole.clone();
    scrambled[video[30]][3] ^= 0x80;
    let path = videos.write("scrambled.ts", &scrambled.concat());
    assert_lost(&path, 50, &format!("{lost} 1 place (")).await;
    let truncated = &whole.concat()[..PACKET * video[video.len() - 2] + 100];
    let reason = "it ends in the middle of a packet";
    assert_lost(&videos.write("truncated.ts", truncated), 50, reason).await;
}

#[tokio::test]
async fn a_recording_may_begin_anywhere_and_have_several_programs() {
    for (name, expected) in [
        ("ts-starts-mid-gop-without-pat.ts", 40),
        ("ts-two-programs-radio-first.ts", 40),
        ("ts-codec-changes.ts", 60),
    ] {
        let (frames, decoded) = decode(&media(name)).await;
        assert_eq!((frames.len(), decoded.incomplete), (expected, None), "{name}");
        assert_eq!(decoded.duration, Some(expected as u64 * 40_000_000), "{name}");
        assert!(is_in_order(&frames), "{name}");
    }
    let videos = Videos::new();
    for codec in [H264, MPEG2] {
        let whole = packets(&videos.make("a.ts", &format!("{SOURCE} {codec}")));
        let (frames, decoded) =
            decode(&videos.write("b.ts", &whole[whole.len() / 2..].concat())).await;
        assert!((15..30).contains(&frames.len()), "{codec}: {}", frames.len());
        assert_eq!(decoded.incomplete, None, "{codec}");
        let [notice] = decoded.notices.as_slice() else { panic!("{:?}", decoded.notices) };
        assert!(notice.to_string().contains("begins between two key frames"), "{notice}");
    }
}

#[tokio::test]
async fn programs_that_are_not_analysed_are_named() {
    let videos = Videos::new();
    let second = "-f lavfi -i testsrc2=size=160x120:rate=25:duration=1";
    let maps = "-map 0 -map 1 -program st=0 -program st=1";
    let path = videos.make("a.ts", &format!("{SOURCE} {second} {MPEG2} {maps}"));
    for (track, expected, notice) in [
        (None, 50, "video track 1 of 2 was analysed, and not 2 (MPEG-2)"),
        (Some(2), 25, "video track 2 of 2 was analysed, and not 1 (MPEG-2)"),
    ] {
        let selection = FrameSelection { video_track: track, ..FrameSelection::every(1) };
        let settings = DecodeSettings { selection, ..settings() };
        let (frames, decoded) = decode_with(&path, settings).await;
        let decoded = decoded.unwrap();
        assert_eq!((frames.len(), decoded.incomplete), (expected, None));
        let [found] = decoded.notices.as_slice() else { panic!("{:?}", decoded.notices) };
        assert!(found.to_string().starts_with(notice), "{found}");
    }
}

#[tokio::test]
async fn an_encrypted_stream_is_an_error_that_says_so() {
    let videos = Videos::new();
    let mut packets = packets(&videos.make("a.ts", &format!("{SOURCE} {H264}")));
    for packet in packets.iter_mut().filter(|packet| is_video(packet)) {
        packet[3] |= 0x80;
        packet[12..].iter_mut().for_each(|byte| *byte ^= 0x5a);
    }
    let (frames, outcome) = decode_with(&videos.write("b.ts", &packets.concat()), settings()).await;
    assert_eq!(frames, []);
    assert!(matches!(outcome, Err(DecodeError::Encrypted { .. })), "{outcome:?}");
}

#[tokio::test]
async fn flash_video_that_ends_early_is_incomplete() {
    let videos = Videos::new();
    let whole = std::fs::read(media("flv-start-end-offset.flv")).unwrap();
    let truncated = videos.write("a.flv", &whole[..whole.len() * 6 / 10]);
    let (frames, decoded) = decode(&truncated).await;
    assert!((15..35).contains(&frames.len()), "{}", frames.len());
    let text = decoded.incomplete.map(|incomplete| incomplete.to_string()).unwrap_or_default();
    assert!(text.contains("bytes are missing"), "{text}");
}

/// The recording begins before the first key frame; players show these pictures too.
#[tokio::test]
async fn hevc_that_begins_in_the_middle_is_decoded_from_there() {
    let videos = Videos::new();
    let codec = "-c:v libx265 -preset fast -x265-params log-level=none:bframes=4:keyint=12";
    let whole = packets(&videos.make("whole.ts", &format!("{SOURCE} {codec}")));
    let path = videos.write("middle.ts", &whole[whole.len() / 5..].concat());
    let probe = std::process::Command::new("ffprobe")
        .args(["-v", "quiet", "-count_frames", "-show_entries", "stream=nb_read_frames"])
        .args(["-of", "csv=nokey=1:p=0"])
        .arg(&path)
        .output()
        .unwrap();
    let shown: usize =
        String::from_utf8(probe.stdout).unwrap().lines().next().unwrap().parse().unwrap();
    let (frames, decoded) = decode(&path).await;
    assert!((36..50).contains(&shown));
    assert_eq!((frames.len(), decoded.incomplete), (shown, None));
}

#[tokio::test]
async fn what_is_left_of_damaged_flash_video_is_decoded() {
    let videos = Videos::new();
    for (name, codec) in [("a.flv", H264), ("sorenson.flv", "-c:v flv -q:v 5")] {
        let whole = std::fs::read(videos.make(name, &format!("{SOURCE} {codec}"))).unwrap();
        let middle = whole.len() / 2;
        // Tags follow each other from byte 13 on.
        let size = |at: usize| {
            (whole[at + 1..at + 4].iter()).fold(0, |all, byte| all << 8 | usize::from(*byte))
        };
        let mut tag = 13;
        while tag < middle {
            tag += 15 + size(tag);
        }
        let mut zeroed = whole.clone();
        zeroed[tag..tag + 20].fill(0);
        let lost = [&whole[..middle], &whole[middle + 5000..]].concat();
        for (damage, bytes) in [("zeroed", zeroed), ("lost", lost)] {
            let path = videos.write("b.flv", &bytes);
            let (frames, decoded) = decode(&path).await;
            assert!((40..=50).contains(&frames.len()), "{name}, {damage}: {}", frames.len());
            assert!(is_in_order(&frames), "{name}, {damage}");
            let text = decoded.incomplete.map(|incomplete| incomplete.to_string());
            assert!(text.unwrap_or_default().contains("in 1 place "), "{name}, {damage}");
        }
        let twice = videos.write("twice.flv", &whole.repeat(2));
        let (frames, decoded) = decode(&twice).await;
        assert_eq!((frames.len(), decoded.incomplete), (100, None), "{name}");
    }
}

#[tokio::test]
async fn a_damaged_program_stream_has_a_notice() {
    let videos = Videos::new();
    for (name, codec) in [
        ("a.mpg", MPEG2),
        ("b.mpg", "-c:v mpeg1video -g 10 -q:v 5"),
        ("c.vob", "-c:v mpeg2video -bf 2 -g 10 -q:v 5 -f vob"),
    ] {
        let whole = std::fs::read(videos.make(name, &format!("{SOURCE} {codec}"))).unwrap();
        let middle = whole.len() / 2;
        let mut zeroed = whole.clone();
        zeroed[middle..middle + 5000].fill(0);
        let damages = [
            ("without start", whole[whole.len() / 5..].to_vec()),
            ("zeroed", zeroed),
            ("lost", [&whole[..middle], &whole[middle + 20_000..]].concat()),
        ];
        for (damage, bytes) in damages {
            let (frames, decoded) = decode(&videos.write("d.mpg", &bytes)).await;
            assert!((20..=50).contains(&frames.len()), "{name}, {damage}: {}", frames.len());
            let text = decoded.incomplete.map(|incomplete| incomplete.to_string());
            assert!(text.is_some() || !decoded.notices.is_empty(), "{name}, {damage}");
        }
    }
}
