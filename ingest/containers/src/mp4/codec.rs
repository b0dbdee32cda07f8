//! What people call the codecs, by the type of a sample description.

/// The name of a codec. `description` is the content of its sample description.
pub(super) fn name(kind: [u8; 4], description: &[u8]) -> Option<&'static str> {
    Some(match &kind {
        b"avc1" | b"avc2" | b"avc3" | b"avc4" | b"ai12" | b"ai15" | b"ai55" => "H.264",
        b"hvc1" | b"hev1" | b"hvc2" | b"hev2" => "HEVC",
        b"dvh1" | b"dvhe" => "HEVC (Dolby Vision)",
        b"dva1" | b"dvav" => "H.264 (Dolby Vision)",
        b"vvc1" | b"vvi1" => "VVC",
        b"evc1" => "EVC",
        b"av01" => "AV1",
        b"dav1" => "AV1 (Dolby Vision)",
        b"vp08" => "VP8",
        b"vp09" => "VP9",
        b"apcn" | b"apcs" | b"apco" | b"apch" | b"ap4h" | b"ap4x" => "ProRes",
        b"aprn" | b"aprh" => "ProRes RAW",
        b"AVdn" => "DNxHD",
        b"AVdh" => "DNxHR",
        b"CFHD" => "CineForm",
        b"mp4v" => mpeg4(description),
        b"XVID" | b"xvid" | b"DIVX" | b"DX50" | b"FMP4" | b"fmp4" | b"3IV2" => "MPEG-4 Part 2",
        b"s263" | b"h263" | b"H263" => "H.263",
        b"h261" => "H.261",
        b"m1v " | b"m1v1" | b"mp1v" => "MPEG-1",
        b"m2v1" | b"mp2v" | b"mpg2" | b"MPEG" => "MPEG-2",
        [b'h', b'd', b'v', _] | [b'x', b'd', b'v', _] | [b'x', b'd', b'5', _] => "MPEG-2",
        [b'm', b'x', b'3' | b'4' | b'5', _] => "MPEG-2",
        b"jpeg" | b"mjpa" | b"mjpb" | b"MJPG" | b"AVDJ" | b"dmb1" => "JPEG",
        b"mjp2" | b"MJ2 " => "JPEG 2000",
        b"png " | b"MPNG" => "PNG",
        b"tiff" => "TIFF",
        b"gif " => "GIF",
        b"WEBP" => "WebP",
        b"Hap1" | b"Hap5" | b"HapY" | b"HapM" | b"HapA" | b"Hap7" | b"HapH" => "HAP",
        [b'U', b'L' | b'Q' | b'M', _, _] => "Ut Video",
        b"FFV1" => "FFV1",
        b"HFYU" | b"FFVH" => "HuffYUV",
        b"M8RG" | b"M8RA" | b"M8Y0" | b"M8Y2" | b"M8Y4" | b"MAGY" => "MagicYUV",
        b"SHQ0" | b"SHQ1" | b"SHQ2" | b"SHQ3" | b"SHQ4" | b"SHQ5" | b"SHQ7" | b"SHQ9" => "SpeedHQ",
        b"drac" | b"BBCD" => "Dirac",
        b"vc-1" | b"WVC1" => "VC-1",
        b"dvc " | b"dvcp" | b"dvpp" | b"dv5n" | b"dv5p" | b"dvp " | b"CDVC" | b"AVdv" | b"AVd1" => {
            "DV"
        }
        b"dvhp" | b"dvhq" | b"dvh2" | b"dvh3" | b"dvh5" | b"dvh6" => "DVCPRO HD",
        b"pxlt" => "Pixlet",
        b"icod" => "Apple Intermediate Codec",
        b"rle " => "QuickTime Animation",
        b"rpza" => "QuickTime Video",
        b"smc " => "QuickTime Graphics",
        b"cvid" => "Cinepak",
        b"SVQ1" | b"svq1" => "Sorenson Video",
        b"SVQ3" => "Sorenson Video 3",
        b"VP31" => "VP3",
        b"IV31" | b"IV32" | b"IV50" => "Indeo",
        b"8BPS" => "Planar RGB",
        b"raw " | b"2vuy" | b"2Vuy" | b"yuvs" | b"yuv2" | b"v210" | b"v216" | b"v308" | b"v408"
        | b"v410" | b"b16g" | b"b48r" | b"b64a" | b"r210" | b"R10g" | b"BGRA" | b"ABGR"
        | b"RGBA" | b"ARGB" | b"UYVY" | b"yv12" | b"I420" | b"uncv" | b"AVUI" | b"avr " => {
            "uncompressed"
        }
        _ => return None,
    })
}

/// ISO/IEC 14496-1, `ESDescriptor`: its `objectTypeIndication` tells the codec.
fn mpeg4(description: &[u8]) -> &'static str {
    match object_type(description) {
        Some(0x60..=0x65) => "MPEG-2",
        Some(0x6a) => "MPEG-1",
        Some(0x6c) => "JPEG",
        Some(0x6d) => "PNG",
        Some(0x6e) => "JPEG 2000",
        Some(0x21) => "H.264",
        _ => "MPEG-4 Part 2",
    }
}

fn object_type(description: &[u8]) -> Option<u8> {
    let at = description.windows(4).position(|kind| kind == b"esds")?;
    let rest = descriptor(description.get(at + 8..)?, 3)?;
    let flags = *rest.get(2)?;
    let optional = usize::from(flags & 0x80 != 0) * 2
        + usize::from(flags & 0x20 != 0) * 2
        + if flags & 0x40 != 0 { 1 + usize::from(*rest.get(3)?) } else { 0 };
    descriptor(rest.get(3 + optional..)?, 4)?.first().copied()
}

/// The content of a descriptor with this tag. Its length is in bytes of seven bits.
fn descriptor(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    let lengths = bytes.strip_prefix(&[tag])?;
    let size = lengths.iter().take(4).position(|byte| byte & 0x80 == 0)?;
    lengths.get(size + 1..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_type_tells_the_codec() {
        let description = |kind| {
            let mut bytes = vec![0; 78];
            bytes.extend(b"\0\0\0\x20esds\0\0\0\0\x03\x80\x80\x80\x15\0\x01\0\x04\x0d");
            bytes.push(kind);
            bytes
        };
        assert_eq!(name(*b"mp4v", &description(0x20)), Some("MPEG-4 Part 2"));
        assert_eq!(name(*b"mp4v", &description(0x61)), Some("MPEG-2"));
        assert_eq!(name(*b"mp4v", &description(0x6c)), Some("JPEG"));
        assert_eq!(name(*b"mp4v", b"esds"), Some("MPEG-4 Part 2"));
    }
}
