use crate::candidate::Candidate;

/// Candidates beyond these are not compared, so that a model that finds boxes everywhere takes no
/// longer than 30 milliseconds. Ultralytics has the same limit.
const MOST_CANDIDATES: usize = 30_000;
/// The most objects of a picture.
const MOST_OBJECTS: usize = 1000;

/// Sorts by score, best first, and removes what is beyond the most objects of a picture.
pub(crate) fn keep_best(candidates: &mut Vec<Candidate>) {
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
    candidates.truncate(MOST_OBJECTS);
}

/// Non-maximum suppression: sorts by score, best first, and removes each candidate that overlaps a
/// better one of its class by more than `iou`.
///
/// Of equal scores, the first is the better one.
pub(crate) fn suppress(candidates: &mut Vec<Candidate>, iou: f32) {
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
    candidates.truncate(MOST_CANDIDATES);
    let mut kept = 0;
    for index in 0..candidates.len() {
        if kept == MOST_OBJECTS {
            break;
        }
        let candidate = candidates[index];
        let hidden = |better: &Candidate| {
            better.class == candidate.class && overlap(&better.bounds, &candidate.bounds) > iou
        };
        if !candidates[..kept].iter().any(hidden) {
            candidates[kept] = candidate;
            kept += 1;
        }
    }
    candidates.truncate(kept);
}

/// Intersection over union: 0 if the boxes do not overlap, 1 if they are the same.
pub(crate) fn overlap(a: &[f32; 4], b: &[f32; 4]) -> f32 {
    let width = a[2].min(b[2]) - a[0].max(b[0]);
    let height = a[3].min(b[3]) - a[1].max(b[1]);
    if !(width > 0.0 && height > 0.0) {
        return 0.0;
    }
    let area = |r: &[f32; 4]| (r[2] - r[0]) * (r[3] - r[1]);
    let shared = width * height;
    shared / (area(a) + area(b) - shared)
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "scores are small")]
mod tests {
    use std::cmp::Reverse;

    use proptest::prelude::*;

    use super::*;

    fn candidate(class: usize, score: f32, bounds: [f32; 4]) -> Candidate {
        Candidate { class, score, bounds }
    }

    #[test]
    fn overlap_at_its_edges() {
        let square = [0.0, 0.0, 10.0, 10.0];
        assert_eq!(overlap(&square, &square), 1.0);
        assert_eq!(overlap(&square, &[10.0, 0.0, 20.0, 10.0]), 0.0, "they touch");
        assert_eq!(overlap(&square, &[0.0, 0.0, 5.0, 10.0]), 0.5, "one within the other");
        assert_eq!(overlap(&square, &[5.0, 0.0, 15.0, 10.0]), 50.0 / 150.0);
        assert_eq!(overlap(&[3.0; 4], &[3.0; 4]), 0.0, "no area");
    }

    #[test]
    fn the_best_box_hides_only_overlapping_ones_of_its_class() {
        let square = [0.0, 0.0, 10.0, 10.0];
        let (shifted, beyond) = ([1.0, 0.0, 11.0, 10.0], [0.0, 5.0, 10.0, 15.0]);
        let mut candidates = vec![
            candidate(0, 0.6, shifted),
            candidate(0, 0.9, square),
            candidate(1, 0.5, square),
            candidate(0, 0.7, beyond),
        ];
        suppress(&mut candidates, 0.45);
        assert_eq!(
            candidates,
            [candidate(0, 0.9, square), candidate(0, 0.7, beyond), candidate(1, 0.5, square)]
        );
    }

    #[test]
    fn an_overlap_equal_to_the_limit_is_allowed() {
        let mut candidates = vec![
            candidate(0, 0.9, [0.0, 0.0, 10.0, 10.0]),
            candidate(0, 0.8, [0.0, 0.0, 5.0, 10.0]),
        ];
        suppress(&mut candidates, 0.5);
        assert_eq!(candidates.len(), 2);
    }

    #[test]
    fn of_equal_scores_the_first_wins() {
        let mut candidates = vec![
            candidate(0, 0.9, [1.0, 0.0, 11.0, 10.0]),
            candidate(0, 0.9, [0.0, 0.0, 10.0, 10.0]),
        ];
        suppress(&mut candidates, 0.45);
        assert_eq!(candidates, [candidate(0, 0.9, [1.0, 0.0, 11.0, 10.0])]);
    }

    #[test]
    fn a_hundred_thousand_candidates_become_a_thousand_objects() {
        let apart = |index: usize| {
            let (x, y) = ((index % 400) as f32, (index / 400) as f32);
            candidate(0, 1.0 - index as f32 / 1e6, [x, y, x + 0.5, y + 0.5])
        };
        let mut candidates: Vec<_> = (0..100_000).map(apart).collect();
        suppress(&mut candidates, 0.5);
        assert_eq!(candidates.len(), MOST_OBJECTS);
        assert_eq!(candidates[999], apart(999));
    }

    proptest! {
        #[test]
        fn kept_boxes_do_not_overlap_and_removed_ones_were_hidden(
            raw in prop::collection::vec(
                (0usize..3, 0u8..20, 0u8..30, 0u8..30, 1u8..20, 1u8..20), 0..40,
            ),
            limit in 0.0f32..1.0,
        ) {
            let all: Vec<_> = raw.into_iter().map(|(class, score, x, y, w, h)| {
                let [x, y, w, h] = [x, y, w, h].map(f32::from);
                candidate(class, f32::from(score) / 20.0, [x, y, x + w, y + h])
            }).collect();
            let mut kept = all.clone();
            suppress(&mut kept, limit);
            prop_assert!(kept.is_sorted_by_key(|c| Reverse((c.score * 20.0).round() as u32)));
            let hides = |a: &Candidate, b: &Candidate| {
                a.class == b.class && overlap(&a.bounds, &b.bounds) > limit
            };
            for (index, candidate) in kept.iter().enumerate() {
                prop_assert!(!kept[..index].iter().any(|better| hides(better, candidate)));
            }
            for candidate in &all {
                let hidden = |c: &Candidate| c.score >= candidate.score && hides(c, candidate);
                prop_assert!(kept.contains(candidate) || kept.iter().any(hidden));
            }
        }
    }
}
