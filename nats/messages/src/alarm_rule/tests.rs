use super::*;
use crate::{Detection, FrameResult, PlaceKind, Size};

fn rule(text: &str) -> AlarmRule {
    text.parse().unwrap()
}

#[test]
fn a_rule_survives_a_round_trip_through_text() {
    for (text, printed) in [
        ("person > 10", "person > 10"),
        ("boat>=1  for 3 frames", "boat >= 1 for 3 frames"),
        (" traffic   light == 0 ", "traffic light == 0"),
        ("car <= 2 for 1 frame", "car <= 2"),
        (
            "car >= 2 in 0.1,0.5 0.9,0.5 0.9,1 0.1,1 for 2 frames",
            "car >= 2 in 0.1,0.5 0.9,0.5 0.9,1 0.1,1 for 2 frames",
        ),
    ] {
        assert_eq!(rule(text).to_string(), printed);
        assert_eq!(rule(printed), rule(text));
        assert_eq!(serde_json::to_string(&rule(text)).unwrap(), format!("{printed:?}"));
    }
    assert_eq!(rule("person > 10"), AlarmRule::more_than("person", 10));
}

#[test]
fn the_default_rule_is_what_it_is_written_as() {
    assert_eq!(rule("person > 10"), AlarmRule::more_than("person", 10));
}

#[test]
fn a_malformed_rule_is_refused_with_the_reason_and_examples() {
    for (text, part) in [
        ("person", "none of > >="),
        ("> 10", "name of a class"),
        ("person = 10", "comparisons are"),
        ("person => 10", "comparisons are"),
        ("person > ten", "\"ten\" is not a number"),
        ("person > -1", "\"-1\" is not a number"),
        ("person > 1 for frames", "not a number of frames"),
        ("person > 1 for 0 frames", "not a number of frames"),
        ("person > 1 for 3", "followed by \"frames\""),
        ("person > 1 for 3 frames in 0,0 1,0 1,1", "\"in\" is not expected"),
        ("person > 1 in 0,0 1,1", "3 to 64 points, not 2"),
        ("person > 1 in 0,0 1,1 2,1", "2 is not from 0 to 1"),
        ("person > 1 in 0,0 1,1 NaN,1", "not from 0 to 1"),
        ("person > 1 in 0,0 1,1 1", "\"1\" is not a point"),
    ] {
        let error = text.parse::<AlarmRule>().unwrap_err().to_string();
        assert!(
            error.contains(part) && error.contains("such as \"person > 10\""),
            "{text}: {error}"
        );
    }
}

#[test]
fn each_comparison_holds_for_the_counts_it_names() {
    for (sign, holds) in
        [(">", [false, false, true]), (">=", [false, true, true]), ("<", [true, false, false])]
    {
        assert_eq!([1, 2, 3].map(|n| rule(&format!("a {sign} 2")).holds(n)), holds, "{sign}");
    }
    assert_eq!([1, 2, 3].map(|n| rule("a <= 2").holds(n)), [true, true, false]);
    assert_eq!([1, 2, 3].map(|n| rule("a == 2").holds(n)), [false, true, false]);
}

#[test]
fn an_object_is_in_a_region_if_its_centre_is() {
    let at = |x: f32, y: f32| Detection {
        label: "car".into(),
        score: 0.9,
        bounds: [x - 30.0, y - 2.0, x + 30.0, y + 2.0],
    };
    let size = Some(Size { width: 200, height: 100 });
    let detections = vec![at(20.0, 80.0), at(180.0, 20.0), at(100.0, 40.0), at(100.0, 60.0)];
    let frame = FrameResult {
        index: 0,
        pts: None,
        decoded_at: None,
        objects: detections.try_into().unwrap(),
        size,
        processing_us: 0,
        detector: "d".into(),
        model: None,
    };
    for (region, count) in [
        ("", 4),
        (" in 0,0 1,0 1,1 0,1", 4),
        (" in 0,0.5 1,0.5 1,1 0,1", 2),
        (" in 0,0 1,1 0,1", 2),
        // Not convex: the notch excludes the area above the middle.
        (" in 0,0 0.4,0 0.5,0.5 0.6,0 1,0 1,1 0,1", 3),
    ] {
        assert_eq!(rule(&format!("car > 0{region}")).count_in(&frame), count, "{region}");
        assert_eq!(rule(&format!("person > 0{region}")).count_in(&frame), 0);
    }
    let sizeless = FrameResult { size: None, ..frame };
    assert_eq!(rule("car > 0").count_in(&sizeless), 4);
    assert_eq!(rule("car > 0 in 0,0 1,0 1,1 0,1").count_in(&sizeless), 0);
}

