use super::{Context, Output, UnexpectedOutput, check_object, class_id, four, from_center};
use crate::candidate::Candidate;

/// A row for each object after the graph's own suppression, with a box in pixels of the picture.
/// A second output may hold the number of rows that are used.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rows {
    pub layout: RowLayout,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowLayout {
    /// Left, top, right, bottom, score, class.
    BoxScoreClass,
    /// Centre, width, height, all in shares of the picture; score, class.
    SharesScoreClass,
    /// Class, score, left, top, right, bottom.
    ClassScoreBox,
    /// Picture, left, top, right, bottom, class, score.
    PictureBoxClassScore,
}

impl RowLayout {
    pub fn columns(self) -> usize {
        match self {
            Self::BoxScoreClass | Self::SharesScoreClass | Self::ClassScoreBox => 6,
            Self::PictureBoxClassScore => 7,
        }
    }

    /// Box, score and class.
    fn read(self, row: &[f32]) -> ([f32; 4], f32, f32) {
        match self {
            Self::BoxScoreClass | Self::SharesScoreClass => (four(row), row[4], row[5]),
            Self::ClassScoreBox => (four(&row[2..]), row[1], row[0]),
            Self::PictureBoxClassScore => (four(&row[1..]), row[6], row[5]),
        }
    }
}

impl Rows {
    fn rows<'a>(
        &self,
        outputs: &'a [Output<'_>],
    ) -> Result<impl Iterator<Item = &'a [f32]>, UnexpectedOutput> {
        let columns = self.layout.columns();
        let (values, count) = match outputs {
            [rows, rest @ ..] => {
                // Without any object, some exports return one number.
                let is_empty = rows.values.len() < columns;
                if !is_empty && rows.matrix("rows")?.1 != columns {
                    let expected = format!("rows of {columns} numbers");
                    return Err(UnexpectedOutput::shape(rows, expected));
                }
                let count = rest.first().and_then(|count| count.values.first());
                (&rows.values[..], count.copied().and_then(class_id))
            }
            [] => (&[][..], None),
        };
        Ok(values.chunks_exact(columns).take(count.unwrap_or(usize::MAX)))
    }

    pub fn decode(
        &self,
        outputs: &[Output<'_>],
        context: Context,
        candidates: &mut Vec<Candidate>,
    ) -> Result<(), UnexpectedOutput> {
        let (width, height) = (context.size.width as f32, context.size.height as f32);
        for row in self.rows(outputs)? {
            let (bounds, score, class) = self.layout.read(row);
            let bounds = match self.layout {
                RowLayout::SharesScoreClass => {
                    let [x, y, w, h] = bounds;
                    from_center([x * width, y * height, w * width, h * height])
                }
                _ => bounds,
            };
            // Unused rows have the class -1.
            if score > context.threshold
                && let Some(class) = class_id(class)
            {
                candidates.push(Candidate { class, score, bounds });
            }
        }
        Ok(())
    }

    pub fn check(&self, outputs: &[Output<'_>]) -> Result<(), UnexpectedOutput> {
        for row in self.rows(outputs)? {
            let (bounds, score, class) = self.layout.read(row);
            if class >= -1.0 && score == -1.0 {
                continue;
            }
            check_object(&bounds, score, class)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use moliceiro_messages::Size;

    fn decode(layout: RowLayout, outputs: &[Output<'_>]) -> Vec<Candidate> {
        let context = Context { size: Size { width: 64, height: 64 }, threshold: 0.5 };
        let mut found = vec![];
        Rows { layout }.decode(outputs, context, &mut found).unwrap();
        found
    }

    #[test]
    fn rows_are_read_in_the_order_of_their_family_and_unused_ones_are_skipped() {
        let expected = [Candidate { class: 7, score: 0.75, bounds: [1.0, 2.0, 3.0, 4.0] }];
        let rows = |shape: [usize; 2], values: Vec<f32>| Output {
            shape: shape.to_vec(),
            values: values.into(),
        };
        let padded = vec![1.0, 2.0, 3.0, 4.0, 0.75, 7.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        assert_eq!(decode(RowLayout::BoxScoreClass, &[rows([2, 6], padded)]), expected);
        let shares = vec![0.5, 0.25, 0.5, 0.25, 0.75, 7.0];
        let found = decode(RowLayout::SharesScoreClass, &[rows([1, 6], shares)]);
        assert_eq!(found[0].bounds, [16.0, 8.0, 48.0, 24.0]);
        let paddle = vec![7.0, 0.75, 1.0, 2.0, 3.0, 4.0, -1.0, 0.9, 0.0, 0.0, 0.0, 0.0];
        assert_eq!(decode(RowLayout::ClassScoreBox, &[rows([2, 6], paddle.clone())]), expected);
        let count = Output { shape: vec![1], values: vec![0.0].into() };
        assert_eq!(decode(RowLayout::ClassScoreBox, &[rows([2, 6], paddle), count]), []);
        let seven = vec![0.0, 1.0, 2.0, 3.0, 4.0, 7.0, 0.75];
        assert_eq!(decode(RowLayout::PictureBoxClassScore, &[rows([1, 7], seven)]), expected);
        let none = Output { shape: vec![1, 1], values: vec![-1.0].into() };
        assert_eq!(decode(RowLayout::ClassScoreBox, &[none]), []);
    }
}
