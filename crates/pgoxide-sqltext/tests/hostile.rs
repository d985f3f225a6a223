//! Any text is cut into tokens that join up to it again; rewriting keeps what is no placeholder, and is stable.
#![allow(missing_docs, clippy::unwrap_used)]

mod texts;

use proptest::prelude::*;
use texts::check;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4000) })]

    #[test]
    fn any_text(text in "\\PC{0,60}") {
        check(&text);
    }

    /// From what the lexer looks at.
    #[test]
    fn likely_text(text in "([:'\"$\\\\\n\r \\-/*eEuUbBxXnN&aäé1.,()\\[\\]=?@%{}_]|::|:=|--|/\\*|\\*/|\\$\\$|:name|E'|U&'|''){0,40}") {
        check(&text);
    }
}

#[test]
fn long_texts() {
    for unit in [
        "'", "''", "E'", "E''\n", "\\", "$", "$a", "$a$", "$$", "/*", "*/", "--", "-- \n", ":a", ":a,", "::", "a", "ä",
        "1", "\"", "(", "[",
    ] {
        check(&unit.repeat(50_000));
        check(&format!("E'{}", unit.repeat(50_000)));
    }
}
