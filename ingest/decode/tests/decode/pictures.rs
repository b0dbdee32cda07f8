//! A picture shows its frame where the letterbox says, upright, and in the stated colours.

use crate::videos::{H264, Videos, decode, decode_with, ffmpeg_output, luma, media, run, settings};
use moliceiro_decode::{DecodeSettings, DecodedFrame};
use moliceiro_messages::{Color, Encoding, Fit, Letterbox, Matrix, Size};

/// Limited-range black and white.
const BLACK: u8 = 16;
const WHITE: u8 = 235;

/// Checks that a white frame fills exactly its letterbox.
fn assert_white_fills_letterbox(frame: &DecodedFrame) {
    let Letterbox { left, top, content, .. } = frame.letterbox;
    for y in 0..frame.size.height {
        for x in 0..frame.size.width {
            let inside = (left..left + content.width).contains(&x)
                && (top..top + content.height).contains(&y);
            let value = luma(frame, x, y);
            assert!(
                value.abs_diff(if inside { WHITE } else { BLACK }) <= 2,
                "({x}, {y}) is {value} in {:?}",
                frame.letterbox
            );
        }
    }
}

#[tokio::test]
async fn the_frame_fills_its_letterbox() {
    let videos = Videos::new();
    for (name, filter, size) in [
        ("wide", "scale=640:272", Size { width: 416, height: 416 }),
        ("tall", "scale=90:301", Size { width: 416, height: 416 }),
        ("odd", "scale=321:241", Size { width: 415, height: 333 }),
        ("anamorphic", "scale=320:240,setsar=64/45", Size { width: 416, height: 416 }),
        ("deep", "scale=200:300", Size { width: 320, height: 192 }),
    ] {
        let pixels = if name == "deep" { "yuv420p10le" } else { "yuv444p" };
        let codec = format!("-c:v libx264 -preset ultrafast -qp 1 -pix_fmt {pixels} -frames:v 2");
        let video = videos.make(
            &format!("{name}.mp4"),
            &format!("-f lavfi -i color=white:size=640x480 -vf {filter} {codec}"),
        );
        let (frames, _) = decode_with(&video, DecodeSettings { size, ..settings() }).await;
        assert_eq!(frames.len(), 2, "{name}");
        assert_white_fills_letterbox(&frames[1]);
        let content = frames[1].letterbox.content;
        assert!(
            content.width == size.width || content.height == size.height,
            "{name}: {content:?}"
        );
    }
}

#[tokio::test]
async fn a_frame_fills_the_rectangle_of_its_shape() {
    let videos = Videos::new();
    for (name, filter, size, area, within) in [
        ("wide", "scale=640:272,setsar=1", (416, 416), (608, 256), (416, 192)),
        ("tall", "scale=90:301,setsar=1", (416, 416), (224, 768), (128, 416)),
        ("square", "scale=300:300,setsar=1", (416, 416), (416, 416), (416, 416)),
        ("anamorphic", "scale=320:240,setsar=64/45", (416, 416), (576, 288), (416, 224)),
        ("low", "scale=640:360,setsar=1", (416, 200), (384, 192), (384, 200)),
    ] {
        let codec = "-c:v libx264 -preset ultrafast -qp 1 -pix_fmt yuv444p -frames:v 2";
        let video = videos.make(
            &format!("{name}.mp4"),
            &format!("-f lavfi -i color=white:size=640x480 -vf {filter} {codec}"),
        );
        let [size, area, within] =
            [size, area, within].map(|(width, height)| Size { width, height });
        for (fit, expected) in [(Fit::Area, area), (Fit::Within, within), (Fit::Stretch, size)] {
            let (frames, _) = decode_with(&video, DecodeSettings { size, fit, ..settings() }).await;
            assert_eq!(
                (frames.len(), frames[1].size, frames[1].letterbox.content),
                (2, expected, expected),
                "{name} {fit:?}"
            );
            assert_white_fills_letterbox(&frames[1]);
        }
    }
}

