//! The geometric types: every number a double, NaN and infinities included.
//!
//! | type | binary | text |
//! | --- | --- | --- |
//! | point | x, y | `(1,2)` |
//! | line | A, B, C | `{1,2,3}` |
//! | lseg | two points | `[(1,2),(3,4)]` |
//! | box | two points: upper right, lower left | `(3,4),(1,2)` |
//! | circle | point, radius | `<(1,2),3>` |
//! | path | closed?, count, points | `((1,2),(3,4))`, open: `[(1,2),(3,4)]` |
//! | polygon | count, points | `((1,2),(3,4))` |

use crate::{Result, ValueError, float};

/// One of the types whose values are a fixed number of doubles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Figure {
    /// x, y
    Point,
    /// A, B, C of Ax + By + C = 0
    Line,
    /// Two ends
    Lseg,
    /// Upper right, lower left
    Box,
    /// Centre, radius
    Circle,
}

impl Figure {
    const fn name(self) -> &'static str {
        match self {
            Self::Point => "point",
            Self::Line => "line",
            Self::Lseg => "lseg",
            Self::Box => "box",
            Self::Circle => "circle",
        }
    }

    /// How many doubles a value has.
    #[must_use]
    pub const fn width(self) -> usize {
        match self {
            Self::Point => 2,
            Self::Line | Self::Circle => 3,
            Self::Lseg | Self::Box => 4,
        }
    }

    /// The text form, `_` for each double.
    const fn shape(self) -> &'static [u8] {
        match self {
            Self::Point => b"(_,_)",
            Self::Line => b"{_,_,_}",
            Self::Lseg => b"[(_,_),(_,_)]",
            Self::Box => b"(_,_),(_,_)",
            Self::Circle => b"<(_,_),_>",
        }
    }
}

/// The doubles of a binary value; those behind [`Figure::width`] are 0.
///
/// # Errors
/// `Length` when the size is wrong.
#[inline]
pub fn decode_binary(figure: Figure, bytes: &[u8]) -> Result<[f64; 4]> {
    if bytes.len() != figure.width() * 8 {
        return Err(ValueError::length(figure.name(), figure.width() * 8, bytes.len()));
    }
    let mut values = [0.0; 4];
    for (value, raw) in values.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *value = f64::from_be_bytes(*raw);
    }
    Ok(values)
}

/// Appends the binary form of doubles.
#[inline]
pub fn encode_binary(values: &[f64], out: &mut Vec<u8>) {
    for value in values {
        out.extend_from_slice(&value.to_be_bytes());
    }
}

/// The doubles of a text value.
///
/// # Errors
/// `Malformed` for what the server does not write.
pub fn decode_text(figure: Figure, text: &[u8]) -> Result<[f64; 4]> {
    let refuse = || ValueError::unexpected_text(figure.name(), text);
    let mut values = [0.0; 4];
    let (mut rest, mut filled) = (text, values.iter_mut());
    for mark in figure.shape() {
        rest = if *mark == b'_' {
            let (value, after) = double(rest).ok_or_else(refuse)?;
            *filled.next().ok_or_else(refuse)? = value;
            after
        } else {
            rest.strip_prefix(std::slice::from_ref(mark)).ok_or_else(refuse)?
        };
    }
    if rest.is_empty() { Ok(values) } else { Err(refuse()) }
}

/// Appends the text form; `values` must be as many as [`Figure::width`].
pub fn encode_text(figure: Figure, values: &[f64], out: &mut Vec<u8>) {
    let mut values = values.iter();
    for mark in figure.shape() {
        match mark {
            b'_' => float::write_f64(values.next().copied().unwrap_or_default(), out),
            mark => out.push(*mark),
        }
    }
}

/// The double at the start of `text`, and what follows it.
fn double(text: &[u8]) -> Option<(f64, &[u8])> {
    let width =
        text.iter().take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')).count();
    let (digits, rest) = text.split_at_checked(width)?;
    Some((float::decode_text_f64(digits).ok()?, rest))
}

/// Points of a path or polygon, read one by one.
#[derive(Debug, Clone)]
pub struct Points<'a>(&'a [u8]);

