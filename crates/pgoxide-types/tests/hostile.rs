//! Arbitrary bytes into every decoder: an answer or an error, no panic, and no allocation beyond a small
//! multiple of the input.
#![allow(missing_docs, clippy::unwrap_used)]

mod decoders;

use decoders::decode_all;
use proptest::prelude::*;

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
    fn likely_containers(text in "[\\[({][-a1\"\\\\,;:=(){}\\[\\]NUL >]{0,30}[\\])}]?") {
        decode_all(text.as_bytes());
    }

    #[test]
    fn likely_hstores(text in "(\"(a|\\\\\"|=>)?\"=>(NULL|\"(b|\\\\\\\\)?\")(, )?){0,4}") {
        decode_all(text.as_bytes());
    }

    /// Small numbers as words: counts, lengths, flags and OIDs that nearly fit.
    #[test]
    fn likely_binary_containers(
        flags in prop::collection::vec(0u8..32, 0..2),
        words in prop::collection::vec(prop_oneof![8 => -1i32..6, 1 => any::<i32>()], 0..16),
        rest in prop::collection::vec(any::<u8>(), 0..8),
    ) {
        let mut bytes = flags;
        words.iter().for_each(|word| bytes.extend_from_slice(&word.to_be_bytes()));
        bytes.extend(rest);
        decode_all(&bytes);
    }

    #[test]
    fn likely_json(text in "[-0-9.e\\[\\]{}:,\"\\\\udn ]{0,40}") {
        decode_all(text.as_bytes());
    }

    #[test]
    fn likely_timestamps(text in "-?[0-9]{1,8}-[0-9]{2}-[0-3][0-9]( [0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{0,7})?([+-][0-9]{2}(:[0-9]{2}){0,2})?)?( BC)?") {
        decode_all(text.as_bytes());
    }

    #[test]
    fn likely_times(text in "[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{0,7})?([+-][0-9]{2}(:[0-9]{2}){0,2})?") {
        decode_all(text.as_bytes());
    }

    #[test]
    fn likely_intervals(text in "(@ )?([+-]?[0-9]{1,11}(\\.[0-9]{1,7})? (year|years|mon|mons|day|days|hour|min|secs) ?){0,4}([+-]?[0-9]{1,3}(-[0-9]{1,2})? ?){0,2}([+-]?[0-9]{1,11}:[0-9]{2}:[0-9]{2}(\\.[0-9]{1,7})?)?( ago)?") {
        decode_all(text.as_bytes());
    }

    #[test]
    fn likely_iso_intervals(text in "P(-?[0-9]{1,11}[YMD]){0,3}(T(-?[0-9]{1,11}(\\.[0-9]{1,6})?[HMS]){0,3})?") {
        decode_all(text.as_bytes());
    }

    #[test]
    fn likely_addresses(text in "[0-9a-f:.]{1,24}(/[0-9]{1,3})?", bytes in prop::collection::vec(any::<u8>(), 4..=16), head in prop::sample::select(vec![[2u8, 24, 0, 4], [3, 64, 1, 16], [2, 33, 0, 4]])) {
        decode_all(text.as_bytes());
        decode_all(&[&head[..], &bytes].concat());
    }

    #[test]
    fn likely_figures(text in "[\\[({<]{1,2}(-?[0-9.eNaInfity+]{1,6}[,)(\\]]{1,3}){1,5}[>})\\]]?") {
        decode_all(text.as_bytes());
    }

    #[test]
    fn likely_documents(text in "('[a-c' \\\\]{0,4}'|[a-c:]{1,3})(:[0-9]{1,5}[A-Da-x]?(,[0-9]{1,5}[ABCD]?){0,3})?( 'b'| c:1){0,2}", bytes in prop::collection::vec(prop::sample::select(vec![0u8, 1, 2, b'a', 0x40, 0xff]), 0..24)) {
        decode_all(text.as_bytes());
        decode_all(&[&[0, 0, 0, 1][..], &bytes].concat());
    }

    #[test]
    fn likely_system_values(text in "[0-9A-F]{1,9}/[0-9A-F]{1,9}|\\([0-9]{1,10},[0-9]{1,6}\\)|[0-9]{1,3}:[0-9]{1,3}:([0-9]{1,3},?){0,4}|[01]{0,20}|([0-9a-f]{2}[:-]){5,8}[0-9a-f]{0,2}") {
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
    for unit in [
        "9", "0", "[", "{\"a\":", "\"", "\\", "\\\\", "\\x", "-", ".", "e", "1e", "\u{0}", "ä", "01", "1:", "((",
        "(1,2),", "'a':1 ", "1 day ", "P1D", "ff:",
    ] {
        decode_all(unit.repeat(100_000).as_bytes());
    }
    decode_all(&[0xff; 100_000]);
    decode_all(format!("1e{}", "9".repeat(100_000)).as_bytes());
    decode_all(format!("0.{}1", "0".repeat(100_000)).as_bytes());
}
