//! Backend messages, from a server nobody knows, into the client's machine that has asked for something. The properties
//! are those of `crates/pgoxide-protocol/tests/hostile.rs`.
#![no_main]

#[path = "../../crates/pgoxide-protocol/tests/machines/mod.rs"]
mod machines;

libfuzzer_sys::fuzz_target!(|data: &[u8]| machines::fuzz_client(data));
