//! Which transaction command a text is: those that begin or end a transaction, and those that stay inside one.

use crate::command::words;

/// Whether the first statement of `sql` begins or ends a transaction. SAVEPOINT, RELEASE and ROLLBACK TO do not.
///
/// ```
/// use pgoxide_sqltext::begins_or_ends_transaction;
/// assert!(begins_or_ends_transaction("-- now\ncommit work"));
/// assert!(begins_or_ends_transaction("prepare transaction 'x'"));
/// assert!(!begins_or_ends_transaction("rollback transaction to savepoint a"));
/// ```
#[must_use]
pub fn begins_or_ends_transaction(sql: &str) -> bool {
    let mut words = words(sql);
    let Some(first) = words.next() else { return false };
    let is = |names: &[&str], word: &str| names.iter().any(|name| word.eq_ignore_ascii_case(name));
    if is(&["begin", "commit", "end", "abort"], first) {
        return true;
    }
    let second = words.next();
    if is(&["start", "prepare"], first) {
        return second.is_some_and(|word| is(&["transaction"], word));
    }
    if !is(&["rollback"], first) {
        return false;
    }
    let target = if second.is_some_and(|word| is(&["work", "transaction"], word)) { words.next() } else { second };
    !target.is_some_and(|word| is(&["to"], word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_them_apart() {
        for sql in ["begin", "START  TRANSACTION", "commit and chain", "end;", "ROLLBACK", "rollback work", "abort"] {
            assert!(begins_or_ends_transaction(sql), "{sql}");
        }
        for sql in [
            "savepoint a",
            "release a",
            "rollback to a",
            "rollback /* x */ work to a",
            "prepare p as select 1",
            "",
            "x",
        ] {
            assert!(!begins_or_ends_transaction(sql), "{sql}");
        }
    }
}
