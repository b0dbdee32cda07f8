//! Pictures and animations: what a viewer shows of them, all of it, and nothing else.

use std::path::Path;

use crate::pictures::{QUARTERS, assert_near, grey, quarter, quarters};
use crate::videos::{SOURCE, Videos, decode, decode_with, ffmpeg_output, media, settings};
use moliceiro_decode::{DecodeError, DecodedFrame, Incomplete};
use moliceiro_messages::Size;

/// As stored values of full range.
fn light(frame: &DecodedFrame) -> [u8; 4] {
    let limited = |value: u8| (f32::from(value.saturating_sub(16)) * 255.0 / 219.0) as u8;
    let found = quarters(frame);
    if frame.color.full_range { found } else { found.map(limited) }
}

/// The only frame of a picture that is whole.
async fn still(path: &Path) -> DecodedFrame {
    let (mut frames, outcome) = decode(path).await;
    assert_eq!(
        (frames.len(), outcome.decoded, outcome.duration, outcome.incomplete),
        (1, 1, None, None),
        "{}",
        path.display()
    );
    assert_eq!(frames[0].pts, None, "{}", path.display());
    frames.remove(0)
}

#[tokio::test]
async fn heic_and_avif_are_upright_and_put_together_from_their_tiles() {
    for (name, width, height) in [
        ("phone-grid-irot.heic", 124, 190),
        ("single.heic", 192, 128),
        ("odd.heic", 191, 127),
        ("clap.heic", 120, 180),
        ("still.avif", 192, 128),
        ("grid.avif", 192, 128),
        ("10-bit.avif", 192, 128),
        ("irot.avif", 192, 128),
        ("imir-0.avif", 192, 128),
        ("imir-1.avif", 192, 128),
    ] {
        let frame = still(&media(name)).await;
        assert_eq!(frame.letterbox.source, Size { width, height }, "{name}");
        assert_near(light(&frame), QUARTERS, name);
    }
}

#[tokio::test]
async fn a_tiff_of_any_kind_is_its_first_page() {
    for name in [
        "cmyk-tiff_lzw.tif",
        "cmyk-jpeg.tif",
        "16-bit-tiff_lzw.tif",
        "float-tiff_adobe_deflate.tif",
        "rgb-jpeg.tif",
        "la.tif",
        "pages.tif",
    ] {
        let frame = still(&media(name)).await;
        assert_eq!(frame.letterbox.source, Size { width: 192, height: 128 }, "{name}");
        assert_near(light(&frame), QUARTERS, name);
    }
    let bits = light(&still(&media("bits-group4.tif")).await);
    assert_near(bits, [0, 0, 255, 255], "bits-group4.tif");
    assert_eq!(
        still(&media("palette.tif")).await.letterbox.source,
        Size { width: 640, height: 272 }
    );
}

#[tokio::test]
async fn a_tiff_is_what_ffmpeg_makes_of_it() {
    let videos = Videos::new();
    for pixels in ["monow", "monob", "pal8", "gray", "gray16le", "rgb48le", "rgba", "yuv422p"] {
        for compression in ["raw", "packbits", "lzw", "deflate"] {
            let name = format!("{pixels}-{compression}.tif");
            let arguments =
                format!("{SOURCE} -frames:v 1 -pix_fmt {pixels} -compression_algo {compression}");
            assert_like_ffmpeg(&videos.make(&name, &arguments)).await;
        }
    }
}

#[tokio::test]
async fn a_png_of_any_kind_is_what_ffmpeg_makes_of_it() {
    let videos = Videos::new();
    for pixels in [
        "monob", "pal8", "gray", "gray16be", "ya8", "ya16be", "rgb24", "rgb48be", "rgba",
        "rgba64be",
    ] {
        for (kind, option) in [("plain", ""), ("interlaced", " -flags ildct")] {
            let name = format!("{pixels}-{kind}.png");
            let arguments = format!("{SOURCE} -frames:v 1 -pix_fmt {pixels}{option}");
            assert_like_ffmpeg(&videos.make(&name, &arguments)).await;
        }
    }
}

/// Compares with FFmpeg's picture in shades of grey.
async fn assert_like_ffmpeg(path: &Path) {
    let frame = still(path).await;
    let Size { width, height } = frame.letterbox.source;
    let shown = ffmpeg_output(path, "-frames:v 1 -pix_fmt gray -f rawvideo");
    let at = |x: u32, y: u32| shown[(height * y / 4 * width + width * x / 4) as usize];
    let found = light(&frame);
    let expected = [at(1, 1), at(3, 1), at(1, 3), at(3, 3)];
    assert!(
        found.iter().zip(expected).all(|(found, expected)| found.abs_diff(expected) <= 24),
        "{}: {found:?}, not {expected:?}",
        path.display()
    );
}

