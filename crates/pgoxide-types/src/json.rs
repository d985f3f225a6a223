//! json and jsonb: a strict event parser (RFC 8259), so that any receiver builds its own objects, and the
//! string writer for the other direction.
//!
//! In binary json is its text, and jsonb is a version byte (1) and its text.

use crate::error::quote;
use crate::float::shortest;
use crate::text::not_utf8;
use crate::{Result, ValueError};

const NAME: &str = "json";

/// Deepest nesting [`parse`] accepts.
///
/// The parser keeps one byte per level and does not recurse, so its own stack is safe at any depth; the limit
/// spares the receiver from hostile nesting. It is above what a server with the default `max_stack_depth` of
/// 2 MB can store (PostgreSQL 15, measured: 14531 levels), so no stored value is refused.
pub const MAX_DEPTH: usize = 16_000;

/// Receives the events of [`parse`] in document order.
///
/// Borrowed strings live until the method returns. An error ends the parse and is handed through.
pub trait Sink {
    /// What the sink's own failures are, able to carry the parser's.
    type Error: From<ValueError>;

    /// `null`.
    fn null(&mut self) -> Result<(), Self::Error>;
    /// `true` or `false`.
    fn boolean(&mut self, value: bool) -> Result<(), Self::Error>;
    /// A number without point and exponent, of any length, as written.
    fn integer(&mut self, literal: &str) -> Result<(), Self::Error>;
    /// A number with point or exponent, as written; see [`float_is_exact`].
    fn number(&mut self, literal: &str) -> Result<(), Self::Error>;
    /// A string, unescaped.
    fn string(&mut self, value: &str) -> Result<(), Self::Error>;
    /// The name of the object member whose value comes next, unescaped. Names may repeat.
    fn key(&mut self, name: &str) -> Result<(), Self::Error>;
    /// `text` begins behind the opening quote of a name. A sink that finds there a name it expected, and its closing quote, takes
    /// it, so that it is not read; it says how long it is. Names with escapes, quotes or control characters are not for it.
    #[inline]
    fn expected_key(&mut self, _text: &[u8]) -> Option<usize> {
        None
    }
    /// `[`.
    fn begin_array(&mut self) -> Result<(), Self::Error>;
    /// `]`.
    fn end_array(&mut self) -> Result<(), Self::Error>;
    /// `{`.
    fn begin_object(&mut self) -> Result<(), Self::Error>;
    /// `}`.
    fn end_object(&mut self) -> Result<(), Self::Error>;
}

/// The JSON text of a binary jsonb.
///
/// # Errors
/// `Length` when the version byte is missing, `Malformed` when it is not 1.
#[inline]
pub fn strip_jsonb(bytes: &[u8]) -> Result<&[u8]> {
    match bytes {
        [1, text @ ..] => Ok(text),
        [version, ..] => {
            Err(ValueError::malformed("jsonb", format!("version {version} of the binary form, only 1 is known")))
        }
        [] => Err(ValueError::length("jsonb", 1, 0)),
    }
}

/// Feeds the one JSON value in `text`, surrounded by nothing but white space, to `sink`.
///
/// # Errors
/// `Malformed`, with the byte offset, for anything that is not JSON (`NaN`, trailing commas, control characters
/// in strings, half a surrogate pair, bytes after the value); `OutOfRange` for nesting beyond [`MAX_DEPTH`]; or
/// whatever the sink returns. The sink may have seen events before the error.
pub fn parse<S: Sink>(text: &[u8], sink: &mut S) -> Result<(), S::Error> {
    let text = std::str::from_utf8(text).map_err(|error| not_utf8(NAME, text, error))?;
    let mut parser = Parser { text, bytes: text.as_bytes(), at: 0, scratch: String::new() };
    parser.run(sink)
}

#[derive(Clone, Copy, PartialEq)]
enum Container {
    Array,
    Object,
}

