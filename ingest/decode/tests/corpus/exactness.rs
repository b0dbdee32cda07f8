//! The index of a frame is the number on its picture, whatever is selected, and wherever decoding
//! resumes.

use std::path::Path;

use moliceiro_decode::{DecodeSettings, FrameSelection, Size, start};
use moliceiro_messages::{Fps, Offset};
use url::Url;

use crate::ffmpeg;
use crate::film::{self, FRAMES, HEIGHT, WIDTH};

const FILES: &[(&str, &str)] = &[
    ("a.mp4", "-c:v libx264 -preset veryfast -bf 3 -g 12 -crf 12"),
    ("a.mkv", "-c:v libx264 -preset veryfast -bf 3 -g 12 -crf 12"),
    ("a.webm", "-c:v libvpx -b:v 2M -auto-alt-ref 1 -lag-in-frames 16 -cpu-used 5"),
    ("a.avi", "-c:v mpeg4 -q:v 2"),
    ("a.ts", "-c:v libx264 -preset veryfast -bf 3 -g 12 -crf 12"),
    ("a.flv", "-c:v libx264 -preset veryfast -bf 3 -g 12 -crf 12"),
    ("a.mpg", "-c:v mpeg2video -q:v 2 -bf 2"),
    ("a.ogv", "-c:v libtheora -q:v 10"),
];

/// The index of each frame, and the number on its picture. `stop_after` is how many frames are
/// received before the decoder is dropped.
fn frames(file: &Path, settings: DecodeSettings, stop_after: usize) -> Vec<(usize, usize)> {
    let decoding = start(&Url::from_file_path(file).unwrap(), settings);
    let mut frames = Vec::new();
    while frames.len() < stop_after
        && let Ok(frame) = decoding.frames.recv_blocking()
    {
        let frame = frame.unwrap();
        frames.push((usize::try_from(frame.index).unwrap(), film::number_on(&frame)));
    }
    frames
}

fn settings(selection: FrameSelection) -> DecodeSettings {
    let [width, height] = [WIDTH, HEIGHT].map(|side| u32::try_from(side).unwrap());
    DecodeSettings { selection, ..DecodeSettings::new(Size { width, height }) }
}

fn for_each_file(check: impl Fn(&str, &Path)) {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("film.y4m");
    film::make(&source);
    for (name, codec) in FILES {
        let file = folder.path().join(name);
        let input = ["-i", source.to_str().unwrap()];
        let arguments: Vec<&str> = input.into_iter().chain(codec.split(' ')).collect();
        ffmpeg::run(&arguments, &file).expect("ffmpeg writes common files");
        check(name, &file);
    }
}

#[test]
fn the_index_is_the_number_on_the_picture_whatever_is_selected() {
    let offset = |seconds: f64| Some(Offset::try_from(seconds).unwrap());
    let fps = Some(Fps::try_from(5.0).unwrap());
    let all = FrameSelection::every(1);
    let range = FrameSelection { start: offset(0.4), end: offset(1.2), ..all };
    let selections: [(FrameSelection, Vec<usize>); 5] = [
        (all, (0..FRAMES).collect()),
        (FrameSelection::every(7), (0..FRAMES).step_by(7).collect()),
        (FrameSelection { fps, ..all }, (0..FRAMES).step_by(5).collect()),
        (range, (10..30).collect()),
        (FrameSelection { fps, ..range }, (10..30).step_by(5).collect()),
    ];
    for_each_file(|name, file| {
        for (selection, expected) in &selections {
            let expected: Vec<_> = expected.iter().map(|index| (*index, *index)).collect();
            let found = frames(file, settings(*selection), usize::MAX);
            assert_eq!(found, expected, "{name}, {selection:?}");
        }
    });
}

/// As an ingest does that takes a video over: `skip_before` is the frame after the last one that
/// was published.
#[test]
fn decoding_that_stops_and_resumes_gives_each_picture_its_index_once() {
    for_each_file(|name, file| {
        for selection in [FrameSelection::every(1), FrameSelection::every(3)] {
            let whole = frames(file, settings(selection), usize::MAX);
            for stop_after in [1, 8, whole.len() - 1] {
                let before = frames(file, settings(selection), stop_after);
                let (last, _) = *before.last().unwrap();
                let skip_before = last as u64 + 1;
                let rest = DecodeSettings { skip_before, ..settings(selection) };
                let resumed = [before, frames(file, rest, usize::MAX)].concat();
                assert_eq!(resumed, whole, "{name}, stopped after {stop_after}");
            }
        }
    });
}
