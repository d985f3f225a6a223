//! SQL cut into tokens as the server's own scanner cuts it (`src/backend/parser/scan.l`), as far as it takes to tell code from
//! strings, names and comments. Source: "Lexical Structure".
//!
//! Total and linear: any text has tokens, which join up to the text again; what is not closed runs to its end.

use std::ops::Range;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// White space, and comments, which count as such.
    Space,
    /// A key word or an unquoted name.
    Word,
    /// `"…"`, `U&"…"`.
    QuotedName,
    /// `'…'` with or without a prefix, `$tag$…$tag$`.
    String,
    /// Digits and what belongs to them. A sign does not.
    Number,
    /// `$1`.
    Positional,
    /// `:` with a name right behind it. What it means depends on what stands before it: see `placeholders.rs`.
    Colon,
    /// `::` and `:=`.
    ColonPair,
    /// One character of an operator, a bracket, or anything else.
    Other,
}

/// One token: its kind and its bytes in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// Where it is, in bytes.
    pub range: Range<usize>,
}

/// The tokens of a text.
#[derive(Clone, Debug)]
pub struct Tokens<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Backslashes escape in every string, not only in `E'…'`.
    backslashes: bool,
}

/// Cuts `sql` into tokens. `standard_conforming_strings` is the session's setting: off, backslashes escape in `'…'` too.
///
/// ```
/// use pgoxide_sqltext::{Kind, tokens};
/// let sql = "select E'\\'' -- it's\n = :name";
/// let kinds: Vec<Kind> = tokens(sql, true).map(|token| token.kind).filter(|kind| *kind != Kind::Space).collect();
/// assert_eq!(kinds, [Kind::Word, Kind::String, Kind::Other, Kind::Colon]);
/// ```
#[must_use]
pub const fn tokens(sql: &str, standard_conforming_strings: bool) -> Tokens<'_> {
    Tokens { bytes: sql.as_bytes(), at: 0, backslashes: !standard_conforming_strings }
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        let start = self.at;
        let first = *self.bytes.get(start)?;
        let (kind, end) = self.token(start, first);
        self.at = end;
        Some(Token { kind, range: start..end })
    }
}