#[tokio::test]
async fn jpeg_2000_is_decoded() {
    let videos = Videos::new();
    let size = Size { width: 192, height: 128 };
    let pgm = videos.write("a.pgm", &grey(size, |x, y| quarter(x, y, size)));
    for (name, options) in [("a.jp2", ""), ("a.j2k", " -format j2k -f image2")] {
        let arguments = format!("-i {} -pix_fmt rgb24 -c:v jpeg2000{options}", pgm.display());
        assert_near(light(&still(&videos.make(name, &arguments)).await), QUARTERS, name);
    }
}

/// The picture as PNG, with a block of Exif that says how to turn it.
#[tokio::test]
async fn a_png_and_a_webp_stand_upright_in_each_exif_orientation() {
    let videos = Videos::new();
    let upright = Size { width: 64, height: 48 };
    for orientation in 1..=8u8 {
        let turned = orientation >= 5;
        let stored = if turned { Size { width: 48, height: 64 } } else { upright };
        let pgm = videos.write(
            "a.pgm",
            &grey(stored, |column, row| {
                let (x, y) = if turned { (row, column) } else { (column, row) };
                let x = if [2, 3, 6, 7].contains(&orientation) { 63 - x } else { x };
                let y = if [3, 4, 7, 8].contains(&orientation) { 47 - y } else { y };
                quarter(x, y, upright)
            }),
        );
        let exif = [
            b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".as_slice(),
            &[orientation],
            &[0; 6],
        ]
        .concat();
        let png = std::fs::read(videos.make("a.png", &format!("-i {}", pgm.display()))).unwrap();
        // After the header chunk.
        let tagged = [&png[..33], &chunk(b"eXIf", &exif), &png[33..]].concat();
        let found = still(&videos.write("tagged.png", &tagged)).await;
        assert_near(light(&found), QUARTERS, &format!("PNG, orientation {orientation}"));
        // Some programs write it last.
        let end = png.len() - 12;
        let tagged = [&png[..end], &chunk(b"eXIf", &exif), &png[end..]].concat();
        let found = still(&videos.write("late.png", &tagged)).await;
        assert_near(light(&found), QUARTERS, &format!("late PNG, orientation {orientation}"));

        let arguments = format!("-i {} -c:v libwebp -lossless 1", pgm.display());
        let webp = std::fs::read(videos.make("a.webp", &arguments)).unwrap();
        let size = [stored.width - 1, stored.height - 1].map(u32::to_le_bytes);
        let head = [b"VP8X\x0a\0\0\0\x08\0\0\0".as_slice(), &size[0][..3], &size[1][..3]].concat();
        let length = (exif.len() as u32).to_le_bytes();
        let chunks = [&head, &webp[12..], b"EXIF", &length, &exif].concat();
        let riff = (chunks.len() as u32 + 4).to_le_bytes();
        let tagged = [b"RIFF".as_slice(), &riff, b"WEBP", &chunks].concat();
        let found = still(&videos.write("tagged.webp", &tagged)).await;
        assert_near(light(&found), QUARTERS, &format!("WebP, orientation {orientation}"));
    }
    let found = still(&media("png-exif-orientation-6.png")).await.letterbox.source;
    assert_eq!(found, Size { width: 640, height: 272 });
}

/// A chunk of a PNG.
fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let body = [kind, data].concat();
    // PNG specification, annex D.
    let crc = body.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 { 0xedb8_8320 ^ (crc >> 1) } else { crc >> 1 }
        })
    });
    [&(data.len() as u32).to_be_bytes(), body.as_slice(), &(!crc).to_be_bytes()].concat()
}

