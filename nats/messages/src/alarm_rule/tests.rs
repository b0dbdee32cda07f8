use super::*;
use crate::{Detection, FrameResult, Size};

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
        detections,
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
