//! Rows of COPY's text and CSV formats. A row's values are what the types' input and output functions read and write; here
//! they are told apart, escaped and quoted.
//!
//! A row that was read is laid out as a tuple of COPY's binary format: the number of values, then each one's length (-1 for
//! NULL) and bytes. Source: the manual's page of COPY, "File Formats".

use crate::error::{Result, ValueError, quote};

/// What messages call it.
const NAME: &str = "COPY";

/// The line that once ended the data, and still does in files.
const END: &[u8] = b"\\.";

/// How values are kept apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Backslashes escape.
    Text,
    /// Values may stand in quotes.
    Csv {
        /// Around a value.
        quote: u8,
        /// Before a quote, or another escape, within quotes.
        escape: u8,
    },
}

/// One of the two formats, as a COPY's options choose it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// Text or CSV.
    pub style: Style,
    /// Between values.
    pub delimiter: u8,
    /// What stands for NULL.
    pub null: Box<[u8]>,
    /// What stands for a column's default, where that is an option.
    pub default: Option<Box<[u8]>>,
}

impl Dialect {
    /// Text format without options.
    #[must_use]
    pub fn text() -> Self {
        Self { style: Style::Text, delimiter: b'\t', null: (*b"\\N").into(), default: None }
    }

    /// CSV without options.
    #[must_use]
    pub fn csv() -> Self {
        Self { style: Style::Csv { quote: b'"', escape: b'"' }, delimiter: b',', null: (*b"").into(), default: None }
    }

    /// Whether the server could take the options together. What it then does with rows, this file does too.
    ///
    /// # Errors
    /// Which option cannot be, in the server's words as far as possible.
    pub fn check(&self) -> Result<()> {
        let refuse = |what: &'static str| Err(ValueError::malformed(NAME, what));
        let ends_line = |byte: &u8| matches!(byte, b'\n' | b'\r');
        if !self.delimiter.is_ascii() || ends_line(&self.delimiter) {
            return refuse("the delimiter must be one single-byte character that ends no line");
        }
        let words = [Some(&self.null), self.default.as_ref()];
        if words.iter().flatten().any(|word| word.iter().any(ends_line) || word.contains(&self.delimiter)) {
            return refuse("null and default must not hold the delimiter or an end of line");
        }
        if words.iter().flatten().any(|word| word.as_ref() == END) || self.default.as_ref() == Some(&self.null) {
            return refuse("null and default must differ, and neither may be \\., which ends the data");
        }
        match self.style {
            // An escape of letters and digits means something else.
            Style::Text if b"\\.abcdefghijklmnopqrstuvwxyz0123456789".contains(&self.delimiter) => {
                refuse("the delimiter of text format must be none of \\.abcdefghijklmnopqrstuvwxyz0123456789")
            }
            Style::Text if words.iter().flatten().any(|word| ends_in_escape(word)) => {
                refuse("null and default must not end with a backslash: it would take the delimiter with it")
            }
            Style::Text => Ok(()),
            Style::Csv { quote, escape } if [quote, escape].iter().any(|byte| !byte.is_ascii() || ends_line(byte)) => {
                refuse("quote and escape must be single-byte characters that end no line")
            }
            // Quoted, ".\r" would begin its line with \., which ends the data to servers before 18.
            Style::Csv { quote: b'\\', .. } => refuse("the quote must not be a backslash"),
            Style::Csv { quote, .. } if quote == self.delimiter => refuse("delimiter and quote must differ"),
            Style::Csv { quote, .. } if words.iter().flatten().any(|word| word.contains(&quote)) => {
                refuse("null and default must not hold the quote")
            }
            Style::Csv { .. } => Ok(()),
        }
    }

    /// Whether NULL can be told from every value in what the server writes. In text format it escapes values without a look at
    /// what stands for NULL, so that must be what no escaped value is.
    #[must_use]
    pub fn null_is_plain(&self) -> bool {
        match (self.style, &*self.null) {
            (Style::Csv { .. }, _) => true,
            (Style::Text, [b'\\', letter, ..]) => !b"bfnrtv\\".contains(letter) && *letter != self.delimiter,
            (Style::Text, _) => false,
        }
    }

    /// Appends one value, without a delimiter. `only`: its row has no other.
    ///
    /// # Errors
    /// When the options leave no way to write it: text format, whose NULL is the empty text. Nothing is appended then.
    pub fn write(&self, value: Option<&[u8]>, only: bool, out: &mut Vec<u8>) -> Result<()> {
        let Some(value) = value else {
            out.extend_from_slice(&self.null);
            return Ok(());
        };
        match self.style {
            Style::Text => self.write_text(value, out),
            Style::Csv { quote, escape } => {
                let special = |&byte: &u8| byte == self.delimiter || byte == quote || matches!(byte, b'\n' | b'\r');
                if self.stands_for(value) || (only && value == END) || value.iter().any(special) {
                    write_quoted(value, quote, escape, out);
                } else {
                    out.extend_from_slice(value);
                }
                Ok(())
            }
        }
    }

