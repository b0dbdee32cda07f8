//! Which files there are: codecs × containers × timing × damage.

use std::path::{Path, PathBuf};

use crate::damage::Damage;
use crate::ffmpeg;

/// How a codec is asked for. Some accept only sizes of a list, and all are given time to be exact.
const CODECS: &[(&str, &str)] = &[
    ("h264", "-c:v libx264 -preset ultrafast -crf 12"),
    ("h264-b", "-c:v libx264 -preset veryfast -bf 3 -g 12 -crf 12"),
    ("h264-open-gop", "-c:v libx264 -preset veryfast -x264-params open-gop=1:keyint=10:bframes=3"),
    ("h264-444", "-c:v libx264 -preset ultrafast -pix_fmt yuv444p"),
    ("h264-10bit", "-c:v libx264 -preset ultrafast -pix_fmt yuv420p10le"),
    ("h264-interlaced", "-c:v libx264 -preset veryfast -flags +ilme+ildct -x264-params tff=1"),
    ("hevc", "-c:v libx265 -preset ultrafast -x265-params log-level=none"),
    ("hevc-b", "-c:v libx265 -preset fast -x265-params log-level=none:bframes=4:keyint=12"),
    (
        "hevc-10bit",
        "-c:v libx265 -preset ultrafast -pix_fmt yuv420p10le -x265-params log-level=none",
    ),
    ("mpeg4", "-c:v mpeg4 -q:v 2"),
    ("mpeg4-b", "-c:v mpeg4 -q:v 2 -bf 2"),
    ("xvid", "-c:v libxvid -q:v 2"),
    ("mpeg2", "-c:v mpeg2video -q:v 2"),
    ("mpeg2-b", "-c:v mpeg2video -q:v 2 -bf 2"),
    ("mpeg1", "-c:v mpeg1video -q:v 2"),
    ("vp8", "-c:v libvpx -b:v 2M -deadline realtime -cpu-used 8"),
    ("vp8-altref", "-c:v libvpx -b:v 2M -auto-alt-ref 1 -lag-in-frames 16 -cpu-used 5"),
    ("vp9", "-c:v libvpx-vp9 -b:v 2M -deadline realtime -cpu-used 8"),
    ("vp9-altref", "-c:v libvpx-vp9 -b:v 1M -auto-alt-ref 1 -lag-in-frames 16 -cpu-used 5"),
    ("av1", "-c:v libaom-av1 -cpu-used 8 -crf 20"),
    ("av1-svt", "-c:v libsvtav1 -preset 12 -crf 20"),
    ("mjpeg", "-c:v mjpeg -q:v 2"),
    ("prores", "-c:v prores_ks"),
    ("ffv1", "-c:v ffv1"),
    ("huffyuv", "-c:v huffyuv"),
    ("utvideo", "-c:v utvideo"),
    ("png", "-c:v png"),
    ("qtrle", "-c:v qtrle"),
    ("raw", "-c:v rawvideo -pix_fmt yuv420p"),
    ("uncoded", "-c:v wrapped_avframe -pix_fmt yuv420p"),
    ("raw-rgb", "-c:v rawvideo -pix_fmt bgr24"),
    ("flv1", "-c:v flv1 -q:v 2"),
    ("h263", "-c:v h263 -q:v 2"),
    ("wmv1", "-c:v wmv1 -q:v 2"),
    ("wmv2", "-c:v wmv2 -q:v 2"),
    ("msmpeg4", "-c:v msmpeg4 -q:v 2"),
    ("theora", "-c:v libtheora -q:v 10"),
    ("cinepak", "-c:v cinepak"),
    ("jpeg2000", "-c:v jpeg2000"),
    ("dv", "-c:v dvvideo -s 720x576 -sws_flags neighbor -pix_fmt yuv420p"),
    ("gif", "-c:v gif"),
    ("apng", "-c:v apng"),
    ("webp", "-c:v libwebp_anim -lossless 1"),
];

