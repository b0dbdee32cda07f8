//! The error for a name that does not exist, with the nearest one that does.

use moliceiro_nats::messages::nearest;

use crate::problem::Problem;

/// The error for an unknown `kind`, such as a query parameter, of this name.
pub(crate) fn unknown<'a>(
    kind: &str,
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Problem {
    let known: Vec<_> = known.into_iter().collect();
    let advice = match nearest(name, known.iter().copied()) {
        Some(nearest) => format!("did you mean {nearest}?"),
        None if known.is_empty() => format!("this request has no {kind}"),
        None => format!("known are {}", known.join(", ")),
    };
    let name: String = name.chars().take(80).collect();
    Problem::bad_request(format!("unknown {kind} {name:?}: {advice}"))
}
