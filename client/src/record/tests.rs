//! Frames from end to end.

mod properties;
mod vectors;

use std::io::IoSlice;

use super::*;

const REKEY: RecordProtocol = RecordProtocol::GcmAes128Rekey;
const GMAC: RecordProtocol = RecordProtocol::Gmac128;

/// The first of the bytes 01, 02, …, 2c.
fn key(protocol: RecordProtocol) -> RecordKey {
    RecordKey::new(protocol, (1..=44).collect()).expect("it is long enough")
}

fn sealer(protocol: RecordProtocol, side: Side, start: u64) -> Sealer {
    let mut sealer = Sealer::new(&key(protocol), side, FrameLimit::MIN);
    sealer.start_at(start);
    sealer
}

fn opener(protocol: RecordProtocol, side: Side, start: u64) -> Opener {
    let mut opener = Opener::new(&key(protocol), side, FrameLimit::MIN);
    opener.start_at(start);
    opener
}

/// The next frame, of this payload.
fn frame(sealer: &mut Sealer, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    assert_eq!(sealer.seal(&[IoSlice::new(payload)], &mut frame), Ok(payload.len()));
    frame
}

#[test]
fn a_frame_takes_as_much_as_fits_and_no_more() {
    const MOST: usize = (16 << 10) - 24;
    for (len, taken) in [(1, 1), (MOST - 1, MOST - 1), (MOST, MOST), (MOST + 1, MOST), (1 << 20, MOST)] {
        let (mut sealer, mut out) = (sealer(REKEY, Side::Client, 0), Vec::new());
        assert_eq!(sealer.seal(&[IoSlice::new(&vec![7; len])], &mut out), Ok(taken), "{len}");
        assert_eq!((out.len(), sealer.frames(), sealer.max_payload()), (taken + 24, 1, MOST));
    }
}

#[test]
fn slices_are_gathered_into_one_frame_behind_what_is_there() {
    let slices = [&b""[..], b"he", b"", b"l", b"lo", b" there"].map(IoSlice::new);
    for (most, taken) in [(1, &b"h"[..]), (3, b"hel"), (5, b"hello"), (6, b"hello "), (99, b"hello there")] {
        let (mut sealer, mut out) = (sealer(REKEY, Side::Client, 0), b"before".to_vec());
        sealer.limit_payload(most);
        assert_eq!(sealer.seal(&slices, &mut out), Ok(taken.len()));
        let (before, sealed) = out.split_at_mut(6);
        let range = opener(REKEY, Side::Client, 0).open(sealed).expect("it is authentic");
        assert_eq!((&*before, &sealed[range]), (&b"before"[..], taken));
    }
}

#[test]
fn of_nothing_nothing_is_made() {
    let (mut sealer, mut out) = (sealer(REKEY, Side::Client, 0), Vec::new());
    for payload in [&[][..], &[IoSlice::new(b"")], &[IoSlice::new(b""), IoSlice::new(b"")]] {
        assert_eq!(sealer.seal(payload, &mut out), Ok(0));
    }
    assert_eq!((out.capacity(), sealer.frames()), (0, 0));
}

#[test]
fn a_limit_on_payload_never_grows_and_is_never_nothing() {
    let mut sealer = sealer(REKEY, Side::Client, 0);
    for (asked, got) in [(usize::MAX, 16_360), (16_361, 16_360), (900, 900), (1000, 900), (0, 1), (2, 1)] {
        sealer.limit_payload(asked);
        assert_eq!(sealer.max_payload(), got, "{asked}");
    }
}

#[test]
fn a_buffer_grows_once_for_a_frame_and_not_if_it_has_room() {
    let made = frame(&mut sealer(REKEY, Side::Client, 0), &[1; 1024]);
    assert!(made.capacity() < made.len() + 100, "{}", made.capacity());
    let (mut sealer, mut out) = (sealer(REKEY, Side::Client, 0), Vec::with_capacity(1024 + 24));
    let at = out.as_ptr();
    assert_eq!(sealer.seal(&[IoSlice::new(&[1; 1024])], &mut out), Ok(1024));
    assert_eq!((out.as_ptr(), out.capacity()), (at, 1024 + 24));
}

