//! Tracks the detections of a MOTChallenge file, and prints the tracks in the same format:
//! `cargo run -p moliceiro-analytics --example mot -- bytetrack det.txt 640x480 25 0.5`.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use moliceiro_analytics::{Finding, Fold, FrameObservations, Observation, Rules};
use moliceiro_messages::Size;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [tracker, file, size, fps, threshold] = &arguments[..] else {
        return Err("usage: mot TRACKER DET.TXT WIDTHxHEIGHT FPS THRESHOLD".into());
    };
    let (width, height) = size.split_once('x').ok_or("a size is written 640x480")?;
    let size = Some(Size { width: width.parse()?, height: height.parse()? });
    let (fps, threshold): (f64, f32) = (fps.parse()?, threshold.parse()?);
    let mut frames = BTreeMap::<u64, Vec<Observation<'_>>>::new();
    for line in std::fs::read_to_string(file)?.lines() {
        let numbers: Vec<f32> =
            line.split(',').map(|field| field.trim().parse()).collect::<Result<_, _>>()?;
        let [_, _, left, top, width, height, score, ..] = numbers[..] else {
            return Err(format!("not a line of MOTChallenge: {line}").into());
        };
        let bounds = [left, top, left + width, top + height];
        let frame = line.split(',').next().unwrap_or_default().trim().parse()?;
        frames.entry(frame).or_default().push(Observation { label: "person", score, bounds });
    }
    let mut fold = Fold::new(&Rules { tracker: tracker.parse()?, ..Rules::default() });
    let mut observed = Vec::new();
    let mut sink = |finding: Finding| {
        if let Finding::Observed(found) = finding {
            observed.push(found);
        }
    };
    for objects in frames.values_mut() {
        objects.sort_by(|a, b| b.score.total_cmp(&a.score));
    }
    for index in 0..=frames.keys().copied().max().unwrap_or(0) {
        let pts = u64::try_from(Duration::from_secs_f64(index as f64 / fps).as_nanos()).ok();
        let objects = frames.get(&index).map_or(&[][..], Vec::as_slice);
        fold.frame(&FrameObservations { index, pts, size, threshold, objects }, &mut sink);
    }
    let state = fold.to_bytes().len();
    fold.end(&mut sink);
    for found in observed {
        let [left, top, right, bottom] = frames[&found.frame][found.object as usize].bounds;
        let (width, height) = (right - left, bottom - top);
        println!("{},{},{left},{top},{width},{height},1,-1,-1,-1", found.frame, found.track);
    }
    eprintln!("{}\nstate before the end: {state} bytes", fold.summary());
    Ok(())
}