/// The containers that are open, the innermost in the lowest bit.
#[derive(Default)]
struct Open {
    depth: usize,
    bits: u64,
    /// Those further out, 64 in each.
    outer: Vec<u64>,
}

impl Open {
    #[inline]
    fn push(&mut self, container: Container) {
        if self.depth.is_multiple_of(64) && self.depth > 0 {
            self.outer.push(self.bits);
        }
        self.bits = self.bits << 1 | u64::from(container == Container::Object);
        self.depth += 1;
    }

    #[inline]
    fn pop(&mut self) {
        self.depth -= 1;
        self.bits >>= 1;
        if self.depth.is_multiple_of(64) && self.depth > 0 {
            self.bits = self.outer.pop().unwrap_or(0);
        }
    }

    #[inline]
    fn innermost(&self) -> Option<Container> {
        match self.depth {
            0 => None,
            _ if self.bits & 1 == 1 => Some(Container::Object),
            _ => Some(Container::Array),
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    /// Strings with escapes are put together here; others are borrowed from the text.
    scratch: String,
}

impl<'a> Parser<'a> {
    fn run<S: Sink>(&mut self, sink: &mut S) -> Result<(), S::Error> {
        let mut open = Open::default();
        self.skip_space();
        'value: loop {
            match self.next() {
                Some(b'{') => {
                    self.open(&mut open, Container::Object)?;
                    sink.begin_object()?;
                    if self.next() != Some(b'}') {
                        self.member(sink, "a member name or '}'")?;
                        continue;
                    }
                }
                Some(b'[') => {
                    self.open(&mut open, Container::Array)?;
                    sink.begin_array()?;
                    if self.next() != Some(b']') {
                        continue;
                    }
                }
                first => {
                    self.scalar(first, sink)?;
                    self.skip_space();
                }
            }
            // Behind a value, or before the end of a container without any.
            loop {
                match (open.innermost(), self.next()) {
                    (Some(Container::Object), Some(b',')) => {
                        self.step();
                        self.member(sink, "a member name")?;
                        continue 'value;
                    }
                    (Some(Container::Array), Some(b',')) => {
                        self.step();
                        continue 'value;
                    }
                    (Some(Container::Object), Some(b'}')) => sink.end_object()?,
                    (Some(Container::Array), Some(b']')) => sink.end_array()?,
                    (Some(Container::Object), _) => return Err(self.unexpected("',' or '}'").into()),
                    (Some(Container::Array), _) => return Err(self.unexpected("',' or ']'").into()),
                    (None, None) => return Ok(()),
                    (None, Some(_)) => return Err(self.unexpected("the end").into()),
                }
                open.pop();
                self.step();
            }
        }
    }

    /// The name of a member and its colon, up to its value.
    #[inline]
    fn member<S: Sink>(&mut self, sink: &mut S, expected: &str) -> Result<(), S::Error> {
        if self.next() != Some(b'"') {
            return Err(self.unexpected(expected).into());
        }
        match sink.expected_key(self.bytes.get(self.at + 1..).unwrap_or_default()) {
            Some(length) => self.at += length + 2,
            None => sink.key(self.string()?)?,
        }
        self.skip_space();
        if self.next() != Some(b':') {
            return Err(self.unexpected("':'").into());
        }
        self.step();
        Ok(())
    }

    #[inline]
    fn next(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Past one byte and the space behind it.
    #[inline]
    fn step(&mut self) {
        self.at += 1;
        self.skip_space();
    }

    fn scalar<S: Sink>(&mut self, first: Option<u8>, sink: &mut S) -> Result<(), S::Error> {
        match first {
            Some(b'"') => sink.string(self.string()?),
            Some(b'-' | b'0'..=b'9') => match self.number()? {
                (literal, true) => sink.integer(literal),
                (literal, false) => sink.number(literal),
            },
            Some(b't') if self.word(b"true") => sink.boolean(true),
            Some(b'f') if self.word(b"false") => sink.boolean(false),
            Some(b'n') if self.word(b"null") => sink.null(),
            _ => Err(self.unexpected("a value").into()),
        }
    }

    fn open(&mut self, open: &mut Open, container: Container) -> Result<()> {
        if open.depth == MAX_DEPTH {
            return Err(ValueError::out_of_range(NAME, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        open.push(container);
        self.step();
        Ok(())
    }

    #[inline]
    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.bytes.get(self.at) {
            self.at += 1;
        }
    }

    #[inline]
    fn word(&mut self, word: &[u8]) -> bool {
        let found = self.rest().starts_with(word);
        if found {
            self.at += word.len();
        }
        found
    }

    #[inline]
    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// A piece of the text between two ASCII characters.
    #[inline]
    fn piece(&self, start: usize, end: usize) -> &'a str {
        self.text.get(start..end).unwrap_or_default()
    }

    /// The number at the cursor, and whether it is an integer.
    fn number(&mut self) -> Result<(&'a str, bool)> {
        let start = self.at;
        if self.bytes.get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        if self.bytes.get(self.at) == Some(&b'0') {
            self.at += 1;
            if let Some(b'0'..=b'9') = self.bytes.get(self.at) {
                return Err(self.malformed(start, "a number with a leading zero"));
            }
        } else {
            self.digits()?;
        }
        let mut integer = true;
        if self.bytes.get(self.at) == Some(&b'.') {
            integer = false;
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            integer = false;
            self.at += 1;
            if let Some(b'+' | b'-') = self.bytes.get(self.at) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok((self.piece(start, self.at), integer))
    }

    #[inline]
    fn digits(&mut self) -> Result<()> {
        let width = self.rest().iter().take_while(|b| b.is_ascii_digit()).count();
        self.at += width;
        if width == 0 {
            return Err(self.unexpected("a digit"));
        }
        Ok(())
    }

    /// The string at the cursor (on its opening quote), unescaped.
    #[inline]
    fn string(&mut self) -> Result<&str> {
        self.at += 1;
        let start = self.at;
        self.skip_plain();
        if self.bytes.get(self.at) == Some(&b'"') {
            self.at += 1;
            return Ok(self.piece(start, self.at - 1));
        }
        self.unescaped(start)
    }

    /// The same of a string that begins at `start` and is more than plain characters from the cursor on.
    #[cold]
    fn unescaped(&mut self, start: usize) -> Result<&str> {
        self.scratch.clear();
        self.scratch.push_str(self.piece(start, self.at));
        loop {
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(&self.scratch);
                }
                Some(b'\\') => {
                    let c = self.escape()?;
                    self.scratch.push(c);
                }
                Some(byte) => {
                    let what = format!("control character 0x{byte:02x} in a string");
                    return Err(self.malformed(self.at, &what));
                }
                None => return Err(self.malformed(start - 1, "a string without end")),
            }
            let start = self.at;
            self.skip_plain();
            self.scratch.push_str(self.piece(start, self.at));
        }
    }

    /// Moves to the next quote, backslash, control character, or the end.
    #[inline]
    fn skip_plain(&mut self) {
        const STOPS: [bool; 256] = {
            let mut stops = [false; 256];
            let mut byte = 0;
            while byte < 0x20 {
                stops[byte] = true;
                byte += 1;
            }
            stops[b'"' as usize] = true;
            stops[b'\\' as usize] = true;
            stops
        };
        let rest = self.rest();
        let (words, tail) = rest.as_chunks::<8>();
        let mut plain = 0;
        for word in words {
            let stops = stops_in(u64::from_le_bytes(*word));
            if stops != 0 {
                self.at += plain + stops.trailing_zeros() as usize / 8;
                return;
            }
            plain += 8;
        }
        self.at += plain + tail.iter().position(|byte| STOPS[usize::from(*byte)]).unwrap_or(tail.len());
    }

    /// The character of the escape at the cursor (on its backslash).
    fn escape(&mut self) -> Result<char> {
        let start = self.at;
        let c = match self.bytes.get(start + 1) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(),
            _ => return Err(self.malformed(start, "an unknown escape")),
        };
        self.at += 2;
        Ok(c)
    }

    fn unicode_escape(&mut self) -> Result<char> {
        let start = self.at;
        let unit = self.code_unit(start)?;
        self.at += 6;
        let code = match unit {
            0xD800..=0xDBFF if self.rest().starts_with(b"\\u") => {
                let low = self.code_unit(self.at)?;
                if !(0xDC00..=0xDFFF).contains(&low) {
                    return Err(self.lone_surrogate(start));
                }
                self.at += 6;
                0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00)
            }
            _ => unit,
        };
        // Refuses exactly the surrogates that are left.
        char::from_u32(code).ok_or_else(|| self.lone_surrogate(start))
    }