#[test]
fn what_is_in_the_clear_is_that_of_gmac_alone() {
    for (protocol, clear) in [(REKEY, false), (GMAC, true)] {
        let made = frame(&mut sealer(protocol, Side::Client, 0), b"in the clear");
        assert_eq!(made.windows(12).any(|window| window == b"in the clear"), clear);
    }
}

#[test]
fn nothing_is_sealed_after_the_last_number_and_the_buffer_stays_as_it_was() {
    for (protocol, last) in [(REKEY, u64::MAX), (GMAC, (1 << 40) - 1)] {
        let (mut sealer, mut out) = (sealer(protocol, Side::Server, last), b"before".to_vec());
        frame(&mut sealer, b"last");
        let refused = Err(RecordError::CounterUsedUp { protocol: protocol.name(), last });
        for _ in 0..2 {
            assert_eq!(sealer.seal(&[IoSlice::new(b"one more")], &mut out), refused);
            assert_eq!(out, b"before");
        }
    }
}

#[test]
fn nothing_is_opened_after_the_last_number() {
    for (protocol, last) in [(REKEY, u64::MAX), (GMAC, (1 << 40) - 1)] {
        let mut made = frame(&mut sealer(protocol, Side::Server, last), b"last");
        let (mut again, mut opener) = (made.clone(), opener(protocol, Side::Server, last));
        assert_eq!(opener.open(&mut made), Ok(8..12));
        let refused = Err(RecordError::CounterUsedUp { protocol: protocol.name(), last });
        assert_eq!(opener.open(&mut again), refused);
        assert_eq!(opener.open(&mut again), Err(RecordError::RefusedBefore));
    }
}

#[test]
fn nothing_is_opened_after_a_frame_that_was_refused() {
    let not_whole = |found, wanted| RecordError::FrameNotWhole { found, wanted };
    type Spoil = fn(&mut Vec<u8>);
    let spoilers: [(Spoil, _); 9] = [
        (|frame| frame[8] ^= 1, RecordError::NotAuthentic),
        (|frame| frame[30] ^= 0x80, RecordError::NotAuthentic),
        (|frame| frame[4] = 7, RecordError::FrameTypeUnknown { found: 7, known: 6 }),
        (|frame| frame[0] = 0, RecordError::FrameTooShort { length: 0, least: 20 }),
        (|frame| frame[3] = 1, RecordError::FrameTooLong { length: 0x100_001b, limit: 16_384 }),
        (|frame| frame.push(0), not_whole(32, 31)),
        (|frame| frame.truncate(30), not_whole(30, 31)),
        (|frame| frame.truncate(7), not_whole(7, 0)),
        (|frame| frame.clear(), not_whole(0, 0)),
    ];
    for protocol in [REKEY, GMAC] {
        for (spoil, refused) in &spoilers {
            let (mut sealer, mut opener) =
                (sealer(protocol, Side::Client, 0), opener(protocol, Side::Client, 0));
            let good = frame(&mut sealer, b"payload");
            let mut bad = good.clone();
            spoil(&mut bad);
            assert_eq!(opener.open(&mut bad).as_ref(), Err(refused));
            assert_eq!(opener.open(&mut good.clone()), Err(RecordError::RefusedBefore), "{refused}");
            assert_eq!(opener.frames(), 0);
        }
    }
}

#[test]
fn what_was_refused_is_not_readable() {
    let mut made = frame(&mut sealer(REKEY, Side::Client, 0), b"a secret");
    made[23] ^= 1;
    assert_eq!(opener(REKEY, Side::Client, 0).open(&mut made), Err(RecordError::NotAuthentic));
    assert!(!made.windows(8).any(|window| window == b"a secret"));
}

