use super::{Context, Output, UnexpectedOutput, check_object, class_id, four};
use crate::candidate::Candidate;

/// Boxes, classes, scores, and perhaps their number, each in an output of its own, after the
/// graph's own suppression.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Lists {
    pub boxes: BoxFormat,
    /// The number of the first class: 1 where 0 stands for the background.
    pub first_class: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BoxFormat {
    /// Left, top, right, bottom in pixels of the picture.
    Pixels,
    /// Top, left, bottom, right in shares of the picture.
    TopLeftShares,
}

impl Lists {
    /// Boxes, classes and scores of the same number.
    fn lists<'a>(
        &self,
        outputs: &'a [Output<'_>],
    ) -> Result<impl Iterator<Item = ((&'a [f32], f32), f32)>, UnexpectedOutput> {
        let none: (&[f32], &[f32], &[f32], _) = (&[], &[], &[], None);
        let (boxes, classes, scores, count) = match outputs {
            [boxes, classes, scores, rest @ ..] => {
                let columns = boxes.shape.last().copied();
                if columns != Some(4) && !boxes.values.is_empty() {
                    return Err(UnexpectedOutput::shape(boxes, "[…, 4]"));
                }
                let classes = classes.list("a list")?;
                let scores_list = scores.list("a list")?;
                if boxes.values.len() != 4 * classes.len() || classes.len() != scores_list.len() {
                    let expected = format!("{} scores", boxes.values.len() / 4);
                    return Err(UnexpectedOutput::shape(scores, expected));
                }
                let count = rest.first().and_then(|count| count.values.first()).copied();
                (&boxes.values[..], classes, scores_list, count.and_then(class_id))
            }
            _ => none,
        };
        let lists = boxes.chunks_exact(4).zip(classes.iter().copied()).zip(scores.iter().copied());
        Ok(lists.take(count.unwrap_or(usize::MAX)))
    }

    pub fn decode(
        &self,
        outputs: &[Output<'_>],
        context: Context,
        candidates: &mut Vec<Candidate>,
    ) -> Result<(), UnexpectedOutput> {
        let (width, height) = (context.size.width as f32, context.size.height as f32);
        for ((bounds, class), score) in self.lists(outputs)? {
            let class = class_id(class).and_then(|class| class.checked_sub(self.first_class));
            let Some(class) = class.filter(|_| score > context.threshold) else { continue };
            let bounds = match (self.boxes, four(bounds)) {
                (BoxFormat::Pixels, bounds) => bounds,
                (BoxFormat::TopLeftShares, [top, left, bottom, right]) => {
                    [left * width, top * height, right * width, bottom * height]
                }
            };
            candidates.push(Candidate { class, score, bounds });
        }
        Ok(())
    }

    pub fn check(&self, outputs: &[Output<'_>]) -> Result<(), UnexpectedOutput> {
        for ((bounds, class), score) in self.lists(outputs)? {
            if score == -1.0 {
                continue;
            }
            check_object(bounds, score, class)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use moliceiro_messages::Size;

    #[test]
    fn lists_may_be_squeezed_counted_and_in_shares() {
        let output = |shape: &[usize], values: &[f32]| Output {
            shape: shape.to_vec(),
            values: values.to_vec().into(),
        };
        let context = Context { size: Size { width: 100, height: 50 }, threshold: 0.5 };
        let decode = |boxes, first_class, outputs: &[Output<'_>]| {
            let mut found = vec![];
            Lists { boxes, first_class }.decode(outputs, context, &mut found).unwrap();
            found
        };
        let shares = [
            output(&[1, 2, 4], &[0.25, 0.125, 0.5, 0.375, 0.0, 0.0, 1.0, 1.0]),
            output(&[1, 2], &[1.0, 2.0]),
            output(&[1, 2], &[0.75, 0.75]),
            output(&[1], &[1.0]),
        ];
        let expected = Candidate { class: 0, score: 0.75, bounds: [12.5, 12.5, 37.5, 25.0] };
        assert_eq!(decode(BoxFormat::TopLeftShares, 1, &shares), [expected]);
        let pixels = [
            output(&[1, 4], &[12.5, 12.5, 37.5, 25.0]),
            output(&[1], &[0.0]),
            output(&[1], &[0.75]),
        ];
        assert_eq!(decode(BoxFormat::Pixels, 0, &pixels), [expected]);
        assert_eq!(decode(BoxFormat::Pixels, 1, &pixels), [], "the background is not an object");
    }
}
