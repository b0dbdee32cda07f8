use ciborium::{Value, cbor};
use proptest::prelude::*;

use super::*;
use crate::{Event, FrameResult, RESULT_VERSION, VERSION, VideoEvent, VideoId, from_cbor, to_cbor};

const SIZE: Size = Size { width: 640, height: 272 };
const BOUNDS: [f32; 4] = [385.974, 232.154, 437.991, 271.515];

fn objects() -> Objects {
    let limits = Limits { floor: Score::nearest(0.1), threshold: Score::nearest(0.35) };
    let mut objects = Objects::new(limits);
    for (class, label, score) in [(0, "person", 0.480_024), (2, "car", 0.35), (0, "person", 0.12)] {
        objects.push(SIZE, Object { class, label, score, bounds: BOUNDS });
    }
    objects
}

fn event(objects: Objects, size: Option<Size>) -> VideoEvent {
    let result = FrameResult {
        index: 7,
        pts: Some(280_000_000),
        decoded_at: None,
        objects,
        size,
        processing_us: 25_000,
        detector: "den".into(),
        model: Some("nanodet".into()),
    };
    VideoEvent::new(VideoId::for_name("a", "1"), Event::Frame(result))
}

fn read(bytes: &[u8]) -> Result<FrameResult, String> {
    match from_cbor::<VideoEvent>(bytes).map_err(|error| error.to_string())?.event {
        Event::Frame(result) => Ok(result),
        other => panic!("{other:?}"),
    }
}

fn bytes_of(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).unwrap();
    bytes
}

/// A result of this version with these fields, and those that all results have.
fn message(version: u8, fields: Value) -> Vec<u8> {
    let Value::Map(mut all) = cbor!({
        "index" => 7, "pts" => null, "processing_us" => 1, "detector" => "den"
    })
    .unwrap() else {
        panic!("it is a map")
    };
    all.extend(fields.into_map().unwrap());
    let event = Value::Map(vec![("frame".into(), Value::Map(all))]);
    bytes_of(&cbor!({ "version" => version, "video" => "a", "event" => event }).unwrap())
}

fn compact(scale: u32, labels: Value, numbers: &[u16]) -> Vec<u8> {
    let bytes = Value::Bytes(numbers.iter().flat_map(|number| number.to_le_bytes()).collect());
    let fields = cbor!({
        "objects" => bytes, "labels" => labels,
        "floor" => 1000, "threshold" => 3500, "scale" => scale
    });
    message(RESULT_VERSION, fields.unwrap())
}