#[test]
fn a_rule_about_tracks_survives_a_round_trip_through_text() {
    for (text, printed, place) in [
        ("person crosses gate", "person crosses gate", Some((PlaceKind::Line, "gate"))),
        (
            " traffic  light crosses gate  inwards ",
            "traffic light crosses gate inwards",
            Some((PlaceKind::Line, "gate")),
        ),
        ("car crosses a-1 outwards", "car crosses a-1 outwards", Some((PlaceKind::Line, "a-1"))),
        ("person in quay", "person in quay", Some((PlaceKind::Zone, "quay"))),
        ("person in quay for 90s", "person in quay for 1m30s", Some((PlaceKind::Zone, "quay"))),
        ("3 persons in quay", "3 persons in quay", Some((PlaceKind::Zone, "quay"))),
        (
            "3 persons in quay for 1 min",
            "3 persons in quay for 1m",
            Some((PlaceKind::Zone, "quay")),
        ),
        ("car stops for 10s in bay", "car stops for 10s in bay", Some((PlaceKind::Zone, "bay"))),
        ("car stops for 1m 500ms", "car stops for 1m500ms", None),
        // Names that are words of the language.
        ("person in in for 2s", "person in in for 2s", Some((PlaceKind::Zone, "in"))),
        ("person crosses for", "person crosses for", Some((PlaceKind::Line, "for"))),
    ] {
        let read = rule(text);
        assert_eq!(read.to_string(), printed);
        assert_eq!(rule(printed), read);
        assert_eq!((read.place(), read.needs_tracks(), read.frames()), (place, true, 1));
    }
    assert!(!rule("person > 10").needs_tracks());
}

#[test]
fn a_malformed_rule_about_tracks_is_refused_with_the_reason() {
    for (text, part) in [
        ("crosses gate", "name of a class"),
        ("3 in quay", "name of a class"),
        ("0 persons in quay", "\"0\" is not a number of objects"),
        ("person crosses", "\"\" is not the name of a line"),
        ("person crosses a:b", "\"a:b\" is not the name of a line"),
        ("person crosses gate sideways", "\"sideways\" is not expected"),
        ("person in 0,0 1,1 0,1", "\"0,0\" is not the name of a zone"),
        ("person in quay for", "\"\" is not a time"),
        ("person in quay for 30", "\"30\" is not a time"),
        ("person in quay for 0s", "\"0s\" is not a time"),
        ("person in quay for 8days", "\"8days\" is not a time"),
        ("person in quay for 3 frames", "\"3 frames\" is not a time"),
        ("car stops", "\"\" is not a time"),
        ("car stops in bay", "\"\" is not a time"),
        ("car stops for 10s in", "\"\" is not the name of a zone"),
        ("car stops for 10s in bay now", "\"now\" is not expected"),
    ] {
        let error = text.parse::<AlarmRule>().unwrap_err().to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
}

#[test]
fn several_objects_may_be_written_in_the_plural() {
    for (word, class) in [
        ("persons", "person"),
        ("people", "person"),
        ("person", "person"),
        ("buses", "bus"),
        ("ferries", "ferry"),
        ("skis", "skis"),
    ] {
        assert!(rule(&format!("2 {word} in quay")).counts(class), "{word}");
    }
    assert!(!rule("2 persons in quay").counts("car"));
    assert!(!rule("persons in quay").counts("person"), "of one object");
}
