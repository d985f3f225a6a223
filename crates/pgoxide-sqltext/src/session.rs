//! Which statements leave something behind in their session, so that they cannot run on a connection that changes hands
//! after each statement. Source: the manual's pages of the commands, and "System Administration Functions".
//!
//! What is read off the text is sound as far as it goes: a word inside a literal, a quoted name or a comment does not
//! count. What a function does inside the server cannot be read off it.

use std::fmt;

use crate::lexer::{Kind, tokens};

/// What a statement would leave behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// BEGIN, COMMIT, SAVEPOINT and their kin: a transaction.
    Transaction,
    /// SET, RESET, DISCARD: settings.
    Setting,
    /// `set_config` whose third argument is not `true`.
    SetConfig,
    /// LISTEN, UNLISTEN.
    Listening,
    /// PREPARE, EXECUTE, DEALLOCATE: statements of the session.
    Prepared,
    /// DECLARE, FETCH, MOVE, CLOSE: cursors.
    Cursor,
    /// LOAD: a library.
    Library,
    /// CREATE TEMP, INTO TEMP, or anything of `pg_temp`.
    Temporary,
    /// `pg_advisory_lock` and its kin: a lock of the session.
    AdvisoryLock,
}

impl fmt::Display for Keeps {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Transaction => "opens, ends or divides a transaction",
            Self::Setting => "changes settings of its session",
            Self::SetConfig => "changes a setting of its session, unless the third argument of set_config is true",
            Self::Listening => "changes what its session listens to",
            Self::Prepared => "concerns prepared statements of its session",
            Self::Cursor => "concerns cursors of its session",
            Self::Library => "loads a library into its session",
            Self::Temporary => "concerns temporary objects of its session",
            Self::AdvisoryLock => "takes or frees a lock of its session",
        })
    }
}

/// What the statement would leave behind, or None when nothing of that can be seen.
///
/// ```
/// use pgoxide_sqltext::{Keeps, keeps};
/// assert_eq!(keeps("/* x */ Set search_path to a"), Some(Keeps::Setting));
/// assert_eq!(keeps("create temp table t ()"), Some(Keeps::Temporary));
/// assert_eq!(keeps("select 'set', \"temp\" from t -- begin"), None);
/// ```
#[must_use]
pub fn keeps(sql: &str) -> Option<Keeps> {
    let mut words = words(sql);
    let first = words.find(|token| !matches!(token, Token::Sign(b'(' | b';')))?;
    let Token::Word(first) = first else { return by_functions(sql) };
    let is = |names: &[&str]| names.iter().any(|name| first.eq_ignore_ascii_case(name));
    if is(&["begin", "start", "commit", "end", "rollback", "abort", "savepoint", "release"]) {
        Some(Keeps::Transaction)
    } else if is(&["set", "reset", "discard"]) {
        Some(Keeps::Setting)
    } else if is(&["listen", "unlisten"]) {
        Some(Keeps::Listening)
    } else if is(&["prepare"]) {
        let transaction = matches!(words.next(), Some(Token::Word(next)) if next.eq_ignore_ascii_case("transaction"));
        Some(if transaction { Keeps::Transaction } else { Keeps::Prepared })
    } else if is(&["execute", "deallocate"]) {
        Some(Keeps::Prepared)
    } else if is(&["declare", "fetch", "move", "close"]) {
        Some(Keeps::Cursor)
    } else if is(&["load"]) {
        Some(Keeps::Library)
    } else if is(&["create"]) && creates_temporary(words) {
        Some(Keeps::Temporary)
    } else {
        by_functions(sql)
    }
}

/// `CREATE [OR REPLACE] [GLOBAL | LOCAL] TEMP[ORARY] ...`: what stands behind CREATE.
fn creates_temporary<'a>(words: impl Iterator<Item = Token<'a>>) -> bool {
    for token in words {
        let Token::Word(word) = token else { return false };
        if ["temp", "temporary"].iter().any(|name| word.eq_ignore_ascii_case(name)) {
            return true;
        }
        if !["or", "replace", "global", "local"].iter().any(|name| word.eq_ignore_ascii_case(name)) {
            return false;
        }
    }
    false
}

/// Calls of functions that change their session, INTO TEMP, and names in `pg_temp`.
fn by_functions(sql: &str) -> Option<Keeps> {
    const LOCKS: [&str; 7] = [
        "pg_advisory_lock",
        "pg_advisory_lock_shared",
        "pg_try_advisory_lock",
        "pg_try_advisory_lock_shared",
        "pg_advisory_unlock",
        "pg_advisory_unlock_shared",
        "pg_advisory_unlock_all",
    ];
    let mut words = words(sql).peekable();
    let (mut into, mut inserts) = (false, false);
    while let Some(token) = words.next() {
        let Token::Word(word) = token else {
            (into, inserts) = (false, false);
            continue;
        };
        let is = |name: &str| word.eq_ignore_ascii_case(name);
        let called = words.peek() == Some(&Token::Sign(b'('));
        if into && (is("temp") || is("temporary")) || is("pg_temp") && words.peek() == Some(&Token::Sign(b'.')) {
            return Some(Keeps::Temporary);
        }
        if called && LOCKS.iter().any(|name| is(name)) {
            return Some(Keeps::AdvisoryLock);
        }
        if called && is("set_config") && !is_local(words.clone()) {
            return Some(Keeps::SetConfig);
        }
        // SELECT … INTO [LOCAL] TEMP t
        into = is("into") && !inserts || (into && is("local"));
        inserts = is("insert") || is("merge");
    }
    None
}