/// Extensions, with what the muxer needs.
const CONTAINERS: &[(&str, &str)] = &[
    ("mp4", ""),
    ("mov", ""),
    ("m4v", "-f mp4"),
    ("3gp", ""),
    ("mkv", ""),
    ("webm", ""),
    ("avi", ""),
    ("ts", ""),
    ("m2ts", ""),
    ("mpg", ""),
    ("vob", "-f vob"),
    ("flv", ""),
    ("ogv", ""),
    ("wmv", "-f asf"),
    ("nut", ""),
    ("mxf", ""),
    ("ivf", ""),
    ("obu", ""),
    ("264", "-f h264"),
    ("265", "-f hevc"),
    ("m2v", "-f mpeg2video"),
    ("m1v", "-f mpeg1video"),
    ("cmp", "-f m4v"),
    ("y4m", "-f yuv4mpegpipe -strict -1"),
    ("mjpg", "-f mjpeg"),
    ("dv", "-f dv"),
    ("gif", ""),
    ("apng", "-f apng"),
    ("webp", ""),
];

/// How the frames lie on the timeline: a name, what comes before the input, what comes after it.
const TIMINGS: &[(&str, &str, &str)] = &[
    ("starts-at-100s", "", "-output_ts_offset 100"),
    ("29.97", "-r 30000/1001", ""),
    ("1fps", "-r 1", ""),
    ("variable", "", "-vf setpts='(N+floor(N/7)*3)/25/TB' -fps_mode passthrough"),
];

/// What is done to a finished file without encoding it again: name, options before and after the
/// input.
const COPIES: &[(&str, &str, &str)] = &[
    ("cut", "-ss 0.6", "-c copy"),
    ("cut-3", "-ss 0.3 -t 0.7", "-c copy"),
    ("cut-output", "", "-ss 0.6 -t 0.8 -c copy"),
    ("copyts", "-ss 0.6", "-c copy -copyts"),
    ("faststart", "", "-c copy -movflags +faststart"),
    ("fragmented", "", "-c copy -movflags +frag_keyframe+empty_moov"),
    ("fragmented-moov", "", "-c copy -movflags frag_keyframe"),
    ("dash", "", "-c copy -movflags +dash"),
    ("cmaf", "", "-c copy -movflags +cmaf+negative_cts_offsets"),
    ("no-editlist", "", "-c copy -use_editlist 0"),
];

/// With sound: inputs beside the film, and options.
const SOUNDS: &[(&str, &str, &str)] = &[
    ("sound", "-f lavfi -i sine=duration=2", "-map 0:v -map 1:a"),
    ("sound-6x-longer", "-f lavfi -i sine=duration=12", "-map 0:v -map 1:a"),
    ("sound-first", "-f lavfi -i sine=duration=2", "-map 1:a -map 0:v"),
    ("video-late", "-itsoffset -1.5 -f lavfi -i sine=duration=4", "-map 0:v -map 1:a"),
];

/// Containers whose cuts, sounds and damages are tried, each with codecs people have in it.
const COMMON: &[(&str, &[&str])] = &[
    ("mp4", &["h264", "h264-b", "hevc-b", "mpeg4-b", "vp9", "av1"]),
    ("mov", &["h264-b", "mjpeg", "prores"]),
    ("mkv", &["h264-b", "hevc-b", "vp8-altref", "vp9-altref", "ffv1", "mpeg2-b"]),
    ("webm", &["vp8", "vp9"]),
    ("avi", &["mpeg4", "xvid", "mjpeg", "h264"]),
    ("ts", &["h264-b", "hevc-b", "mpeg2-b"]),
    ("m2ts", &["h264-b"]),
    ("mpg", &["mpeg2-b", "mpeg1"]),
    ("flv", &["flv1", "h264-b"]),
    ("wmv", &["wmv2"]),
    ("ogv", &["theora"]),
];

/// A file to make and to decode.
#[derive(Clone, Debug)]
pub struct Case {
    pub name: String,
    /// Its place in the corpus, which seeds its damage.
    number: u64,
    codec: &'static str,
    extension: &'static str,
    muxer: &'static str,
    before: &'static str,
    after: &'static str,
    copy: Option<(&'static str, &'static str)>,
    damage: Option<Damage>,
}

