//! A film of a camera that stands still, of which every object is known: what is kept of it if still
//! frames are skipped.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use moliceiro_nats::messages::{Summary, VideoState};
use moliceiro_testing::paths::sample;
use moliceiro_testing::process::{Process, moliceiro, run_in_model_size, summaries};
use moliceiro_testing::video::ffmpeg;
use serde_json::Value;

const RATE: u64 = 25;
/// The scene repeats after so many seconds.
const SCENE: f64 = 30.0;

/// A man with a bicycle, who is shown from one second of the scene to another.
struct Rider {
    /// Width and height of his picture.
    size: [f64; 2],
    top: f64,
    shown: [f64; 2],
    /// Where his left side is at these seconds; in between he moves evenly.
    path: &'static [(f64, f64)],
}

/// One comes, stays and goes; a small one comes and stays; and a small one moves very slowly.
const RIDERS: [Rider; 3] = [
    Rider {
        size: [150.0, 272.0],
        top: 0.0,
        shown: [3.0, 19.0],
        path: &[(3.0, -150.0), (4.2, 100.0), (18.0, 100.0), (19.0, -150.0)],
    },
    Rider {
        size: [50.0, 90.0],
        top: 150.0,
        shown: [8.0, 30.0],
        path: &[(8.0, 640.0), (9.5, 520.0)],
    },
    Rider {
        size: [50.0, 90.0],
        top: 160.0,
        shown: [10.0, 24.0],
        path: &[(12.0, 400.0), (22.0, 430.0)],
    },
];

/// What is in a rider's picture, as shares of its size: left, top, right, bottom.
const OBJECTS: [(&str, [f64; 4]); 2] =
    [("person", [0.0, 0.0, 0.8, 1.0]), ("bicycle", [0.0, 0.5, 0.9, 1.0])];

impl Rider {
    /// His left side.
    fn left(&self, second: f64) -> f64 {
        let (first, last) = (self.path[0], self.path[self.path.len() - 1]);
        let step = self.path.windows(2).find(|step| step[0].0 <= second && second < step[1].0);
        match step {
            Some(&[(from, left), (to, right)]) => {
                left + (right - left) * (second - from) / (to - from)
            }
            _ if second < first.0 => first.1,
            _ => last.1,
        }
    }

    /// The same as an expression of ffmpeg. Outside its time he is beside the picture.
    fn expression(&self) -> String {
        let mut text = self.path[self.path.len() - 1].1.to_string();
        for step in self.path.windows(2).rev() {
            let [(from, left), (to, right)] = [step[0], step[1]];
            let speed = (right - left) / (to - from);
            text = format!("if(lt(s,{to}),{left}+({speed})*max(0,s-{from}),{text})");
        }
        let [from, to] = self.shown;
        format!("if(between(s,{from},{to}-0.001),{text},-1000)").replace('s', "mod(t,30)")
    }

    fn objects(&self, second: f64) -> impl Iterator<Item = Labelled> + '_ {
        let ([width, height], left) = (self.size, self.left(second));
        let is_shown = self.shown[0] <= second && second < self.shown[1];
        let is_whole = left >= 0.0 && left + width <= 640.0;
        OBJECTS.iter().filter(move |_| is_shown && is_whole).map(move |(label, part)| {
            let [x1, y1, x2, y2] = part;
            let (x, y) = (|share: &f64| left + share * width, |share| self.top + share * height);
            (*label, [x(x1), y(y1), x(x2), y(y2)])
        })
    }
}

type Labelled = (&'static str, [f64; 4]);

/// What is in a frame: the number of the rider, the class and the box.
fn truth(frame: u64) -> Vec<(usize, Labelled)> {
    let second = (frame as f64 / RATE as f64) % SCENE;
    let of_rider = |(n, rider): (usize, &'static Rider)| {
        rider.objects(second).map(move |labelled| (n, labelled))
    };
    RIDERS.iter().enumerate().flat_map(of_rider).collect()
}

/// A wall with riders before it, with the noise of a sensor, clouds, and a lamp that is lit for some
/// seconds.
pub(crate) fn film(folder: &Path, seconds: u64) -> PathBuf {
    let [wall, rider] = ["wall.png", "rider.png"].map(|name| folder.join(name));
    let sample = sample("bikes.mp4");
    let still = |filter: &str, to: &Path| {
        ffmpeg(&["-i", sample.to_str().unwrap(), "-vf", filter, "-frames:v", "1"], to);
    };
    still(
        "select='eq(n,240)',crop=170:272:0:0,split[a][b];[b]hflip[c];[a][c]hstack,split[d][e];\
         [d][e]hstack,crop=640:272:0:0",
        &wall,
    );
    still("select='eq(n,132)',crop=150:272:370:0", &rider);
    let mut filter = String::from("[0]null[film0];[1]split=3[r0][r1][r2];");
    for (n, rider) in RIDERS.iter().enumerate() {
        let ([width, height], top, left) = (rider.size, rider.top, rider.expression());
        write!(
            filter,
            "[r{n}]scale={width}:{height}[m{n}];[film{n}][m{n}]overlay=x='{left}':y={top}[film{}];",
            n + 1
        )
        .unwrap();
    }
    filter += "[film3]eq=brightness='0.03*sin(t)+if(between(mod(t,30),13,16),0.03,0)':eval=frame,\
               noise=alls=6:allf=t";
    let (length, video) = (seconds.to_string(), folder.join("static.mp4"));
    let rate = RATE.to_string();
    let picture = |path: &Path| {
        let path = path.to_str().unwrap().to_owned();
        ["-loop", "1", "-framerate", &rate, "-t", &length, "-i", &path].map(str::to_owned)
    };
    let mut arguments: Vec<String> = [&wall, &rider].into_iter().flat_map(|p| picture(p)).collect();
    let coding = ["-c:v", "libx264", "-preset", "veryfast", "-g", "50", "-pix_fmt", "yuv420p"];
    arguments.extend(["-filter_complex", &filter].into_iter().chain(coding).map(str::to_owned));
    ffmpeg(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), &video);
    video
}

