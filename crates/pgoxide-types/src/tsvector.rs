//! tsvector: sorted lexemes, each with positions and weights; in text `'cat':3A,5 'dog'`.
//!
//! Source: `tsvectorsend`, `tsvectorout` and `gettoken_tsvector` (src/backend/utils/adt/tsvector*.c).

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::text::not_utf8;
use crate::{Result, ValueError};

const NAME: &str = "tsvector";

/// The server's `MAXENTRYPOS - 1`.
pub const MAX_POSITION: u16 = (1 << 14) - 1;

/// The server's `MAXNUMPOS - 1`: positions a lexeme may have.
const MAX_POSITIONS: usize = 255;

/// The server's `MAXSTRLEN`: bytes a lexeme may have.
const MAX_LEXEME: usize = (1 << 11) - 1;

/// Where a lexeme occurs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// 1 to [`MAX_POSITION`].
    pub at: u16,
    /// `A`, `B`, `C` or `D`.
    pub weight: Weight,
}

/// How much an occurrence counts, in the order of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// The least, which texts leave out.
    D,
    /// More than D.
    C,
    /// More than C.
    B,
    /// The most.
    A,
}

impl Weight {
    const ALL: [Self; 4] = [Self::D, Self::C, Self::B, Self::A];

    /// Its letter.
    #[must_use]
    pub const fn letter(self) -> char {
        match self {
            Self::A => 'A',
            Self::B => 'B',
            Self::C => 'C',
            Self::D => 'D',
        }
    }

    /// The weight of a letter, small or capital.
    #[must_use]
    pub fn of(letter: char) -> Option<Self> {
        Self::ALL.into_iter().find(|weight| weight.letter() == letter.to_ascii_uppercase())
    }
}

/// One lexeme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lexeme<'a> {
    /// Not empty.
    pub text: Cow<'a, str>,
    /// In rising order; may be empty.
    pub positions: Vec<Position>,
}

/// The lexemes of a binary tsvector.
///
/// # Errors
/// `Malformed` for anything the server does not send.
pub fn decode_binary(bytes: &[u8]) -> Result<Vec<Lexeme<'_>>> {
    let Some((count, mut rest)) = bytes.split_first_chunk::<4>() else {
        return Err(ValueError::length(NAME, 4, bytes.len()));
    };
    let mut lexemes = Vec::new();
    for _ in 0..i32::from_be_bytes(*count) {
        let (lexeme, after) = lexeme(rest)?;
        lexemes.push(lexeme);
        rest = after;
    }
    if i32::from_be_bytes(*count) < 0 || !rest.is_empty() {
        return Err(ValueError::malformed(NAME, "its count of lexemes does not fit"));
    }
    Ok(lexemes)
}

fn lexeme(bytes: &[u8]) -> Result<(Lexeme<'_>, &[u8])> {
    let short = || ValueError::malformed(NAME, "it ends within a lexeme");
    let end = bytes.iter().position(|byte| *byte == 0).ok_or_else(short)?;
    let (text, rest) = bytes.split_at_checked(end).ok_or_else(short)?;
    let Some((&[_, high, low], mut rest)) = rest.split_first_chunk::<3>() else { return Err(short()) };
    let text = std::str::from_utf8(text).map_err(|error| not_utf8(NAME, text, error))?;
    let mut positions = Vec::new();
    for _ in 0..u16::from_be_bytes([high, low]) {
        let (word, after) = rest.split_first_chunk::<2>().ok_or_else(short)?;
        let word = u16::from_be_bytes(*word);
        positions.push(Position { at: word & MAX_POSITION, weight: Weight::ALL[usize::from(word >> 14)] });
        rest = after;
    }
    let lexeme = Lexeme { text: Cow::Borrowed(text), positions };
    check(&lexeme)?;
    Ok((lexeme, rest))
}