/// An ingest that takes a video over must make the same pictures of the rest of it.
#[tokio::test]
async fn a_picture_fits_its_own_frame_not_the_one_before() {
    let videos = Videos::new();
    let part = |name: &str, size: &str| {
        let source = format!("-f lavfi -i testsrc2=size={size}:rate=25");
        std::fs::read(videos.make(name, &format!("{source} {H264} -frames:v 4 -f h264"))).unwrap()
    };
    let video =
        videos.write("both.h264", &[part("a.h264", "128x64"), part("b.h264", "64x128")].concat());
    for encoding in [Encoding::I420, Encoding::Jpeg] {
        let fit = DecodeSettings { fit: Fit::Within, encoding, ..settings() };
        let (whole, _) = decode_with(&video, fit.clone()).await;
        let sizes: Vec<_> =
            whole.iter().map(|frame| (frame.size.width, frame.size.height)).collect();
        assert_eq!(sizes, [[(416, 224); 4], [(224, 416); 4]].concat());
        let (rest, _) = decode_with(&video, DecodeSettings { skip_before: 6, ..fit }).await;
        assert!(rest == whole[6..], "{encoding:?}");
        if encoding == Encoding::Jpeg {
            let picture = videos.write("a.jpg", &rest[0].pixels);
            let seen =
                run("ffprobe", "-v error -show_entries stream=width,height -of csv=p=0", &picture);
            assert_eq!(seen.trim(), "224,416");
        }
    }
}

#[tokio::test]
async fn a_change_of_resolution_within_a_video_mislabels_no_frame() {
    let videos = Videos::new();
    let part = |name: &str, size: &str| {
        let source = format!("-f lavfi -i color=white:size={size}:rate=25");
        std::fs::read(videos.make(name, &format!("{source} {H264} -qp 1 -frames:v 10 -f h264")))
            .unwrap()
    };
    let both = [part("a.h264", "128x64"), part("b.h264", "64x128")].concat();
    let (frames, decoded) = decode(&videos.write("both.h264", &both)).await;
    assert_eq!((decoded.decoded, decoded.incomplete), (20, None));
    let widths: Vec<_> = frames.iter().map(|frame| frame.letterbox.source.width).collect();
    assert_eq!(widths, [[128; 10], [64; 10]].concat());
    frames.iter().for_each(assert_white_fills_letterbox);
}

/// The luma of four quarters: top left, top right, bottom left, bottom right.
pub const QUARTERS: [u8; 4] = [40, 100, 160, 220];
const UPRIGHT: Size = Size { width: 64, height: 48 };

pub fn quarter(x: u32, y: u32, size: Size) -> u8 {
    QUARTERS[usize::from(x >= size.width / 2) + 2 * usize::from(y >= size.height / 2)]
}

/// The quarters that a frame shows.
pub fn quarters(frame: &DecodedFrame) -> [u8; 4] {
    let Letterbox { left, top, content, .. } = frame.letterbox;
    let at =
        |x: u32, y: u32| luma(frame, left + content.width * x / 4, top + content.height * y / 4);
    [at(1, 1), at(3, 1), at(1, 3), at(3, 3)]
}

pub fn assert_near(found: [u8; 4], expected: [u8; 4], what: &str) {
    assert!(
        found.iter().zip(expected).all(|(found, expected)| found.abs_diff(expected) <= 6),
        "{what}: {found:?}, not {expected:?}"
    );
}

/// A grey picture as Netpbm has it.
pub fn grey(size: Size, value: impl Fn(u32, u32) -> u8) -> Vec<u8> {
    let head = format!("P5 {} {} 255\n", size.width, size.height).into_bytes();
    let pixels = (0..size.height)
        .flat_map(|y| (0..size.width).map(move |x| (x, y)))
        .map(|(x, y)| value(x, y));
    head.into_iter().chain(pixels).collect()
}