    /// Whether the raw value would be taken for NULL or for the default.
    fn stands_for(&self, value: &[u8]) -> bool {
        *value == *self.null || self.default.as_deref() == Some(value)
    }

    fn write_text(&self, value: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        escape(value, self.delimiter, out);
        if !self.stands_for(&out[start..]) {
            return Ok(());
        }
        let raw = out.split_off(start);
        let Some((&first, rest)) = raw.split_first() else {
            return Err(ValueError::malformed(NAME, "with null='' text format has no way to write an empty value"));
        };
        // Another way to write the same. What begins with a backslash is an escape that can be doubled away in no way but this.
        if first == b'\\' {
            let (letter, rest) = rest.split_first().map_or((b'\\', rest), |(&letter, rest)| (unescaped(letter), rest));
            out.extend_from_slice(format!("\\{letter:03o}").as_bytes());
            out.extend_from_slice(rest);
        } else {
            out.extend_from_slice(format!("\\{first:03o}").as_bytes());
            out.extend_from_slice(rest);
        }
        Ok(())
    }

    /// Whether a server before PostgreSQL 18 takes this line for the end of the data, and lets go what follows. It looks for that
    /// before it looks at quotes: only where a backslash quotes or delimits can a line of values begin so.
    #[must_use]
    pub fn ends_data(line: &[u8]) -> bool {
        matches!(line.strip_prefix(END), Some([b'\r' | b'\n', ..]))
    }

    /// Reads one row, with or without the end of its line, of `columns` values; `tuple` is replaced. False: it is the
    /// line that ends the data.
    ///
    /// # Errors
    /// When the quotes do not pair.
    pub fn read(&self, row: &[u8], columns: usize, tuple: &mut Vec<u8>) -> Result<bool> {
        tuple.clear();
        tuple.extend_from_slice(&[0, 0]);
        let row = row.strip_suffix(b"\n").unwrap_or(row);
        if columns == 0 && row.is_empty() {
            return Ok(true);
        }
        let mut count = 0_u16;
        let mut rest = Some(row);
        match self.style {
            Style::Text if row == END => return Ok(false),
            Style::Text => {
                while let Some(raw) = rest {
                    rest = self.read_text(raw, tuple);
                    count = more(count, row)?;
                }
            }
            Style::Csv { quote, escape } => {
                while let Some(raw) = rest {
                    rest = self.read_csv(raw, quote, escape, tuple)?;
                    count = more(count, row)?;
                }
            }
        }
        tuple[..2].copy_from_slice(&count.to_be_bytes());
        Ok(true)
    }

    /// Reads one value; what follows its delimiter, if there is one.
    fn read_text<'a>(&self, raw: &'a [u8], tuple: &mut Vec<u8>) -> Option<&'a [u8]> {
        let start = begin_value(tuple);
        let mut at = 0;
        loop {
            at = push_until(raw, at, self.delimiter, b'\\', tuple);
            if raw.get(at) != Some(&b'\\') {
                break;
            }
            let (value, taken) = unescape(&raw[at + 1..]);
            tuple.push(value);
            at += 1 + taken;
        }
        end_value(tuple, start, raw[..at] == *self.null);
        raw.get(at + 1..)
    }

    /// As `read_text`. Quotes may begin and end anywhere in a value; one that had any is not NULL.
    fn read_csv<'a>(&self, raw: &'a [u8], quote: u8, escape: u8, tuple: &mut Vec<u8>) -> Result<Option<&'a [u8]>> {
        let start = begin_value(tuple);
        let (mut at, mut quoted, mut inside) = (0, false, false);
        loop {
            at = push_until(raw, at, quote, if inside { escape } else { self.delimiter }, tuple);
            let Some(&byte) = raw.get(at) else { break };
            if !inside && byte == self.delimiter {
                break;
            }
            at += 1;
            match raw.get(at) {
                Some(&next) if inside && byte == escape && (next == escape || next == quote) => {
                    tuple.push(next);
                    at += 1;
                }
                _ if byte == quote => {
                    inside = !inside;
                    quoted = true;
                }
                _ => tuple.push(byte),
            }
        }
        if inside {
            return Err(ValueError::malformed(NAME, "unterminated CSV quoted field"));
        }
        let null = !quoted && raw[..at] == *self.null;
        end_value(tuple, start, null);
        Ok(raw.get(at + 1..))
    }
}

