//! Classes that lines, zones and rules name, and names that are like other names.

use std::collections::HashSet;
use std::fmt;

use thiserror::Error;

use crate::{AlarmRule, Tracking};

/// Names that are less alike are not suggested.
const SIMILAR: f64 = 0.7;
/// Classes that an error lists if none is like the one that was asked for.
const SHOWN: usize = 5;
/// Of a longer name, the beginning is compared.
const COMPARED: usize = 100;

/// The name that is most like `name`, if any is like it.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower =
        |name: &str| name.chars().flat_map(char::to_lowercase).take(COMPARED).collect::<String>();
    let name = lower(name);
    let likeness = |other| (strsim::jaro_winkler(&name, &lower(other)), other);
    let alike = known.into_iter().map(likeness).filter(|(likeness, _)| *likeness >= SIMILAR);
    // Of equals, the first.
    let nearest = alike.reduce(|best, next| if next.0 > best.0 { next } else { best });
    nearest.map(|(_, other)| other)
}

/// The name of a class for several objects.
pub fn plural(class: &str) -> String {
    let ends = |endings: &[&str]| endings.iter().any(|ending| class.ends_with(ending));
    let replaced = |ending: &str, by: &str| {
        class.strip_suffix(ending).map(|beginning| format!("{beginning}{by}"))
    };
    let is_vowel = |c: char| "aeiou".contains(c);
    let after_consonant = class.chars().rev().nth(1).is_some_and(|c| !is_vowel(c));
    let irregular = replaced("mouse", "mice").or_else(|| replaced("ife", "ives"));
    match irregular {
        Some(irregular) => irregular,
        None if ends(&["sheep", "fish", "deer", "aircraft"]) => class.to_owned(),
        None if ends(&["us", "ss", "x", "z", "ch", "sh"]) => format!("{class}es"),
        // Skis and scissors are several already.
        None if ends(&["s"]) => class.to_owned(),
        None if ends(&["y"]) && after_consonant => {
            replaced("y", "ies").unwrap_or_else(|| class.to_owned())
        }
        None => format!("{class}s"),
    }
}

/// A line, a zone or a rule is about a class that the video's model does not have. The text is what
/// follows the upload's field.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("have {text:?}, and the model does not have the class {label:?}: {advice}")]
pub struct UnknownClass {
    /// `lines`, `zones` or `alarms`.
    field: &'static str,
    /// The rule, or what precedes the points of a line or zone.
    text: String,
    /// The class, as it is written.
    pub label: String,
    /// What to write instead.
    pub advice: Advice,
}

/// What to write instead of an unknown class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Advice {
    /// A class that is written in a similar way.
    Nearest(String),
    /// Some of the model's classes, and how many there are.
    Among(Vec<String>, usize),
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nearest(nearest) => write!(f, "did you mean {nearest:?}?"),
            Self::Among(some, all) if some.len() == *all => {
                write!(f, "its classes are {}", some.join(", "))
            }
            Self::Among(some, all) => {
                write!(f, "its {all} classes are {} and others", some.join(", "))
            }
        }
    }
}

impl UnknownClass {
    /// The upload's field.
    pub fn field(&self) -> &'static str {
        self.field
    }

    fn new(field: &'static str, text: String, label: &str, known: &[String]) -> Self {
        let advice = match nearest(label, known.iter().map(String::as_str)) {
            Some(nearest) => Advice::Nearest(nearest.to_owned()),
            None => Advice::Among(known.iter().take(SHOWN).cloned().collect(), known.len()),
        };
        Self { field, text, label: label.to_owned(), advice }
    }
}