#[tokio::test]
async fn a_jpeg_is_its_first_picture() {
    for name in ["cmyk.jpg", "grey.jpg", "progressive.jpg"] {
        assert_near(light(&still(&media(name)).await), QUARTERS, name);
    }
    still(&media("stereo.mpo")).await;
    let videos = Videos::new();
    let picture = |name: &str, size: &str| {
        let source = format!("-f lavfi -i testsrc2=size={size} -frames:v 1");
        std::fs::read(videos.make(name, &source)).unwrap()
    };
    let (large, small) = (picture("a.jpg", "320x240"), picture("b.jpg", "80x60"));
    for (name, files) in [
        // A gain map is smaller; a photo may be followed by a film.
        ("gain-map", [large.as_slice(), &small].concat()),
        ("twice.jpg", [large.as_slice(), &large].concat()),
        ("motion.jpg", [large.as_slice(), b"\0\0\0\x18ftypmp42 and a film"].concat()),
        // Stuffing before a marker, and bytes after the end.
        ("tail.jpg", [large.as_slice(), &[0; 1000]].concat()),
    ] {
        let found = still(&videos.write(name, &files)).await;
        assert_eq!(found.letterbox.source, Size { width: 320, height: 240 }, "{name}");
    }
}

#[tokio::test]
async fn jpegs_that_follow_each_other_are_a_video() {
    let videos = Videos::new();
    let path = videos.make("a.mjpeg", &format!("{SOURCE} -frames:v 5 -pix_fmt yuvj420p"));
    let (frames, outcome) = decode(&path).await;
    assert_eq!((frames.len(), outcome.incomplete), (5, None));
}

#[tokio::test]
async fn what_is_there_of_a_truncated_picture_is_shown() {
    for (name, rows) in
        [("jpeg-without-eoi.jpg", false), ("jpeg-truncated.jpg", true), ("png-truncated.png", true)]
    {
        let (frames, outcome) = decode_with(&media(name), settings()).await;
        let outcome = outcome.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(frames.len(), 1, "{name}");
        match outcome.incomplete {
            Some(Incomplete::PictureTruncated { missing: Some((missing, of)) }) if rows => {
                assert!(missing > 0 && missing < of, "{name}: {missing} of {of}");
            }
            Some(Incomplete::PictureTruncated { missing: None }) if !rows => {}
            other => panic!("{name}: {other:?}"),
        }
    }
    let videos = Videos::new();
    let phone = std::fs::read(media("phone-grid-irot.heic")).unwrap();
    let path = videos.write("cut.heic", &phone[..phone.len() - 20]);
    let (frames, outcome) = decode_with(&path, settings()).await;
    assert_eq!(frames.len(), 1);
    let incomplete = outcome.unwrap().incomplete;
    let missing = Some((60, 124));
    assert_eq!(incomplete, Some(Incomplete::PictureTruncated { missing }));
    let path = videos.make("a.png", &format!("{SOURCE} -frames:v 1 -flags ildct"));
    let whole = std::fs::read(path).unwrap();
    let path = videos.write("cut.png", &whole[..whole.len() / 2]);
    let incomplete = decode(&path).await.1.incomplete;
    assert_eq!(incomplete, Some(Incomplete::PictureTruncated { missing: None }));
}

#[tokio::test]
async fn every_frame_of_an_animation_has_its_time() {
    let videos = Videos::new();
    for (name, options) in [
        ("a.gif", ""),
        ("a.webp", "-c:v libwebp_anim -loop 0"),
        ("a.apng", "-plays 0 -f apng"),
        ("alpha.apng", "-pix_fmt rgba -plays 0 -f apng"),
        ("a.avif", "-c:v libaom-av1 -cpu-used 8"),
    ] {
        let path = videos.make(name, &format!("{SOURCE} -vf fps=10 -frames:v 8 {options}"));
        let (frames, outcome) = decode(&path).await;
        assert_eq!((frames.len(), outcome.incomplete), (8, None), "{name}");
        let times: Vec<_> = frames.iter().map(|frame| frame.pts.unwrap() / 1_000_000).collect();
        assert_eq!(times, [0, 100, 200, 300, 400, 500, 600, 700], "{name}");
        assert_eq!(outcome.duration, Some(800_000_000), "{name}");
        assert!(frames.windows(2).all(|pair| pair[0].pixels != pair[1].pixels), "{name}");
    }
}

