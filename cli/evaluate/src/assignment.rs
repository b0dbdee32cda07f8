//! The assignment of rows to columns with the least cost.

/// Costs of each row with each column.
#[derive(Clone, Debug)]
pub struct Costs {
    rows: usize,
    columns: usize,
    values: Vec<f64>,
}

impl Costs {
    /// The costs that `cost(row, column)` returns. They must be finite.
    pub fn new(rows: usize, columns: usize, cost: impl Fn(usize, usize) -> f64) -> Self {
        let cost = &cost;
        let values = (0..rows).flat_map(|row| (0..columns).map(move |column| cost(row, column)));
        Self { rows, columns, values: values.collect() }
    }

    /// Pairs of a row and a column, in order of rows. As many as there are rows or columns,
    /// whichever are fewer, and of least cost together.
    ///
    /// It is the method of shortest augmenting paths (D. F. Crouse, "On implementing 2D rectangular
    /// assignment algorithms", IEEE Transactions on Aerospace and Electronic Systems 52(4), 2016).
    /// Of assignments that cost the same, it returns the one that SciPy returns: columns are tried
    /// from the last to the first, and of equally near ones a free one is taken.
    pub fn assign(&self) -> Vec<(usize, usize)> {
        if self.rows > self.columns {
            let turned = Self::new(self.columns, self.rows, |row, column| self.at(column, row));
            let mut pairs: Vec<_> =
                turned.assign().into_iter().map(|(row, column)| (column, row)).collect();
            pairs.sort_unstable();
            return pairs;
        }
        let mut search = Search::new(self);
        for row in 0..self.rows {
            search.add(row);
        }
        search.column_of.iter().copied().enumerate().collect()
    }

    fn at(&self, row: usize, column: usize) -> f64 {
        self.values[row * self.columns + column]
    }
}

const NONE: usize = usize::MAX;

/// An assignment of the first rows, with the dual variables that prove it to be of least cost.
struct Search<'a> {
    costs: &'a Costs,
    row_duals: Vec<f64>,
    column_duals: Vec<f64>,
    /// The column of each row, or `NONE`.
    column_of: Vec<usize>,
    /// The row of each column, or `NONE`.
    row_of: Vec<usize>,
    distances: Vec<f64>,
    /// The row before each column on its shortest path.
    previous: Vec<usize>,
    unvisited: Vec<usize>,
    visited_rows: Vec<usize>,
    visited_columns: Vec<usize>,
}

impl<'a> Search<'a> {
    fn new(costs: &'a Costs) -> Self {
        Self {
            costs,
            row_duals: vec![0.0; costs.rows],
            column_duals: vec![0.0; costs.columns],
            column_of: vec![NONE; costs.rows],
            row_of: vec![NONE; costs.columns],
            distances: vec![],
            previous: vec![NONE; costs.columns],
            unvisited: vec![],
            visited_rows: vec![],
            visited_columns: vec![],
        }
    }

    /// Assigns one more row, and moves others where that costs less.
    fn add(&mut self, row: usize) {
        let (mut column, length) = self.shortest_path(row);
        for visited in &self.visited_rows {
            let reached = match self.column_of[*visited] {
                NONE => 0.0,
                column => self.distances[column],
            };
            self.row_duals[*visited] += length - reached;
        }
        for visited in &self.visited_columns {
            self.column_duals[*visited] -= length - self.distances[*visited];
        }
        // Along the path, each row takes the column after it.
        loop {
            let before = self.previous[column];
            self.row_of[column] = before;
            std::mem::swap(&mut self.column_of[before], &mut column);
            if before == row {
                break;
            }
        }
    }

    /// The nearest free column, and the length of the path to it.
    fn shortest_path(&mut self, start: usize) -> (usize, f64) {
        self.distances.clear();
        self.distances.resize(self.costs.columns, f64::INFINITY);
        self.unvisited.clear();
        self.unvisited.extend((0..self.costs.columns).rev());
        self.visited_rows.clear();
        self.visited_columns.clear();
        let (mut row, mut length) = (start, 0.0);
        loop {
            self.visited_rows.push(row);
            let (mut nearest, mut lowest) = (0, f64::INFINITY);
            for (place, &column) in self.unvisited.iter().enumerate() {
                let reduced = length + self.costs.at(row, column)
                    - self.row_duals[row]
                    - self.column_duals[column];
                if reduced < self.distances[column] {
                    self.distances[column] = reduced;
                    self.previous[column] = row;
                }
                let distance = self.distances[column];
                if distance < lowest || (distance == lowest && self.row_of[column] == NONE) {
                    (nearest, lowest) = (place, distance);
                }
            }
            // There is an unvisited column while a row is without one: rows are not more.
            let column = self.unvisited.swap_remove(nearest);
            length = lowest;
            self.visited_columns.push(column);
            match self.row_of[column] {
                NONE => return (column, length),
                next => row = next,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assign(rows: &[&[f64]]) -> Vec<(usize, usize)> {
        let columns = rows.first().map_or(0, |row| row.len());
        Costs::new(rows.len(), columns, |row, column| rows[row][column]).assign()
    }

    #[test]
    fn the_cheapest_pairs_are_found_whatever_the_shape() {
        assert_eq!(
            assign(&[&[4.0, 1.0, 3.0], &[2.0, 0.0, 5.0], &[3.0, 2.0, 2.0]]),
            [(0, 1), (1, 0), (2, 2)]
        );
        assert_eq!(assign(&[&[10.0, -10.0, -13.0], &[-10.0, -20.0, -15.0]]), [(0, 2), (1, 1)]);
        assert_eq!(assign(&[&[1.0], &[0.0], &[2.0]]), [(1, 0)]);
        assert_eq!(assign(&[]), []);
        assert_eq!(assign(&[&[], &[]]), []);
    }

    #[test]
    fn equal_costs_give_the_first_column_to_the_first_row() {
        assert_eq!(assign(&[&[1.0; 3], &[1.0; 3], &[1.0; 3]]), [(0, 0), (1, 1), (2, 2)]);
        assert_eq!(assign(&[&[0.0; 4], &[0.0; 4]]), [(0, 0), (1, 1)]);
    }

    #[test]
    fn no_other_assignment_costs_less() {
        fn least(rows: &[Vec<f64>], used: &mut Vec<bool>) -> f64 {
            let Some((row, rest)) = rows.split_first() else { return 0.0 };
            let mut best = f64::INFINITY;
            for column in 0..row.len() {
                if !used[column] {
                    used[column] = true;
                    best = best.min(row[column] + least(rest, used));
                    used[column] = false;
                }
            }
            best
        }
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..500 {
            let (rows, columns) = (random.usize(1..5), random.usize(5..7));
            let costs: Vec<Vec<f64>> = (0..rows)
                .map(|_| (0..columns).map(|_| f64::from(random.i8(-9..9))).collect())
                .collect();
            let pairs = Costs::new(rows, columns, |row, column| costs[row][column]).assign();
            let cost: f64 = pairs.iter().map(|(row, column)| costs[*row][*column]).sum();
            assert_eq!(cost, least(&costs, &mut vec![false; columns]), "{costs:?}");
            let turned = Costs::new(columns, rows, |row, column| costs[column][row]).assign();
            let cost: f64 = turned.iter().map(|(row, column)| costs[*column][*row]).sum();
            assert_eq!(cost, least(&costs, &mut vec![false; columns]), "{costs:?}");
        }
    }
}
