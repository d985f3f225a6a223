//! Arbitrary bytes into every decoder: an answer or an error, no panic, and no allocation beyond a small
//! multiple of the input.
#![allow(missing_docs, clippy::unwrap_used)]

use pgoxide_types::{Result, ValueError, bool, bytea, date, float, int, json, numeric, text, timestamp, uuid};
use proptest::prelude::*;

/// Text of the largest numeric: sign, point, digits on both sides, and the slack of one group.
const NUMERIC_TEXT_MAX: usize = numeric::MAX_INTEGER_DIGITS + numeric::MAX_SCALE as usize + 16;

/// Adds up what it is given, so that nothing is optimised away.
#[derive(Default)]
struct Count {
    events: usize,
    bytes: usize,
    depth: usize,
}

impl Count {
    fn text(&mut self, text: &str) -> Result<()> {
        self.events += 1;
        self.bytes += text.len();
        Ok(())
    }
}

impl json::Sink for Count {
    type Error = ValueError;
    fn null(&mut self) -> Result<()> {
        self.text("")
    }
    fn boolean(&mut self, _value: bool) -> Result<()> {
        self.text("")
    }
    fn integer(&mut self, literal: &str) -> Result<()> {
        self.text(literal)
    }
    fn number(&mut self, literal: &str) -> Result<()> {
        let _ = json::float_is_exact(literal);
        self.text(literal)
    }
    fn string(&mut self, value: &str) -> Result<()> {
        self.text(value)
    }
    fn key(&mut self, name: &str) -> Result<()> {
        self.text(name)
    }
    fn begin_array(&mut self) -> Result<()> {
        self.depth += 1;
        self.text("")
    }
    fn end_array(&mut self) -> Result<()> {
        self.depth -= 1;
        self.text("")
    }
    fn begin_object(&mut self) -> Result<()> {
        self.begin_array()
    }
    fn end_object(&mut self) -> Result<()> {
        self.end_array()
    }
}

/// Every decoder and text-taking encoder of the crate on the same bytes.
fn decode_all(bytes: &[u8]) {
    fn check<T>(result: Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                // Sentences stay short, whatever the value.
                assert!(error.to_string().chars().count() < 200, "{error}");
                None
            }
        }
    }
    check(bool::decode_binary(bytes));
    check(bool::decode_text(bytes));
    check(int::decode_binary_i16(bytes));
    check(int::decode_binary_i32(bytes));
    check(int::decode_binary_i64(bytes));
    check(int::decode_binary_u32(bytes));
    check(int::decode_text_i16(bytes));
    check(int::decode_text_i32(bytes));
    check(int::decode_text_i64(bytes));
    check(int::decode_text_u32(bytes));
    check(float::decode_binary_f32(bytes));
    check(float::decode_binary_f64(bytes));
    check(float::decode_text_f32(bytes));
    check(float::decode_text_f64(bytes));
    check(text::decode(bytes));
    check(date::decode_binary(bytes));
    check(date::decode_text(bytes));
    check(timestamp::decode_binary(bytes));
    check(timestamp::decode_text(bytes));
    check(timestamp::decode_text_tz(bytes));
    check(uuid::decode_binary(bytes));
    check(uuid::decode_text(bytes));
    check(numeric::decode_text(bytes));
    check(json::strip_jsonb(bytes));
    let _ = numeric::as_scaled_i128(bytes);

    let mut out = Vec::new();
    if check(bytea::decode_text(bytes, &mut out)).is_none() {
        assert!(out.is_empty());
    }
    assert!(out.capacity() <= bytes.len().max(16));

    let mut out = Vec::new();
    match check(numeric::decode_binary(bytes, &mut out)) {
        None => assert!(out.is_empty()),
        // What the server showed, it also takes back.
        Some(()) => {
            numeric::decode_text(&out).unwrap();
            numeric::encode_binary(&out, &mut Vec::new()).unwrap();
        }
    }
    assert!(out.capacity() <= NUMERIC_TEXT_MAX);

    let mut out = Vec::new();
    if check(numeric::encode_binary(bytes, &mut out)).is_none() {
        assert!(out.is_empty());
    }
    assert!(out.capacity() <= bytes.len() + 16);

    let mut count = Count::default();
    if check(json::parse(bytes, &mut count)).is_some() {
        assert_eq!(count.depth, 0);
    }
    assert!(count.events <= bytes.len() && count.bytes <= bytes.len());

    if let Ok(value) = std::str::from_utf8(bytes) {
        let mut out = Vec::new();
        json::write_string(value, &mut out);
        assert!(out.len() <= bytes.len() * 6 + 2);
        check(text::check_encode(value));
        let _ = json::float_is_exact(value);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        decode_all(&bytes);
    }

    #[test]
    fn any_text(text in "\\PC{0,40}") {
        decode_all(text.as_bytes());
    }

    /// Text from the characters that the text decoders look at.
    #[test]
    fn likely_text(text in "[-+0-9.eENanfity: BC{}\\\\x\"]{0,40}") {
        decode_all(text.as_bytes());
    }

    #[test]
    fn likely_json(text in "[-0-9.e\\[\\]{}:,\"\\\\udn ]{0,40}") {
        decode_all(text.as_bytes());
    }

    #[test]
    fn likely_timestamps(text in "-?[0-9]{1,8}-[0-9]{2}-[0-3][0-9]( [0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{0,7})?([+-][0-9]{2}(:[0-9]{2}){0,2})?)?( BC)?") {
        decode_all(text.as_bytes());
    }

    /// A numeric header with any fields and nearly the right number of groups.
    #[test]
    fn likely_numerics(
        groups in prop::collection::vec(0u16..10_020, 0..12),
        extra in prop_oneof![9 => Just(0u16), 1 => Just(1)],
        weight: i16,
        sign in prop::sample::select(vec![0u16, 0x4000, 0xC000, 0xD000, 0xF000, 0x1234]),
        scale in prop_oneof![0u16..40, any::<u16>()],
    ) {
        let count = u16::try_from(groups.len()).unwrap() + extra;
        let mut bytes = Vec::new();
        for word in [count, weight.cast_unsigned(), sign, scale].into_iter().chain(groups) {
            bytes.extend_from_slice(&word.to_be_bytes());
        }
        decode_all(&bytes);
    }
}

#[test]
fn long_inputs() {
    for unit in ["9", "0", "[", "{\"a\":", "\"", "\\", "\\\\", "\\x", "-", ".", "e", "1e", "\u{0}", "ä"] {
        decode_all(unit.repeat(100_000).as_bytes());
    }
    decode_all(&[0xff; 100_000]);
    decode_all(format!("1e{}", "9".repeat(100_000)).as_bytes());
    decode_all(format!("0.{}1", "0".repeat(100_000)).as_bytes());
}