/// Parts of frames, disposals and blending: what is composed is what FFmpeg composes.
#[tokio::test]
async fn an_animation_is_composed_as_ffmpeg_composes_it() {
    let videos = Videos::new();
    let moving = "-f lavfi -i color=black:size=64x48:rate=10 -f lavfi -i \
                  color=white:size=18x12:rate=10 -filter_complex overlay=x=3+n*6:y=3+n*4 -frames:v 8";
    for (name, options) in
        [("a.gif", ""), ("a.apng", "-plays 0 -f apng"), ("b.gif", "-gifflags +transdiff")]
    {
        let path = videos.make(name, &format!("{moving} {options}"));
        let (frames, _) = decode(&path).await;
        let shown = ffmpeg_output(&path, "-pix_fmt gray -f rawvideo");
        assert_eq!(frames.len(), 8, "{name}");
        for (frame, shown) in frames.iter().zip(shown.chunks(64 * 48)) {
            let at = |x: usize, y: usize| shown[48 * y / 4 * 64 + 64 * x / 4];
            assert_near(
                light(frame),
                [at(1, 1), at(3, 1), at(1, 3), at(3, 3)],
                &format!("{name}, frame {}", frame.index),
            );
        }
    }
}

/// A canvas that is much larger than the picture is made smaller where it changes.
#[tokio::test]
async fn a_large_animation_is_composed_like_a_small_one() {
    let videos = Videos::new();
    let moving = "-f lavfi -i color=black:size=640x480:rate=10 -f lavfi -i \
                  color=white:size=180x120:rate=10 -filter_complex overlay=x=30+n*60:y=30+n*40 \
                  -frames:v 8";
    for (name, options) in [("a.gif", ""), ("a.apng", "-plays 0 -f apng")] {
        let path = videos.make(name, &format!("{moving} {options}"));
        let (large, _) = decode(&path).await;
        let size = Size { width: 64, height: 64 };
        let small = moliceiro_decode::DecodeSettings { size, ..settings() };
        let (small, _) = decode_with(&path, small).await;
        assert_eq!((small.len(), large.len()), (8, 8));
        for (small, large) in small.iter().zip(&large) {
            assert_eq!(small.letterbox.source, Size { width: 640, height: 480 });
            assert_near(light(small), light(large), &format!("{name}, frame {}", small.index));
        }
    }
}

#[tokio::test]
async fn a_truncated_animation_gives_the_frames_that_are_there() {
    let videos = Videos::new();
    for (name, options) in
        [("a.gif", ""), ("a.webp", "-c:v libwebp_anim"), ("a.apng", "-plays 0 -f apng")]
    {
        let path = videos.make(name, &format!("{SOURCE} -vf fps=10 -frames:v 8 {options}"));
        let bytes = std::fs::read(path).unwrap();
        let cut = videos.write(&format!("cut-{name}"), &bytes[..bytes.len() * 2 / 3]);
        let (frames, outcome) = decode(&cut).await;
        assert!((3..8).contains(&frames.len()), "{name}: {}", frames.len());
        assert!(outcome.incomplete.is_some(), "{name}");
    }
}

/// 46 kB: a large canvas, of which 2,000 frames change one pixel each.
#[tokio::test]
async fn an_animation_costs_what_changes_in_it() {
    let mut gif = b"GIF89a\xa0\x0f\xa0\x0f\x80\0\0\0\0\0\xff\xff\xff".to_vec();
    for _ in 0..2000 {
        gif.extend_from_slice(b"!\xf9\x04\0\x0a\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0");
    }
    gif.push(b';');
    let videos = Videos::new();
    let path = videos.write("a.gif", &gif);
    let selection = moliceiro_messages::FrameSelection::every(500);
    let every = moliceiro_decode::DecodeSettings { selection, ..settings() };
    let (frames, outcome) = decode_with(&path, every).await;
    let outcome = outcome.unwrap();
    assert_eq!((frames.len(), outcome.decoded, outcome.incomplete), (4, 2000, None));
    assert_eq!(frames[0].letterbox.source, Size { width: 4000, height: 4000 });
}

