//! A folder of pictures is one video: each picture is a frame, in natural order.

use crate::videos::{Videos, decode_folder, luma, media, settings, uri};
use moliceiro_decode::{DecodeError, DecodeSettings, Incomplete, Notice, UndecodableFrame, start};
use moliceiro_messages::{Fps, FrameSelection, Offset, Size};

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
    for UndecodableFrame { index, number, reason, .. } in lost {
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
    let selection = FrameSelection::every(2);
    let (all, _, _) =
        decode_folder(&videos.path(""), DecodeSettings { selection, ..settings() }).await;
    assert_eq!(all.iter().map(|frame| frame.index).collect::<Vec<_>>(), [0, 2, 4, 8]);
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

#[tokio::test]
async fn a_selection_by_time_does_not_fit_a_folder_of_pictures() {
    let videos = folder();
    let fps = FrameSelection { fps: Some(Fps::try_from(1.0).unwrap()), ..FrameSelection::every(1) };
    let start =
        FrameSelection { start: Some(Offset::try_from(1.0).unwrap()), ..FrameSelection::every(1) };
    for selection in [fps, start] {
        let settings = DecodeSettings { selection, ..settings() };
        let (frames, _, outcome) = decode_folder(&videos.path(""), settings).await;
        assert_eq!(frames.len(), 0);
        let error = outcome.unwrap_err();
        assert!(matches!(error, DecodeError::NoTimes { .. }), "{error:?}");
        assert!(error.to_string().contains("--every"), "{error}");
    }
}

#[tokio::test]
async fn files_that_are_not_pictures_are_reported() {
    let videos = folder();
    for name in [".DS_Store", "Thumbs.db", ".hidden.jpg"] {
        videos.write(name, b"x");
    }
    for name in ["a.mp4", "b.doc", "c.xmp"] {
        videos.write(name, b"x");
    }
    let (_, _, outcome) = decode_folder(&videos.path(""), settings()).await;
    let notices = outcome.unwrap().notices;
    let names = ["a.mp4", "b.doc", "c.xmp"].map(str::to_owned).to_vec();
    assert_eq!(notices, [Notice::IgnoredFiles { count: 4, names }]);
    let text = notices[0].to_string();
    assert!(text.contains("4 files") && text.contains("a.mp4, b.doc, c.xmp"), "{text}");
}

#[tokio::test]
async fn a_picture_is_recognised_by_its_content_and_a_truncated_one_is_named() {
    let videos = Videos::new();
    let source = "-f lavfi -i color=white:size=64x48 -frames:v 1";
    let png = std::fs::read(videos.make("a.png", source)).unwrap();
    videos.write("b.jpg", &png);
    videos.write("c.HEIC", &std::fs::read(media("phone-grid-irot.heic")).unwrap());
    videos.write("d.jfif", &std::fs::read(media("jpeg-truncated.jpg")).unwrap());
    videos.write("e.jxl", &std::fs::read(media("still.jxl")).unwrap());
    videos.write("f.mpo", &std::fs::read(media("stereo.mpo")).unwrap());
    let (frames, lost, outcome) = decode_folder(&videos.path(""), settings()).await;
    assert_eq!(frames.iter().map(|frame| frame.index).collect::<Vec<_>>(), [0, 1, 2, 3, 5]);
    assert_eq!(lost.len(), 1);
    assert!(lost[0].reason.contains("e.jxl is a JPEG XL"), "{}", lost[0].reason);
    let outcome = outcome.unwrap();
    assert_eq!((outcome.decoded, outcome.duration, outcome.notices), (6, None, vec![]));
    let incomplete = outcome.incomplete.unwrap();
    assert!(
        matches!(&incomplete, Incomplete::PicturesTruncated { count: 1, first, .. } if first == "d.jfif"),
        "{incomplete:?}"
    );
}