    /// The four hex digits of the `\uXXXX` at `at`.
    fn code_unit(&self, at: usize) -> Result<u32> {
        let digits = self.bytes.get(at + 2..at + 6).unwrap_or_default();
        let value =
            digits.iter().try_fold(0u32, |value, digit| char::from(*digit).to_digit(16).map(|d| value << 4 | d));
        match value {
            Some(value) if digits.len() == 4 => Ok(value),
            _ => Err(self.malformed(at, "\\u without four hex digits")),
        }
    }

    #[cold]
    fn lone_surrogate(&self, at: usize) -> ValueError {
        let escape = self.text.get(at..at + 6).unwrap_or_default();
        self.malformed(at, &format!("{escape} is half of a surrogate pair"))
    }

    #[cold]
    fn malformed(&self, at: usize, what: &str) -> ValueError {
        ValueError::malformed(NAME, format!("{what} at offset {at}"))
    }

    /// Something else than `expected` at the cursor.
    #[cold]
    fn unexpected(&self, expected: &str) -> ValueError {
        match self.text.get(self.at..) {
            None | Some("") => self.malformed(self.at, &format!("expected {expected}, found the end of the text")),
            Some(rest) => {
                // A few characters show which token it is.
                let head: String = rest.chars().take(12).collect();
                self.malformed(self.at, &format!("expected {expected}, found {}", quote(head.as_bytes())))
            }
        }
    }
}

