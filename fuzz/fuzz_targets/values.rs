//! Values, binary and text, into every decoder. The properties are those of `crates/pgoxide-types/tests/hostile.rs`.
#![no_main]

#[path = "../../crates/pgoxide-types/tests/decoders/mod.rs"]
mod decoders;

libfuzzer_sys::fuzz_target!(|data: &[u8]| decoders::decode_all(data));