impl Points<'_> {
    /// How many are left.
    #[must_use]
    pub const fn left(&self) -> usize {
        self.0.len() / 16
    }
}

impl Iterator for Points<'_> {
    type Item = (f64, f64);

    fn next(&mut self) -> Option<(f64, f64)> {
        let (x, rest) = self.0.split_first_chunk::<8>()?;
        let (y, rest) = rest.split_first_chunk::<8>()?;
        self.0 = rest;
        Some((f64::from_be_bytes(*x), f64::from_be_bytes(*y)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left(), Some(self.left()))
    }
}

impl ExactSizeIterator for Points<'_> {}

/// Whether a binary path is closed, and its points.
///
/// # Errors
/// `Length` when count and bytes do not agree, `Malformed` for a flag that is neither 0 nor 1.
pub fn decode_path(bytes: &[u8]) -> Result<(bool, Points<'_>)> {
    match bytes {
        [closed @ (0 | 1), rest @ ..] => Ok((*closed == 1, points("path", rest)?)),
        [] => Err(ValueError::length("path", 5, 0)),
        [flag, ..] => Err(ValueError::malformed("path", format!("{flag} is neither open nor closed"))),
    }
}

/// The points of a binary polygon.
///
/// # Errors
/// `Length` when count and bytes do not agree.
pub fn decode_polygon(bytes: &[u8]) -> Result<Points<'_>> {
    points("polygon", bytes)
}

fn points<'a>(name: &'static str, bytes: &'a [u8]) -> Result<Points<'a>> {
    let Some((count, rest)) = bytes.split_first_chunk::<4>() else {
        return Err(ValueError::length(name, 4, bytes.len()));
    };
    match usize::try_from(i32::from_be_bytes(*count)) {
        Ok(count) if Some(rest.len()) == count.checked_mul(16) => Ok(Points(rest)),
        Ok(count) => Err(ValueError::length(name, count.saturating_mul(16).saturating_add(4), bytes.len())),
        Err(_) => Err(ValueError::malformed(name, "a negative number of points")),
    }
}

/// Appends the head of a binary path (`closed` given) or polygon; its points follow, each with [`encode_binary`].
///
/// # Errors
/// `OutOfRange` for more points than a count can say.
pub fn begin_points(closed: Option<bool>, count: usize, out: &mut Vec<u8>) -> Result<()> {
    let Ok(count) = i32::try_from(count) else {
        return Err(ValueError::out_of_range("path", format!("{count} points")));
    };
    out.extend(closed.map(u8::from));
    out.extend_from_slice(&count.to_be_bytes());
    Ok(())
}

/// Appends the binary form of a text path.
///
/// # Errors
/// `Malformed` for what the server does not write.
pub fn path_from_text(text: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let start = out.len();
    let read = match text {
        [b'(', inner @ .., b')'] => points_from_text(Some(true), inner, out),
        [b'[', inner @ .., b']'] => points_from_text(Some(false), inner, out),
        _ => None,
    };
    read.ok_or_else(|| {
        out.truncate(start);
        ValueError::unexpected_text("path", text)
    })
}

/// Appends the binary form of a text polygon.
///
/// # Errors
/// `Malformed` for what the server does not write.
pub fn polygon_from_text(text: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let start = out.len();
    let read = match text {
        [b'(', inner @ .., b')'] => points_from_text(None, inner, out),
        _ => None,
    };
    read.ok_or_else(|| {
        out.truncate(start);
        ValueError::unexpected_text("polygon", text)
    })
}

/// `(1,2),(3,4)`
fn points_from_text(closed: Option<bool>, text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let count = text.iter().filter(|byte| **byte == b'(').count();
    begin_points(closed, count, out).ok()?;
    let mut rest = text;
    for index in 0..count {
        if index > 0 {
            rest = rest.strip_prefix(b",")?;
        }
        let (x, after) = double(rest.strip_prefix(b"(")?)?;
        let (y, after) = double(after.strip_prefix(b",")?)?;
        encode_binary(&[x, y], out);
        rest = after.strip_prefix(b")")?;
    }
    rest.is_empty().then_some(())
}

