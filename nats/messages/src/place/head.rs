//! What precedes the points: `NAME[CLASS,CLASS]@ANCHOR:`.

use std::fmt;
use std::str::FromStr;

use super::{MAX_LABEL, MAX_NAME, MOST_LABELS, PlaceProblem};

/// The point of a box that stands for the object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Anchor {
    /// The middle of the lower side, where a person stands.
    #[default]
    Bottom,
    /// The centre.
    Centre,
    /// The middle of the upper side.
    Top,
    /// The middle of the left side.
    Left,
    /// The middle of the right side.
    Right,
}

impl Anchor {
    /// How each is written; `center` is read too.
    pub const NAMES: [&str; 5] = ["bottom", "centre", "top", "left", "right"];

    /// Where it is in a box: left, top, right, bottom.
    pub fn of(self, [left, top, right, bottom]: [f64; 4]) -> [f64; 2] {
        let (x, y) = ((left + right) / 2.0, (top + bottom) / 2.0);
        match self {
            Self::Bottom => [x, bottom],
            Self::Centre => [x, y],
            Self::Top => [x, top],
            Self::Left => [left, y],
            Self::Right => [right, y],
        }
    }
}

impl fmt::Display for Anchor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bottom => "bottom",
            Self::Centre => "centre",
            Self::Top => "top",
            Self::Left => "left",
            Self::Right => "right",
        })
    }
}

impl FromStr for Anchor {
    type Err = PlaceProblem;

    fn from_str(text: &str) -> Result<Self, PlaceProblem> {
        match text {
            "bottom" => Ok(Self::Bottom),
            "centre" | "center" => Ok(Self::Centre),
            "top" => Ok(Self::Top),
            "left" => Ok(Self::Left),
            "right" => Ok(Self::Right),
            _ => Err(PlaceProblem::Anchor(text.chars().take(80).collect())),
        }
    }
}

/// What lines and zones have in common.
pub(super) struct Head {
    pub(super) name: String,
    pub(super) labels: Vec<String>,
    pub(super) anchor: Anchor,
}

impl Head {
    /// Also returns what follows the colon.
    pub(super) fn parse(text: &str) -> Result<(Self, &str), PlaceProblem> {
        // The name of a class may contain a colon, the name of a line cannot.
        let end = text.find(['[', '@', ':']).ok_or(PlaceProblem::NoColon)?;
        let (name, mut rest) = text.split_at(end);
        let name = name.trim();
        check_name(name)?;
        let mut labels = Vec::new();
        if let Some(list) = rest.strip_prefix('[') {
            let (list, after) = list.split_once(']').ok_or(PlaceProblem::Labels)?;
            for label in list.split(',').take(MOST_LABELS + 1) {
                let label = label.split_whitespace().collect::<Vec<_>>().join(" ");
                if label.is_empty() || label.len() > MAX_LABEL || labels.len() == MOST_LABELS {
                    return Err(PlaceProblem::Labels);
                }
                if !labels.contains(&label) {
                    labels.push(label);
                }
            }
            rest = after.trim_start();
        }
        let mut anchor = Anchor::default();
        if let Some(after) = rest.strip_prefix('@') {
            let (name, _) = after.split_once(':').ok_or(PlaceProblem::NoColon)?;
            anchor = name.trim().parse()?;
            rest = &after[name.len()..];
        }
        let rest = rest.trim_start().strip_prefix(':').ok_or(PlaceProblem::NoColon)?;
        Ok((Self { name: name.to_owned(), labels, anchor }, rest))
    }

    pub(super) fn write(
        f: &mut fmt::Formatter<'_>,
        name: &str,
        labels: &[String],
        anchor: Anchor,
    ) -> fmt::Result {
        f.write_str(name)?;
        if !labels.is_empty() {
            write!(f, "[{}]", labels.join(","))?;
        }
        if anchor != Anchor::default() {
            write!(f, "@{anchor}")?;
        }
        f.write_str(":")
    }
}

/// Checks the name of a line or a zone.
pub(crate) fn check_name(name: &str) -> Result<(), PlaceProblem> {
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    if (1..=MAX_NAME).contains(&name.len()) && name.chars().all(allowed) {
        Ok(())
    } else {
        Err(PlaceProblem::Name(name.chars().take(MAX_NAME).collect()))
    }
}
