use moliceiro_nats::messages::Size;
use moliceiro_vision::Image;

/// The digits, 3 × 5 pixels each: a row has three bits.
const DIGITS: [[u8; 5]; 10] = [
    [0b111, 0b101, 0b101, 0b101, 0b111],
    [0b010, 0b110, 0b010, 0b010, 0b111],
    [0b111, 0b001, 0b111, 0b100, 0b111],
    [0b111, 0b001, 0b111, 0b001, 0b111],
    [0b101, 0b101, 0b111, 0b001, 0b001],
    [0b111, 0b100, 0b111, 0b001, 0b111],
    [0b111, 0b100, 0b111, 0b101, 0b111],
    [0b111, 0b001, 0b010, 0b010, 0b010],
    [0b111, 0b101, 0b111, 0b101, 0b111],
    [0b111, 0b101, 0b111, 0b001, 0b111],
];
const COLORS: [[u8; 3]; 6] =
    [[255, 64, 64], [64, 255, 64], [80, 160, 255], [255, 220, 0], [255, 0, 255], [0, 255, 255]];

struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

/// The image with the outline of each box, and its number, from 1, in the upper left corner.
pub(super) fn with_boxes(image: &Image, boxes: &[[f32; 4]]) -> Image {
    let Size { width, height } = image.size();
    let (width, height) = (width as usize, height as usize);
    let mut canvas = Canvas { width, height, pixels: image.pixels().to_vec() };
    // So that lines and numbers are seen in large images, too.
    let unit = 1 + width.max(height) / 800;
    for (index, bounds) in boxes.iter().enumerate() {
        #[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
        #[expect(clippy::cast_sign_loss, reason = "`as` saturates")]
        let [left, top, right, bottom] = bounds.map(|side| side.round() as usize);
        let color = COLORS[index % COLORS.len()];
        let (across, down) = (right.saturating_sub(left), bottom.saturating_sub(top));
        canvas.fill(left, top, across, unit, color);
        canvas.fill(left, bottom.saturating_sub(unit), across, unit, color);
        canvas.fill(left, top, unit, down, color);
        canvas.fill(right.saturating_sub(unit), top, unit, down, color);
        canvas.number(index + 1, left + unit, top + unit, 2 * unit, color);
    }
    Image::new(image.size(), canvas.pixels).unwrap_or_else(|| image.clone())
}

impl Canvas {
    fn fill(&mut self, left: usize, top: usize, across: usize, down: usize, color: [u8; 3]) {
        let right = (left + across).min(self.width);
        for y in top..(top + down).min(self.height) {
            for x in left..right {
                self.pixels[3 * (y * self.width + x)..][..3].copy_from_slice(&color);
            }
        }
    }

    fn number(&mut self, number: usize, left: usize, top: usize, unit: usize, color: [u8; 3]) {
        let digits: Vec<u32> = number.to_string().chars().filter_map(|c| c.to_digit(10)).collect();
        self.fill(left, top, (4 * digits.len() + 1) * unit, 7 * unit, [0; 3]);
        for (place, digit) in digits.into_iter().enumerate() {
            for (y, row) in DIGITS[digit as usize].into_iter().enumerate() {
                for x in (0..3).filter(|x| row & (0b100 >> x) != 0) {
                    let (x, y) = (left + (4 * place + 1 + x) * unit, top + (y + 1) * unit);
                    self.fill(x, y, unit, unit, color);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn boxes_are_outlined_and_clipped_to_the_image() {
        let size = Size { width: 20, height: 20 };
        let image = Image::new(size, vec![9; 1200]).unwrap();
        let drawn = with_boxes(&image, &[[2.0, 3.0, 18.0, 30.0], [-5.0, -5.0, 1e9, 4.0]]);
        let at = |x: usize, y: usize| drawn.pixels()[3 * (20 * y + x)..][..3].to_vec();
        assert_eq!(at(2, 10), COLORS[0]);
        assert_eq!(at(10, 18), [9, 9, 9]);
        assert_eq!(at(19, 0), COLORS[1]);
    }
}
