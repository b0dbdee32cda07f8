use std::str::FromStr;
use std::time::Duration;

use super::{
    AlarmRule, COMPARISONS, Condition, LONGEST, MAX_LABEL_LENGTH, MOST_FRAMES, MalformedRule,
    Region, RuleProblem,
};
use crate::place::{Direction, PlaceKind, check_name};

impl FromStr for AlarmRule {
    type Err = MalformedRule;

    fn from_str(text: &str) -> Result<Self, MalformedRule> {
        let parsed = match text.find(['<', '>', '=']) {
            Some(at) => of_frames(text, at),
            None => of_tracks(text),
        };
        parsed.map_err(|problem| MalformedRule { rule: beginning(text), problem })
    }
}

fn beginning(text: &str) -> String {
    text.chars().take(80).collect()
}

fn label(text: &str) -> Result<String, RuleProblem> {
    let label = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if label.is_empty() || label.len() > MAX_LABEL_LENGTH {
        return Err(RuleProblem::Label);
    }
    Ok(label)
}

fn of_frames(text: &str, comparison_at: usize) -> Result<AlarmRule, RuleProblem> {
    let (before, rest) = text.split_at(comparison_at);
    let label = label(before)?;
    let found = COMPARISONS
        .into_iter()
        .find_map(|(sign, comparison)| Some((comparison, rest.strip_prefix(sign)?)));
    let (comparison, rest) = found.ok_or(RuleProblem::Comparison)?;
    let mut words = rest.split_whitespace().peekable();
    let count = words.next().unwrap_or_default();
    let count = count.parse().map_err(|_| RuleProblem::Count(count.to_owned()))?;
    let region = match words.next_if_eq(&"in") {
        Some(_) => Some(Region::new(
            std::iter::from_fn(|| words.next_if(|word| *word != "for"))
                .map(point)
                .collect::<Result<_, _>>()?,
        )?),
        None => None,
    };
    let frames = match words.next_if_eq(&"for") {
        Some(_) => {
            let number = words.next().unwrap_or_default();
            let frames = number.parse().ok().filter(|n| (1..=MOST_FRAMES).contains(n));
            let frames = frames.ok_or_else(|| RuleProblem::Frames(number.to_owned()))?;
            words
                .next_if(|word| ["frame", "frames"].contains(word))
                .ok_or(RuleProblem::FramesUnit)?;
            frames
        }
        None => 1,
    };
    match words.next() {
        Some(word) => Err(RuleProblem::Unexpected(word.to_owned())),
        None => {
            let condition = Condition::Count { comparison, count, region, frames };
            Ok(AlarmRule { label, condition })
        }
    }
}

fn point(text: &str) -> Result<[f32; 2], RuleProblem> {
    let point = text.split_once(',').and_then(|(x, y)| Some([x.parse().ok()?, y.parse().ok()?]));
    point.ok_or_else(|| RuleProblem::Point(text.to_owned()))
}

type Words<'a> = std::iter::Peekable<std::slice::Iter<'a, &'a str>>;

fn of_tracks(text: &str) -> Result<AlarmRule, RuleProblem> {
    let words: Vec<_> = text.split_whitespace().collect();
    let is_verb = |word: &&str| ["crosses", "in", "stops"].contains(word);
    let at = words.iter().position(is_verb).ok_or(RuleProblem::NoComparison)?;
    let (before, verb, mut rest) = (&words[..at], words[at], words[at + 1..].iter().peekable());
    let count = match before.first().and_then(|word| word.parse::<u32>().ok()) {
        Some(count) if verb == "in" => Some(count),
        _ => None,
    };
    if count == Some(0) {
        return Err(RuleProblem::Count("0".into()));
    }
    let label = label(&before[usize::from(count.is_some())..].join(" "))?;
    let condition = match (verb, count) {
        ("crosses", _) => Condition::Crosses {
            line: place(&mut rest, PlaceKind::Line)?,
            direction: match rest.next_if(|word| ["inwards", "outwards"].contains(word)) {
                Some(&"inwards") => Some(Direction::In),
                Some(_) => Some(Direction::Out),
                None => None,
            },
        },
        ("stops", _) => Condition::Stops {
            time: match rest.next_if_eq(&&"for") {
                Some(_) => time(&mut rest)?,
                None => return Err(RuleProblem::Time(String::new())),
            },
            zone: match rest.next_if_eq(&&"in") {
                Some(_) => Some(place(&mut rest, PlaceKind::Zone)?),
                None => None,
            },
        },
        (_, count) => {
            let zone = place(&mut rest, PlaceKind::Zone)?;
            let time = match rest.next_if_eq(&&"for") {
                Some(_) => time(&mut rest)?,
                None => Duration::ZERO,
            };
            match count {
                Some(count) => Condition::Together { count, zone, time },
                None => Condition::Stays { zone, time },
            }
        }
    };
    match rest.next() {
        Some(word) => Err(RuleProblem::Unexpected(beginning(word))),
        None => Ok(AlarmRule { label, condition }),
    }
}

fn place(words: &mut Words<'_>, kind: PlaceKind) -> Result<String, RuleProblem> {
    let name = words.next().copied().unwrap_or_default();
    match check_name(name) {
        Ok(()) => Ok(name.to_owned()),
        Err(_) => Err(RuleProblem::Place(beginning(name), kind)),
    }
}

/// Everything up to `in` or the end.
fn time(words: &mut Words<'_>) -> Result<Duration, RuleProblem> {
    let text: Vec<_> =
        std::iter::from_fn(|| words.next_if(|word| **word != "in").copied()).collect();
    let text = text.join(" ");
    // A part of a millisecond would be printed as several words.
    humantime::parse_duration(&text)
        .ok()
        .and_then(|time| u64::try_from(time.as_millis()).ok())
        .map(Duration::from_millis)
        .filter(|time| !time.is_zero() && *time <= LONGEST)
        .ok_or_else(|| RuleProblem::Time(beginning(&text)))
}