/// The high bit of each byte that is a quote, a backslash or a control character; the lowest one found is exact, those
/// above may be others.
#[inline]
const fn stops_in(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = ONES << 7;
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let zero_of_quote = quote.wrapping_sub(ONES) & !quote;
    let zero_of_backslash = backslash.wrapping_sub(ONES) & !backslash;
    let below_space = word.wrapping_sub(ONES * 0x20) & !word;
    (zero_of_quote | zero_of_backslash | below_space) & HIGH
}

/// The float that a JSON number denotes, when nothing is lost: when the shortest text that reads back as the
/// float has the same decimal value as `literal`.
///
/// `None` when the literal has more digits or a larger range than a float, or is no number; a decimal type is
/// then the exact answer.
#[inline]
#[must_use]
pub fn float_is_exact(literal: &str) -> Option<f64> {
    let significand = Significand::of(literal.as_bytes())?;
    let value: f64 = match significand.quotient() {
        Some(value) if literal.starts_with('-') => -value,
        Some(value) => value,
        None => literal.parse().ok()?,
    };
    if significand.width == 0 {
        return Some(value); // zero of any spelling, with its sign
    }
    // A float tells all decimals of 15 digits apart (DBL_DIG), away from the ends of its range.
    if significand.width <= 15 && (-290..=290).contains(&significand.magnitude) {
        return Some(value);
    }
    // The shortest text of a float has at most 17 digits.
    if significand.width > 17 || !value.is_finite() {
        return None;
    }
    let sure = if value.is_normal() { f64::DIGITS } else { 0 };
    let mut buffer = [0; 64];
    let shortest = shortest(value, sure, &mut buffer)?;
    (Significand::of(shortest.as_bytes())? == significand).then_some(value)
}

