//! The error for a name that does not exist, with the nearest one that does.

use crate::problem::Problem;

/// Names that are less alike are not suggested.
const SIMILAR: f64 = 0.7;

/// The error for an unknown `kind`, such as a query parameter, of this name.
pub(crate) fn unknown<'a>(
    kind: &str,
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Problem {
    let known: Vec<_> = known.into_iter().collect();
    let lower = name.to_lowercase();
    let likeness = |other: &&&str| strsim::jaro_winkler(&lower, other);
    let nearest = known
        .iter()
        .max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
        .filter(|nearest| likeness(nearest) >= SIMILAR);
    let advice = match nearest {
        Some(nearest) => format!("did you mean {nearest}?"),
        None if known.is_empty() => format!("this request has no {kind}"),
        None => format!("known are {}", known.join(", ")),
    };
    let name: String = name.chars().take(80).collect();
    Problem::bad_request(format!("unknown {kind} {name:?}: {advice}"))
}