#[tokio::test]
async fn what_nothing_decodes_is_named() {
    let videos = Videos::new();
    for (path, name) in [
        (media("still.jxl"), "JPEG XL"),
        (videos.write("a.psd", b"8BPS\0\x01 and so on"), "Photoshop"),
        (videos.write("a.cr3", b"\0\0\0\x18ftypcrx isom and so on"), "CR3"),
    ] {
        let error = decode_with(&path, settings()).await.1.unwrap_err();
        assert!(matches!(error, DecodeError::UnsupportedPicture { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(name) && text.contains(';') && !text.contains("damaged"), "{text}");
    }
}

/// The largest sizes that the headers of small pictures can claim.
#[tokio::test]
async fn a_picture_that_exceeds_the_limits_is_refused_by_its_header() {
    let videos = Videos::new();
    let make = |name: &str, options: &str| {
        std::fs::read(videos.make(name, &format!("{SOURCE} -frames:v 1 {options}"))).unwrap()
    };
    let replaced = |bytes: &[u8], from: &[u8], to: &[u8]| {
        let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
        [&bytes[..at], to, &bytes[at + from.len()..]].concat()
    };
    let jpeg = make("a.jpg", "");
    let jp2 = make("a.jp2", "");
    let mut webp = make("a.webp", "-c:v libwebp -lossless 1");
    // Width and height follow the signature with 14 bits each, less one: 319 and 239.
    let at = webp.windows(4).position(|bytes| bytes == [0x2f, 0x3f, 0xc1, 0x3b]).unwrap();
    webp[at + 1..at + 4].copy_from_slice(&[0x7f, 0xfe, 0x9f]);
    webp[at + 4] |= 0x0f;
    let avif = std::fs::read(media("still.avif")).unwrap();
    let long = |value: u32| value.to_be_bytes();
    let wide = [long(16_000), long(16_000)].concat();
    for (name, bytes) in [
        // Height and width of the frame header: 240 × 320.
        ("a.jpg", replaced(&jpeg, &[8, 0, 240, 1, 64], &[8, 0x3e, 0x80, 0x3e, 0x80])),
        // Right after the capabilities in the size marker.
        (
            "a.jp2",
            replaced(
                &jp2,
                &[long(320), long(240), long(0)].concat(),
                &[wide.as_slice(), &long(0)].concat(),
            ),
        ),
        ("a.avif", replaced(&avif, &[long(192), long(128)].concat(), &wide)),
        ("a.ppm", b"P6\n# a comment\n16000 16000\n255\n".to_vec()),
        ("a.webp", webp),
    ] {
        let error = decode_with(&videos.write(name, &bytes), settings()).await.1.unwrap_err();
        assert!(matches!(error, DecodeError::TooLarge { .. }), "{name}: {error:?}");
    }
}

/// Damage anywhere: no panic, and an end.
#[tokio::test]
async fn damaged_pictures_end_with_an_answer() {
    let videos = Videos::new();
    let mut files: Vec<_> =
        std::fs::read_dir(media("")).unwrap().map(|file| file.unwrap().path()).collect();
    files.retain(|path| {
        let extension = path.extension().unwrap_or_default().to_string_lossy();
        ["avif", "heic", "jpg", "mpo", "png", "tif"].contains(&extension.as_ref())
    });
    files.sort();
    for (name, options) in [
        ("a.gif", ""),
        ("a.webp", "-c:v libwebp_anim"),
        ("b.webp", "-frames:v 1 -c:v libwebp"),
        ("a.apng", "-plays 0 -f apng"),
        ("b.avif", "-c:v libaom-av1 -cpu-used 8"),
        ("a.bmp", "-frames:v 1"),
        ("a.jp2", "-frames:v 1"),
        ("a.ppm", "-frames:v 1"),
    ] {
        let source = "-f lavfi -i testsrc2=size=64x48:rate=10:duration=0.4";
        files.push(videos.make(name, &format!("{source} {options}")));
    }
    let rounds = std::env::var("MUTATIONS").map_or(4, |rounds| rounds.parse().unwrap());
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below.max(1) as u64) as usize
    };
    for round in 0..rounds {
        for path in &files {
            let mut bytes = std::fs::read(path).unwrap();
            if round % 4 == 3 {
                bytes.truncate(1 + random(bytes.len()));
            }
            // The start holds most of what a decoder trusts.
            let span = if round % 2 == 0 { bytes.len().min(400) } else { bytes.len() };
            for _ in 0..1 + random(6) {
                let at = random(span);
                bytes[at] = match random(3) {
                    0 => 0xff,
                    1 => random(256) as u8,
                    _ => bytes[at] ^ (1 << random(8)),
                };
            }
            let extension = path.extension().unwrap().to_string_lossy();
            let mutated = videos.write(&format!("mutated.{extension}"), &bytes);
            if let Ok(folder) = std::env::var("MUTATIONS_KEPT") {
                std::fs::write(format!("{folder}/mutated.{extension}"), &bytes).unwrap();
            }
            let (_, outcome) = decode_with(&mutated, settings()).await;
            let kept = format!("{} in round {round}: {outcome:?}", path.display());
            assert!(
                !matches!(outcome, Err(DecodeError::Panicked | DecodeError::Stalled { .. })),
                "{kept}"
            );
        }
    }
}
