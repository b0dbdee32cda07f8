//! Small files of every container and picture format.

use std::path::Path;
use std::sync::Mutex;
use std::thread;

use moliceiro_testing::paths::project;
use moliceiro_testing::video::ffmpeg;

const FRAMES: u64 = 5;
const SOURCE: &str = "testsrc2=size=96x64:rate=10:duration=0.5";
/// File names, and what they need besides.
const FILMS: &[(&str, &str)] = &[
    ("h264.mp4", "-c:v libx264 -preset ultrafast -pix_fmt yuv420p"),
    ("b-frames.mp4", "-c:v libx264 -preset veryfast -bf 2 -pix_fmt yuv420p"),
    ("fragmented.mp4", "-c:v libx264 -movflags +frag_keyframe+empty_moov -g 2 -pix_fmt yuv420p"),
    ("hevc.mp4", "-c:v libx265 -preset ultrafast -x265-params log-level=none -pix_fmt yuv420p"),
    ("mpeg4.mp4", "-c:v mpeg4"),
    ("prores.mov", "-c:v prores_ks"),
    ("mjpeg.mov", "-c:v mjpeg"),
    ("png.mov", "-c:v png"),
    ("qtrle.mov", "-c:v qtrle"),
    ("h263.3gp", "-c:v h263 -s 128x96"),
    ("h264.mkv", "-c:v libx264 -preset ultrafast -pix_fmt yuv420p"),
    ("hevc.mkv", "-c:v libx265 -preset ultrafast -x265-params log-level=none -pix_fmt yuv420p"),
    ("ffv1.mkv", "-c:v ffv1"),
    ("mpeg2.mkv", "-c:v mpeg2video"),
    ("vp8.webm", "-c:v libvpx -deadline realtime -cpu-used 8"),
    ("vp9.webm", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8"),
    ("av1.webm", "-c:v libaom-av1 -cpu-used 8"),
    ("mpeg4.avi", "-c:v mpeg4"),
    ("mjpeg.avi", "-c:v mjpeg"),
    ("raw.avi", "-c:v rawvideo -pix_fmt bgr24"),
    ("huffyuv.avi", "-c:v huffyuv"),
    ("utvideo.avi", "-c:v utvideo"),
    ("h264.ts", "-c:v libx264 -preset ultrafast -pix_fmt yuv420p"),
    ("hevc.ts", "-c:v libx265 -preset ultrafast -x265-params log-level=none -pix_fmt yuv420p"),
    ("mpeg2.ts", "-c:v mpeg2video"),
    ("h264.m2ts", "-c:v libx264 -preset ultrafast -pix_fmt yuv420p"),
    ("mpeg2.mpg", "-c:v mpeg2video -r 25 -frames:v 5"),
    ("mpeg1.mpg", "-c:v mpeg1video -r 25 -frames:v 5"),
    ("flv1.flv", "-c:v flv1"),
    ("h264.flv", "-c:v libx264 -preset ultrafast -pix_fmt yuv420p"),
    ("theora.ogv", "-c:v libtheora"),
    ("wmv2.wmv", "-c:v wmv2"),
    ("mpeg4.nut", "-c:v mpeg4"),
    ("mpeg2.mxf", "-c:v mpeg2video -r 25 -frames:v 5"),
    ("vp8.ivf", "-c:v libvpx -deadline realtime -cpu-used 8"),
    ("av1.obu", "-c:v libaom-av1 -cpu-used 8"),
    ("h264.264", "-c:v libx264 -preset ultrafast -pix_fmt yuv420p"),
    ("hevc.265", "-f hevc -c:v libx265 -preset ultrafast -x265-params log-level=none"),
    ("mpeg2.m2v", "-c:v mpeg2video -r 25 -frames:v 5"),
    ("film.y4m", "-pix_fmt yuv420p"),
    ("film.gif", ""),
    ("film.apng", "-f apng"),
    ("film.webp", "-c:v libwebp_anim"),
];
const STILLS: &[(&str, &str)] = &[
    ("still.jpg", ""),
    ("still.png", ""),
    ("still.gif", ""),
    ("still.webp", "-c:v libwebp"),
    ("still.tif", ""),
    ("still.bmp", ""),
    ("still.ppm", ""),
    ("still.jp2", "-c:v jpeg2000"),
];
/// Of the decoder's test data, and how many frames each has.
const PICTURES: [(&str, u64); 12] = [
    ("single.heic", 1),
    ("phone-grid-irot.heic", 1),
    ("still.avif", 1),
    ("grid.avif", 1),
    ("still.jxl", 1),
    ("progressive.jpg", 1),
    ("cmyk.jpg", 1),
    ("pages.tif", 1),
    ("rgb-jpeg.tif", 1),
    ("bits-group4.tif", 1),
    ("stereo.mpo", 1),
    ("av1-raw.obu", 10),
];

/// What is refused also if it is whole. Damaged, it may still look like what is decoded.
const REFUSED: [&str; 3] = ["utvideo.avi", "mpeg4.nut", "still.jxl"];

pub struct Specimen {
    pub name: String,
    pub bytes: Vec<u8>,
    /// How many frames it has; `None` if it is refused.
    pub frames: Option<u64>,
}

/// All of them, in the same order each time.
pub fn make(folder: &Path) -> Vec<Specimen> {
    let films = FILMS.iter().map(|(name, options)| (*name, *options, FRAMES));
    let stills = STILLS.iter().map(|(name, options)| (*name, *options, 1));
    let mut made = encode(films.chain(stills).collect(), folder);
    let media = project().join("ingest/decode/tests/media");
    for (name, frames) in PICTURES {
        let bytes = std::fs::read(media.join(name)).unwrap();
        made.push(Specimen { name: name.to_owned(), bytes, frames: Some(frames) });
    }
    for specimen in &mut made {
        specimen.frames.take_if(|_| REFUSED.contains(&specimen.name.as_str()));
    }
    made
}

/// One ffmpeg on each core.
fn encode(jobs: Vec<(&'static str, &'static str, u64)>, folder: &Path) -> Vec<Specimen> {
    let next = Mutex::new(jobs.iter().enumerate());
    let made = Mutex::new(Vec::new());
    let cores = thread::available_parallelism().unwrap().get();
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let Some((number, (name, options, frames))) = next.lock().unwrap().next()
                    else {
                        break;
                    };
                    let path = folder.join(name);
                    let count = frames.to_string();
                    let input = ["-f", "lavfi", "-i", SOURCE, "-frames:v", &count];
                    let options: Vec<_> = options.split_whitespace().collect();
                    ffmpeg(&[&input[..], &options].concat(), &path);
                    let specimen = Specimen {
                        name: (*name).to_owned(),
                        bytes: std::fs::read(&path).unwrap(),
                        frames: Some(*frames),
                    };
                    made.lock().unwrap().push((number, specimen));
                }
            });
        }
    });
    let mut made = made.into_inner().unwrap();
    made.sort_by_key(|(number, _)| *number);
    made.into_iter().map(|(_, specimen)| specimen).collect()
}
