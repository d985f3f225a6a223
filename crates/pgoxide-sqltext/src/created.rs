//! Which relations a text creates: from then on their names may mean something else than before.

use std::iter::Peekable;

use crate::lexer::{Kind, Token, tokens};

/// The names of the tables, views and sequences that the statements of `sql` create, without their schemas, in the order of the
/// text; folded as the server folds them. What a function does inside the server cannot be read off.
///
/// ```
/// use pgoxide_sqltext::created;
/// assert_eq!(created("create temp table if not exists T (id int)"), ["t"]);
/// assert_eq!(created("select 'create table t'; CREATE VIEW s.\"V\" as select 1"), ["V"]);
/// ```
#[must_use]
pub fn created(sql: &str) -> Vec<String> {
    const MODIFIERS: [&str; 10] =
        ["or", "replace", "global", "local", "temp", "temporary", "unlogged", "recursive", "materialized", "foreign"];
    let mut tokens = tokens(sql, true).filter(|token| token.kind != Kind::Space).peekable();
    let mut names = Vec::new();
    while let Some(token) = tokens.next() {
        if !is_word(sql, &token, &["create"]) {
            continue;
        }
        while tokens.next_if(|token| is_word(sql, token, &MODIFIERS)).is_some() {}
        if tokens.next_if(|token| is_word(sql, token, &["table", "view", "sequence"])).is_none() {
            continue;
        }
        while tokens.next_if(|token| is_word(sql, token, &["if", "not", "exists"])).is_some() {}
        names.extend(name(sql, &mut tokens));
    }
    names
}

fn is_word(sql: &str, token: &Token, words: &[&str]) -> bool {
    token.kind == Kind::Word && words.iter().any(|word| sql[token.range.clone()].eq_ignore_ascii_case(word))
}

/// The last part of a name.
fn name(sql: &str, tokens: &mut Peekable<impl Iterator<Item = Token>>) -> Option<String> {
    let mut last = None;
    while let Some(part) = tokens.next_if(|token| matches!(token.kind, Kind::Word | Kind::QuotedName)) {
        let text = &sql[part.range];
        last = Some(match text.strip_prefix('"').map(|text| text.strip_suffix('"').unwrap_or(text)) {
            Some(quoted) => quoted.replace("\"\"", "\""),
            None => text.to_lowercase(),
        });
        if tokens.next_if(|token| &sql[token.range.clone()] == ".").is_none() {
            break;
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_names() {
        for (sql, expected) in [
            ("create table t ()", &["t"][..]),
            ("CREATE TEMPORARY TABLE T AS SELECT 1", &["t"]),
            ("create local temp table pg_temp.t (a int)", &["t"]),
            ("create table a . \"b \"\" c\" ()", &["b \" c"]),
            ("create or replace temp recursive view v (n) as select 1", &["v"]),
            ("create materialized view if not exists m as select 1", &["m"]),
            ("create table a (); create sequence b; -- create table c", &["a", "b"]),
            ("create index on t (a)", &[]),
            ("create table", &[]),
            ("create", &[]),
            ("select 'create table t', \"create\" from t", &[]),
        ] {
            assert_eq!(created(sql), expected, "{sql}");
        }
    }
}
