//! Files that are damaged at random, with a whole one between them, in one `moliceiro run`: each
//! whole file is counted, each damaged one is reported, and the run needs no more memory for more.
//!
//! `MOLICEIRO_MUTATED_FILES` is how many are damaged (60), `MOLICEIRO_MUTATED_SEED` determines how
//! (1), and `MOLICEIRO_MUTATED_KEEP` is a folder where they stay. `make test-mutated` sets them.
//!
//! It is a binary of its own, because it can run for long and prints what it does.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod damage;
mod memory;
mod specimens;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use moliceiro_nats::messages::{Summary, VideoState};
use moliceiro_testing::HANG_GUARD;
use moliceiro_testing::process::{Process, run, servers_of, summaries};

use crate::memory::peak_bytes;
use crate::specimens::Specimen;

const FILES: usize = 60;
const SEED: u32 = 1;
/// There is a whole file after so many damaged ones.
const DAMAGED_IN_A_ROW: usize = 20;
/// A tenth of the files is run alone, and needs as much memory as all of them. With fewer than this,
/// the peaks of two runs differ by chance: 189 and 164 MB were seen for 7 and 63 files.
const ENOUGH_TO_COMPARE: usize = 200;
/// What the peak of one run may differ from that of another of the same files, because of the
/// order in which threads allocate.
const NOISE_BYTES: u64 = 12 << 20;
/// What a video may need beyond its own run: its name and options in the plan, its summary.
const BYTES_PER_VIDEO: u64 = 8 << 10;
const POLL: Duration = Duration::from_millis(20);

/// A file of the run.
struct Input {
    path: PathBuf,
    /// How many frames a whole file has.
    frames: Option<u64>,
}

/// Writes to standard error directly: the test harness hides what a passing test prints.
fn say(line: &str) {
    std::io::stderr().write_all(format!("mutated: {line}\n").as_bytes()).unwrap();
}

fn from_environment<T: FromStr>(name: &str) -> Option<T> {
    let value = std::env::var(name).ok().filter(|value| !value.is_empty())?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}={value} is invalid")))
}

#[test]
fn whole_files_between_damaged_ones_are_counted_and_memory_stays_flat() {
    let files = from_environment("MOLICEIRO_MUTATED_FILES").unwrap_or(FILES);
    let seed = from_environment("MOLICEIRO_MUTATED_SEED").unwrap_or(SEED);
    say(&format!("make test-mutated FILES={files} SEED={seed}"));
    let folder = tempfile::tempdir().unwrap();
    let kept: Option<PathBuf> = from_environment("MOLICEIRO_MUTATED_KEEP");
    let damaged = kept.unwrap_or_else(|| folder.path().join("damaged"));
    std::fs::create_dir_all(&damaged).unwrap();
    let specimens = specimens::make(folder.path());
    let inputs = mutate(&specimens, files, seed, &damaged);

    let peak_of_all = count(&folder.path().join("all"), &inputs);
    let few = inputs.len() / 10;
    if few < ENOUGH_TO_COMPARE {
        say(&format!("peak memory {} MB for {} files", peak_of_all >> 20, inputs.len()));
        return;
    }
    let peak_of_few = count(&folder.path().join("few"), &inputs[..few]);
    say(&format!(
        "peak memory {} MB for {few} files, {} MB for {}",
        peak_of_few >> 20,
        peak_of_all >> 20,
        inputs.len()
    ));
    let allowed = peak_of_few + NOISE_BYTES + inputs.len() as u64 * BYTES_PER_VIDEO;
    assert!(peak_of_all <= allowed, "{peak_of_all} bytes for all, {peak_of_few} for {few}");
}

/// Damages so many files, each by its own seed, and puts whole ones between them.
fn mutate(specimens: &[Specimen], files: usize, seed: u32, folder: &Path) -> Vec<Input> {
    let whole: Vec<_> = specimens.iter().filter(|specimen| specimen.frames.is_some()).collect();
    let mut inputs = Vec::new();
    for number in 0..files {
        let mut random = Rng::with_seed(u64::from(seed) * 1_000_003 + number as u64);
        let specimen = &specimens[(number + seed as usize) % specimens.len()];
        let mut bytes = specimen.bytes.clone();
        let other = &specimens[random.usize(..specimens.len())].bytes;
        let how = damage::apply(&mut bytes, other, &mut random);
        let path = folder.join(format!("{number:05}-{}-{}", how.join("-"), specimen.name));
        std::fs::write(&path, bytes).unwrap();
        inputs.push(Input { path, frames: None });
        if (number + 1) % DAMAGED_IN_A_ROW == 0 {
            let specimen = whole[number / DAMAGED_IN_A_ROW % whole.len()];
            let path = folder.join(format!("{number:05}-whole-{}", specimen.name));
            std::fs::write(&path, &specimen.bytes).unwrap();
            inputs.push(Input { path, frames: specimen.frames });
        }
    }
    inputs
}

