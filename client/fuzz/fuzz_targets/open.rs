//! What is opened is what was sealed: of any bytes with a key that is known, and of good frames that are altered.

#![no_main]

use std::io::IoSlice;

use alts_client::{
    Side,
    record::{FrameLimit, RecordKey, RecordProtocol},
};
use libfuzzer_sys::fuzz_target;

/// Whether it is GMAC, whether the server sends, what is sent, what is done to it (where, which bits), what follows it.
type Case<'a> = (bool, bool, Vec<&'a [u8]>, Vec<(u16, u8)>, &'a [u8]);

fuzz_target!(|case: Case<'_>| {
    let (gmac, server, payloads, edits, tail) = case;
    let protocol = if gmac { RecordProtocol::Gmac128 } else { RecordProtocol::GcmAes128Rekey };
    let (side, peer) = if server { (Side::Server, Side::Client) } else { (Side::Client, Side::Server) };
    let ends = |side| {
        let key = RecordKey::new(protocol, (1..=44).collect()).expect("it has 44 bytes");
        key.ends(side, FrameLimit::MIN, FrameLimit::MIN)
    };

    let (mut sealer, _) = ends(side);
    let mut good = Vec::new();
    for payload in payloads {
        sealer.seal(&[IoSlice::new(payload)], &mut good).expect("few frames are made");
    }
    let mut stream = good.clone();
    for (place, bits) in edits {
        if let Some(byte) = stream.get_mut(usize::from(place)) {
            *byte ^= bits;
        }
    }
    stream.extend_from_slice(tail);

    let (_, mut opener) = ends(peer);
    let (mut again, _) = ends(side);
    let mut at = 0;
    while let Ok(Some(len)) = opener.frame_len(&stream[at..]) {
        let Some(frame) = stream.get(at..at + len) else { break };
        let mut opened = frame.to_vec();
        let Ok(payload) = opener.open(&mut opened) else {
            assert_ne!(good.get(at..at + len), Some(frame), "a good frame was refused");
            assert!(opener.open(&mut frame.to_vec()).is_err(), "something was opened after a refusal");
            break;
        };
        // Frames without payload are good ones of a peer, but nobody here makes them.
        assert!(!payload.is_empty(), "a tag was guessed");
        let mut sealed = Vec::new();
        again.seal(&[IoSlice::new(&opened[payload])], &mut sealed).expect("few frames are made");
        assert_eq!(sealed, frame, "it opens to something else");
        at += len;
    }
    if stream == good {
        assert_eq!((at, opener.frames()), (good.len(), sealer.frames()), "good frames were refused");
    }
});
