//! Tells videos of the same name apart.

use std::collections::{HashMap, HashSet};

use moliceiro_nats::messages::{Upload, printable, shown_uri};
use percent_encoding::percent_decode_str;
use url::Url;

use crate::inputs::VideoInput;

/// Gives videos of the same name, in different places, the shortest names that differ.
pub(crate) fn distinguish(inputs: &mut [VideoInput]) {
    let mut by_name = HashMap::<String, Vec<usize>>::new();
    for (index, input) in inputs.iter().enumerate() {
        by_name.entry(input.name.clone()).or_default().push(index);
    }
    for same in by_name.into_values().filter(|same| same.len() > 1) {
        let places: Vec<_> = same.iter().map(|&index| place(&inputs[index].uri)).collect();
        for (index, name) in same.iter().zip(shortest(&places)) {
            inputs[*index].name = Upload::shortened(name);
        }
    }
}

/// The parts of a URI, from the host or the root to the last. The query belongs to the last part
/// only if nothing else differs, so it comes first.
fn place(uri: &Url) -> Vec<String> {
    let decoded = |part: &str| printable(&percent_decode_str(part).collect::<Vec<_>>());
    let mut parts = vec![shown_uri(uri)];
    parts.extend(uri.host_str().map(str::to_owned));
    parts.extend(
        uri.path_segments().into_iter().flatten().filter(|part| !part.is_empty()).map(decoded),
    );
    parts
}

/// For each place, its last parts, as few as no other place ends with. A place that only its first
/// part tells from others is called by that part.
fn shortest(places: &[Vec<String>]) -> Vec<String> {
    let longest = places.iter().map(Vec::len).max().unwrap_or(0);
    let mut names = vec![None; places.len()];
    for length in 1..longest {
        let end = |place: &[String]| place[place.len().saturating_sub(length).max(1)..].join("/");
        let mut different = HashMap::<String, HashSet<&[String]>>::new();
        for place in places {
            different.entry(end(place)).or_default().insert(place);
        }
        for (name, place) in names.iter_mut().zip(places).filter(|(name, _)| name.is_none()) {
            let end = end(place);
            *name = (different[&end].len() == 1).then_some(end);
        }
    }
    let whole = |place: &Vec<String>| place.first().cloned().unwrap_or_default();
    names
        .into_iter()
        .zip(places)
        .map(|(name, place)| name.unwrap_or_else(|| whole(place)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(uris: &[&str]) -> Vec<String> {
        let mut inputs: Vec<_> =
            uris.iter().map(|uri| VideoInput::parse(uri.as_ref()).unwrap()).collect();
        distinguish(&mut inputs);
        inputs.into_iter().map(|input| input.name).collect()
    }

    #[test]
    fn names_are_as_short_as_they_can_be() {
        for (uris, expected) in [
            (&["/a/x.mp4", "/b/y.mp4"][..], &["x.mp4", "y.mp4"][..]),
            (&["/a/x.mp4", "/b/x.mp4", "/b/y.mp4"], &["a/x.mp4", "b/x.mp4", "y.mp4"]),
            (&["/c/a/x.mp4", "/d/a/x.mp4", "/c/b/x.mp4"], &["c/a/x.mp4", "d/a/x.mp4", "b/x.mp4"]),
            (&["/a/x.mp4", "/a/x.mp4"], &["x.mp4", "x.mp4"]),
            (&["/a/x.mp4", "/a/x.mp4", "/b/x.mp4"], &["a/x.mp4", "a/x.mp4", "b/x.mp4"]),
            (&["/x.mp4", "/a/x.mp4"], &["x.mp4", "a/x.mp4"]),
            (&["http://h/x.mp4", "http://i/x.mp4"], &["h/x.mp4", "i/x.mp4"]),
            (&["http://h/x?1", "http://h/x?2"], &["http://h/x?1", "http://h/x?2"]),
            (&["/%/x.mp4", "/b c/x.mp4"], &["%/x.mp4", "b c/x.mp4"]),
        ] {
            assert_eq!(names(uris), expected, "{uris:?}");
        }
    }
}
