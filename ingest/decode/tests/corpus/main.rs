//! A corpus of generated files: whatever container, codec, timing and damage, each frame that a
//! player shows is decoded, or there is a notice.
//!
//! The film's frames carry their number. ffmpeg, which made the files, says which numbers a player
//! shows. A sample of the files is decoded; with `MOLICEIRO_MEDIA=all`, or part of a file's name
//! (`MOLICEIRO_MEDIA=mkv/h264`), all of those.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests may panic")]

mod cases;
mod damage;
mod ffmpeg;
mod film;
mod known;
mod verdict;

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use cases::Case;
use verdict::{Report, decode};

/// Of the sample, each file stands for this many.
const SAMPLE: usize = 16;

fn selected(cases: Vec<Case>) -> Vec<Case> {
    match std::env::var("MOLICEIRO_MEDIA") {
        Ok(all) if all == "all" => cases,
        Ok(part) => cases.into_iter().filter(|case| case.name.contains(&part)).collect(),
        Err(_) => cases.into_iter().step_by(SAMPLE).collect(),
    }
}

fn report(case: &Case, film: &Path, folder: &Path, number: usize) -> Option<Report> {
    let file = case.make(film, folder, number)?;
    let expected = ffmpeg::numbers(&file);
    let report = decode(case, &file, expected);
    std::fs::remove_file(&file).expect("the file was made here");
    Some(report)
}

#[test]
#[ignore = "some kinds of files are still wrong"]
fn every_file_is_decoded_exactly_or_there_is_a_notice() {
    let folder = tempfile::tempdir().unwrap();
    let film = folder.path().join("film.y4m");
    film::make(&film);
    let cases = selected(cases::all());
    let reports = Mutex::new(Vec::new());
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(number) else { break };
                    if let Some(report) = report(case, &film, folder.path(), number) {
                        println!("{report}");
                        reports.lock().unwrap().push(report);
                    }
                }
            });
        }
    });
    let reports = reports.into_inner().unwrap();
    let wrong: Vec<String> =
        reports.iter().filter(|report| report.is_wrong()).map(Report::to_string).collect();
    println!("{} files, {} wrong", reports.len(), wrong.len());
    assert!(!reports.is_empty(), "ffmpeg made no file");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
