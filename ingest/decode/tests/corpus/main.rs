//! A corpus of generated files: whatever container, codec, timing and damage, each frame that a
//! player shows is decoded, or there is a notice.
//!
//! The film's frames carry their number. ffmpeg, which made the files, says which numbers a player
//! shows. A sample of the files is decoded; with `MOLICEIRO_MEDIA=all`, or part of a file's name
//! (`MOLICEIRO_MEDIA=mkv/h264`), all of those. `MOLICEIRO_MEDIA_SEED=N` damages other places.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests may panic")]

mod cases;
mod damage;
mod exactness;
mod ffmpeg;
mod film;
mod known;
mod verdict;

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use cases::Case;
use verdict::{Report, decode};

/// Of the sample, each file stands for this many. It has no factor in common with the number of
/// containers, so that all of them are in the sample.
const SAMPLE: usize = 17;
/// The whole corpus has at least as many files.
const FEWEST: usize = 400;

fn selected(cases: Vec<Case>) -> Vec<Case> {
    match std::env::var("MOLICEIRO_MEDIA") {
        Ok(all) if all == "all" => cases,
        Ok(part) => cases.into_iter().filter(|case| case.name.contains(&part)).collect(),
        Err(_) => cases.into_iter().step_by(SAMPLE).collect(),
    }
}

fn report(case: &Case, film: &Path, folder: &Path, seed: u64) -> Option<Report> {
    let file = case.make(film, folder, seed)?;
    let expected = if case.is_unreadable_to_ffmpeg() {
        (0..film::FRAMES).collect()
    } else {
        ffmpeg::shown(&file)
    };
    // ffmpeg itself made a file without a frame of it.
    let is_empty = expected.is_empty() && case.is_intact();
    let report = (!is_empty).then(|| decode(case, &file, expected));
    std::fs::remove_file(&file).expect("the file was made here");
    report
}

#[test]
fn every_file_is_decoded_exactly_or_there_is_a_notice() {
    let folder = tempfile::tempdir().unwrap();
    let film = folder.path().join("film.y4m");
    film::make(&film);
    let cases = selected(cases::all());
    let seed = std::env::var("MOLICEIRO_MEDIA_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or(0);
    let reports = Mutex::new(Vec::new());
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(number) else { break };
                    if let Some(report) = report(case, &film, folder.path(), seed) {
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
    let longest = reports.iter().max_by_key(|report| report.longest_wait);
    let longest = longest.expect("ffmpeg makes some of the files");
    println!(
        "{} files, {} wrong; the longest wait for a frame: {:.2} s, {}",
        reports.len(),
        wrong.len(),
        longest.longest_wait.as_secs_f64(),
        longest.name
    );
    let is_whole = std::env::var("MOLICEIRO_MEDIA").is_ok_and(|part| part == "all");
    assert!(!is_whole || reports.len() >= FEWEST, "ffmpeg made only {} files", reports.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