fn check(lexeme: &Lexeme<'_>) -> Result<()> {
    let Lexeme { text, positions } = lexeme;
    if text.is_empty() || text.len() > MAX_LEXEME || text.contains('\0') {
        return Err(ValueError::malformed(
            NAME,
            format!("a lexeme of {} bytes; it must have 1 to {MAX_LEXEME}, none of them NUL", text.len()),
        ));
    }
    let rising = positions.windows(2).all(|pair| pair[0].at < pair[1].at);
    if !rising || positions.iter().any(|position| !(1..=MAX_POSITION).contains(&position.at)) {
        return Err(ValueError::malformed(NAME, format!("positions must rise from 1 to {MAX_POSITION}")));
    }
    if positions.len() > MAX_POSITIONS {
        return Err(ValueError::out_of_range(NAME, format!("a lexeme at more than {MAX_POSITIONS} positions")));
    }
    Ok(())
}

/// Appends the binary form; the server sorts the lexemes, which must differ.
///
/// # Errors
/// `Malformed` and `OutOfRange` for what a tsvector cannot hold; `out` is as before.
pub fn encode_binary(lexemes: &[Lexeme<'_>], out: &mut Vec<u8>) -> Result<()> {
    lexemes.iter().try_for_each(check)?;
    let Ok(count) = i32::try_from(lexemes.len()) else {
        return Err(ValueError::out_of_range(NAME, format!("{} lexemes", lexemes.len())));
    };
    out.extend_from_slice(&count.to_be_bytes());
    for Lexeme { text, positions } in lexemes {
        out.extend_from_slice(text.as_bytes());
        out.push(0);
        #[allow(clippy::cast_possible_truncation)] // checked above
        out.extend_from_slice(&(positions.len() as u16).to_be_bytes());
        for Position { at, weight } in positions {
            out.extend_from_slice(&((*weight as u16) << 14 | at).to_be_bytes());
        }
    }
    Ok(())
}

/// The lexemes of a text tsvector, sorted, equal ones put together: quoted as the server writes them, or plain words.
///
/// # Errors
/// `Malformed` for other texts, `OutOfRange` for positions that the server would cut down.
pub fn decode_text(text: &[u8]) -> Result<Vec<Lexeme<'static>>> {
    let value = std::str::from_utf8(text).map_err(|error| not_utf8(NAME, text, error))?;
    let mut found: BTreeMap<String, BTreeMap<u16, Weight>> = BTreeMap::new();
    let mut rest = value.trim_start();
    while !rest.is_empty() {
        let (word, after) = word(rest).ok_or_else(|| ValueError::unexpected_text(NAME, text))?;
        let positions = found.entry(word).or_default();
        let after = match after.strip_prefix(':') {
            Some(list) => read_positions(list, positions).ok_or_else(|| ValueError::unexpected_text(NAME, text))?,
            None => after,
        };
        rest = after.trim_start();
        if rest.len() == after.len() && !rest.is_empty() {
            return Err(ValueError::unexpected_text(NAME, text));
        }
    }
    let lexemes: Vec<_> = found
        .into_iter()
        .map(|(text, positions)| Lexeme {
            text: Cow::Owned(text),
            positions: positions.into_iter().map(|(at, weight)| Position { at, weight }).collect(),
        })
        .collect();
    lexemes.iter().try_for_each(check)?;
    Ok(lexemes)
}

/// One lexeme, quoted or not, and what follows it.
fn word(text: &str) -> Option<(String, &str)> {
    let mut word = String::new();
    let quoted = text.starts_with('\'');
    let mut chars = text.char_indices().skip(usize::from(quoted)).peekable();
    while let Some((at, char)) = chars.next() {
        match char {
            '\\' => word.push(chars.next()?.1),
            '\'' if quoted => match chars.peek() {
                Some((_, '\'')) => {
                    chars.next();
                    word.push('\'');
                }
                _ => return text.get(at + 1..).map(|rest| (word, rest)),
            },
            ':' | '\'' if !quoted => return (char == ':' && !word.is_empty()).then(|| (word, &text[at..])),
            char if !quoted && char.is_whitespace() => return Some((word, &text[at..])),
            char => word.push(char),
        }
    }
    (!quoted).then_some((word, ""))
}

