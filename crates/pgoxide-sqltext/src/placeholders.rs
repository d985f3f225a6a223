//! `:name` placeholders: a text with names becomes one with `$1`, `$2` …, for parameters that are given by name.
//!
//! A name that is used twice becomes one parameter. What is a placeholder, and what is not:
//!
//! | text | |
//! | --- | --- |
//! | `= :id`, `(:a, :b)`, `a[:n]` | placeholders: a colon, a name right behind it, no word right before it. So `a[:n]` is an element |
//! | `a[: :n]`, `a[1: :n]` | a slice up to a placeholder |
//! | `a[1:n]`, `a[lo:hi]`, `json_object('k':v)` | a colon right behind a word, number, string, `)` or `]` separates two things |
//! | `a[: n]`, `json_object('k' : v)` | so does one with a space behind it |
//! | `x::int`, `x := 1` | casts and named arguments |
//! | strings, quoted names, comments | text |
//!
//! The values are never put into the text. Should it be cut otherwise than the server cuts it (a session may change its
//! `standard_conforming_strings` in between), the statement is refused: it does not become another one.

use std::collections::HashMap;
use std::ops::Range;

use crate::lexer::{Kind, Token, tokens};

/// Bind counts its parameters in 16 bits.
const MOST: usize = u16::MAX as usize;

/// A text whose placeholders have names, as the server takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// With `$n` in the place of each `:name`.
    pub sql: String,
    /// The names in the order of their numbers.
    pub names: Vec<String>,
    /// Each placeholder: its bytes in the original, and its number.
    places: Vec<(Range<usize>, usize)>,
}

/// Why a text does not go with parameters given by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlaceholderError {
    /// It has a `$n` too, at this byte.
    Positional {
        /// Where, in bytes.
        at: usize,
    },
    /// It has more names than a statement has parameters.
    TooMany,
}

impl Named {
    /// Finds the placeholders of `sql`.
    ///
    /// # Errors
    ///
    /// When it also has numbered ones, or more than a statement can.
    ///
    /// ```
    /// use pgoxide_sqltext::Named;
    /// let named = Named::of("select ':a', :b::int + :a where x = :b", true).unwrap();
    /// assert_eq!(named.sql, "select ':a', $1::int + $2 where x = $1");
    /// assert_eq!(named.names, ["b", "a"]);
    /// ```
    pub fn of(sql: &str, standard_conforming_strings: bool) -> Result<Self, PlaceholderError> {
        let mut named = Self { sql: String::with_capacity(sql.len()), names: Vec::new(), places: Vec::new() };
        let mut numbers: HashMap<&str, usize> = HashMap::new();
        let mut copied = 0;
        let mut before = None;
        for token in tokens(sql, standard_conforming_strings) {
            match token.kind {
                Kind::Positional => return Err(PlaceholderError::Positional { at: token.range.start }),
                Kind::Colon if !ends_operand(sql, before.as_ref()) => {
                    let name = &sql[token.range.start + 1..token.range.end];
                    let next = numbers.len() + 1;
                    let number = *numbers.entry(name).or_insert(next);
                    if number == next {
                        named.names.push(name.to_owned());
                    }
                    if number > MOST {
                        return Err(PlaceholderError::TooMany);
                    }
                    named.sql.push_str(&sql[copied..token.range.start]);
                    named.sql.push('$');
                    named.sql.push_str(&number.to_string());
                    copied = token.range.end;
                    named.places.push((token.range.clone(), number));
                }
                _ => {}
            }
            before = Some(token);
        }
        named.sql.push_str(&sql[copied..]);
        Ok(named)
    }

    /// The place in `original`, from which this was made, of a place in `sql`. Both count characters from 1, as the server does.
    /// A place within `$n` is its `:name`'s.
    #[must_use]
    pub fn original_position(&self, original: &str, position: usize) -> usize {
        let Some(offset) = self.sql.char_indices().map(|(at, _)| at).nth(position.saturating_sub(1)) else {
            // "At end of input", or a position that cannot be.
            return original.chars().count() + position.saturating_sub(self.sql.chars().count());
        };
        // How much longer the original is up to here.
        let (mut longer, mut shorter) = (0, 0);
        for (place, number) in &self.places {
            let start = place.start + shorter - longer;
            let length = 1 + digits(*number);
            if offset < start {
                break;
            }
            if offset < start + length {
                return characters(original, place.start);
            }
            longer += place.len();
            shorter += length;
        }
        characters(original, offset + longer - shorter)
    }
}

/// The place of a byte, in characters counted from 1.
#[must_use]
pub fn characters(text: &str, byte: usize) -> usize {
    text.char_indices().take_while(|(at, _)| *at < byte).count() + 1
}

