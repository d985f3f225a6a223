//! What must hold for any text; also run by libFuzzer.

use pgoxide_sqltext::{Kind, Named, PlaceholderError, command, tokens};

/// Panics when one of the properties does not hold.
pub(crate) fn check(text: &str) {
    let _ = command(text);
    for conforming in [true, false] {
        let mut end = 0;
        for token in tokens(text, conforming) {
            assert_eq!(token.range.start, end);
            assert!(token.range.end > end && text.is_char_boundary(token.range.end));
            end = token.range.end;
        }
        assert_eq!(end, text.len());
        check_named(text, conforming);
    }
}

fn check_named(text: &str, conforming: bool) {
    let named = match Named::of(text, conforming) {
        Ok(named) => named,
        Err(PlaceholderError::Positional { at }) => return assert!(text[at..].starts_with('$')),
        Err(PlaceholderError::TooMany) => return,
    };
    assert!(named.sql.len() <= text.len() + 5 * text.matches(':').count());
    if named.names.is_empty() {
        assert_eq!(named.sql, text);
        return;
    }
    // The server cuts what it gets as we cut what was written: each placeholder became one parameter, the rest is the same.
    let written = tokens(text, conforming).map(|token| (token.kind, &text[token.range]));
    let mut sent = tokens(&named.sql, conforming).map(|token| (token.kind, &named.sql[token.range]));
    for (kind, part) in written {
        let (sent_kind, sent_part) = sent.next().unwrap();
        if (kind, part) != (sent_kind, sent_part) {
            assert_eq!((kind, sent_kind), (Kind::Colon, Kind::Positional), "{text:?} became {:?}", named.sql);
            let number: usize = sent_part[1..].parse().unwrap();
            assert_eq!(named.names[number - 1], part[1..]);
        }
    }
    assert_eq!(sent.next(), None);
    for position in [1, 2, named.sql.chars().count() / 2, named.sql.chars().count(), named.sql.chars().count() + 1] {
        let original = named.original_position(text, position);
        assert!((1..=text.chars().count() + 1).contains(&original) || position == 0);
    }
}
