//! A video that is decoded in a process of its own is decoded as in this process, and a process
//! that crashes, hangs or takes too much memory costs that video only.
//!
//! The processes are this program, started with the arguments that run [`decode_worker`] alone.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod videos;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use moliceiro_decode::{
    DecodeError, DecodeSettings, DecodedFrame, DecodedVideo, Decoding, Encoding, FrameSelection,
    Incomplete, Observer, UndecodableFrame, WorkerCommand, Workers, serve, start, start_file,
};
use rustix::process::{Pid, Signal, getpid, kill_process};
use videos::{H264, SOUND, SOURCE, Videos, settings, uri};

/// What a process of these tests does to itself: `MOLICEIRO_` would not be inherited.
const FAULT: &str = "TEST_FAULT";
/// When: after this many frames.
const FRAME: u64 = 12;

/// Not a test, but the program of the processes that decode.
#[test]
fn decode_worker() {
    let Some(fault) = std::env::var_os(FAULT) else { return };
    let decoded = AtomicU64::new(0);
    let fault = fault.into_string().unwrap();
    let (what, _) = fault.split_once(' ').unwrap_or((&fault, ""));
    let what = what.to_owned();
    serve(Observer::new(move |_| {
        if decoded.fetch_add(1, Relaxed) + 1 == FRAME {
            happen(&what);
        }
    }));
}

