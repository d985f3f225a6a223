//! Texts into the lexer and the rewriting of placeholders. The properties are those of `crates/pgoxide-sqltext/tests/hostile.rs`.
#![no_main]

#[path = "../../crates/pgoxide-sqltext/tests/texts/mod.rs"]
mod texts;

libfuzzer_sys::fuzz_target!(|data: &[u8]| texts::check(&String::from_utf8_lossy(data)));