fn overlap([l, t, r, b]: [f64; 4], [left, top, right, bottom]: [f64; 4]) -> f64 {
    let common = (r.min(right) - l.max(left)).max(0.0) * (b.min(bottom) - t.max(top)).max(0.0);
    common / ((r - l) * (b - t) + (right - left) * (bottom - top) - common)
}

/// Which of the labelled objects are found: the frame, the number of the rider and the class.
type Found = BTreeSet<(u64, usize, &'static str)>;

struct Counted {
    summary: Summary,
    took: Duration,
    found: Found,
    /// Objects that are not labelled.
    others: usize,
}

fn count(data: &Path, options: &[&str], video: &Path) -> Counted {
    let started = Instant::now();
    let mut command = run_in_model_size(data);
    let process = Process::start(command.arg("--json").args(options).arg(video)).expect_code(0);
    let took = started.elapsed();
    let summary = summaries(&process).remove(0);
    let mut command = moliceiro();
    command.args(["detections", "--data"]).arg(data).arg(summary.video.as_str());
    let (mut found, mut others) = (Found::new(), 0);
    for line in Process::start(&mut command).expect_code(0) {
        let object: Value = serde_json::from_str(&line).unwrap();
        let frame = object["frame"].as_u64().unwrap();
        let bounds = [0, 1, 2, 3].map(|n| object["box"][n].as_f64().unwrap());
        let is_it = |(_, (label, of)): &(usize, Labelled)| {
            object["label"] == **label && overlap(*of, bounds) >= 0.5
        };
        match truth(frame).into_iter().find(is_it) {
            Some((rider, (label, _))) => drop(found.insert((frame, rider, label))),
            None => others += 1,
        }
    }
    Counted { summary, took, found, others }
}

/// Longer: `MOLICEIRO_STILL_SECONDS=300`, of a release build, with `--nocapture` for the figures.
#[test]
fn where_a_camera_stands_still_a_fifth_is_analysed_and_what_is_labelled_is_found_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let seconds = std::env::var("MOLICEIRO_STILL_SECONDS").map_or(30, |text| text.parse().unwrap());
    let (data, video) = (folder.path().join("data"), film(folder.path(), seconds));
    let [all, few] =
        [&[][..], &["--skip-still"]].map(|options: &[&str]| count(&data, options, &video));
    let frames = seconds * RATE;
    let labelled: usize = (0..frames).map(|frame| truth(frame).len()).sum();
    let both = all.found.intersection(&few.found).count();
    for (way, counted) in [("all frames", &all), ("--skip-still", &few)] {
        let Counted { summary, took, found, others } = counted;
        assert_eq!((summary.state, summary.total_frames), (VideoState::Done, Some(frames)));
        println!(
            "{way}: {} analysed, {} of {labelled} labelled objects and {others} others found, \
             {:.1} frames/s",
            summary.processed_frames,
            found.len(),
            frames as f64 / took.as_secs_f64()
        );
    }
    println!("found in both ways: {both}");
    let mut lost: BTreeMap<_, Vec<u64>> = BTreeMap::new();
    for (frame, rider, label) in all.found.difference(&few.found) {
        lost.entry((rider, label)).or_default().push(*frame);
    }
    println!("lost by --skip-still, by rider: {lost:?}");
    assert!(few.summary.processed_frames * 5 <= frames, "{:?}", few.summary);
    assert!(all.found.len() * 10 >= labelled * 8, "the film shows too little");
    assert!(both * 100 >= all.found.len() * 99, "{both} of {}", all.found.len());
}