#[expect(clippy::disallowed_methods, reason = "it is what a decoder may do")]
fn happen(fault: &str) {
    if fault == "none" {
        return;
    }
    // What was decoded before has time to arrive.
    std::thread::sleep(Duration::from_millis(300));
    match fault {
        // Rust's own handler ignores the first one, because a real fault happens again.
        "segmentation-fault" => loop {
            kill_process(getpid(), Signal::SEGV).unwrap();
        },
        "abort" => std::process::abort(),
        "exit" => std::process::exit(7),
        "loop" => loop {
            std::hint::spin_loop();
        },
        "sleep" => std::thread::sleep(Duration::from_secs(3600)),
        "memory" => {
            let mut taken = Vec::new();
            loop {
                taken.push(vec![1u8; 8 << 20]);
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        "print" => {
            println!("this is not for the parent");
            eprintln!("GStreamer-CRITICAL: nor is this");
        }
        other => panic!("{other}"),
    }
}

/// Processes that commit this fault. A second word tells those of two tests apart.
fn workers(fault: &str) -> Workers {
    let arguments = ["--exact", "decode_worker", "--nocapture", "--test-threads=1"];
    Workers::new(WorkerCommand {
        arguments: arguments.map(Into::into).to_vec(),
        environment: vec![(FAULT.into(), fault.into())],
        ..WorkerCommand::this_program("")
    })
}

type All = (Vec<DecodedFrame>, Vec<UndecodableFrame>, Result<DecodedVideo, DecodeError>);

fn all(decoding: Decoding) -> All {
    let (mut frames, mut lost) = (Vec::new(), Vec::new());
    while let Ok(frame) = decoding.frames.recv_blocking() {
        match frame {
            Ok(frame) => frames.push(frame),
            Err(frame) => lost.push(frame),
        }
    }
    (frames, lost, decoding.outcome_blocking())
}

fn film(videos: &Videos) -> PathBuf {
    videos.make("a.mp4", &format!("{SOURCE} {SOUND} {H264}"))
}

/// Fifty frames, of which the process lets twelve pass before it does this to itself.
fn decode_with_fault(fault: &str, settings: DecodeSettings) -> All {
    let videos = Videos::new();
    let workers = workers(fault);
    all(workers.start(&uri(&film(&videos)), settings))
}

fn eventually(is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The processes with this fault that run, and the dead ones of this program that nobody has
/// waited for.
fn processes(fault: &str) -> Vec<Pid> {
    let variable = format!("{FAULT}={fault}");
    let is_one = |folder: &Path| {
        let environment = std::fs::read(folder.join("environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes())
    };
    let folders = std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let pid = |folder: PathBuf| {
        let number = folder.file_name().unwrap().to_str().unwrap().parse().ok();
        number.and_then(Pid::from_raw)
    };
    folders.filter(|folder| is_one(folder)).filter_map(pid).collect()
}

#[test]
fn a_process_decodes_the_same_as_a_thread() {
    let videos = Videos::new();
    let film = film(&videos);
    let workers = workers("none");
    let some = DecodeSettings {
        selection: FrameSelection::every(2),
        skip_before: 11,
        thumbnails: true,
        encoding: Encoding::Jpeg,
        ..settings()
    };
    for settings in [settings(), some] {
        let decoding = workers.start(&uri(&film), settings.clone());
        let container_info = decoding.container_info();
        let here = all(start(&uri(&film), settings));
        assert_eq!(all(decoding), here);
        assert_eq!(
            (container_info.frames(), container_info.duration(), container_info.frame_rate()),
            (Some(50), Some(2_000_000_000), Some((25, 1)))
        );
    }
    let open = || std::fs::File::open(&film).unwrap();
    let name = || "upload".to_owned();
    let here = all(start_file(open(), name(), settings()));
    assert_eq!(all(workers.start_file(open(), name(), settings())), here);
}

#[test]
fn each_decoded_frame_is_reported_to_the_observer_once() {
    let videos = Videos::new();
    let seen = Arc::<AtomicU64>::default();
    let counted = seen.clone();
    let observer = Observer::new(move |_| {
        counted.fetch_add(1, Relaxed);
    });
    let settings = DecodeSettings { selection: FrameSelection::every(7), observer, ..settings() };
    let (frames, _, outcome) = all(workers("none").start(&uri(&film(&videos)), settings));
    assert_eq!((frames.len(), outcome.unwrap().decoded, seen.load(Relaxed)), (8, 50, 50));
}

#[test]
fn a_process_reports_the_same_errors_as_a_thread() {
    let videos = Videos::new();
    let workers = workers("none");
    std::fs::create_dir(videos.path("empty")).unwrap();
    for path in [
        videos.path("absent.mp4"),
        videos.path("empty"),
        videos.write("empty.mp4", b""),
        videos.write("text.mp4", "This is a text. ".repeat(500).as_bytes()),
        videos.make("sound.mp4", SOUND),
    ] {
        let here = all(start(&uri(&path), settings()));
        assert!(here.2.is_err());
        assert_eq!(all(workers.start(&uri(&path), settings())), here, "{}", path.display());
    }
}

#[test]
fn a_folder_is_decoded_in_a_process_too() {
    let videos = Videos::new();
    videos.make("1.png", "-f lavfi -i testsrc2=size=64x48 -frames:v 1");
    videos.write("2.jpg", b"\xff\xd8\xff\xe0 not a picture");
    videos.make("3 \u{fc}.png", "-f lavfi -i testsrc2=size=64x48 -frames:v 1");
    let folder = uri(&videos.path(""));
    let (frames, lost, outcome) = all(workers("none").start(&folder, settings()));
    assert_eq!((frames.len(), lost.len(), outcome.as_ref().unwrap().frames), (2, 1, 3));
    assert_eq!((frames, lost, outcome), all(start(&folder, settings())));
}

#[test]
fn a_crash_leaves_what_was_decoded_before_it() {
    for (fault, expected) in
        [("segmentation-fault", "signal 11"), ("abort", "signal 6"), ("exit", "exit code 7")]
    {
        let (frames, _, outcome) = decode_with_fault(fault, settings());
        let video = outcome.unwrap();
        assert_eq!((video.frames, video.decoded), (FRAME, FRAME), "{fault}");
        assert_eq!(frames.len() as u64, FRAME);
        assert_eq!(video.duration, Some(FRAME * 40_000_000));
        let incomplete = video.incomplete.unwrap();
        assert_eq!(incomplete, Incomplete::Crashed { how: expected.into(), frame: FRAME });
        assert_eq!(
            incomplete.to_string(),
            format!("the decoder crashed ({expected}) on frame {FRAME}")
        );
    }
}

#[test]
fn a_crash_before_the_first_selected_frame_is_an_error() {
    let settings = DecodeSettings { skip_before: 20, ..settings() };
    let (frames, _, outcome) = decode_with_fault("abort early", settings);
    assert_eq!(frames, []);
    assert!(
        matches!(&outcome, Err(DecodeError::Crashed { how, .. }) if how == "signal 6"),
        "{outcome:?}"
    );
}

#[test]
fn a_crash_does_not_affect_another_video() {
    let videos = Videos::new();
    let film = uri(&film(&videos));
    let (crashing, sound) = (workers("abort beside"), workers("none"));
    let (bad, good) = (crashing.start(&film, settings()), sound.start(&film, settings()));
    assert!(all(bad).2.unwrap().incomplete.is_some());
    assert_eq!(all(good).2.unwrap().incomplete, None);
    // The next process is ready.
    assert!(all(crashing.start(&film, settings())).2.unwrap().incomplete.is_some());
}

#[test]
fn a_process_that_waits_for_ever_is_stopped() {
    let stall_timeout = Duration::from_millis(500);
    let (frames, _, outcome) =
        decode_with_fault("sleep", DecodeSettings { stall_timeout, ..settings() });
    assert_eq!(frames.len() as u64, FRAME);
    assert_eq!(outcome.unwrap().incomplete, Some(Incomplete::Stalled { after: stall_timeout }));
}

#[test]
fn a_process_that_works_without_end_is_stopped() {
    let stall_timeout = Duration::from_millis(500);
    let (frames, _, outcome) =
        decode_with_fault("loop", DecodeSettings { stall_timeout, ..settings() });
    assert_eq!(frames.len() as u64, FRAME);
    assert_eq!(outcome.unwrap().incomplete, Some(Incomplete::Stalled { after: stall_timeout }));
}

#[test]
fn a_process_that_takes_too_much_memory_is_stopped() {
    let (frames, _, outcome) =
        decode_with_fault("memory", DecodeSettings { max_memory: 300 << 20, ..settings() });
    assert_eq!(frames.len() as u64, FRAME);
    assert_eq!(
        outcome.unwrap().incomplete,
        Some(Incomplete::OutOfMemory { megabytes: 300, frame: FRAME })
    );
}

#[test]
fn what_a_process_prints_is_not_taken_for_a_message() {
    let (frames, _, outcome) = decode_with_fault("print", settings());
    assert_eq!((frames.len(), outcome.unwrap().incomplete), (50, None));
}

#[test]
fn a_slow_consumer_makes_the_process_wait_and_loses_nothing() {
    let videos = Videos::new();
    let workers = workers("none");
    let settings = DecodeSettings { queue: 2, ..settings() };
    let decoding = workers.start(&uri(&film(&videos)), settings);
    eventually(|| decoding.frames.is_full());
    // Far longer than the process would take for the rest.
    std::thread::sleep(Duration::from_millis(500));
    assert!(!decoding.frames.is_closed() && decoding.frames.len() == 2);
    let (frames, _, outcome) = all(decoding);
    assert!(frames.iter().map(|frame| frame.index).eq(0..50));
    assert_eq!(outcome.unwrap().incomplete, None);
}

#[test]
fn dropping_a_decoding_ends_its_process_and_leaves_none_behind() {
    let videos = Videos::new();
    let fault = "none dropped";
    let workers = workers(fault);
    let long = videos.make("long.mkv", &format!("{SOURCE} {H264}"));
    for wait in [true, false] {
        let decoding = workers.start(&uri(&long), DecodeSettings { queue: 1, ..settings() });
        if wait {
            decoding.frames.recv_blocking().unwrap().unwrap();
        }
        drop(decoding);
        // The one that waits for the next video.
        eventually(|| processes(fault).len() == 1);
    }
    drop(workers);
    eventually(|| processes(fault).is_empty());
    let zombies = || {
        let children = std::fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| std::fs::read_to_string(entry.unwrap().path().join("stat")).ok());
        let of_this = format!(") Z {} ", getpid());
        children.filter(|stat| stat.contains(&of_this)).count()
    };
    eventually(|| zombies() == 0);
}

#[test]
fn a_process_that_was_killed_while_it_waited_is_replaced() {
    let videos = Videos::new();
    let fault = "none waiting";
    let workers = workers(fault);
    eventually(|| processes(fault).len() == 1);
    kill_process(processes(fault)[0], Signal::KILL).unwrap();
    let (frames, _, outcome) = all(workers.start(&uri(&film(&videos)), settings()));
    assert_eq!((frames.len(), outcome.unwrap().incomplete), (50, None));
}

#[test]
fn still_pictures_share_a_process_and_its_crash_costs_none_of_them() {
    let videos = Videos::new();
    let picture = uri(&videos.make("a.png", &format!("{SOURCE} -frames:v 1")));
    let fault = "segmentation-fault pictures";
    let workers = workers(fault);
    let mut first: Option<Vec<u8>> = None;
    let mut used = Vec::new();
    // The process of the twelfth crashes.
    for number in 1..=FRAME + 3 {
        let (frames, _, outcome) = all(workers.start(&picture, settings()));
        assert_eq!((frames.len(), outcome.unwrap().incomplete), (1, None), "picture {number}");
        let pixels = first.get_or_insert_with(|| frames[0].pixels.clone());
        assert!(*pixels == frames[0].pixels, "picture {number}");
        // A used one, and the one that is started ahead.
        eventually(|| processes(fault).len() == 2);
        if number == 1 {
            used = processes(fault);
        }
        assert_eq!(processes(fault) == used, number < FRAME, "picture {number}");
    }
}

#[test]
fn a_film_after_pictures_is_whole_and_ends_its_process() {
    let videos = Videos::new();
    let picture = uri(&videos.make("a.png", &format!("{SOURCE} -frames:v 1")));
    let fault = "none pictures";
    let workers = workers(fault);
    all(workers.start(&picture, settings())).2.unwrap();
    let (frames, _, outcome) = all(workers.start(&uri(&film(&videos)), settings()));
    assert_eq!((frames.len(), outcome.unwrap().incomplete), (50, None));
    eventually(|| processes(fault).len() == 1);
    let smaller = DecodeSettings { max_memory: 1 << 30, ..settings() };
    for settings in [settings(), smaller, settings()] {
        let (frames, _, outcome) = all(workers.start(&picture, settings));
        assert_eq!((frames.len(), outcome.unwrap().incomplete), (1, None));
    }
}

#[test]
fn a_program_that_is_absent_is_an_error() {
    let videos = Videos::new();
    let absent = WorkerCommand { program: "/absent".into(), ..WorkerCommand::this_program("") };
    let (_, _, outcome) = all(Workers::new(absent).start(&uri(&film(&videos)), settings()));
    assert!(matches!(outcome, Err(DecodeError::NoWorker { .. })), "{outcome:?}");
}