/// Appends what stands before the next of two bytes; where that is.
fn push_until(raw: &[u8], from: usize, one: u8, other: u8, tuple: &mut Vec<u8>) -> usize {
    let rest = &raw[from..];
    let length = rest.iter().position(|&byte| byte == one || byte == other).unwrap_or(rest.len());
    tuple.extend_from_slice(&rest[..length]);
    from + length
}

/// Its last backslash escapes what follows.
fn ends_in_escape(word: &[u8]) -> bool {
    word.iter().rev().take_while(|&&byte| byte == b'\\').count() % 2 == 1
}

fn more(count: u16, row: &[u8]) -> Result<u16> {
    count.checked_add(1).ok_or_else(|| ValueError::malformed(NAME, format!("more than 65535 values in {}", quote(row))))
}

fn begin_value(tuple: &mut Vec<u8>) -> usize {
    tuple.extend_from_slice(&[0xff; 4]);
    tuple.len()
}

fn end_value(tuple: &mut Vec<u8>, start: usize, null: bool) {
    if null {
        tuple.truncate(start);
        return;
    }
    // A row of 2 GiB is beyond what a message may hold; its length would be read as NULL's.
    let length = i32::try_from(tuple.len() - start).unwrap_or(-1);
    tuple[start - 4..start].copy_from_slice(&length.to_be_bytes());
}

