//! One message's type and body, for each of the decoders: what decodes encodes to the same bytes.
#![no_main]

use pgoxide_protocol::message::{Backend, Frontend, Startup};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(packet) = Startup::decode(data) {
        let mut out = Vec::new();
        packet.encode(&mut out).expect("what was decoded can be encoded");
        assert_eq!(&out[4..], data);
    }
    let Some((&kind, body)) = data.split_first() else { return };
    if let Ok(message) = Backend::decode(kind, body) {
        let mut out = Vec::new();
        message.encode(&mut out).expect("what was decoded can be encoded");
        assert_eq!((out[0], &out[5..]), (kind, body));
    }
    if let Ok(message) = Frontend::decode(kind, body) {
        let mut out = Vec::new();
        message.encode(&mut out).expect("what was decoded can be encoded");
        // Execute alone reads more than one row limit (all negative ones) as the same thing.
        assert!(out[5..] == *body || matches!(message, Frontend::Execute(_)));
        assert_eq!(Frontend::decode(kind, &out[5..]), Ok(message));
    }
});