/// A peer that does not count the length field makes frames 4 bytes longer than this end does.
#[test]
fn the_longest_frame_by_the_looser_count_is_opened_and_one_byte_more_is_not() {
    let mut peer = Sealer::new(&key(REKEY), Side::Client, FrameLimit::MAX);
    for (len, refused) in
        [(16_364, None), (16_365, Some(RecordError::FrameTooLong { length: 16_385, limit: 16_384 }))]
    {
        let mut made = frame(&mut peer, &vec![1; len]);
        let mut opener = opener(REKEY, Side::Client, peer.frames() - 1);
        assert_eq!(opener.frame_len(&made).err(), refused);
        assert_eq!(opener.open(&mut made).err(), refused);
    }
}

/// As rules and logs show them: what was found, and what is allowed.
#[test]
fn errors_say_what_was_found_and_what_is_allowed() {
    let opener = opener(REKEY, Side::Client, 0);
    let text = |bytes: &[u8]| opener.frame_len(bytes).expect_err("it is refused").to_string();
    for (bytes, parts) in [
        (&[19, 0, 0, 0][..], ["19 bytes", "20"]),
        (&[1, 0x40, 0, 0], ["16385 bytes", "16384"]),
        (&[20, 0, 0, 0, 0x17], ["0x17", "6"]),
    ] {
        let text = text(bytes);
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    }
}

#[test]
fn of_one_key_each_end_sends_as_itself_and_receives_as_the_other_within_its_own_limits() {
    let (small, large) = (FrameLimit::MIN, FrameLimit::MAX);
    for protocol in [REKEY, GMAC] {
        let (mut client, mut from_server) = key(protocol).ends(Side::Client, small, large);
        let (mut server, mut from_client) = key(protocol).ends(Side::Server, large, small);
        assert_eq!((client.max_payload(), server.max_payload()), (small.max_payload(), large.max_payload()));
        let (mut asked, mut answered) = (frame(&mut client, b"ask"), frame(&mut server, &[7; 1 << 18]));
        assert_eq!(asked, frame(&mut sealer(protocol, Side::Client, 0), b"ask"));
        assert_eq!(from_client.open(&mut asked.clone()), Ok(8..11));
        assert_eq!(from_server.open(&mut answered.clone()), Ok(8..8 + (1 << 18)));
        let too_long = RecordError::FrameTooLong { length: (1 << 18) + 20, limit: 16_384 };
        assert_eq!(from_client.open(&mut answered), Err(too_long));
        assert_eq!(from_server.open(&mut asked), Err(RecordError::NotAuthentic));
    }
}

#[test]
fn keys_are_taken_from_the_front_of_what_a_handshaker_sends() {
    for (protocol, wanted) in [(REKEY, 44), (GMAC, 16)] {
        let short = RecordKey::new(protocol, vec![1; wanted - 1]).err();
        let expected = RecordError::KeyTooShort { protocol: protocol.name(), wanted, found: wanted - 1 };
        assert_eq!(short, Some(expected));
        let long: Vec<_> = (1..=128).collect();
        let key = RecordKey::new(protocol, long).expect("it is long enough");
        let mut sealer = Sealer::new(&key, Side::Client, FrameLimit::MIN);
        let made = frame(&mut sealer, b"hello");
        assert_eq!(made, frame(&mut self::sealer(protocol, Side::Client, 0), b"hello"));
    }
}

#[test]
fn protocols_have_the_names_of_the_wire() {
    for protocol in [REKEY, GMAC] {
        assert_eq!(RecordProtocol::parse(protocol.name()), Ok(protocol));
    }
    for name in ["", "ALTSRP_GCM_AES128", "altsrp_gmac_128", "ALTSRP_GCM_AES128_REKEY "] {
        assert_eq!(RecordProtocol::parse(name), Err(RecordError::UnknownProtocol(name.to_owned())));
    }
}