/// All cases. Combinations that ffmpeg cannot make are among them.
pub fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for (codec, options) in CODECS {
        for (extension, muxer) in CONTAINERS {
            // Elsewhere it does not end once the container refuses it.
            if *codec == "av1-svt" && !["mp4", "mkv", "webm", "ivf", "obu"].contains(extension) {
                continue;
            }
            // No program reads such files: ffmpeg writes them without a question.
            let is_read = match *extension {
                "cmp" => ["mpeg4", "mpeg4-b", "xvid"].contains(codec),
                "mpg" | "vob" => *codec != "h263",
                "mjpg" => *codec == "mjpeg",
                "m1v" => *codec == "mpeg1",
                "m2v" => codec.starts_with("mpeg2"),
                _ => true,
            };
            if !is_read {
                continue;
            }
            cases.push(Case {
                name: format!("{extension}/{codec}"),
                number: 0,
                codec: options,
                extension,
                muxer,
                before: "",
                after: "",
                copy: None,
                damage: None,
            });
        }
    }
    for (container, codecs) in COMMON {
        for codec in *codecs {
            let name = format!("{container}/{codec}");
            let plain = cases.iter().find(|case| case.name == name);
            let plain = plain.expect("common files are in the two lists").clone();
            let vary = |variant: &str| Case { name: format!("{name}/{variant}"), ..plain.clone() };
            for (variant, before, after) in TIMINGS.iter().chain(SOUNDS) {
                cases.push(Case { before, after, ..vary(variant) });
            }
            for (variant, before, after) in COPIES {
                let is_mp4 = matches!(*container, "mp4" | "mov");
                if is_mp4 || !after.contains("flags") && !after.contains("editlist") {
                    cases.push(Case { copy: Some((before, after)), ..vary(variant) });
                }
            }
            for damage in Damage::ALL {
                cases.push(Case { damage: Some(*damage), ..vary(damage.name()) });
            }
        }
    }
    for (number, case) in (0..).zip(&mut cases) {
        case.number = number;
    }
    cases
}

impl Case {
    /// Whether the file is whole: nothing may then be said against it.
    pub fn is_intact(&self) -> bool {
        self.damage.is_none()
    }

    /// Whether ffmpeg 5 writes what it cannot read: animated WebP.
    pub fn is_unreadable_to_ffmpeg(&self) -> bool {
        self.extension == "webp"
    }

    /// When a frame of the film is shown, in milliseconds, if its copy shows it at its time.
    pub fn time_of(&self, number: usize) -> f64 {
        let is_variable = self.after.contains("setpts");
        #[expect(clippy::cast_precision_loss, reason = "films are short")]
        let number = if is_variable { number + number / 7 * 3 } else { number } as f64;
        match self.before {
            "-r 1" => number * 1000.0,
            "-r 30000/1001" => number * 1001.0 / 30.0,
            _ => number * 40.0,
        }
    }

    /// How often a player can show each frame, at most.
    pub fn most_times(&self) -> usize {
        if self.damage == Some(Damage::Appended) { 2 } else { 1 }
    }

    /// Makes the file from the film, in `folder`; `None` if ffmpeg cannot. Each seed damages it in
    /// other places.
    pub fn make(&self, film: &Path, folder: &Path, seed: u64) -> Option<PathBuf> {
        let number = self.number;
        let path = |step: &str| folder.join(format!("{number}{step}.{}", self.extension));
        let words =
            |text: &'static str| text.split_whitespace().map(|word| word.trim_matches('\''));
        let film = film.to_str()?;
        let (rate, inputs): (Vec<_>, Vec<_>) = if self.before.contains("-i ") {
            (vec![], words(self.before).collect())
        } else {
            (words(self.before).collect(), vec![])
        };
        let encode = [
            rate,
            vec!["-i", film],
            inputs,
            words(self.codec).collect(),
            words(self.after).collect(),
            words(self.muxer).collect(),
        ]
        .concat();
        let encoded = path("");
        ffmpeg::run(&encode, &encoded)?;
        let Some((before, after)) = self.copy else {
            return match self.damage {
                Some(damage) => damage.apply(&encoded, number + seed).map(|()| encoded),
                None => Some(encoded),
            };
        };
        let copied = path("-copy");
        let copy = [
            words(before).collect(),
            vec!["-i", encoded.to_str()?],
            words(after).collect(),
            words(self.muxer).collect(),
        ]
        .concat();
        let made = ffmpeg::run(&copy, &copied).map(|()| copied);
        std::fs::remove_file(&encoded).ok()?;
        made
    }
}
