//! Which pairs to choose, so that the sum of their values is greatest.
//!
//! The Hungarian method with shortest augmenting paths (Kuhn 1955; Jonker and Volgenant 1987), for
//! each group of rows and columns that have pairs in common. Of equal choices, the one that the
//! first row finds first is taken, which is the one with the first column. Rows and columns come in
//! an order that depends on the results alone, so the choice does too.

use std::collections::BTreeMap;

/// A row and a column that may be chosen together, and what that is worth: more than 0.
pub(super) type Pair = (usize, usize, f64);

/// The chosen pairs, by row. No row and no column is in two of them.
pub(super) fn assign(pairs: &[Pair]) -> Vec<(usize, usize)> {
    let mut chosen = Vec::new();
    for group in groups(pairs) {
        match group[..] {
            [(row, column, _)] => chosen.push((row, column)),
            _ => chosen.extend(assign_group(&group)),
        }
    }
    chosen.sort_unstable();
    chosen
}

/// Pairs that share a row or a column, directly or by others, are in one group.
fn groups(pairs: &[Pair]) -> Vec<Vec<Pair>> {
    let rows = pairs.iter().map(|pair| pair.0 + 1).max().unwrap_or(0);
    let columns = pairs.iter().map(|pair| pair.1 + 1).max().unwrap_or(0);
    let mut parents: Vec<usize> = (0..rows + columns).collect();
    for &(row, column, _) in pairs {
        let (a, b) = (root(&mut parents, row), root(&mut parents, rows + column));
        // The smaller number leads, so that groups come in the order of their first rows.
        parents[a.max(b)] = a.min(b);
    }
    let mut groups = BTreeMap::<usize, Vec<Pair>>::new();
    for pair in pairs {
        groups.entry(root(&mut parents, pair.0)).or_default().push(*pair);
    }
    groups.into_values().collect()
}

fn root(parents: &mut [usize], mut at: usize) -> usize {
    while parents[at] != at {
        parents[at] = parents[parents[at]];
        at = parents[at];
    }
    at
}

fn assign_group(pairs: &[Pair]) -> Vec<(usize, usize)> {
    let mut rows: Vec<_> = pairs.iter().map(|pair| pair.0).collect();
    let mut columns: Vec<_> = pairs.iter().map(|pair| pair.1).collect();
    for ids in [&mut rows, &mut columns] {
        ids.sort_unstable();
        ids.dedup();
    }
    // What is not a pair is worth nothing: a row that gets such a column is left out.
    let width = columns.len().max(rows.len());
    let mut cost = vec![0.0; rows.len() * width];
    for &(row, column, value) in pairs {
        let (Ok(row), Ok(column)) = (rows.binary_search(&row), columns.binary_search(&column))
        else {
            continue;
        };
        cost[row * width + column] = -value;
    }
    let column_rows = hungarian(rows.len(), width, |row, column| cost[row * width + column]);
    let real = column_rows.into_iter().enumerate().take(columns.len());
    real.filter_map(|(column, row)| {
        let row = row?;
        (cost[row * width + column] < 0.0).then(|| (rows[row], columns[column]))
    })
    .collect()
}

/// The row of each column, with the smallest sum of costs. There are at least as many columns as
/// rows.
fn hungarian(
    rows: usize,
    columns: usize,
    cost: impl Fn(usize, usize) -> f64,
) -> Vec<Option<usize>> {
    let mut row_potential = vec![0.0; rows];
    // The last column stands for the row that looks for one.
    let mut column_potential = vec![0.0; columns + 1];
    let mut row_of: Vec<Option<usize>> = vec![None; columns + 1];
    for first in 0..rows {
        row_of[columns] = Some(first);
        let mut at = columns;
        let mut least = vec![f64::INFINITY; columns];
        let mut previous = vec![columns; columns];
        let mut done = vec![false; columns + 1];
        while let Some(row) = row_of[at] {
            done[at] = true;
            let (mut delta, mut next) = (f64::INFINITY, columns);
            for column in (0..columns).filter(|column| !done[*column]) {
                let reduced = cost(row, column) - row_potential[row] - column_potential[column];
                if reduced < least[column] {
                    (least[column], previous[column]) = (reduced, at);
                }
                if least[column] < delta {
                    (delta, next) = (least[column], column);
                }
            }
            if next == columns {
                break;
            }
            for column in 0..=columns {
                if done[column] {
                    if let Some(row) = row_of[column] {
                        row_potential[row] += delta;
                    }
                    column_potential[column] -= delta;
                } else if column < columns {
                    least[column] -= delta;
                }
            }
            at = next;
        }
        while at != columns {
            row_of[at] = row_of[previous[at]];
            at = previous[at];
        }
    }
    row_of.pop();
    row_of
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// The greatest sum, by trying everything.
    fn best(pairs: &[Pair], rows: usize, used: u32, row: usize) -> f64 {
        if row == rows {
            return 0.0;
        }
        let without = best(pairs, rows, used, row + 1);
        let mine = pairs.iter().filter(|pair| pair.0 == row && used & (1 << pair.1) == 0);
        mine.map(|pair| pair.2 + best(pairs, rows, used | (1 << pair.1), row + 1))
            .fold(without, f64::max)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn no_other_choice_is_worth_more(
            found in vec((0_usize..6, 0_usize..6, 1_u32..20), 0..20),
        ) {
            let mut pairs: Vec<Pair> =
                found.into_iter().map(|(row, column, value)| (row, column, value.into())).collect();
            pairs.sort_by_key(|pair| (pair.0, pair.1));
            pairs.dedup_by_key(|pair| (pair.0, pair.1));
            let chosen = assign(&pairs);
            let value = |(row, column): &(usize, usize)| {
                pairs.iter().find(|pair| (pair.0, pair.1) == (*row, *column)).unwrap().2
            };
            prop_assert_eq!(chosen.iter().map(value).sum::<f64>(), best(&pairs, 6, 0, 0));
            for (n, (row, column)) in chosen.iter().enumerate() {
                prop_assert!(chosen[..n].iter().all(|other| other.0 != *row && other.1 != *column));
            }
        }
    }

    #[test]
    fn of_equal_choices_the_first_is_taken() {
        assert_eq!(assign(&[(0, 0, 1.0), (0, 1, 1.0), (1, 0, 1.0), (1, 1, 1.0)]), [(0, 0), (1, 1)]);
        assert_eq!(assign(&[(3, 2, 1.0), (5, 2, 1.0)]), [(3, 2)]);
        assert!(assign(&[]).is_empty());
    }
}