#[tokio::test]
async fn a_jpeg_stands_upright_in_each_exif_orientation() {
    let videos = Videos::new();
    let Size { width, height } = UPRIGHT;
    for orientation in 1..=8u8 {
        // Exif 2.32, 4.6.4: which sides of the upright picture the first stored row and column are.
        let turned = orientation >= 5;
        let stored = if turned { Size { width: height, height: width } } else { UPRIGHT };
        let pixels = grey(stored, |column, row| {
            let (x, y) = if turned { (row, column) } else { (column, row) };
            let x = if [2, 3, 6, 7].contains(&orientation) { width - 1 - x } else { x };
            let y = if [3, 4, 7, 8].contains(&orientation) { height - 1 - y } else { y };
            quarter(x, y, UPRIGHT)
        });
        let pgm = videos.write("a.pgm", &pixels);
        let plain = std::fs::read(
            videos.make("a.jpg", &format!("-i {} -pix_fmt yuvj420p -q:v 2", pgm.display())),
        )
        .unwrap();
        let tags = [
            b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".as_slice(),
            &[orientation, 0, 0, 0],
            &[0; 4],
        ]
        .concat();
        let length = (tags.len() as u16 + 2).to_be_bytes();
        let tagged = [&plain[..2], &[0xff, 0xe1], &length, &tags, &plain[2..]].concat();
        let (frames, _) = decode(&videos.write("tagged.jpg", &tagged)).await;
        assert_eq!(frames[0].letterbox.source, UPRIGHT, "{orientation}");
        assert_near(quarters(&frames[0]), QUARTERS, &format!("orientation {orientation}"));
    }
}

#[tokio::test]
async fn a_rotated_video_shows_what_ffmpeg_shows() {
    let videos = Videos::new();
    let pgm = videos.write("a.pgm", &grey(UPRIGHT, |x, y| quarter(x, y, UPRIGHT)));
    let lying =
        videos.make("lying.mp4", &format!("-loop 1 -i {} -frames:v 5 {H264} -qp 1", pgm.display()));
    for rotation in [90, 180, 270] {
        let copy = format!("-i {} -c copy -metadata:s:v:0 rotate={rotation}", lying.display());
        let video = videos.make(&format!("{rotation}.mp4"), &copy);
        let (frames, decoded) = decode(&video).await;
        assert_eq!((decoded.decoded, decoded.incomplete), (5, None));
        let source = frames[4].letterbox.source;
        let shown = ffmpeg_output(&video, "-frames:v 1 -f rawvideo -pix_fmt yuv420p");
        let at = |x: u32, y: u32| {
            shown[(source.height * y / 4 * source.width + source.width * x / 4) as usize]
        };
        assert_near(
            quarters(&frames[4]),
            [at(1, 1), at(3, 1), at(1, 3), at(3, 3)],
            &format!("rotation {rotation}"),
        );
    }
}

/// The stream itself says that it is upside down: its container does not.
#[tokio::test]
async fn a_video_whose_stream_is_rotated_shows_what_its_camera_saw() {
    let videos = Videos::new();
    let pgm = videos.write("a.pgm", &grey(UPRIGHT, |x, y| quarter(x, y, UPRIGHT)));
    // In the limited range that the film is encoded in.
    let [a, b, c, d] = QUARTERS.map(|value| (16 + u16::from(value) * 219 / 255) as u8);
    for (name, sei, expected) in [
        ("half", "insert:rotate=180", [d, c, b, a]),
        ("left", "insert:rotate=90", [b, d, a, c]),
        ("mirror", "insert:flip=horizontal", [b, a, d, c]),
    ] {
        let rotate = format!("-bsf:v h264_metadata=display_orientation={sei}");
        let arguments = format!("-frames:v 5 {H264} -qp 1 {rotate}");
        let names = ["mp4", "mkv", "ts", "h264"].map(|container| format!("{name}.{container}"));
        let made = names.each_ref().map(|name| (&name[..], &arguments[..]));
        for video in videos.make_all(&format!("-loop 1 -i {}", pgm.display()), &made) {
            let (frames, decoded) = decode(&video).await;
            let name = video.display().to_string();
            assert_eq!((decoded.decoded, decoded.incomplete), (5, None), "{name}");
            for frame in &frames {
                assert_near(quarters(frame), expected, &name);
            }
        }
    }
    let (frames, _) = decode(&media("h264-sei-rotation-180.mp4")).await;
    assert_eq!(frames.len(), 40);
}