/// Counts the files in one run, checks every summary, and returns its peak memory.
fn count(data: &Path, inputs: &[Input]) -> u64 {
    let mut process = Process::start(
        run(data)
            .args(["--json", "--log", "error,moliceiro_decode=debug"])
            // Small pictures make the model fast. What is decoded is the same.
            .args(["--set", "ingest.width=64", "--set", "ingest.height=64"])
            .args(inputs.iter().map(|input| &input.path)),
    );
    let (mut printed, mut peak) = (0, 0);
    let mut gaps = Vec::new();
    let mut last = Instant::now();
    while process.ended().is_none() {
        peak = peak.max(peak_bytes(process.pid()).unwrap_or(0));
        let lines = process.stdout().len();
        if lines > printed {
            gaps.push((last.elapsed(), printed));
            (printed, last) = (lines, Instant::now());
        }
        let next = inputs.get(printed).map(|input| &input.path);
        assert!(last.elapsed() < HANG_GUARD, "no summary of {next:?}: {:#?}", process.stderr());
        thread::sleep(POLL);
    }
    let has_damaged = inputs.iter().any(|input| input.frames.is_none());
    let found = summaries(&process.expect_code(i32::from(has_damaged)));
    check(&found, inputs);
    check_log(&process.stderr());
    assert!(servers_of(data).is_empty());
    report(&found, inputs, gaps);
    peak
}

/// Every file has a summary, in the order of the command line.
fn check(found: &[Summary], inputs: &[Input]) {
    let wrong: Vec<_> =
        found.iter().zip(inputs).filter_map(|(found, input)| problem_of(found, input)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(found.len(), inputs.len());
}

/// What is wrong with a summary.
fn problem_of(found: &Summary, input: &Input) -> Option<String> {
    let Summary { name, state, problem, processed_frames, failed_frames, .. } = found;
    let expected = input.path.file_name().unwrap().to_string_lossy();
    let is_right = match input.frames {
        _ if *name != expected => false,
        Some(frames) => {
            (*state, *processed_frames, *failed_frames) == (VideoState::Done, frames, 0)
                && problem.is_none()
        }
        None => match state {
            VideoState::Done => *processed_frames + *failed_frames > 0,
            VideoState::Incomplete | VideoState::Failed => {
                problem.as_ref().is_some_and(|problem| !problem.is_empty())
            }
            _ => false,
        },
    };
    (!is_right).then(|| {
        format!(
            "{expected}, {:?} frames: {name} is {state:?} with {processed_frames} frames and \
             {failed_frames} failed, {problem:?}",
            input.frames
        )
    })
}

/// A decoder may crash. What it prints before that may be neither our own fault nor a misuse of
/// GStreamer.
fn check_log(lines: &[String]) {
    const FAULTS: [&str; 3] = ["-CRITICAL", "panicked", "this is a bug"];
    let at_fault = |line: &&String| FAULTS.iter().any(|fault| line.contains(fault));
    let faults: Vec<_> = lines.iter().filter(at_fault).collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

/// Prints how the files ended, and which took longest.
fn report(found: &[Summary], inputs: &[Input], mut gaps: Vec<(Duration, usize)>) {
    let mut states = BTreeMap::<String, usize>::new();
    for (summary, _) in found.iter().zip(inputs).filter(|(_, input)| input.frames.is_none()) {
        *states.entry(summary.state.to_string()).or_default() += 1;
    }
    let crash = |summary: &&Summary| {
        summary.problem.as_ref().is_some_and(|problem| problem.contains("crashed"))
    };
    let crashes = found.iter().filter(crash).count();
    let whole = inputs.iter().filter(|input| input.frames.is_some()).count();
    say(&format!("{whole} whole files counted; damaged: {states:?}, {crashes} crashed a decoder"));
    gaps.sort_by_key(|(gap, _)| std::cmp::Reverse(*gap));
    for (gap, number) in gaps.into_iter().take(3) {
        say(&format!("longest wait: {gap:.1?} for {}", found[number].name));
    }
}
