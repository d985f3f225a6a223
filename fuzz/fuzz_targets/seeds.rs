//! Writes valid conversations to `fuzz/corpus`, and some values: a fuzzer that begins with them gets further than one that
//! has to invent the protocol.

#[path = "../../crates/pgoxide-protocol/tests/machines/mod.rs"]
mod machines;

use std::fs;
use std::io;
use std::path::Path;

use machines::{Choices, Script, record, together};

const VALUES: &[&[u8]] = &[
    b"2024-02-29 12:34:56.789012+05:30",
    b"4714-11-24 BC",
    b"-12345678901234567890.123456789e-7",
    b"{\"a\": [1, 2.5e10, \"\\u00e9\\n\", null, true]}",
    b"\\x00ff",
    b"a\\\\b\\000",
    b"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    b"\0\x02\0\x01\0\0\0\x02\x04\xd2\x16\x2e",
    b"Infinity",
];

fn write(target: &str, number: usize, data: &[u8]) -> io::Result<()> {
    let folder = Path::new("fuzz/corpus").join(target);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(format!("seed-{number:03}")), data)
}

/// Types and bodies of the messages in a stream.
fn messages(mut stream: &[u8]) -> Vec<(u8, &[u8])> {
    let mut found = Vec::new();
    while let [kind, a, b, c, d, ..] = *stream {
        let size = 1 + u32::from_be_bytes([a, b, c, d]) as usize;
        found.push((kind, &stream[5..size]));
        stream = &stream[size..];
    }
    found
}

fn main() -> io::Result<()> {
    let mut choices = Choices(1);
    for number in 0..60 {
        let requests = (0..choices.below(8)).map(|_| choices.below(256) as u8).collect();
        let cancels = (0..choices.below(3)).map(|_| choices.below(60) as u8).collect();
        let script = Script { requests, cancels, answers: choices.below(256) };
        let (backend, frontend) = record(&script);
        write("backend", number, &together(&script, [7, 1, 30, 255], &backend))?;
        write("frontend", number, &together(&script, [7, 1, 30, 255], &frontend))?;
        let first = u32::from_be_bytes([frontend[0], frontend[1], frontend[2], frontend[3]]) as usize;
        write("messages", number, &frontend[4..first])?;
        for stream in [&backend[..], &frontend[first..]] {
            for (kind, body) in messages(stream) {
                write("messages", 1000 + usize::from(kind) + 256 * (body.len() % 8), &[&[kind], body].concat())?;
            }
        }
    }
    for (number, value) in VALUES.iter().enumerate() {
        write("values", number, value)?;
    }
    Ok(())
}
