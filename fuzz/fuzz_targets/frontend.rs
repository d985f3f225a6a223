//! Frontend messages, from a client nobody knows, into the server's machine. The properties are those of
//! `crates/pgoxide-protocol/tests/hostile.rs`.
#![no_main]

#[path = "../../crates/pgoxide-protocol/tests/machines/mod.rs"]
mod machines;

libfuzzer_sys::fuzz_target!(|data: &[u8]| machines::fuzz_server(data));
