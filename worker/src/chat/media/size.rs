//! How large a picture or a video is, or which shape it has.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Width and height in pixels; or, where only their ratio counts, a ratio.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// At least 1.
    pub width: u32,
    /// At least 1.
    pub height: u32,
}

impl Size {
    /// A size that the program itself names.
    pub const fn of(width: u32, height: u32) -> Self {
        Self { width, height }
    }

    /// Reads `1024x1536`, and a ratio such as `2:3`; `None` for anything else (`auto` is none).
    pub fn read(text: &str) -> Option<Self> {
        let (width, height) = text.trim().split_once(['x', 'X', ':', '*', '×'])?;
        let side = |text: &str| {
            let side: u32 = text.trim().parse().ok()?;
            // Whatever is larger is no picture, and products of two sides stay far from overflow.
            (1..=100_000).contains(&side).then_some(side)
        };
        Some(Self::of(side(width)?, side(height)?))
    }

    /// The one of `offered` whose shape is the nearest; of several of one shape, the one whose area is. `None` where nothing
    /// is offered.
    ///
    /// Shapes are compared by the logarithm of the ratio, so that 2:1 is as far from 1:1 as 1:2 is.
    pub fn nearest(self, offered: &[Self]) -> Option<Self> {
        let far = |it: &Self| {
            let shape = (it.ratio().ln() - self.ratio().ln()).abs();
            // Rounded, or two that are the same shape differ in the last bit.
            let shape = (shape * 1e6).round();
            let area = (it.area().ln() - self.area().ln()).abs();
            (shape, area)
        };
        let nearer = |a: &Self, b: &Self| {
            let (a, b) = (far(a), far(b));
            a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1))
        };
        offered.iter().copied().min_by(nearer)
    }

    /// The same shape in the smallest numbers: 1024x1536 is 2:3.
    #[must_use]
    pub fn reduced(self) -> Self {
        let (mut a, mut b) = (self.width, self.height);
        while b > 0 {
            (a, b) = (b, a % b);
        }
        let common = a.max(1);
        Self::of(self.width / common, self.height / common)
    }

    fn ratio(self) -> f64 {
        f64::from(self.width) / f64::from(self.height)
    }

    fn area(self) -> f64 {
        f64::from(self.width) * f64::from(self.height)
    }
}

/// `1024x1536`.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_sizes_as_people_write_them() {
        for (text, size) in [
            ("1024x1024", Some(Size::of(1024, 1024))),
            (" 1024 X 1536 ", Some(Size::of(1024, 1536))),
            ("16:9", Some(Size::of(16, 9))),
            ("512*768", Some(Size::of(512, 768))),
            ("auto", None),
            ("1024", None),
            ("0x1", None),
            ("-1x1", None),
            ("1x1x1", None),
            ("100001x1", None),
            ("", None),
        ] {
            assert_eq!(Size::read(text), size, "{text}");
        }
    }

    #[test]
    fn the_nearest_shape_is_the_same_lying_and_standing() {
        const SHAPES: &[Size] = &[
            Size::of(1, 1),
            Size::of(4, 3),
            Size::of(3, 4),
            Size::of(16, 9),
            Size::of(9, 16),
        ];
        for (asked, nearest) in [
            ("1024x1024", "1x1"),
            ("1536x1024", "4x3"),
            ("1024x1536", "3x4"),
            ("1792x1024", "16x9"),
            ("1024x1792", "9x16"),
            ("9999x1", "16x9"),
            ("1x9999", "9x16"),
        ] {
            let size = Size::read(asked).unwrap().nearest(SHAPES).unwrap();
            assert_eq!(size.to_string(), nearest, "{asked}");
        }
        assert_eq!(Size::of(1, 1).nearest(&[]), None);
    }

    #[test]
    fn of_one_shape_the_nearest_area_is_taken() {
        let offered = [
            Size::of(512, 512),
            Size::of(1024, 1024),
            Size::of(2048, 2048),
        ];
        assert_eq!(Size::of(900, 900).nearest(&offered), Some(offered[1]));
        assert_eq!(Size::of(1, 1).nearest(&offered), Some(offered[0]));
    }

    #[test]
    fn reduces_to_the_smallest_numbers() {
        for (size, reduced) in [
            ("1024x1536", "2x3"),
            ("1920x1080", "16x9"),
            ("7x5", "7x5"),
            ("1024x1024", "1x1"),
        ] {
            assert_eq!(Size::read(size).unwrap().reduced().to_string(), reduced);
        }
    }
}