#[test]
fn only_what_is_above_the_threshold_counts_and_a_score_equal_to_it_is_not() {
    let objects = objects();
    let labels = |objects: &mut dyn Iterator<Item = Object<'_>>| {
        objects.map(|object| object.label.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(labels(&mut objects.counted()), ["person"]);
    assert_eq!(labels(&mut objects.all()), ["person", "car", "person"]);
    assert_eq!(labels(&mut objects.above(Score::nearest(0.3499))), ["person", "car"]);
    let first = objects.all().next().unwrap();
    assert_eq!((first.score, first.class), (0.4801, 0));
    assert_eq!(first.bounds, [386.0, 232.125, 438.0, 271.5]);
}

#[test]
fn a_result_survives_a_round_trip_and_takes_12_bytes_an_object() {
    let [one, four] = [1, 4].map(|times| {
        let mut objects = objects();
        let found = objects.found.clone();
        (1..times).for_each(|_| objects.found.extend_from_slice(&found));
        let event = event(objects, Some(SIZE));
        assert_eq!(event.version, RESULT_VERSION);
        let bytes = to_cbor(&event, 0);
        assert_eq!(from_cbor::<VideoEvent>(&bytes).unwrap(), event);
        bytes.len()
    });
    assert_eq!(four - one, 9 * BYTES);
}

#[test]
fn large_frames_have_boxes_in_larger_steps() {
    for (width, step) in [(4095, 16.0), (4096, 8.0), (8191, 8.0), (16_383, 4.0), (32_768, 1.0)] {
        let size = Size { width, height: 100 };
        let right = f32::from(u16::try_from(width).unwrap());
        let mut objects = Objects::new(objects().limits().unwrap());
        let bounds = [right - 1.0 / step, 0.0, right, 100.0];
        objects.push(size, Object { class: 0, label: "a", score: 0.5, bounds });
        let event = event(objects, Some(size));
        let result = read(&to_cbor(&event, 0)).unwrap();
        assert_eq!(result.objects.all().next().unwrap().bounds, bounds, "{width}");
    }
}

#[test]
fn results_of_before_0_2_are_read_as_they_are_and_all_their_objects_count() {
    let detections = cbor!([
        { "label" => "car", "score" => 0.480_024_f32, "box" => BOUNDS },
        { "label" => "boat", "score" => 0.05_f32, "box" => [-0.5, 0.0, 1.0, 1.0] }
    ]);
    let old = message(VERSION, cbor!({ "detections" => detections.unwrap() }).unwrap());
    let result = read(&old).unwrap();
    let found: Vec<Detection> = result.objects.counted().map(Detection::from).collect();
    assert_eq!(found.len(), 2);
    assert_eq!((&*found[0].label, found[0].score, found[0].bounds), ("car", 0.480_024, BOUNDS));
    assert_eq!(result.objects.limits(), None);
    let again = event(result.objects.clone(), None);
    assert_eq!(again.version, VERSION);
    assert_eq!(read(&to_cbor(&again, 0)).unwrap().objects, result.objects);
}

#[test]
fn a_result_that_contradicts_itself_is_malformed() {
    let person = || cbor!([[0, "person"]]).unwrap();
    assert!(read(&compact(16, person(), &[0, 5000, 0, 0, 16, 16])).is_ok());
    assert!(read(&compact(16, cbor!([]).unwrap(), &[])).is_ok());
    let detection = |label: &str, score: f32, left: f32| {
        cbor!([{ "label" => label, "score" => score, "box" => [left, 0.0, 9.0, 9.0] }]).unwrap()
    };
    let old = |detections| message(VERSION, cbor!({ "detections" => detections }).unwrap());
    let both = cbor!({ "detections" => [], "objects" => Value::Bytes(vec![]) }).unwrap();
    for (message, problem) in [
        (compact(16, person(), &[0, 5000, 0, 0, 16]), "not a whole number of objects"),
        (compact(16, person(), &[1, 5000, 0, 0, 16, 16]), "class 1, which has no label"),
        (compact(16, person(), &[0, 10_001, 0, 0, 16, 16]), "the score 1.0001"),
        (compact(16, person(), &[0, 5000, 17, 0, 16, 16]), "the box"),
        (compact(16, person(), &[0, 5000, 0, 17, 16, 16]), "the box"),
        (compact(0, person(), &[]), "1/0 pixel"),
        (compact(3, person(), &[]), "1/3 pixel"),
        (compact(32, person(), &[]), "1/32 pixel"),
        (compact(65_537, person(), &[]), "65537"),
        (compact(16, cbor!([[0, "a"], [0, "b"]]).unwrap(), &[]), "two labels"),
        (compact(16, cbor!([[65_536, "a"]]).unwrap(), &[]), "65536"),
        (old(detection("a", f32::NAN, 0.0)), "the score NaN"),
        (old(detection("a", 1.5, 0.0)), "the score 1.5"),
        (old(detection("a", 0.5, f32::NAN)), "the box"),
        (old(detection("a", 0.5, f32::NEG_INFINITY)), "the box"),
        (old(detection("a", 0.5, 10.0)), "the box"),
        (message(VERSION, cbor!({}).unwrap()), "either objects"),
        (message(VERSION, both), "either objects"),
        (message(RESULT_VERSION + 1, cbor!({ "detections" => [] }).unwrap()), "version 3"),
    ] {
        let error = read(&message).unwrap_err();
        assert!(error.contains(problem), "{problem}: {error}");
    }
    let started = cbor!({ "ended" => { "frames" => 0, "decoded" => 0 } }).unwrap();
    let started = cbor!({ "version" => RESULT_VERSION, "video" => "a", "event" => started });
    let error = from_cbor::<VideoEvent>(&bytes_of(&started.unwrap())).unwrap_err();
    assert!(error.to_string().contains("version 2"), "only results have it: {error}");
}

proptest! {
    #[test]
    fn damaged_results_never_panic(
        cut in 0_usize..400, at in 0_usize..400, byte: u8, numbers: Vec<u16>, scale in 0_u32..40,
    ) {
        let whole = to_cbor(&event(objects(), Some(SIZE)), 0);
        from_cbor::<VideoEvent>(&whole[..cut.min(whole.len())]).ok();
        let mut changed = whole;
        let at = at % changed.len();
        changed[at] = byte;
        let labels = cbor!([[0, "a"], [1, "b"]]).unwrap();
        let results = [read_any(&changed), read_any(&compact(scale, labels, &numbers))];
        for result in results.into_iter().flatten() {
            for object in result.objects.all() {
                prop_assert!((0.0..=1.0).contains(&object.score));
                prop_assert!(object.bounds.iter().all(|side| side.is_finite()));
            }
            let again = event(result.objects.clone(), result.size);
            to_cbor(&again, 0);
        }
    }
}

fn read_any(bytes: &[u8]) -> Option<FrameResult> {
    match from_cbor::<VideoEvent>(bytes).ok()?.event {
        Event::Frame(result) => Some(result),
        _ => None,
    }
}
