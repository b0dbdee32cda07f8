//! Each fault of an input is an error of its own, with one line that says what to do.

use std::path::Path;
use std::time::Duration;

use crate::videos::{H264, SOUND, SOURCE, Videos, decode_with, run, settings};
use moliceiro_decode::{DecodeError, DecodeSettings, start};
use url::Url;

/// The error of a file, which must be one line that names the file.
async fn error_of(path: &Path) -> DecodeError {
    let (frames, outcome) = decode_with(path, settings()).await;
    assert_eq!(frames, []);
    let error = outcome.unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains(path.to_str().unwrap()) && !text.contains('\n') && text.contains(';'),
        "{text}"
    );
    error
}

async fn error_of_uri(uri: &str) -> DecodeError {
    start(&Url::parse(uri).unwrap(), settings()).outcome().await.unwrap_err()
}

#[tokio::test]
async fn a_path_that_is_not_a_readable_file() {
    let videos = Videos::new();
    let folder = videos.path("folder.mp4");
    std::fs::create_dir(&folder).unwrap();
    let pipe = videos.path("pipe.mp4");
    run("mkfifo", "-m 644", &pipe);
    let this = videos.path("loop.mp4");
    std::os::unix::fs::symlink(&this, &this).unwrap();
    assert!(matches!(error_of(&videos.path("absent.mp4")).await, DecodeError::NotFound { .. }));
    assert!(matches!(error_of(&folder).await, DecodeError::NoPictures { .. }));
    assert!(
        matches!(error_of(&pipe).await, DecodeError::NotAFile { what, .. } if what == "a named pipe")
    );
    assert!(matches!(error_of(&this).await, DecodeError::NotReadable { .. }));
    assert!(matches!(error_of(&videos.write("empty.mp4", b"")).await, DecodeError::Empty { .. }));
}

#[tokio::test]
async fn a_uri_that_is_not_a_local_file() {
    let https = error_of_uri("https://example.com/a.mp4").await;
    assert!(
        matches!(&https, DecodeError::UnsupportedScheme { scheme, .. } if scheme == "https"),
        "{https:?}"
    );
    assert!(matches!(error_of_uri("file://elsewhere/a.mp4").await, DecodeError::NotLocal { .. }));
}

/// Playlists are uploaded, too, and can name any address.
#[tokio::test]
async fn a_playlist_is_an_error_and_the_addresses_in_it_are_not_opened() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let place = format!("http://{}", listener.local_addr().unwrap());
    let hls = format!(
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXTINF:2.0,\n{place}/a.ts\n\
         #EXT-X-ENDLIST\n"
    );
    let master = format!("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1280000\n{place}/low.m3u8\n");
    let dash = format!(
        "<?xml version=\"1.0\"?>\n<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" type=\"static\" \
         mediaPresentationDuration=\"PT2S\" minBufferTime=\"PT1S\" \
         profiles=\"urn:mpeg:dash:profile:isoff-on-demand:2011\"><BaseURL>{place}/</BaseURL>\
         <Period><AdaptationSet mimeType=\"video/mp4\"><Representation id=\"1\" bandwidth=\"1\">\
         <BaseURL>a.mp4</BaseURL><SegmentBase indexRange=\"0-9\"/></Representation>\
         </AdaptationSet></Period></MPD>"
    );
    let smooth = format!(
        "<?xml version=\"1.0\"?><SmoothStreamingMedia MajorVersion=\"2\" MinorVersion=\"0\" \
         Duration=\"20000000\"><StreamIndex Type=\"video\" \
         Url=\"{place}/Q({{bitrate}})/F({{start time}})\"/></SmoothStreamingMedia>"
    );
    let sdp = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=a\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
               m=video 45000 RTP/AVP 26\r\n"
        .to_owned();
    let videos = Videos::new();
    for (name, text) in [
        ("a.m3u8", hls),
        ("master.mp4", master),
        ("a.mpd", dash),
        ("a.ism", smooth),
        ("a.sdp", sdp),
    ] {
        let error = error_of(&videos.write(name, text.as_bytes())).await;
        assert!(matches!(error, DecodeError::Playlist { .. }), "{name}: {error:?}");
    }
    assert!(listener.accept().is_err(), "an address in a playlist was opened");
}

