//! Which command a statement is, by its first word. Source: "Lexical Structure" (comments, white space).

use crate::lexer::{block_comment, is_space, line_comment};

/// What the driver must know of a statement before it sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// SELECT, VALUES, TABLE, WITH, INSERT, UPDATE, DELETE, MERGE: one statement whose effects the server rolls
    /// back when it fails outside a transaction.
    Plain,
    /// CALL: may return rows of any type, and have effects that are not rolled back.
    Typed,
    /// FETCH, EXECUTE: rows of whatever the cursor or the statement of that name is at that moment. The same text has other
    /// columns once the name was given anew, and the server, which guards other statements against that (SQLSTATE 0A000),
    /// says nothing.
    Indirect,
    /// COPY: may wait for data from the client.
    Copy,
    /// BEGIN, START TRANSACTION, COMMIT, END, ROLLBACK, ABORT, SAVEPOINT, RELEASE, PREPARE TRANSACTION.
    Transaction,
    /// Anything else.
    Other,
}

/// The command of the first statement in `sql`.
///
/// ```
/// use pgoxide_sqltext::{Command, command};
/// assert_eq!(command("/* a /* nested */ b */ -- c\n (Select 1)"), Command::Plain);
/// assert_eq!(command("copy t from stdin"), Command::Copy);
/// assert_eq!(command(""), Command::Other);
/// ```
#[must_use]
pub fn command(sql: &str) -> Command {
    let mut words = words(sql);
    let word = words.next().unwrap_or_default();
    let is = |name: &str| word.eq_ignore_ascii_case(name);
    if ["select", "values", "table", "with", "insert", "update", "delete", "merge"].into_iter().any(is) {
        Command::Plain
    } else if is("call") {
        Command::Typed
    } else if is("fetch") || is("execute") {
        Command::Indirect
    } else if is("copy") {
        Command::Copy
    } else if ["begin", "start", "commit", "end", "rollback", "abort", "savepoint", "release"].into_iter().any(is)
        || (is("prepare") && words.next().is_some_and(|word| word.eq_ignore_ascii_case("transaction")))
    {
        Command::Transaction
    } else {
        Command::Other
    }
}

/// The first statement in `sql` begins with SELECT, VALUES or TABLE: what it changes, the functions do that it calls.
///
/// ```
/// use pgoxide_sqltext::reads;
/// assert!(reads("(values (1))") && !reads("with x as (delete from t returning *) select 1"));
/// ```
#[must_use]
pub fn reads(sql: &str) -> bool {
    let word = words(sql).next().unwrap_or_default();
    ["select", "values", "table"].into_iter().any(|name| word.eq_ignore_ascii_case(name))
}

/// The words a statement starts with: letters, with white space and comments between.
pub(crate) fn words(sql: &str) -> impl Iterator<Item = &str> {
    let mut rest = sql;
    std::iter::from_fn(move || {
        let start = skip(rest.as_bytes());
        let word = rest.get(start..)?;
        let end = word.find(|letter: char| !letter.is_ascii_alphabetic()).unwrap_or(word.len());
        rest = &word[end..];
        (end > 0).then(|| &word[..end])
    })
}

/// Past white space, comments, opening parentheses and empty statements.
fn skip(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at = match (byte, bytes.get(at + 1)) {
            (b'(' | b';', _) => at + 1,
            (byte, _) if is_space(byte) => at + 1,
            (b'-', Some(b'-')) => line_comment(bytes, at),
            (b'/', Some(b'*')) => block_comment(bytes, at),
            _ => return at,
        };
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_first_word() {
        for (sql, expected) in [
            ("select 1", Command::Plain),
            ("  ((values (1)))", Command::Plain),
            ("WITH x AS (select 1) delete from x", Command::Plain),
            ("fetch 10 from c", Command::Indirect),
            ("execute p(1)", Command::Indirect),
            ("call p(1)", Command::Typed),
            ("-- select\ncopy t to stdout", Command::Copy),
            ("/*/**/select*/ BEGIN", Command::Transaction),
            ("do $$ begin end $$", Command::Other),
            ("prepare transaction 'x'", Command::Transaction),
            ("prepare p as select 1", Command::Other),
            ("selector", Command::Other),
            ("/* never closed", Command::Other),
            ("--", Command::Other),
            ("/", Command::Other),
        ] {
            assert_eq!(command(sql), expected, "{sql}");
        }
    }
}