impl Tokens<'_> {
    fn byte(&self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    /// The kind and the end of the token that starts at `at` with `first`.
    fn token(&self, at: usize, first: u8) -> (Kind, usize) {
        match (first, self.byte(at + 1), self.byte(at + 2)) {
            (byte, ..) if is_space(byte) => (Kind::Space, self.skip_while(at, is_space)),
            (b'-', Some(b'-'), _) => (Kind::Space, line_comment(self.bytes, at)),
            (b'/', Some(b'*'), _) => (Kind::Space, block_comment(self.bytes, at)),
            (b'\'', ..) => (Kind::String, self.string(at, self.backslashes)),
            (b'e' | b'E', Some(b'\''), _) => (Kind::String, self.string(at + 1, true)),
            (b'b' | b'B' | b'x' | b'X', Some(b'\''), _) => (Kind::String, self.string(at + 1, false)),
            (b'n' | b'N', Some(b'\''), _) => (Kind::String, self.string(at + 1, self.backslashes)),
            (b'u' | b'U', Some(b'&'), Some(b'\'')) => (Kind::String, self.string(at + 2, false)),
            (b'u' | b'U', Some(b'&'), Some(b'"')) => (Kind::QuotedName, self.quoted(at + 2, b'"', false)),
            (b'"', ..) => (Kind::QuotedName, self.quoted(at, b'"', false)),
            (byte, ..) if starts_word(byte) => (Kind::Word, self.skip_while(at, in_word)),
            (b'0'..=b'9', ..) | (b'.', Some(b'0'..=b'9'), _) => (Kind::Number, self.skip_while(at, in_number)),
            (b'$', Some(b'0'..=b'9'), _) => (Kind::Positional, self.skip_while(at + 1, |byte| byte.is_ascii_digit())),
            (b'$', ..) => self.dollar(at),
            (b':', Some(b':' | b'='), _) => (Kind::ColonPair, at + 2),
            (b':', Some(next), _) if starts_word(next) => (Kind::Colon, self.skip_while(at + 1, in_word)),
            _ => (Kind::Other, at + 1),
        }
    }

    fn skip_while(&self, at: usize, within: impl Fn(u8) -> bool) -> usize {
        let rest = self.bytes.get(at..).unwrap_or_default();
        at + rest.iter().position(|byte| !within(*byte)).unwrap_or(rest.len())
    }

    /// The end of a string whose first quote is at `at`. One that goes on in another line is one string: with backslashes they
    /// count there too.
    fn string(&self, at: usize, backslashes: bool) -> usize {
        let mut end = self.quoted(at, b'\'', backslashes);
        while backslashes && let Some(quote) = self.continued(end) {
            end = self.quoted(quote, b'\'', true);
        }
        end
    }

    /// Behind the closing quote of what was opened at `at`. A doubled quote stands for itself.
    fn quoted(&self, at: usize, quote: u8, backslashes: bool) -> usize {
        let mut at = at + 1;
        while let Some(byte) = self.byte(at) {
            at += match byte {
                b'\\' if backslashes => 2,
                _ if byte != quote => 1,
                _ if self.byte(at + 1) == Some(quote) => 2,
                _ => return at + 1,
            };
        }
        self.bytes.len()
    }

    /// The quote by which a string that was closed before `at` goes on: behind white space with a line break in it.
    fn continued(&self, mut at: usize) -> Option<usize> {
        let mut broken = false;
        loop {
            match (self.byte(at)?, self.byte(at + 1)) {
                (b'\'', _) if broken => return Some(at),
                (b'-', Some(b'-')) => at = line_comment(self.bytes, at),
                (byte, _) if is_space(byte) => {
                    broken |= matches!(byte, b'\n' | b'\r');
                    at += 1;
                }
                _ => return None,
            }
        }
    }

    /// `$$…$$` or `$tag$…$tag$`; a `$` that begins neither stands alone.
    fn dollar(&self, at: usize) -> (Kind, usize) {
        let tag = match self.byte(at + 1) {
            Some(b'$') => at + 1,
            Some(byte) if starts_word(byte) => self.skip_while(at + 1, |byte| in_word(byte) && byte != b'$'),
            _ => return (Kind::Other, at + 1),
        };
        if self.byte(tag) != Some(b'$') {
            return (Kind::Other, at + 1);
        }
        let (delimiter, body) = (&self.bytes[at..=tag], tag + 1);
        (Kind::String, find(&self.bytes[body..], delimiter).map_or(self.bytes.len(), |n| body + n + delimiter.len()))
    }
}

/// Where `needle`, which begins and ends with `$` and has none inside, is first found. Linear: a `$` that is no match is not
/// looked at again.
fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += bytes.get(at..)?.iter().position(|byte| *byte == b'$')?;
        if bytes[at..].starts_with(needle) {
            return Some(at);
        }
        at += 1;
    }
}

pub(crate) const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