/// The digits of a decimal literal that count, and where the point is: two literals have the same value, but
/// for the sign, exactly when these are equal.
#[derive(PartialEq)]
struct Significand {
    /// From the first to the last non-zero digit; only the first 17 are kept in `digits`.
    width: usize,
    digits: u64,
    /// Power of ten of the first non-zero digit.
    magnitude: i64,
}

impl Significand {
    #[inline]
    fn of(literal: &[u8]) -> Option<Self> {
        let unsigned = literal.strip_prefix(b"-").unwrap_or(literal);
        let mut digits = 0u64;
        let mut seen = 0; // digits from the first non-zero one
        let mut zeros = 0; // zeros since the last non-zero one
        let mut before = 0i64; // digits before the point, from the first non-zero one; negative for 0.01
        let mut point = false;
        let mut exponent = 0;
        for (index, byte) in unsigned.iter().enumerate() {
            match byte {
                b'0'..=b'9' => {
                    let digit = byte - b'0';
                    if digit == 0 && seen == 0 {
                        before -= i64::from(point);
                        continue;
                    }
                    before += i64::from(!point);
                    seen += 1;
                    if digit == 0 {
                        zeros += 1;
                        continue;
                    }
                    if seen <= 17 {
                        for _ in 0..=zeros {
                            digits *= 10;
                        }
                        digits += u64::from(digit);
                    }
                    zeros = 0;
                }
                b'.' if !point => point = true,
                b'e' | b'E' => {
                    exponent = parse_exponent(unsigned.get(index + 1..)?)?;
                    break;
                }
                _ => return None,
            }
        }
        let width = seen - zeros;
        Some(Self { width, digits, magnitude: if width == 0 { 0 } else { before - 1 + exponent } })
    }

    /// The float, where one division of exact floats gives it, which rounds as it must: most numbers with a fraction.
    #[inline]
    fn quotient(&self) -> Option<f64> {
        // The powers of ten that are floats.
        const TENS: [f64; 23] = [
            1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
            1e19, 1e20, 1e21, 1e22,
        ];
        // Digits behind the point.
        let places = usize::try_from(i64::try_from(self.width).ok()? - 1 - self.magnitude).ok()?;
        (self.width <= 15).then(|| TENS.get(places)).flatten().map(|ten| self.digits as f64 / ten)
    }
}

/// The exponent behind the `e`, kept at a bound far beyond the range of floats.
#[inline]
fn parse_exponent(text: &[u8]) -> Option<i64> {
    const BOUND: i64 = 1_000_000_000_000_000;
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() {
        return None;
    }
    let value = digits.iter().try_fold(0i64, |value, digit| {
        digit.is_ascii_digit().then(|| (value * 10 + i64::from(digit - b'0')).min(BOUND))
    })?;
    Some(if negative { -value } else { value })
}