const fn digits(mut number: usize) -> usize {
    let mut digits = 1;
    while number >= 10 {
        number /= 10;
        digits += 1;
    }
    digits
}

/// A colon right behind `before` separates it from what follows.
fn ends_operand(sql: &str, before: Option<&Token>) -> bool {
    before.is_some_and(|token| match token.kind {
        Kind::Word | Kind::QuotedName | Kind::String | Kind::Number | Kind::Positional | Kind::Colon => true,
        Kind::Space | Kind::ColonPair => false,
        // A lone dollar is no SQL, and with the one of `$1` it would begin a string.
        Kind::Other => matches!(&sql[token.range.clone()], ")" | "]" | "$"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(sql: &str) -> Named {
        Named::of(sql, true).unwrap_or_else(|error| panic!("{error:?}"))
    }

    #[test]
    fn placeholders() {
        for (sql, rewritten, names) in [
            ("", "", ""),
            ("select 1", "select 1", ""),
            (":a", "$1", "a"),
            ("select :a, :b, :a", "select $1, $2, $1", "a b"),
            ("values(:a,:b)", "values($1,$2)", "a b"),
            ("where x=:x and y<>:y", "where x=$1 and y<>$2", "x y"),
            ("select :a::int", "select $1::int", "a"),
            ("select '1'::int + :a", "select '1'::int + $1", "a"),
            ("select f(x := :x, y => :y)", "select f(x := $1, y => $2)", "x y"),
            ("select a[:n], a[ :n], a[1: :n], a[:m::int]", "select a[$1], a[ $1], a[1: $1], a[$2::int]", "n m"),
            (
                "select a[1:n], a[lo:hi], a[b[1]:c], a[(i):j], a[: n]",
                "select a[1:n], a[lo:hi], a[b[1]:c], a[(i):j], a[: n]",
                "",
            ),
            ("select json_object('k':v, 'w' : w, 'x': :x)", "select json_object('k':v, 'w' : w, 'x': $1)", "x"),
            (
                "select j ? :k, j ?| :l, j ?& :m, j @> :n, j @? :o",
                "select j ? $1, j ?| $2, j ?& $3, j @> $4, j @? $5",
                "k l m n o",
            ),
            ("select j @? '$.a ? (@ > :x)', :y", "select j @? '$.a ? (@ > :x)', $1", "y"),
            (
                "select ':a', \":a\", $$:a$$, E'\\':a', U&':a' -- :a\n, /* :a /* */ :a */ :b",
                "select ':a', \":a\", $$:a$$, E'\\':a', U&':a' -- :a\n, /* :a /* */ :a */ $1",
                "b",
            ),
            ("x/**/:a", "x/**/$1", "a"),
            ("select :größe, :_1, :a$b", "select $1, $2, $3", "größe _1 a$b"),
            (":Name :name", "$1 $2", "Name name"),
            (":a:b", "$1:b", "a"),
            ("$:a $:b $ :c", "$:a $:b $ $1", "c"),
            ("\"a\":b 'a':b 1:b", "\"a\":b 'a':b 1:b", ""),
        ] {
            let named = of(sql);
            assert_eq!(named.sql, rewritten);
            assert_eq!(named.names.join(" "), names, "{sql}");
        }
    }

    #[test]
    fn numbered_ones_too() {
        assert_eq!(Named::of("select :ä, $1", true), Err(PlaceholderError::Positional { at: 12 }));
        assert_eq!(of("select '$1', $$ $1 $$, a$1").names, [""; 0]);
    }

    #[test]
    fn too_many() {
        let most: String = (0..MOST).map(|number| format!(" :p{number}")).collect();
        assert_eq!(of(&most).names.len(), MOST);
        assert_eq!(Named::of(&format!("{most} :one_more"), true), Err(PlaceholderError::TooMany));
        assert_eq!(of(&format!("{most} :p0")).names.len(), MOST);
    }

    #[test]
    fn positions() {
        let original = "é :long + :b = :long zz";
        let named = of(original);
        assert_eq!(named.sql, "é $1 + $2 = $1 zz");
        for (position, character) in named.sql.chars().enumerate() {
            let there = named.original_position(original, position + 1);
            let expected = match character {
                '$' | '1' | '2' => ':',
                other => other,
            };
            assert_eq!(original.chars().nth(there - 1), Some(expected), "{position} {character}");
        }
        assert_eq!(named.original_position(original, 18), 24, "at end of input");
        assert_eq!(of(":a").original_position(":a", 1), 1);
        let many: String = (0..12).map(|number| format!(":p{number},")).collect();
        let named = of(&many);
        assert_eq!(named.original_position(&many, named.sql.len()), many.len());
        assert_eq!(characters("éa", 2), 2);
    }
}