/// Backslash, the delimiter and what ends lines mean themselves only behind a backslash.
fn escape(value: &[u8], delimiter: u8, out: &mut Vec<u8>) {
    out.reserve(value.len() + 1);
    let mut rest = value;
    while let Some(at) =
        rest.iter().position(|&byte| byte == delimiter || matches!(byte, b'\\' | b'\t' | b'\n' | b'\r'))
    {
        let letter = match rest[at] {
            b'\t' => b't',
            b'\n' => b'n',
            b'\r' => b'r',
            other => other,
        };
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(&[b'\\', letter]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

fn write_quoted(value: &[u8], quote: u8, escape: u8, out: &mut Vec<u8>) {
    out.reserve(value.len() + 2);
    out.push(quote);
    for &byte in value {
        if byte == quote || byte == escape {
            out.push(escape);
        }
        out.push(byte);
    }
    out.push(quote);
}

/// What a letter means behind a backslash.
const fn unescaped(letter: u8) -> u8 {
    match letter {
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 0x0b,
        other => other,
    }
}

/// The byte that an escape stands for, and how many bytes behind its backslash it takes: letters, one to three octal
/// digits, one or two hexadecimal ones behind an x, or the byte itself.
fn unescape(behind: &[u8]) -> (u8, usize) {
    let digits = |from: usize, most: usize, radix: u32| {
        let digit = |byte: &u8| char::from(*byte).to_digit(radix);
        let found = behind.get(from..).unwrap_or_default().iter().take(most).map_while(digit);
        found.fold((0_u32, 0_usize), |(value, count), digit| (value * radix + digit, count + 1))
    };
    // As the server: only the low byte counts.
    let low = |value: u32| value.to_le_bytes()[0];
    match behind.first() {
        None => (b'\\', 0),
        Some(b'0'..=b'7') => {
            let (value, count) = digits(0, 3, 8);
            (low(value), count)
        }
        Some(b'x') => match digits(1, 2, 16) {
            (_, 0) => (b'x', 1),
            (value, count) => (low(value), count + 1),
        },
        Some(&letter) => (unescaped(letter), 1),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Row = Vec<Option<Vec<u8>>>;

    fn values(tuple: &[u8]) -> Row {
        let count = u16::from_be_bytes([tuple[0], tuple[1]]);
        let mut rest = &tuple[2..];
        let row = (0..count)
            .map(|_| {
                let length = i32::from_be_bytes(rest[..4].try_into().unwrap());
                rest = &rest[4..];
                let value = usize::try_from(length).ok().map(|length| rest[..length].to_vec());
                rest = &rest[value.as_ref().map_or(0, Vec::len)..];
                value
            })
            .collect();
        assert!(rest.is_empty());
        row
    }

    fn read(dialect: &Dialect, row: &[u8]) -> Row {
        let mut tuple = Vec::new();
        assert_eq!(dialect.read(row, 1, &mut tuple), Ok(true));
        values(&tuple)
    }

    fn some(texts: &[&str]) -> Row {
        texts.iter().map(|text| (*text != "NULL").then(|| text.as_bytes().to_vec())).collect()
    }

    #[test]
    fn text() {
        let dialect = Dialect::text();
        assert_eq!(read(&dialect, b"a\t\\N\t\n"), some(&["a", "NULL", ""]));
        assert_eq!(read(&dialect, b"\\\\N\t\\\\.\t\\t\\n\\r\\b\\f\\v"), some(&["\\N", "\\.", "\t\n\r\u{8}\u{c}\u{b}"]));
        assert_eq!(read(&dialect, b"\\101\\x42\\x4g\\q\\xg\\0611\\"), some(&["AB\u{4}gqxg11\\"]));
        assert_eq!(dialect.read(b"\\.\n", 1, &mut Vec::new()), Ok(false));
        assert_eq!(read(&dialect, b""), some(&[""]));
        let mut tuple = Vec::new();
        assert_eq!((dialect.read(b"\n", 0, &mut tuple), tuple), (Ok(true), vec![0, 0]));
    }

    #[test]
    fn csv() {
        let dialect = Dialect::csv();
        assert_eq!(read(&dialect, b"a,\"\",,\"b,\"\"\n\",c\"d\"e\n"), some(&["a", "", "NULL", "b,\"\n", "cde"]));
        assert_eq!(read(&dialect, b"\\.\n"), some(&["\\."]));
        assert!(dialect.read(b"a,\"b\n", 2, &mut Vec::new()).is_err());
        let other = Dialect { style: Style::Csv { quote: b'\'', escape: b'\\' }, ..Dialect::csv() };
        assert_eq!(read(&other, b"'a\\'\\\\\\x','b'"), some(&["a'\\\\x", "b"]));
    }

    #[test]
    fn values_that_look_like_others() {
        for (null, value, written) in [
            ("x", "x", "\\170"),
            ("\\N", "\\N", "\\\\N"),
            ("\\t", "\t", "\\011"),
            ("\\\\", "\\", "\\134"),
            ("ab", "ab", "\\141b"),
        ] {
            let dialect = Dialect { null: null.as_bytes().into(), ..Dialect::text() };
            let mut out = Vec::new();
            dialect.write(Some(value.as_bytes()), true, &mut out).unwrap();
            assert_eq!(String::from_utf8(out.clone()).unwrap(), written);
            assert_eq!(read(&dialect, &out), some(&[value]));
        }
        let quoted = Dialect { style: Style::Csv { quote: b'\\', escape: b'\\' }, ..Dialect::csv() };
        assert!(quoted.check().is_err());
        let mut out = Vec::new();
        let dialect = Dialect { null: (*b"").into(), ..Dialect::text() };
        assert!(dialect.write(Some(b""), true, &mut out).is_err() && out.is_empty());
        Dialect::csv().write(Some(b"\\."), true, &mut out).unwrap();
        assert_eq!(out, b"\"\\.\"");
    }

    #[test]
    fn nulls_that_no_value_is() {
        let plain = |null: &str| Dialect { null: null.as_bytes().into(), ..Dialect::text() }.null_is_plain();
        assert!(plain("\\N") && plain("\\x") && Dialect::csv().null_is_plain());
        assert!(!plain("") && !plain("x") && !plain("\\t") && !plain("\\\\") && !plain("\\"));
    }

    fn dialects() -> impl Strategy<Value = Dialect> {
        let word = prop::collection::vec(prop::sample::select(b"\\Nx-t'".to_vec()), 0..3);
        let byte = || prop::sample::select(b"\t,;|'\"\\x-".to_vec());
        (any::<bool>(), byte(), byte(), byte(), word.clone(), prop::option::of(word)).prop_filter_map(
            "options that the server would not take",
            |(text, delimiter, quote, escape, null, default)| {
                let style = if text { Style::Text } else { Style::Csv { quote, escape } };
                let dialect = Dialect { style, delimiter, null: null.into(), default: default.map(Into::into) };
                dialect.check().is_ok().then_some(dialect)
            },
        )
    }

    proptest! {
        /// What is written is read again, whatever the options; what cannot be is refused.
        #[test]
        fn round_trip(
            dialect in dialects(),
            row in prop::collection::vec(
                prop::option::weighted(0.8, prop::collection::vec(prop::sample::select(b"\\N.x-t'\"\t,;|\n\rab7".to_vec()), 0..5)),
                1..4,
            ),
        ) {
            let mut line = Vec::new();
            for (index, value) in row.iter().enumerate() {
                if index > 0 {
                    line.push(dialect.delimiter);
                }
                if dialect.write(value.as_deref(), row.len() == 1, &mut line).is_err() {
                    prop_assert_eq!((dialect.style, value.as_deref()), (Style::Text, Some(&b""[..])));
                    return Ok(());
                }
            }
            line.push(b'\n');
            prop_assert_eq!(read(&dialect, &line), row);
        }
    }
}
