//! Both machines against strangers: valid conversations cut anywhere, broken ones, and noise. What holds for any bytes
//! is in `machines/`, which the libFuzzer targets use as well.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#![allow(missing_docs, reason = "tests")]

mod machines;

use machines::{Script, Seen, client, pieces, record, server};
use proptest::prelude::*;

fn script() -> impl Strategy<Value = Script> {
    let requests = prop::collection::vec(any::<u8>(), 0..8);
    let cancels = prop::collection::vec(0_u8..60, 0..3);
    (requests, cancels, any::<u64>()).prop_map(|(requests, cancels, answers)| Script { requests, cancels, answers })
}

/// What may happen to a byte stream.
#[derive(Clone, Debug)]
enum Damage {
    Change(prop::sample::Index, u8),
    Insert(prop::sample::Index, Vec<u8>),
    Remove(prop::sample::Index, usize),
    /// Something said twice.
    Repeat(prop::sample::Index, usize),
    End(prop::sample::Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        4 => (at(), prop_oneof![any::<u8>(), Just(0), Just(0xff)]).prop_map(|(at, byte)| Damage::Change(at, byte)),
        1 => (at(), prop::collection::vec(any::<u8>(), 1..6)).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        1 => (at(), 1_usize..9).prop_map(|(at, count)| Damage::Remove(at, count)),
        1 => (at(), 1_usize..60).prop_map(|(at, count)| Damage::Repeat(at, count)),
        1 => at().prop_map(Damage::End),
    ]
}

fn damaged(mut bytes: Vec<u8>, all: &[Damage]) -> Vec<u8> {
    for one in all {
        if bytes.is_empty() {
            return bytes;
        }
        match one {
            Damage::Change(at, byte) => {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            Damage::Insert(at, more) => {
                let at = at.index(bytes.len());
                bytes.splice(at..at, more.iter().copied());
            }
            Damage::Remove(at, count) => {
                let at = at.index(bytes.len());
                bytes.drain(at..(at + count).min(bytes.len()));
            }
            Damage::Repeat(at, count) => {
                let at = at.index(bytes.len());
                let again = bytes[at..(at + count).min(bytes.len())].to_vec();
                bytes.splice(at..at, again);
            }
            Damage::End(at) => bytes.truncate(at.index(bytes.len())),
        }
    }
    bytes
}

/// Message boundaries of a stream, the first packet of a frontend apart.
fn messages(bytes: &[u8], first: usize) -> Vec<&[u8]> {
    let (mut rest, mut found) = (&bytes[first..], Vec::new());
    while let [_, a, b, c, d, ..] = *rest {
        let size = 1 + u32::from_be_bytes([a, b, c, d]) as usize;
        found.push(&rest[..size]);
        rest = &rest[size..];
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Our client and our server understand one another: everything asked is answered, whatever was cancelled.
    #[test]
    fn valid_conversations_end_well(script in script(), sizes in prop::collection::vec(1_u8..40, 1..8)) {
        let (backend, frontend) = record(&script);
        let seen = client(&script, [&backend[..]]);
        prop_assert_eq!(&seen.end, &Ok(()));
        prop_assert_eq!(&seen.sent[..], &frontend[..seen.sent.len()]);
        let through = |event: &&Seen| matches!(event, Seen::Finished(..) | Seen::Stranded(_));
        let finished = seen.events.iter().filter(through).count();
        prop_assert!(finished <= script.requests.len());
        if script.cancels.is_empty() {
            prop_assert_eq!(finished, script.requests.len());
        }
        prop_assert_eq!(&client(&script, pieces(&backend, &sizes)), &seen);
        prop_assert_eq!(&client(&script, backend.chunks(1)), &seen);

        let heard = server(script.answers, [&frontend[..]]);
        prop_assert_eq!(&heard.end, &Ok(()));
        prop_assert_eq!(&server(script.answers, pieces(&frontend, &sizes)), &heard);
        prop_assert_eq!(&server(script.answers, frontend.chunks(1)), &heard);
    }

    #[test]
    fn a_damaged_backend_is_the_same_in_any_pieces(
        script in script(),
        damage in prop::collection::vec(damage(), 1..6),
        sizes in prop::collection::vec(1_u8..40, 1..8),
    ) {
        let bytes = damaged(record(&script).0, &damage);
        let whole = client(&script, [&bytes[..]]);
        prop_assert_eq!(&client(&script, pieces(&bytes, &sizes)), &whole);
        prop_assert_eq!(&client(&script, bytes.chunks(1)), &whole);
    }

    #[test]
    fn a_damaged_frontend_is_the_same_in_any_pieces(
        script in script(),
        damage in prop::collection::vec(damage(), 1..6),
        sizes in prop::collection::vec(1_u8..40, 1..8),
    ) {
        let bytes = damaged(record(&script).1, &damage);
        let whole = server(script.answers, [&bytes[..]]);
        prop_assert_eq!(&server(script.answers, pieces(&bytes, &sizes)), &whole);
        prop_assert_eq!(&server(script.answers, bytes.chunks(1)), &whole);
    }

    /// Valid messages in an order nobody meant.
    #[test]
    fn shuffled_messages(script in script(), order in prop::collection::vec(any::<prop::sample::Index>(), 0..40)) {
        let (backend, frontend) = record(&script);
        let all = messages(&backend, 0);
        let bytes: Vec<u8> = order.iter().flat_map(|at| all[at.index(all.len())].to_vec()).collect();
        let bytes = [&backend[..all.iter().take(5).map(|one| one.len()).sum()], &bytes[..]].concat();
        let whole = client(&script, [&bytes[..]]);
        prop_assert_eq!(&client(&script, bytes.chunks(1)), &whole);

        let first = u32::from_be_bytes(*frontend.first_chunk().unwrap()) as usize;
        let all = messages(&frontend, first);
        let bytes: Vec<u8> = order.iter().flat_map(|at| all[at.index(all.len())].to_vec()).collect();
        let bytes = [&frontend[..first], &bytes[..]].concat();
        let whole = server(script.answers, [&bytes[..]]);
        prop_assert_eq!(&server(script.answers, bytes.chunks(1)), &whole);
    }

    /// What a fuzzer starts from.
    #[test]
    fn noise(data in prop::collection::vec(prop_oneof![any::<u8>(), 0_u8..6], 0..300)) {
        machines::fuzz_client(&data);
        machines::fuzz_server(&data);
    }
}

/// A thousand settings of 60 kB each, well-formed: refused before they are many.
#[test]
fn settings_are_held_to_a_bound() {
    let mut bytes = b"R\0\0\0\x08\0\0\0\0".to_vec();
    for number in 0..1000 {
        let body = format!("name{number}\0{}\0", "x".repeat(60_000));
        bytes.push(b'S');
        bytes.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
        bytes.extend(body.as_bytes());
    }
    let script = Script { requests: vec![], cancels: vec![], answers: 0 };
    assert!(client(&script, [&bytes[..]]).end.is_err());
    // One that is told again and again takes the place of its former self.
    let mut bytes = b"R\0\0\0\x08\0\0\0\0".to_vec();
    for number in 0..100_000 {
        let body = format!("name\0{number}\0");
        bytes.push(b'S');
        bytes.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
        bytes.extend(body.as_bytes());
    }
    assert_eq!(client(&script, [&bytes[..]]).end, Ok(()));
}
