//! A folder of pictures is one video: each picture is a frame, in natural order.

use crate::videos::{Videos, decode_folder, luma, settings, uri};
use moliceiro_decode::{DecodeSettings, UndecodableFrame, start};
use moliceiro_messages::{Fps, FrameSelection, Size};

/// Pictures of many formats and sizes, each lighter than the one before it; `None` is a file that
/// is not a picture.
const PICTURES: [(&str, Option<(u32, u32)>); 9] = [
    ("p1.png", Some((64, 48))),
    ("p2.JPG", Some((300, 200))),
    ("p3.bmp", Some((34, 78))),
    ("p4.png", None),
    ("p10.tiff", Some((640, 272))),
    ("p11.webp", Some((50, 50))),
    ("p12.jpeg", None),
    ("p20.gif", Some((100, 60))),
    ("p100.ppm", Some((20, 40))),
];

fn level(at: usize) -> usize {
    40 + 20 * at
}

fn folder() -> Videos {
    let videos = Videos::new();
    // Written in an order that is neither natural nor alphabetical.
    for at in [8, 3, 0, 5, 1, 7, 2, 6, 4] {
        let (name, size) = PICTURES[at];
        match size {
            Some((width, height)) => {
                let grey = format!("0x{0:02x}{0:02x}{0:02x}", level(at));
                let quality = match name.rsplit_once('.').unwrap().1 {
                    "webp" => "-lossless 1",
                    "tiff" => "-pix_fmt rgb24",
                    _ => "-q:v 1",
                };
                drop(videos.make(
                    name,
                    &format!(
                        "-f lavfi -i color={grey}:size={width}x{height} -frames:v 1 {quality}"
                    ),
                ));
            }
            None => drop(videos.write(name, b"\xff\xd8\xff\xe0 not a picture")),
        }
    }
    videos.write("notes.txt", b"not a part of it");
    videos
}

#[tokio::test]
async fn each_picture_is_a_frame_and_a_broken_one_does_not_stop_the_others() {
    let videos = folder();
    let (frames, lost, outcome) = decode_folder(&videos.path(""), settings()).await;
    let decoded = outcome.unwrap();
    assert_eq!(
        (decoded.frames, decoded.decoded, decoded.duration, decoded.incomplete),
        (9, 9, None, None)
    );
    let indexes: Vec<_> = lost.iter().map(|lost| lost.index).collect();
    assert_eq!(indexes, [3, 6]);
    for UndecodableFrame { index, number, reason } in lost {
        assert_eq!(index, number);
        assert!(reason.contains(PICTURES[index as usize].0), "{reason}");
    }
    assert_eq!(frames.len(), 7);
    for frame in frames {
        let (name, size) = PICTURES[frame.index as usize];
        let (width, height) = size.unwrap();
        assert_eq!((frame.letterbox.source, frame.pts), (Size { width, height }, None), "{name}");
        let (value, expected) = (usize::from(luma(&frame, 208, 208)), level(frame.index as usize));
        let value = if frame.color.full_range { value } else { (value - 16) * 255 / 219 };
        assert!(value.abs_diff(expected) <= 4, "{name}: {value}, not {expected}");
    }
}

#[tokio::test]
async fn a_takeover_of_a_folder_receives_the_rest() {
    let videos = folder();
    let selection =
        FrameSelection { fps: Some(Fps::try_from(1.0).unwrap()), ..FrameSelection::every(2) };
    let (all, _, _) =
        decode_folder(&videos.path(""), DecodeSettings { selection, ..settings() }).await;
    assert_eq!(
        all.iter().map(|frame| frame.index).collect::<Vec<_>>(),
        [0, 2, 4, 8],
        "pictures have no times"
    );
    let (rest, lost, outcome) =
        decode_folder(&videos.path(""), DecodeSettings { selection, skip_before: 3, ..settings() })
            .await;
    assert_eq!(rest, all[2..]);
    assert_eq!((lost.len(), lost[0].index, lost[0].number), (1, 6, 3));
    assert_eq!(outcome.unwrap().frames, 5);
}

#[tokio::test]
async fn a_folder_declares_how_many_pictures_it_has() {
    let videos = folder();
    let decoding = start(&uri(&videos.path("")), settings());
    let container_info = decoding.container_info();
    decoding.frames.recv().await.unwrap().unwrap();
    assert_eq!((container_info.frames(), container_info.duration()), (Some(9), None));
}
