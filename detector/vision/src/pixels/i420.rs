use moliceiro_messages::Area;

use super::color::{ColorConversion, YCbCrRow};
use super::tensor;

/// Fills the tensor from I420 samples of this area; the picture is black around it.
///
/// `samples` has the length of an I420 picture of the area's size, and `row` the tensor's width.
pub(super) fn convert(
    samples: &[u8],
    area: Area,
    conversion: &ColorConversion,
    row: &mut YCbCrRow,
    tensor: &mut [f32],
) {
    let [left, top, columns, rows] =
        [area.left, area.top, area.size.width, area.size.height].map(|length| length as usize);
    let width = row.y.len();
    let plane = tensor.len() / 3;
    for (plane, black) in tensor.chunks_exact_mut(plane).zip(conversion.black()) {
        plane[..top * width].fill(black);
        plane[(top + rows) * width..].fill(black);
    }
    let (luma, chroma) = samples.split_at(columns * rows);
    let (cb, cr) = chroma.split_at(chroma.len() / 2);
    let half = columns.div_ceil(2);
    let pairs = luma.chunks(2 * columns).zip(cb.chunks_exact(half).zip(cr.chunks_exact(half)));
    row.fill_grey(conversion.black_luma());
    let inside = left..left + columns;
    for ((luma, (cb, cr)), tensor) in pairs.zip(tensor::rows(tensor, width, 2).skip(top / 2)) {
        double(cb, &mut row.cb[inside.clone()]);
        double(cr, &mut row.cr[inside.clone()]);
        let tensor = tensor.map(|plane| plane.chunks_exact_mut(width));
        for (y, tensor) in luma.chunks_exact(columns).zip(tensor::zip(tensor)) {
            row.y[inside.clone()].copy_from_slice(y);
            conversion.convert(&row.y, &row.cb, &row.cr, tensor);
        }
    }
}

/// Each value twice; the last one once if the row has an odd length.
fn double(values: &[u8], row: &mut [u8]) {
    for (pair, value) in row.chunks_mut(2).zip(values) {
        pair.fill(*value);
    }
}