const fn starts_word(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

const fn in_word(byte: u8) -> bool {
    starts_word(byte) || byte.is_ascii_digit() || byte == b'$'
}

const fn in_number(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_')
}

/// The end of the comment that starts with the `--` at `at`.
pub(crate) fn line_comment(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().position(|byte| matches!(byte, b'\n' | b'\r')).map_or(bytes.len(), |n| at + n)
}

/// The end of the comment that starts with the `/*` at `at`. They nest.
pub(crate) fn block_comment(bytes: &[u8], at: usize) -> usize {
    let (mut depth, mut at) = (0_usize, at);
    while at < bytes.len() {
        match (bytes[at], bytes.get(at + 1)) {
            (b'/', Some(b'*')) => {
                depth += 1;
                at += 2;
            }
            (b'*', Some(b'/')) => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tokens that are not white space.
    fn cut(sql: &str, conforming: bool) -> Vec<(Kind, &str)> {
        tokens(sql, conforming)
            .filter(|token| token.kind != Kind::Space)
            .map(|token| (token.kind, &sql[token.range]))
            .collect()
    }

    #[test]
    fn strings() {
        for sql in [
            "'a:b'",
            "'it''s :x'",
            r"'\'",
            r"E'\':x'",
            r"e'\\'",
            "E'a'\n  'b\\':x'",
            "E'a' -- it's\n'\\':x'",
            "B'01'",
            "x'ff'",
            r"N'\'",
            r"U&'\0041''\'",
            "$$ ' :x $$",
            "$tag$ $$ :x $other$ $tag$",
            "$ä$:x$ä$",
            "'never closed :x",
            r"E'never closed\'",
            r"E'\",
            "$$ never closed :x",
            "$a$ never closed $a :x $$",
        ] {
            assert_eq!(cut(sql, true), [(Kind::String, sql)], "{sql}");
        }
    }

    #[test]
    fn strings_of_sessions_that_do_not_conform() {
        assert_eq!(cut(r"'\':x'", false), [(Kind::String, r"'\':x'")]);
        assert_eq!(cut(r"'\':x", true), [(Kind::String, r"'\'"), (Kind::Colon, ":x")]);
        assert_eq!(cut(r"n'\':x'", false), [(Kind::String, r"n'\':x'")]);
        // These have no escapes of that kind, whatever the session says.
        assert_eq!(cut(r"x'\':x", false), [(Kind::String, r"x'\'"), (Kind::Colon, ":x")]);
    }

    #[test]
    fn a_string_ends_where_the_servers_does() {
        // Not continued: no line break between.
        assert_eq!(cut(r"E'a' '\':x", true)[1..], [(Kind::String, r"'\'"), (Kind::Colon, ":x")]);
        // Continued without backslashes: two tokens to us, to the server one with the same end.
        assert_eq!(cut("'a'\n'\\':x", true)[2..], [(Kind::Colon, ":x")]);
        // A prefix belongs to a word when there is more of it, and to nothing behind a space.
        assert_eq!(cut(r"nameE'\':x", true), [(Kind::Word, "nameE"), (Kind::String, r"'\'"), (Kind::Colon, ":x")]);
        assert_eq!(cut(r"E '\':x", true)[1..], [(Kind::String, r"'\'"), (Kind::Colon, ":x")]);
        // A dollar within a word begins nothing.
        assert_eq!(cut("a$$:x", true), [(Kind::Word, "a$$"), (Kind::Colon, ":x")]);
        assert_eq!(cut("$1$:x", true), [(Kind::Positional, "$1"), (Kind::Other, "$"), (Kind::Colon, ":x")]);
        assert_eq!(cut("$a :x", true)[1..], [(Kind::Word, "a"), (Kind::Colon, ":x")]);
    }

    #[test]
    fn names() {
        for sql in ["\"a:b\"", "\"a\"\":b\"", "U&\"\\0041:b\"", "\"never closed :x"] {
            assert_eq!(cut(sql, true), [(Kind::QuotedName, sql)], "{sql}");
        }
        assert_eq!(cut("größe", true), [(Kind::Word, "größe")]);
        assert_eq!(cut(r#""\":x"#, false), [(Kind::QuotedName, r#""\""#), (Kind::Colon, ":x")]);
    }

    #[test]
    fn comments() {
        for sql in ["-- :x", "--", "/* :x */", "/* /* :x */ :x */", "/* never closed :x", "/*/ :x */", "/**/"] {
            assert_eq!(cut(sql, true), [], "{sql}");
        }
        assert_eq!(cut("--'\n:x", true), [(Kind::Colon, ":x")]);
        assert_eq!(cut("--'\r:x", true), [(Kind::Colon, ":x")]);
        assert_eq!(cut("+-- '\n:x", true), [(Kind::Other, "+"), (Kind::Colon, ":x")]);
        assert_eq!(cut("@/* ' */:x", true), [(Kind::Other, "@"), (Kind::Colon, ":x")]);
    }

    #[test]
    fn colons() {
        let pairs = |sql| cut(sql, true).into_iter().map(|(kind, _)| kind).collect::<Vec<_>>();
        assert_eq!(pairs("a::int"), [Kind::Word, Kind::ColonPair, Kind::Word]);
        assert_eq!(pairs("a:=b"), [Kind::Word, Kind::ColonPair, Kind::Word]);
        assert_eq!(pairs(":::x"), [Kind::ColonPair, Kind::Colon]);
        assert_eq!(pairs(": x"), [Kind::Other, Kind::Word]);
        assert_eq!(pairs(":1"), [Kind::Other, Kind::Number]);
        assert_eq!(pairs(":"), [Kind::Other]);
        assert_eq!(cut(":größe1$", true), [(Kind::Colon, ":größe1$")]);
    }

    #[test]
    fn numbers() {
        for sql in ["1", "1.5e10", "0x1F", "1_000", ".5"] {
            assert_eq!(cut(sql, true), [(Kind::Number, sql)], "{sql}");
        }
        assert_eq!(cut("$12", true), [(Kind::Positional, "$12")]);
    }
}