/// Checks that the model has the classes that lines, zones and rules name. `known` are the classes
/// of all models that analyse the video.
pub(crate) fn check_classes(
    tracking: &Tracking,
    alarms: &[AlarmRule],
    known: &[String],
) -> Result<(), UnknownClass> {
    let classes: HashSet<&str> = known.iter().map(String::as_str).collect();
    let lines = tracking.lines.iter().map(|line| ("lines", &line.name, &line.labels));
    let zones = tracking.zones.iter().map(|zone| ("zones", &zone.name, &zone.labels));
    for (field, name, labels) in lines.chain(zones) {
        if let Some(label) = labels.iter().find(|label| !classes.contains(label.as_str())) {
            return Err(UnknownClass::new(field, format!("{name}[{label}]"), label, known));
        }
    }
    let is_unknown = |rule: &&AlarmRule| !known.iter().any(|class| rule.counts(class));
    match alarms.iter().find(is_unknown) {
        Some(rule) => Err(UnknownClass::new("alarms", rule.to_string(), &rule.label, known)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ModelDescription;

    #[test]
    fn an_unknown_class_is_an_error_that_names_the_field_and_the_nearest_class() {
        let known = ModelDescription::builtin_labels();
        let check = |lines: &[&str], zones: &[&str], rules: &[&str]| {
            let tracking = Tracking {
                tracker: None,
                lines: lines.iter().map(|line| line.parse().unwrap()).collect(),
                zones: zones.iter().map(|zone| zone.parse().unwrap()).collect(),
            };
            let rules: Vec<AlarmRule> = rules.iter().map(|rule| rule.parse().unwrap()).collect();
            tracking.check_classes(&rules, &known)
        };
        let quay = "quay: 0,0 1,0 1,1";
        for rules in [
            &["person > 3", "traffic light crosses gate"][..],
            &["3 persons in quay", "2 people in quay", "2 buses in quay", "bus in quay"],
        ] {
            assert_eq!(check(&["gate[car,person]: 0,0 1,1"], &[quay], rules), Ok(()), "{rules:?}");
        }
        for (error, field, text) in [
            (
                check(&["a: 0,0 1,1", "gate[car,persn]@top: 0,0 1,1"], &[], &[]),
                "lines",
                "have \"gate[persn]\", and the model does not have the class \"persn\": did you \
                 mean \"person\"?",
            ),
            (
                check(&[], &["quay[Car]: 0,0 1,0 1,1"], &[]),
                "zones",
                "have \"quay[Car]\", and the model does not have the class \"Car\": did you mean \
                 \"car\"?",
            ),
            (
                check(&[], &[], &["car > 1", "persons > 3"]),
                "alarms",
                "have \"persons > 3\", and the model does not have the class \"persons\": did you \
                 mean \"person\"?",
            ),
            (
                check(&[], &[quay], &["3 zzzs in quay"]),
                "alarms",
                "have \"3 zzzs in quay\", and the model does not have the class \"zzzs\": its 80 \
                 classes are person, bicycle, car, motorcycle, airplane and others",
            ),
        ] {
            let error = error.unwrap_err();
            assert_eq!((error.field(), &error.to_string()[..]), (field, text));
        }
    }

    #[test]
    fn several_objects_of_a_class() {
        for (one, several) in [
            ("person", "persons"),
            ("traffic light", "traffic lights"),
            ("bus", "buses"),
            ("bench", "benches"),
            ("wine glass", "wine glasses"),
            ("toothbrush", "toothbrushes"),
            ("ferry", "ferries"),
            ("toy", "toys"),
            ("knife", "knives"),
            ("giraffe", "giraffes"),
            ("mouse", "mice"),
            ("sheep", "sheep"),
            ("skis", "skis"),
            ("y", "ys"),
            ("été", "étés"),
            ("", "s"),
        ] {
            assert_eq!(plural(one), several);
        }
    }

    #[test]
    fn names_are_compared_without_case_and_to_a_bounded_length() {
        let known = ["boat", "boot"];
        assert_eq!(nearest("BOOT", known), Some("boot"));
        assert_eq!(nearest("xyz", known), None);
        assert_eq!(nearest("boat", []), None);
        let long = "boat".repeat(1_000_000);
        assert_eq!(nearest(&long, [&long[..]]), Some(&long[..]));
    }
}
