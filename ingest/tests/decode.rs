use std::path::Path;
use std::time::{Duration,Instant};
use moliceiro_ingest::decode::*;
use moliceiro_nats::messages::{Encoding, Size};
#[tokio::test]
async fn try_it() {
    tracing_subscriber_init();
    for f in std::env::var("F").unwrap().split(',') {
    let path = Path::new(f).canonicalize().unwrap_or(f.into());
    let e = if std::env::var("J").is_ok() { Encoding::Jpeg } else { Encoding::I420 };
    let s = DecodeSettings { size: Size { width: 416, height: 416 }, encoding: e, jpeg_quality: 90, every: 1, skip_before: 0, queue: 8, stall_timeout: Duration::from_secs(10) };
    let t = Instant::now();
    let d = start(&url::Url::from_file_path(path).unwrap(), s);
    let a = d.announced();
    let mut n = 0; let mut sizes=0; let mut first=None;
    while let Ok(f) = d.frames.recv().await { n += 1; sizes+=f.pixels.len(); if first.is_none() || n==50 {println!("{} {:?} {:?} {:?}", f.index, f.pts, f.letterbox, f.color); first=Some(()); if let Ok(o)=std::env::var("O") { std::fs::write(format!("{o}"), &f.pixels).unwrap(); } } 
      if let Ok(o)=std::env::var("DUMP") { std::fs::write(format!("{o}/{:05}", f.index), &f.pixels).unwrap(); } }
    println!("{f}: {n} {} {:?} {:?} {:?}", sizes/n.max(1), a.frames(), a.duration(), a);
    match d.outcome().await { Ok(o) => println!("{o:?} {}", o.problem.as_ref().map(|p|p.to_string()).unwrap_or_default()), Err(e) => println!("{e:?}\n{e}") }
    println!("{:?} {} fps", t.elapsed(), n as f64/t.elapsed().as_secs_f64());
    }
}
fn tracing_subscriber_init() { }