/// The files show the quarters, encoded with an angle by which they are turned anticlockwise.
#[tokio::test]
async fn a_matroska_video_is_turned_as_its_projection_says() {
    let [a, b, c, d] = QUARTERS.map(|value| (16 + u16::from(value) * 219 / 255) as u8);
    for (angle, expected) in [(90, [b, d, a, c]), (180, [d, c, b, a]), (270, [c, a, d, b])] {
        let (frames, decoded) = decode(&media(&format!("matroska-roll-{angle}.mkv"))).await;
        assert_eq!((decoded.decoded, decoded.incomplete), (5, None), "{angle}");
        assert_near(quarters(&frames[4]), expected, &format!("{angle}"));
    }
}

/// R'G'B' of the middle of a picture (ITU-T H.273, 8.3).
fn middle(frame: &DecodedFrame) -> [f32; 3] {
    let Size { width, height } = frame.letterbox.sampled(frame.size).size;
    let (x, y) = (width as usize / 2, height as usize / 2);
    let (luma_len, chroma_width) = ((width * height) as usize, width as usize / 2);
    let chroma = y / 2 * chroma_width + x / 2;
    let [y, cb, cr] = [y * width as usize + x, luma_len + chroma, luma_len * 5 / 4 + chroma]
        .map(|at| f32::from(frame.pixels[at]));
    let (y, cb, cr) = match frame.color.full_range {
        true => (y / 255.0, (cb - 128.0) / 255.0, (cr - 128.0) / 255.0),
        false => ((y - 16.0) / 219.0, (cb - 128.0) / 224.0, (cr - 128.0) / 224.0),
    };
    let (kr, kb) = match frame.color.matrix {
        Matrix::Bt601 => (0.299, 0.114),
        Matrix::Bt709 => (0.2126, 0.0722),
        Matrix::Bt2020 => (0.2627, 0.0593),
    };
    let (r, b) = (y + 2.0 * (1.0 - kr) * cr, y + 2.0 * (1.0 - kb) * cb);
    [r, (y - kr * r - kb * b) / (1.0 - kr - kb), b].map(|value| value * 255.0)
}

#[tokio::test]
async fn a_colour_is_what_the_stated_matrix_and_range_make_of_it() {
    let videos = Videos::new();
    let color = |matrix, full_range| Color { matrix, full_range };
    let tagged = |matrix: &str, range: &str, tag: &str| {
        let filter = format!(
            "-vf format=rgb24,scale=out_color_matrix={matrix}:out_range={range},format=yuv420p"
        );
        format!(
            "{filter} {H264} -qp 1 -colorspace {tag} -color_primaries bt709 -color_trc bt709 \
             -color_range {range}"
        )
    };
    for (name, arguments, expected) in [
        ("bt601-limited.mp4", tagged("bt601", "tv", "smpte170m"), color(Matrix::Bt601, false)),
        ("bt601-full.mp4", tagged("bt601", "pc", "smpte170m"), color(Matrix::Bt601, true)),
        ("bt709-limited.mp4", tagged("bt709", "tv", "bt709"), color(Matrix::Bt709, false)),
        ("bt709-full.mkv", tagged("bt709", "pc", "bt709"), color(Matrix::Bt709, true)),
        ("bt2020-limited.mp4", tagged("bt2020", "tv", "bt2020nc"), color(Matrix::Bt2020, false)),
        ("still.jpg", "-q:v 1 -pix_fmt yuvj444p".to_owned(), color(Matrix::Bt601, true)),
        ("still.png", "-pix_fmt rgb24".to_owned(), color(Matrix::Bt601, true)),
        ("still.bmp", "-pix_fmt bgr24".to_owned(), color(Matrix::Bt601, true)),
        ("still.tiff", "-pix_fmt rgb24".to_owned(), color(Matrix::Bt601, true)),
        ("still.webp", "-pix_fmt bgra -lossless 1".to_owned(), color(Matrix::Bt601, true)),
    ] {
        let video = videos.make(
            name,
            &format!("-f lavfi -i color=0xC8501E:size=64x64,format=rgb24 -frames:v 1 {arguments}"),
        );
        let (frames, _) = decode(&video).await;
        assert_eq!(frames[0].color, expected, "{name}");
        let found = middle(&frames[0]);
        assert!(
            found
                .iter()
                .zip([200.0, 80.0, 30.0])
                .all(|(found, expected)| (found - expected).abs() < 6.0),
            "{name}: {found:?}"
        );
    }
}