/// The last argument of a call is plainly `true`. `tokens`: from the opening parenthesis on.
fn is_local<'a>(tokens: impl Iterator<Item = Token<'a>>) -> bool {
    let (mut depth, mut last, mut tokens_in_it) = (0_usize, false, 0_usize);
    for token in tokens {
        match token {
            Token::Sign(b'(' | b'[') => depth += 1,
            Token::Sign(b')' | b']') => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return last && tokens_in_it == 1;
                }
            }
            Token::Sign(b',') if depth == 1 => {
                (last, tokens_in_it) = (false, 0);
                continue;
            }
            Token::Word(word) if depth == 1 => last = word.eq_ignore_ascii_case("true"),
            _ => last = false,
        }
        if depth >= 1 && token != Token::Sign(b'(') {
            tokens_in_it += 1;
        }
    }
    false
}

/// What counts of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    /// A key word or a name that is not quoted.
    Word(&'a str),
    /// A quoted name, a literal, a number, a parameter: something, whatever it is.
    Value,
    /// Any other character.
    Sign(u8),
}

/// The words and signs of a text, comments and white space left out.
fn words(sql: &str) -> impl Iterator<Item = Token<'_>> + Clone {
    tokens(sql, true).filter_map(move |token| {
        let text = &sql[token.range];
        match token.kind {
            Kind::Space => None,
            Kind::Word => Some(Token::Word(text)),
            Kind::QuotedName | Kind::String | Kind::Number | Kind::Positional | Kind::Colon => Some(Token::Value),
            Kind::ColonPair | Kind::Other => Some(Token::Sign(text.as_bytes()[0])),
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_statement_keeps() {
        for (sql, expected) in [
            ("select 1", None),
            ("", None),
            ("; ( BEGIN", Some(Keeps::Transaction)),
            ("prepare transaction 'x'", Some(Keeps::Transaction)),
            ("prepare x as select 1", Some(Keeps::Prepared)),
            ("/* /* nested */ */ set x = 1", Some(Keeps::Setting)),
            ("update t set x = 1", None),
            ("listen a", Some(Keeps::Listening)),
            ("notify a", None),
            ("declare c cursor for select 1", Some(Keeps::Cursor)),
            ("load 'x'", Some(Keeps::Library)),
            ("create table temp ()", None),
            ("create or replace temporary view v as select 1", Some(Keeps::Temporary)),
            ("create global temp table t ()", Some(Keeps::Temporary)),
            ("select 1 into temp t", Some(Keeps::Temporary)),
            ("select 1 into local temporary t", Some(Keeps::Temporary)),
            ("select temp into t from x", None),
            ("with x as (select 1) insert into temp values (1)", None),
            ("select * from pg_temp.t", Some(Keeps::Temporary)),
            ("select pg_temp", None),
            ("select pg_advisory_lock(1)", Some(Keeps::AdvisoryLock)),
            ("with a as (select Pg_Try_Advisory_Lock /* c */ (1)) table a", Some(Keeps::AdvisoryLock)),
            ("select pg_advisory_xact_lock(1)", None),
            ("select 'pg_advisory_lock(1)', E'\\'pg_advisory_lock(1)'", None),
            ("select $$pg_advisory_lock(1)$$, $a$ $$ pg_advisory_lock(1)$a$", None),
            ("select 1 -- pg_advisory_lock(1)", None),
            ("select \"pg_advisory_lock\", pg_advisory_lock from t", None),
            ("select set_config('a.b', $1, true)", None),
            ("select set_config('a.b', f(1, false), TRUE) from t", None),
            ("select set_config('a.b', $1, false)", Some(Keeps::SetConfig)),
            ("select set_config('a.b', $1, $2)", Some(Keeps::SetConfig)),
            ("select set_config('a.b', $1, not true)", Some(Keeps::SetConfig)),
            ("select set_config('a.b', $1, (true) and false)", Some(Keeps::SetConfig)),
            ("select set_config('a.b', 'x', true), set_config('a.b', 'y', false)", Some(Keeps::SetConfig)),
            ("select current_setting('x')", None),
            ("select $1", None),
            ("select $", None),
            ("select 'never closed", None),
            ("/* never closed", None),
        ] {
            assert_eq!(keeps(sql), expected, "{sql}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read(sql in "[-'\"$/*()a-f; \\\\é]{0,60}|.{0,60}") {
            let _ = keeps(&sql);
        }

        #[test]
        fn what_is_quoted_does_not_count(inside in "[^$\u{0}]{0,40}") {
            let sql = format!("select $q${inside}pg_advisory_lock(1)$q$");
            prop_assert_eq!(keeps(&sql), None);
        }
    }
}