/// Appends the text form of a path (`closed` given) or polygon.
pub fn points_to_text(closed: Option<bool>, points: Points<'_>, out: &mut Vec<u8>) {
    let (open, close) = if closed == Some(false) { (b'[', b']') } else { (b'(', b')') };
    out.push(open);
    for (index, (x, y)) in points.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        encode_text(Figure::Point, &[x, y], out);
    }
    out.push(close);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [Figure; 5] = [Figure::Point, Figure::Line, Figure::Lseg, Figure::Box, Figure::Circle];

    #[test]
    fn texts() {
        assert_eq!(decode_text(Figure::Point, b"(1.5,-Infinity)").unwrap()[..2], [1.5, f64::NEG_INFINITY]);
        assert_eq!(decode_text(Figure::Circle, b"<(1,2),3e+100>"), Ok([1.0, 2.0, 3e100, 0.0]));
        assert_eq!(decode_text(Figure::Lseg, b"[(1,2),(3,4)]"), Ok([1.0, 2.0, 3.0, 4.0]));
        for (figure, text) in [
            (Figure::Point, "(1,2"),
            (Figure::Point, "1,2"),
            (Figure::Point, "(1,2,3)"),
            (Figure::Point, "(1,2) "),
            (Figure::Line, "{1,2}"),
            (Figure::Box, "(1,2)"),
            (Figure::Point, "(,1)"),
            (Figure::Point, "(1,x)"),
        ] {
            assert!(decode_text(figure, text.as_bytes()).is_err(), "{text}");
        }
        for text in
            ["((1,2)", "(1,2)", "((1,2),)", "((1,2)(3,4))", "((1,2),(3))", "[(1,2))", "", "((1,2),(3,4)) ", "((1,(2)))"]
        {
            let mut out = vec![7];
            assert!(path_from_text(text.as_bytes(), &mut out).is_err(), "{text}");
            assert!(polygon_from_text(text.as_bytes(), &mut out).is_err(), "{text}");
            assert_eq!(out, [7]);
        }
    }

    #[test]
    fn counts_that_lie() {
        for bytes in [
            &[][..],
            &[0],
            &[2, 0, 0, 0, 0],
            &[1, 0, 0, 0, 1],
            &[1, 0xff, 0xff, 0xff, 0xff],
            &[1, 0x7f, 0xff, 0xff, 0xff],
        ] {
            assert!(decode_path(bytes).is_err(), "{bytes:?}");
        }
        assert!(decode_polygon(&[0x7f, 0xff, 0xff, 0xff]).is_err());
        assert_eq!(decode_path(&[0, 0, 0, 0, 0]).unwrap().1.left(), 0);
    }

    proptest! {
        #[test]
        fn round_trips(values: [f64; 4], points in prop::collection::vec(any::<(f64, f64)>(), 0..5), closed: bool) {
            for figure in ALL {
                let values = &values[..figure.width()];
                let (mut binary, mut text) = (Vec::new(), Vec::new());
                encode_binary(values, &mut binary);
                encode_text(figure, values, &mut text);
                prop_assert_eq!(&decode_binary(figure, &binary).unwrap()[..figure.width()], values);
                prop_assert_eq!(&decode_text(figure, &text).unwrap()[..figure.width()], values);
            }
            let (mut path, mut text, mut again) = (Vec::new(), Vec::new(), Vec::new());
            begin_points(Some(closed), points.len(), &mut path).unwrap();
            for (x, y) in &points {
                encode_binary(&[*x, *y], &mut path);
            }
            let (flag, read) = decode_path(&path).unwrap();
            prop_assert_eq!((flag, read.clone().collect::<Vec<_>>()), (closed, points));
            points_to_text(Some(closed), read, &mut text);
            path_from_text(&text, &mut again).unwrap();
            prop_assert_eq!(&again, &path);
            if closed {
                let mut polygon = Vec::new();
                polygon_from_text(&text, &mut polygon).unwrap();
                prop_assert_eq!(polygon, &path[1..]);
            }
        }
    }
}
