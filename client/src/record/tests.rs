//! Frames from end to end.

use std::io::IoSlice;

use super::*;

const REKEY: RecordProtocol = RecordProtocol::GcmAes128Rekey;

/// The bytes 01, 02, … of which each known answer has as many as its protocol wants.
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

/// Protocol, side that sends, number of the frame, payload, the frame.
type Answer = (RecordProtocol, Side, u64, &'static [u8], &'static str);

/// clients.md section 11, made there by a program that talks to grpcio.
const ANSWERS: [Answer; 4] = [
    (REKEY, Side::Client, 0, b"hello", "19000000060000005056a51d497e334c725d77278e04b62156aaf69be0"),
    (
        REKEY,
        Side::Client,
        65_536,
        b"first after rekey",
        "2500000006000000dd13a6aa87a576a98a7885447bdcf6ab120c2e13e3816f79a94d6902a20514ce37",
    ),
    (REKEY, Side::Server, 0, b"hello", "19000000060000004e6fa62e2e62a5dae647b77acd293cfc7762c22b14"),
    (
        REKEY,
        Side::Server,
        65_535,
        b"last before rekey",
        "250000000600000078a247be75a4ebecaef605d71521f767ed79788c5218bdc681dd3c01b30a002505",
    ),
];

#[test]
fn frames_are_those_of_the_other_programs() {
    for (protocol, side, number, payload, frame) in ANSWERS {
        let mut made = Vec::new();
        let taken = sealer(protocol, side, number).seal(&[IoSlice::new(payload)], &mut made);
        assert_eq!((taken, hex::encode(&made)), (Ok(payload.len()), frame.to_owned()), "{side:?} {number}");
        let range = opener(protocol, side, number).open(&mut made).expect("it is authentic");
        assert_eq!(&made[range], payload, "{side:?} {number}");
    }
}