/// Appends `text` as a JSON string with its quotes: quote, backslash and control characters escaped, all else
/// as it is.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let bytes = text.as_bytes();
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    let mut start = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        let short = match byte {
            b'"' => b'"',
            b'\\' => b'\\',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x08 => b'b',
            0x0c => b'f',
            0..=0x1f => 0,
            _ => continue,
        };
        out.extend_from_slice(&bytes[start..at]);
        if short == 0 {
            let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
        } else {
            out.extend_from_slice(&[b'\\', short]);
        }
        start = at + 1;
    }
    out.extend_from_slice(&bytes[start..]);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fmt::Write as _;

    /// Writes the events down: `[`, `{`, `k"name"`, `s"value"`, `i1`, `n1.5`, ...
    #[derive(Default)]
    struct Log(String);

    impl Sink for Log {
        type Error = ValueError;
        fn null(&mut self) -> Result<()> {
            self.0.push_str("null ");
            Ok(())
        }
        fn boolean(&mut self, value: bool) -> Result<()> {
            write!(self.0, "{value} ").unwrap();
            Ok(())
        }
        fn integer(&mut self, literal: &str) -> Result<()> {
            write!(self.0, "i{literal} ").unwrap();
            Ok(())
        }
        fn number(&mut self, literal: &str) -> Result<()> {
            write!(self.0, "n{literal} ").unwrap();
            Ok(())
        }
        fn string(&mut self, value: &str) -> Result<()> {
            write!(self.0, "s{value:?} ").unwrap();
            Ok(())
        }
        fn key(&mut self, name: &str) -> Result<()> {
            write!(self.0, "k{name:?} ").unwrap();
            Ok(())
        }
        fn begin_array(&mut self) -> Result<()> {
            self.0.push_str("[ ");
            Ok(())
        }
        fn end_array(&mut self) -> Result<()> {
            self.0.push_str("] ");
            Ok(())
        }
        fn begin_object(&mut self) -> Result<()> {
            self.0.push_str("{ ");
            Ok(())
        }
        fn end_object(&mut self) -> Result<()> {
            self.0.push_str("} ");
            Ok(())
        }
    }

    fn events(text: &[u8]) -> Result<String> {
        let mut log = Log::default();
        parse(text, &mut log).map(|()| log.0.trim_end().to_owned())
    }

    #[test]
    fn documents() {
        for (text, expected) in [
            ("null", "null"),
            (" \t\r\n true ", "true"),
            ("-0", "i-0"),
            ("12345678901234567890123", "i12345678901234567890123"),
            ("1.50", "n1.50"),
            ("1e5", "n1e5"),
            ("-0.1E-7", "n-0.1E-7"),
            ("[]", "[ ]"),
            ("{}", "{ }"),
            ("[ ]", "[ ]"),
            (r#"[1,[2,{"a":false}],"x"]"#, r#"[ i1 [ i2 { k"a" false } ] s"x" ]"#),
            (r#"{"a" : 1 , "a":{"b":[]}}"#, r#"{ k"a" i1 k"a" { k"b" [ ] } }"#),
            (r#""\u0041\n\"\\\/\u00e4""#, r#"s"A\n\"\\/ä""#),
            (r#""x\ud83d\ude00y""#, r#"s"x😀y""#),
            (r#""\u0000""#, r#"s"\0""#),
            ("\"ä€😀\"", "s\"ä€😀\""),
            ("\"\u{7f}\"", "s\"\\u{7f}\""),
        ] {
            assert_eq!(events(text.as_bytes()).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn refused_documents() {
        for (text, what) in [
            ("", "expected a value, found the end"),
            ("  ", "expected a value, found the end"),
            ("NaN", r#"expected a value, found "NaN" at offset 0"#),
            ("-Infinity", "expected a digit"),
            ("nul", "expected a value"),
            ("[1,]", "expected a value, found \"]\" at offset 3"),
            ("[1 2]", "expected ',' or ']'"),
            ("[1}", "expected ',' or ']'"),
            ("{\"a\":1]", "expected ',' or '}'"),
            ("{\"a\" 1}", "expected ':'"),
            ("{\"a\":}", "expected a value"),
            ("{\"a\":1,}", "expected a member name,"),
            ("{1:2}", "expected a member name or '}'"),
            ("[", "expected a value"),
            ("]", "expected a value"),
            ("1 2", "expected the end, found \"2\" at offset 2"),
            ("nullx", "expected the end"),
            ("01", "leading zero"),
            ("-01", "leading zero"),
            ("1.", "expected a digit"),
            (".5", "expected a value"),
            ("+1", "expected a value"),
            ("1e", "expected a digit"),
            ("\"abc", "a string without end at offset 0"),
            ("\"a\nb\"", "control character 0x0a in a string at offset 2"),
            (r#""\x""#, "unknown escape at offset 1"),
            ("\"\\", "unknown escape"),
            (r#""\u12""#, "four hex digits"),
            (r#""\u12g4""#, "four hex digits"),
            (r#""\u+123""#, "four hex digits"),
            (r#""\ud83d""#, r"\ud83d is half of a surrogate pair at offset 1"),
            (r#""\ude00""#, "half of a surrogate pair"),
            (r#""\ud83dx""#, "half of a surrogate pair"),
            (r#""\ud83d\n""#, "half of a surrogate pair"),
            (r#""\ud83d\ud83d""#, "half of a surrogate pair"),
            ("'a'", "expected a value"),
            ("/**/1", "expected a value"),
        ] {
            let error = events(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(what), "{text}: {error}");
        }
        assert!(events(b"\"\xff\"").unwrap_err().to_string().contains("offset 1"));
        assert!(events(b"\xef\xbb\xbf1").is_err());
    }

    #[test]
    fn depth_is_limited() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(events(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert!(matches!(events(nested(MAX_DEPTH + 1).as_bytes()), Err(ValueError::OutOfRange { .. })));
        assert!(events("{\"a\":".repeat(1_000_000).as_bytes()).is_err());
    }

    #[test]
    fn containers_close_as_they_were_opened() {
        for depth in [1, 2, 63, 64, 65, 127, 128, 129, 200] {
            // By turns, by three and all alike: the kinds of 64 fill a word.
            for period in [1, 2, 3, 300] {
                let object = |level: usize| level.is_multiple_of(period);
                let open: String = (0..depth).map(|level| if object(level) { "{\"k\":" } else { "[" }).collect();
                let closers: Vec<char> = (0..depth).rev().map(|level| if object(level) { '}' } else { ']' }).collect();
                let text = |closers: &[char]| format!("{open}0{}", closers.iter().collect::<String>());
                assert!(events(text(&closers).as_bytes()).is_ok(), "{depth} {period}");
                for at in 0..depth {
                    let mut wrong = closers.clone();
                    wrong[at] = if wrong[at] == '}' { ']' } else { '}' };
                    assert!(events(text(&wrong).as_bytes()).is_err(), "{depth} {period} {at}");
                }
            }
        }
    }

    /// Expects the name "k", whatever was before.
    #[derive(Default)]
    struct Expecting(Log, usize);

    impl Sink for Expecting {
        type Error = ValueError;
        fn null(&mut self) -> Result<()> {
            self.0.null()
        }
        fn boolean(&mut self, value: bool) -> Result<()> {
            self.0.boolean(value)
        }
        fn integer(&mut self, literal: &str) -> Result<()> {
            self.0.integer(literal)
        }
        fn number(&mut self, literal: &str) -> Result<()> {
            self.0.number(literal)
        }
        fn string(&mut self, value: &str) -> Result<()> {
            self.0.string(value)
        }
        fn key(&mut self, name: &str) -> Result<()> {
            self.0.key(name)
        }
        fn expected_key(&mut self, text: &[u8]) -> Option<usize> {
            text.starts_with(b"k\"").then(|| {
                self.1 += 1;
                self.0.key("k").unwrap();
                1
            })
        }
        fn begin_array(&mut self) -> Result<()> {
            self.0.begin_array()
        }
        fn end_array(&mut self) -> Result<()> {
            self.0.end_array()
        }
        fn begin_object(&mut self) -> Result<()> {
            self.0.begin_object()
        }
        fn end_object(&mut self) -> Result<()> {
            self.0.end_object()
        }
    }

    #[test]
    fn expected_names() {
        for (text, met) in [
            (r#"{"k":1}"#, 1),
            (r#"{ "k" : {"k" :2}, "kk": 3, "\u006b": 4, "": 5}"#, 2),
            (r#"["k", {"k": "k"}]"#, 1),
            (r#"{"k"}"#, 1),
            (r#"{"k" "k"}"#, 1),
            (r#"{"k"#, 0),
            (r#"{""#, 0),
            ("{", 0),
        ] {
            let mut sink = Expecting::default();
            let parsed = parse(text.as_bytes(), &mut sink).map(|()| sink.0.0.trim_end().to_owned());
            assert_eq!(parsed, events(text.as_bytes()), "{text}");
            assert_eq!(sink.1, met, "{text}");
        }
    }

    #[test]
    fn jsonb_version() {
        assert_eq!(strip_jsonb(b"\x01{}"), Ok(&b"{}"[..]));
        assert!(strip_jsonb(b"").is_err());
        assert!(strip_jsonb(b"\x02{}").unwrap_err().to_string().contains("version 2"));
    }

    #[test]
    fn exact_floats() {
        for (literal, value) in [
            ("0.1", 0.1),
            ("1.50", 1.5),
            ("-2.5e-3", -0.0025),
            ("0.0", 0.0),
            ("1e2", 100.0),
            ("100000000000000000000000000000.0", 1e29),
            ("0.30000000000000004", 0.300_000_000_000_000_04),
            ("1.7976931348623157e308", f64::MAX),
            ("5e-324", 5e-324),
            (
                "1184256757044458.2", // a tie: Rust alone prints .3
                4_737_027_028_177_833.0 / 4.0,
            ),
            ("5.684341886080802e-14", 2f64.powi(-44)), // a power of two: ...801 is nearer, another float
            ("9007199254740993e0", f64::NAN),
            ("9007199254740992.0", 9_007_199_254_740_992.0),
        ] {
            assert_eq!(float_is_exact(literal), Some(value).filter(|v| !v.is_nan()), "{literal}");
        }
        assert_eq!(float_is_exact("-0.0").map(f64::to_bits), Some((-0.0f64).to_bits()));
        for literal in [
            "0.1000000000000000055",
            "1e400",
            "1e-400",
            "4e-324",
            "1.7976931348623158e308",
            "3.14159265358979323846",
            "0.10000000000000001",
            "1e99999999999999999999",
            "",
            "x",
            "1.5x",
            "1e",
            "1.2.3",
        ] {
            assert_eq!(float_is_exact(literal), None, "{literal}");
        }
    }

    proptest! {
        #[test]
        fn strings_round_trip(text: String) {
            let mut out = Vec::new();
            write_string(&text, &mut out);
            prop_assert_eq!(events(&out).unwrap(), format!("s{text:?}"));
        }

        #[test]
        fn escaped_strings_round_trip(text: String) {
            let mut escaped = String::from("\"");
            for unit in text.encode_utf16() {
                write!(escaped, "\\u{unit:04x}").unwrap();
            }
            escaped.push('"');
            prop_assert_eq!(events(escaped.as_bytes()).unwrap(), format!("s{text:?}"));
        }

        #[test]
        fn shortest_texts_are_exact(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            let mut buffer = [0; 64];
            let literal = shortest(value, 0, &mut buffer).unwrap();
            prop_assert_eq!(float_is_exact(literal).map(f64::to_bits), Some(bits));
        }

        /// The quick answer for up to fifteen digits agrees with the definition.
        #[test]
        fn exactness_is_what_it_says(digits in 0u64..1_000_000_000_000_000_000, exponent in -340i32..320) {
            let literal = format!("{digits}e{exponent}");
            let value: f64 = literal.parse().unwrap();
            let mut buffer = [0; 64];
            let same = value.is_finite()
                && decimal(&literal) == decimal(shortest(value, 0, &mut buffer).unwrap());
            prop_assert_eq!(float_is_exact(&literal), same.then_some(value));
        }
    }

    /// Digits without outer zeros and the exponent of the last one, the slow way.
    fn decimal(literal: &str) -> (String, i64) {
        let (mantissa, exponent) = literal.split_once('e').unwrap();
        let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = format!("{integer}{fraction}");
        let digits = digits.trim_start_matches('0');
        let short = digits.trim_end_matches('0');
        if short.is_empty() {
            return (String::new(), 0);
        }
        let cut = (digits.len() - short.len()) as i64;
        let exponent: i64 = exponent.parse().unwrap();
        (short.to_owned(), exponent - fraction.len() as i64 + cut)
    }
}
