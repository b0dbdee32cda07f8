//! Boxes with identities, in the format of `MOTChallenge`: a line for each box,
//! `frame,id,left,top,width,height[,confidence[,class[,…]]]`, frames counted from 1.
//!
//! Truth has the confidence 1, or 0 for what is not evaluated, and from MOT16 on the class of each
//! box (A. Milan et al., "MOT16: A Benchmark for Multi-Object Tracking", arXiv 1603.00831).

use std::collections::BTreeMap;

use thiserror::Error;

use crate::bounds::Bounds;

/// The most bytes of a line: ten numbers are far shorter.
const LONGEST_LINE: usize = 1000;
/// Classes from MOT16 on whose boxes are neither persons to find nor mistakes: persons on vehicles,
/// static persons, distractors, reflections.
const DISTRACTORS: [i64; 4] = [2, 7, 8, 12];

/// A box.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The frame's number, from 1.
    pub frame: u64,
    /// Which object, or which track, it belongs to.
    pub id: u64,
    /// Where it is.
    pub bounds: Bounds,
    /// The score of what was found; of truth, 0 for what is not evaluated.
    pub confidence: Option<f64>,
    /// The class by its number, from MOT16 on. What has none has -1 or nothing there.
    pub class: Option<i64>,
}

impl Row {
    /// True if the truth counts this box.
    pub(crate) fn is_evaluated(&self) -> bool {
        self.confidence != Some(0.0)
    }

    /// True if what is found here is neither right nor wrong.
    pub(crate) fn is_distractor(&self) -> bool {
        !self.is_evaluated() && self.class.is_some_and(|class| DISTRACTORS.contains(&class))
    }
}

/// A file is not in the format.
#[derive(Clone, Debug, Error, PartialEq)]
#[error("line {line}: {problem}")]
pub struct MalformedRow {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: RowProblem,
}

/// What is wrong with a line.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum RowProblem {
    /// It does not have the fields.
    #[error(
        "it has {0} fields, and needs 6 to 10: \
         frame,id,left,top,width,height,confidence,class,visibility"
    )]
    Fields(usize),
    /// A field is not a number, or not a possible one.
    #[error("{field} is {value:?}, and must be {needs}")]
    Field {
        /// The field's name.
        field: &'static str,
        /// The first characters of what is there.
        value: String,
        /// What has to be there.
        needs: &'static str,
    },
    /// The same object is in the same frame twice.
    #[error("frame {frame} has the id {id} in line {first} already")]
    Twice {
        /// The frame.
        frame: u64,
        /// The object's or the track's.
        id: u64,
        /// The line with the other box.
        first: usize,
    },
    /// It cannot be a row.
    #[error("it is longer than {LONGEST_LINE} bytes")]
    Length,
    /// It is not text.
    #[error("it is not UTF-8")]
    NotText,
}

/// Reads all rows, in the order of the file. Empty lines are skipped.
pub fn parse(file: &[u8]) -> Result<Vec<Row>, MalformedRow> {
    let mut rows = Vec::new();
    let mut lines = BTreeMap::new();
    let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
    for (index, bytes) in file.split(|byte| *byte == b'\n').enumerate() {
        let line = index + 1;
        let malformed = |problem| MalformedRow { line, problem };
        let bytes = bytes.trim_ascii();
        if bytes.is_empty() {
            continue;
        }
        if bytes.len() > LONGEST_LINE {
            return Err(malformed(RowProblem::Length));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| malformed(RowProblem::NotText))?;
        let row = row(text).map_err(malformed)?;
        if let Some(first) = lines.insert((row.frame, row.id), line) {
            let Row { frame, id, .. } = row;
            return Err(malformed(RowProblem::Twice { frame, id, first }));
        }
        rows.push(row);
    }
    Ok(rows)
}

fn row(text: &str) -> Result<Row, RowProblem> {
    let fields: Vec<&str> = if text.contains(',') {
        text.strip_suffix(',').unwrap_or(text).split(',').map(str::trim).collect()
    } else {
        text.split_whitespace().collect()
    };
    if !(6..=10).contains(&fields.len()) {
        return Err(RowProblem::Fields(fields.len()));
    }
    let number = |at: usize, field| number(fields[at], field);
    let length = |at: usize, field| {
        let length = number(at, field)?;
        if length >= 0.0 { Ok(length) } else { Err(wrong(field, fields[at], "0 or more")) }
    };
    let (left, top) = (number(2, "left")?, number(3, "top")?);
    let (width, height) = (length(4, "width")?, length(5, "height")?);
    let confidence = fields.get(6).map(|_| number(6, "confidence")).transpose()?;
    // Up to MOT15, the next three are a position in the world.
    let class = if fields.len() < 10 {
        fields.get(7).map(|_| number(7, "class")).transpose()?
    } else {
        (7..10).try_for_each(|at| number(at, "a position in the world").map(drop))?;
        None
    };
    #[expect(clippy::cast_possible_truncation, reason = "other numbers are not classes")]
    let class = class.map(|class| class as i64).filter(|class| *class > 0);
    Ok(Row {
        frame: whole(fields[0], "frame", 1, "a whole number from 1")?,
        id: whole(fields[1], "id", 0, "a whole number from 0: detections without tracks have -1")?,
        bounds: Bounds::from_corner(left, top, width, height),
        confidence,
        class,
    })
}

