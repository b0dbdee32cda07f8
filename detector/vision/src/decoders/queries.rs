use super::{Context, Output, UnexpectedOutput, best, four, from_center};
use crate::candidate::Candidate;

/// A DETR's queries: logits [1, queries, classes] and boxes [1, queries, 4], as centre, width and
/// height in shares of the picture. With a sigmoid, a query is an object of each class that scores
/// above the threshold, and there are at most as many objects as queries, the best ones. With a
/// softmax, it is one object, of its best class.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Queries {
    pub activation: Activation,
}

/// From logits to scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activation {
    Sigmoid,
    /// The last class stands for "no object".
    Softmax,
}

/// Candidates beyond these are dropped early, so that many classes take no more memory.
const MOST_OF_A_QUERY: usize = 8;

impl Queries {
    fn lengths(&self, outputs: &[Output<'_>]) -> Result<(usize, usize), UnexpectedOutput> {
        let [logits, boxes] = outputs else { return Ok((0, 1)) };
        let (queries, columns) = logits.matrix("[1, queries, classes]")?;
        if boxes.matrix("[1, queries, 4]")? != (queries, 4) {
            return Err(UnexpectedOutput::shape(boxes, format!("[1, {queries}, 4]")));
        }
        let least = if self.activation == Activation::Softmax { 2 } else { 1 };
        if columns < least {
            return Err(UnexpectedOutput::shape(logits, "[1, queries, classes]"));
        }
        Ok((queries, columns))
    }

    pub fn decode(
        &self,
        outputs: &[Output<'_>],
        context: Context,
        candidates: &mut Vec<Candidate>,
    ) -> Result<(), UnexpectedOutput> {
        let (queries, columns) = self.lengths(outputs)?;
        let [logits, boxes] = outputs else { return Ok(()) };
        let first = candidates.len();
        let (width, height) = (context.size.width as f32, context.size.height as f32);
        for (logits, bounds) in
            logits.values.chunks_exact(columns).zip(boxes.values.chunks_exact(4))
        {
            let [x, y, w, h] = four(bounds);
            let bounds = from_center([x * width, y * height, w * width, h * height]);
            let mut push = |class, score| {
                if score > context.threshold {
                    candidates.push(Candidate { class, score, bounds });
                }
            };
            match self.activation {
                Activation::Sigmoid => {
                    // The highest logit has the highest score.
                    if sigmoid(best(logits).1) <= context.threshold {
                        continue;
                    }
                    for (class, logit) in logits.iter().enumerate() {
                        push(class, sigmoid(*logit));
                    }
                }
                Activation::Softmax => {
                    let (class, score) = best_of_softmax(logits);
                    push(class, score);
                }
            }
            if candidates.len() - first > MOST_OF_A_QUERY * queries {
                keep_best(candidates, first, queries);
            }
        }
        keep_best(candidates, first, queries);
        Ok(())
    }

    /// The number of classes. Fails if a number is NaN.
    pub fn check(&self, outputs: &[Output<'_>]) -> Result<usize, UnexpectedOutput> {
        let (_, columns) = self.lengths(outputs)?;
        let [logits, boxes] = outputs else { return Ok(0) };
        if let Some(logit) = logits.values.iter().find(|logit| logit.is_nan()) {
            return Err(UnexpectedOutput::NotFinite(*logit));
        }
        if let Some(side) = boxes.values.iter().find(|side| !side.is_finite()) {
            return Err(UnexpectedOutput::NotFinite(*side));
        }
        Ok(columns - usize::from(self.activation == Activation::Softmax))
    }
}

fn sigmoid(logit: f32) -> f32 {
    1.0 / (1.0 + (-logit).exp())
}

/// The best class, but for the last one, and its score.
fn best_of_softmax(logits: &[f32]) -> (usize, f32) {
    let (class, logit) = best(&logits[..logits.len() - 1]);
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = logits.iter().map(|other| (other - highest).exp()).sum();
    (class, (logit - highest).exp() / sum)
}

/// Keeps the best of the candidates from `first` on.
fn keep_best(candidates: &mut Vec<Candidate>, first: usize, most: usize) {
    let found = &mut candidates[first..];
    if found.len() > most {
        found.sort_by(|a, b| b.score.total_cmp(&a.score));
        candidates.truncate(first + most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use moliceiro_messages::Size;

    #[test]
    fn a_query_is_an_object_of_each_class_and_the_last_class_of_a_softmax_is_none() {
        let output = |shape: [usize; 3], values: &[f32]| Output {
            shape: shape.to_vec(),
            values: values.to_vec().into(),
        };
        let outputs = [
            output([1, 2, 3], &[3.0, 1.0, -2.0, -1.0, 0.5, 4.0]),
            output([1, 2, 4], &[0.5, 0.5, 0.5, 1.0, 0.1, 0.1, 0.2, 0.2]),
        ];
        let context = Context { size: Size { width: 100, height: 50 }, threshold: 0.5 };
        let decode = |activation| {
            let mut found = vec![];
            Queries { activation }.decode(&outputs, context, &mut found).unwrap();
            found
        };
        let softmax = decode(Activation::Softmax);
        assert_eq!((softmax.len(), softmax[0].class), (1, 0));
        assert_eq!(softmax[0].bounds, [25.0, 0.0, 75.0, 50.0]);
        let sigmoid = decode(Activation::Sigmoid);
        // Of three that score enough, the best two: there are two queries.
        assert_eq!(sigmoid.iter().map(|found| found.class).collect::<Vec<_>>(), [2, 0]);
        assert!((sigmoid[1].score - 0.952_574).abs() < 1e-5);
        let context = Context { threshold: 0.75, ..context };
        let mut both = vec![];
        let logits = output([1, 2, 3], &[3.0, 2.0, -2.0, -1.0, -1.0, -4.0]);
        let outputs = [logits, output([1, 2, 4], &[0.5; 8])];
        Queries { activation: Activation::Sigmoid }.decode(&outputs, context, &mut both).unwrap();
        assert_eq!(both.iter().map(|found| found.class).collect::<Vec<_>>(), [0, 1]);
    }
}
