//! Any bytes are a frame, the front of one, or refused; and what is said of them never changes as more of them come.

#![no_main]

use alts_client::{
    Side,
    record::{FrameLimit, RecordKey, RecordProtocol},
};
use libfuzzer_sys::fuzz_target;

/// The shortest frame: length, type and tag.
const SHORTEST: usize = 24;

/// More bytes of a frame than these never change what is said of it.
const HEADER: usize = 8;

fuzz_target!(|data: (u32, &[u8])| {
    let (limit, bytes) = (FrameLimit::nearest(data.0), data.1);
    let key = RecordKey::new(RecordProtocol::GcmAes128Rekey, vec![1; 44]).expect("it has 44 bytes");
    let (_, mut opener) = key.ends(Side::Server, FrameLimit::MIN, limit);
    let whole = opener.frame_len(bytes);
    for cut in 0..bytes.len().min(HEADER + 1) {
        match opener.frame_len(&bytes[..cut]) {
            Ok(None) => assert!(cut < HEADER),
            Ok(Some(len)) => assert_eq!(whole, Ok(Some(len))),
            Err(error) => {
                assert!(whole.as_ref().is_err_and(|later| later.code() == error.code()));
            }
        }
    }
    if let Ok(Some(len)) = whole {
        assert!((SHORTEST..=limit.bytes() + 4).contains(&len));
    }
    assert!(opener.open(&mut bytes.to_vec()).is_err(), "a tag was guessed");
    assert_eq!(opener.frames(), 0);
});
