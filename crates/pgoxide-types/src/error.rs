//! The one error of this crate: what is wrong with a value, in a sentence a user understands.

use std::borrow::Cow;
use std::fmt;

/// Longest piece of a value that an error message repeats, in characters.
const QUOTE_MAX: usize = 60;

/// Why a wire value could not be read, or a Rust value could not be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueError {
    /// The value has a fixed (or announced) size and came with another one.
    Length {
        /// `typname` of the PostgreSQL type.
        type_name: &'static str,
        /// Bytes the value must have.
        expected: usize,
        /// Bytes it has.
        got: usize,
    },
    /// The bytes or the text do not follow the type's format.
    Malformed {
        /// `typname` of the PostgreSQL type.
        type_name: &'static str,
        /// What was found, and where.
        what: Cow<'static, str>,
    },
    /// A well-formed value that the type (on the server or here) cannot hold.
    OutOfRange {
        /// `typname` of the PostgreSQL type.
        type_name: &'static str,
        /// The value and the limit.
        what: Cow<'static, str>,
    },
}

/// What every fallible function of this crate returns.
pub type Result<T, E = ValueError> = std::result::Result<T, E>;

impl ValueError {
    /// The `typname` of the type whose value is refused.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Length { type_name, .. } | Self::Malformed { type_name, .. } | Self::OutOfRange { type_name, .. } => {
                type_name
            }
        }
    }

    #[cold]
    pub(crate) fn length(type_name: &'static str, expected: usize, got: usize) -> Self {
        Self::Length { type_name, expected, got }
    }

    #[cold]
    pub(crate) fn malformed(type_name: &'static str, what: impl Into<Cow<'static, str>>) -> Self {
        Self::Malformed { type_name, what: what.into() }
    }

    #[cold]
    pub(crate) fn out_of_range(type_name: &'static str, what: impl Into<Cow<'static, str>>) -> Self {
        Self::OutOfRange { type_name, what: what.into() }
    }

    /// Malformed, because `text` is not what the server writes for this type.
    #[cold]
    pub(crate) fn unexpected_text(type_name: &'static str, text: &[u8]) -> Self {
        Self::malformed(type_name, format!("unexpected text {}", quote(text)))
    }
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { type_name, expected, got } => {
                let s = if *got == 1 { "" } else { "s" };
                write!(f, "{type_name} value is {got} byte{s} long, expected {expected}")
            }
            Self::Malformed { type_name, what } => write!(f, "malformed {type_name} value: {what}"),
            Self::OutOfRange { type_name, what } => {
                write!(f, "{type_name} value out of range: {what}")
            }
        }
    }
}

impl std::error::Error for ValueError {}

/// `text` between quotes, escaped and cut to [`QUOTE_MAX`] characters.
pub(crate) fn quote(text: &[u8]) -> String {
    // Four bytes a character at most: enough input for the cut, however long the value.
    let head = &text[..text.len().min(QUOTE_MAX * 4)];
    let lossy = String::from_utf8_lossy(head);
    let mut quoted = String::from("\"");
    let mut room = QUOTE_MAX - 5; // two quotes and an ellipsis
    let mut cut = head.len() < text.len();
    for c in lossy.chars() {
        let escaped = c.escape_debug();
        let width = escaped.len();
        if width > room {
            cut = true;
            break;
        }
        room -= width;
        quoted.extend(escaped);
    }
    quoted.push_str(if cut { "...\"" } else { "\"" });
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences() {
        assert_eq!(ValueError::length("int4", 4, 1).to_string(), "int4 value is 1 byte long, expected 4");
        assert_eq!(
            ValueError::unexpected_text("bool", b"yes\n").to_string(),
            r#"malformed bool value: unexpected text "yes\n""#
        );
        let error = ValueError::out_of_range("int8", "too large");
        assert_eq!(error.to_string(), "int8 value out of range: too large");
        assert_eq!(error.type_name(), "int8");
    }

    #[test]
    fn quotes_are_short() {
        for text in [vec![b'x'; 10_000], vec![0; 10_000], vec![0xff; 59], "ä".repeat(61).into_bytes()] {
            let quoted = quote(&text);
            assert!(quoted.chars().count() <= QUOTE_MAX, "{quoted}");
            assert!(quoted.ends_with("...\""));
        }
        assert_eq!(quote(b""), "\"\"");
    }
}