fn number(text: &str, field: &'static str) -> Result<f64, RowProblem> {
    // Twice as far as pixels of any picture, so that sums stay exact enough.
    let number = text.parse().ok().filter(|number: &f64| number.abs() <= 1e9);
    number.ok_or_else(|| wrong(field, text, "a number"))
}

/// Some programs write whole numbers as `1.0`.
fn whole(
    text: &str,
    field: &'static str,
    least: u32,
    needs: &'static str,
) -> Result<u64, RowProblem> {
    let number = number(text, field).map_err(|_| wrong(field, text, needs))?;
    if number.fract() != 0.0 || number < f64::from(least) {
        return Err(wrong(field, text, needs));
    }
    #[expect(clippy::cast_possible_truncation, reason = "it is whole and at most 1e9")]
    #[expect(clippy::cast_sign_loss, reason = "it is not negative")]
    Ok(number as u64)
}

fn wrong(field: &'static str, text: &str, needs: &'static str) -> RowProblem {
    RowProblem::Field { field, value: text.chars().take(40).collect(), needs }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_each_year_are_read() {
        let rows = parse(
            b"\xef\xbb\xbf1,1,399,182,121,229,1,-1,-1,-1\r\n\n1 2 0.5 1 2 3\n2, 1.0, 3,4,5,6, 0,7,0.5",
        );
        let rows = rows.unwrap();
        assert_eq!(rows.len(), 3);
        assert_eq!(rows[0].bounds, Bounds::from_corner(399.0, 182.0, 121.0, 229.0));
        assert_eq!((rows[0].confidence, rows[0].class), (Some(1.0), None));
        assert_eq!((rows[1].frame, rows[1].id, rows[1].confidence), (1, 2, None));
        assert!(rows[0].is_evaluated() && rows[1].is_evaluated());
        assert_eq!((rows[2].id, rows[2].class), (1, Some(7)));
        assert!(rows[2].is_distractor() && !rows[2].is_evaluated());
    }

    #[test]
    fn an_error_names_the_line_and_the_field() {
        for (text, error) in [
            ("1,1,1,1,1", "line 1: it has 5 fields"),
            ("1,1,1,1,1,1,1,1,1,1,1", "line 1: it has 11 fields"),
            ("1,1,1,1,1,1\n1,1,1,one,1,1", "line 2: top is \"one\", and must be a number"),
            ("0,1,1,1,1,1", "line 1: frame is \"0\", and must be a whole number from 1"),
            ("1.5,1,1,1,1,1", "line 1: frame is \"1.5\""),
            ("1,-1,1,1,1,1", "line 1: id is \"-1\", and must be a whole number from 0"),
            ("1,1,NaN,1,1,1", "line 1: left is \"NaN\""),
            ("1,1,1,1,inf,1", "line 1: width is \"inf\""),
            ("1,1,1,1,1,-2", "line 1: height is \"-2\", and must be 0 or more"),
            ("1,1,1,1,1,1,much", "line 1: confidence is \"much\""),
            ("1,1,1,1,1,1,1,person", "line 1: class is \"person\""),
            ("1,1,1,1,1,1,1,-1,-1,?", "line 1: a position in the world is \"?\""),
            ("\n1,7,1,1,1,1\n1,7,2,2,2,2", "line 3: frame 1 has the id 7 in line 2 already"),
            ("1e99,1,1,1,1,1", "line 1: frame is \"1e99\""),
        ] {
            let found = parse(text.as_bytes()).unwrap_err().to_string();
            assert!(found.starts_with(error), "{text}: {found}");
        }
        let long = parse(&[b'1'; 2000]).unwrap_err();
        assert_eq!(long.problem, RowProblem::Length);
        assert_eq!(parse(b"1,1\xff").unwrap_err().problem, RowProblem::NotText);
        assert_eq!(parse(b"").unwrap(), []);
    }
}
