/// The same rows of the tensor's three planes, `rows` at a time.
pub(super) fn rows(
    tensor: &mut [f32],
    width: usize,
    rows: usize,
) -> impl Iterator<Item = [&mut [f32]; 3]> {
    let plane = tensor.len() / 3;
    let (first, others) = tensor.split_at_mut(plane);
    let (second, third) = others.split_at_mut(plane);
    zip([first, second, third].map(|plane| plane.chunks_mut(rows * width)))
}

/// Three iterators as one.
pub(super) fn zip<T>(
    [first, second, third]: [impl Iterator<Item = T>; 3],
) -> impl Iterator<Item = [T; 3]> {
    first.zip(second).zip(third).map(|((first, second), third)| [first, second, third])
}