/// `1A,2`, and what follows it. Of two weights at one position the greater counts.
fn read_positions<'a>(text: &'a str, positions: &mut BTreeMap<u16, Weight>) -> Option<&'a str> {
    let mut rest = text;
    loop {
        let width = rest.bytes().take_while(u8::is_ascii_digit).count();
        let at: u16 = rest.get(..width)?.parse().ok().filter(|at| (1..=MAX_POSITION).contains(at))?;
        rest = rest.get(width..)?;
        let weight = rest.chars().next().and_then(Weight::of);
        rest = rest.get(usize::from(weight.is_some())..)?;
        let known = positions.entry(at).or_insert(Weight::D);
        *known = (*known).max(weight.unwrap_or(Weight::D));
        match rest.strip_prefix(',') {
            Some(next) => rest = next,
            None => return Some(rest),
        }
    }
}

/// Appends the text form.
pub fn encode_text(lexemes: &[Lexeme<'_>], out: &mut Vec<u8>) {
    for (index, Lexeme { text, positions }) in lexemes.iter().enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        out.push(b'\'');
        for byte in text.bytes() {
            if matches!(byte, b'\'' | b'\\') {
                out.push(byte);
            }
            out.push(byte);
        }
        out.push(b'\'');
        for (index, Position { at, weight }) in positions.iter().enumerate() {
            out.push(if index == 0 { b':' } else { b',' });
            out.extend_from_slice(at.to_string().as_bytes());
            if *weight != Weight::D {
                out.extend_from_slice(weight.letter().to_string().as_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn texts() {
        let lexemes = decode_text(br"'it''s':1A,3 'back\\slash' dog:2b,2D cat dog:7").unwrap();
        let shown: Vec<_> = lexemes
            .iter()
            .map(|lexeme| {
                (&*lexeme.text, lexeme.positions.iter().map(|p| (p.at, p.weight.letter())).collect::<Vec<_>>())
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("back\\slash", vec![]),
                ("cat", vec![]),
                ("dog", vec![(2, 'B'), (7, 'D')]),
                ("it's", vec![(1, 'A'), (3, 'D')])
            ]
        );
        assert_eq!(decode_text(b"  "), Ok(vec![]));
        for text in
            ["'a", "''", ":1", "a:", "a:0", "a:16384", "a:1,", "a:1x", "'a'b", "a'b", "'a':1'b'", "\\", "a:99999999"]
        {
            assert!(decode_text(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn bytes_no_server_sends() {
        for bytes in [
            &[][..],
            &[0, 0, 0, 1],
            &[0, 0, 0, 1, 0, 0, 0],
            &[0, 0, 0, 1, b'a', 0, 0],
            &[0, 0, 0, 1, b'a', 0, 0, 1],
            &[0, 0, 0, 1, b'a', 0, 0, 1, 0, 0],
            &[0, 0, 0, 0, 0],
            &[0xff, 0xff, 0xff, 0xff],
            &[0x7f, 0xff, 0xff, 0xff],
        ] {
            assert!(decode_binary(bytes).is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn round_trips(found in prop::collection::btree_map("[^\0]{1,8}", prop::collection::btree_map(1..=MAX_POSITION, 0..4usize, 0..4), 0..5)) {
            let lexemes: Vec<_> = found
                .into_iter()
                .map(|(text, positions)| Lexeme {
                    text: Cow::Owned(text),
                    positions: positions.into_iter().map(|(at, weight)| Position { at, weight: Weight::ALL[weight] }).collect(),
                })
                .collect();
            let (mut binary, mut text) = (Vec::new(), Vec::new());
            encode_binary(&lexemes, &mut binary).unwrap();
            encode_text(&lexemes, &mut text);
            prop_assert_eq!(&decode_binary(&binary).unwrap(), &lexemes);
            prop_assert_eq!(&decode_text(&text).unwrap(), &lexemes);
        }
    }
}