#[tokio::test]
async fn a_file_that_is_not_a_video() {
    let videos = Videos::new();
    let text = videos.write("text.mp4", "This is a text. ".repeat(500).as_bytes());
    let noise: Vec<u8> =
        (0..50_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    assert!(
        matches!(error_of(&text).await, DecodeError::NotAVideo { what, .. } if what == "a text")
    );
    assert!(matches!(
        error_of(&videos.write("noise.mp4", &noise)).await,
        DecodeError::UnknownFormat { .. }
    ));
    for name in ["sound.mp4", "sound.mkv", "sound.mp3"] {
        assert!(
            matches!(error_of(&videos.make(name, SOUND)).await, DecodeError::NoVideo { .. }),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_recording_that_was_never_finished() {
    let videos = Videos::new();
    let whole = std::fs::read(videos.make("whole.mp4", &format!("{SOURCE} {H264}"))).unwrap();
    // ffmpeg writes the table of frames (moov) last.
    let half = videos.write("half.mp4", &whole[..whole.len() / 2]);
    assert!(matches!(error_of(&half).await, DecodeError::Damaged { .. }));
}

#[tokio::test]
async fn a_video_without_a_decodable_frame() {
    let videos = Videos::new();
    let path = videos.make("zero.mp4", &format!("{SOURCE} {H264}"));
    let mut bytes = std::fs::read(path).unwrap();
    let start = bytes.windows(4).position(|tag| tag == b"mdat").unwrap() + 4;
    let end = bytes.windows(4).position(|tag| tag == b"moov").unwrap() - 4;
    bytes[start..end].fill(0);
    let error = error_of(&videos.write("zero.mp4", &bytes)).await;
    assert!(
        matches!(error, DecodeError::Damaged { .. } | DecodeError::NoFrames { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_codec_without_a_decoder() {
    let videos = Videos::new();
    let mut bytes =
        std::fs::read(videos.make("a.avi", &format!("{SOURCE} {SOUND} -c:v mpeg4"))).unwrap();
    let codes: Vec<_> = bytes
        .windows(4)
        .enumerate()
        .filter(|(_, code)| *code == b"FMP4")
        .map(|(at, _)| at)
        .collect();
    codes.into_iter().for_each(|at| bytes[at..at + 4].copy_from_slice(b"ZZZZ"));
    let error = error_of(&videos.write("b.avi", &bytes)).await;
    assert!(
        matches!(&error, DecodeError::MissingPlugin { what, package: None, .. }
            if what.contains("ZZZZ")),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_file_that_is_something_else_says_what_it_is() {
    let videos = Videos::new();
    for (name, bytes, word) in [
        ("a.mp4", &b"<!DOCTYPE html>\n<html><body>Not found</body></html>"[..], "HTML"),
        ("b.mp4", b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x4b\x04\0\x43\xbe\xb7\xe8", "gzip"),
        ("c.mp4", b"PK\x03\x04\x14\0\0\0\x08\0 a file", "ZIP"),
        ("d.mp4", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "PDF"),
        ("e.mp4", b"Return-Path: <a@example.org>\r\nTo: b@example.org\r\n\r\n", "e-mail"),
    ] {
        let error = error_of(&videos.write(name, bytes)).await;
        assert!(
            matches!(&error, DecodeError::NotAVideo { what, .. } if what.contains(word)),
            "{name}: {error:?}"
        );
    }
}

#[tokio::test]
async fn an_encrypted_video() {
    let videos = Videos::new();
    let key = "-encryption_scheme cenc-aes-ctr -encryption_key 76a6c65c5ea762046bd749a2e632ccbb \
               -encryption_kid a7e61c373e219033c21091fa607bf3b8";
    let video = videos.make("a.mp4", &format!("{SOURCE} {H264} {key}"));
    let error = error_of(&video).await;
    assert!(matches!(error, DecodeError::Encrypted { .. }), "{error:?}");
}

#[tokio::test]
async fn frames_that_exceed_the_limits_are_never_decoded() {
    let videos = Videos::new();
    let mut bytes = std::fs::read(videos.make("a.png", &format!("{SOURCE} -frames:v 1"))).unwrap();
    // PNG specification, 11.2.2: the signature, then the header chunk with width and height first,
    // and its checksum.
    bytes[16..24].copy_from_slice(&[0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff]);
    let error = error_of(&videos.write("large.png", &bytes)).await;
    assert!(
        matches!(error, DecodeError::TooLarge { width: 65_535, height: 65_535, .. }),
        "{error:?}"
    );
    let mut bytes = std::fs::read(videos.make("a.bmp", &format!("{SOURCE} -frames:v 1"))).unwrap();
    // BITMAPINFOHEADER: width and height follow its size.
    bytes[18..26].copy_from_slice(&[0xff, 0x7f, 0, 0, 0xff, 0x7f, 0, 0]);
    let error = error_of(&videos.write("large.bmp", &bytes)).await;
    assert!(
        matches!(error, DecodeError::TooLarge { width: 32_767, height: 32_767, .. }),
        "{error:?}"
    );
    let mut bytes = std::fs::read(videos.make("a.gif", &format!("{SOURCE} -frames:v 1"))).unwrap();
    bytes[6..10].fill(0xff);
    let error = error_of(&videos.write("large.gif", &bytes)).await;
    assert!(
        matches!(error, DecodeError::TooLarge { width: 65_535, height: 65_535, .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_truncated_picture() {
    let videos = Videos::new();
    for name in ["a.bmp", "a.tiff", "a.webp"] {
        let bytes = std::fs::read(videos.make(name, &format!("{SOURCE} -frames:v 1"))).unwrap();
        let error =
            error_of(&videos.write(&format!("cut-{name}"), &bytes[..bytes.len() / 2])).await;
        let DecodeError::Damaged { reason, .. } = error else { panic!("{name}: {error:?}") };
        assert!(name != "a.bmp" || reason == "its data ends too early", "{reason}");
    }
}

#[tokio::test]
async fn a_video_that_produces_no_frame_in_time() {
    let videos = Videos::new();
    let video = videos.make("a.mp4", &format!("{SOURCE} {H264}"));
    let (_, outcome) =
        decode_with(&video, DecodeSettings { stall_timeout: Duration::ZERO, ..settings() }).await;
    assert!(matches!(outcome, Err(DecodeError::Stalled { .. })), "{outcome:?}");
}
