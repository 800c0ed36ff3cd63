//! Frames that other code made. `ANSWERS` are those of clients.md section 11, from a program that talks to grpcio; all
//! others come from Python's hmac and cryptography (OpenSSL), by this, which gives those four too:
//!
//! ```python
//! def frame(protocol, server, number, payload):  # key = bytes(range(1, 45))
//!     counter = number.to_bytes(8, "little") + bytes(3) + (b"\x80" if server else b"\0")
//!     if protocol == "REKEY":
//!         aes_key = hmac.digest(key[:32], counter[2:8] + b"\1", "sha256")[:16]
//!         nonce = bytes(a ^ b for a, b in zip(counter, key[32:]))
//!         body = AESGCM(aes_key).encrypt(nonce, payload, None)
//!     else:
//!         body = payload + AESGCM(key[:16]).encrypt(counter, b"", payload)
//!     return struct.pack("<II", 4 + len(body), 6) + body
//! ```

use super::*;

/// Protocol, side that sends, number of the frame, payload, the frame.
type Answer = (RecordProtocol, Side, u64, &'static [u8], &'static str);

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

/// Of the payload `boundary`: the first two numbers, those around a change of the key and a carry of the counter, and
/// the last two.
const BOUNDARIES: [(RecordProtocol, Side, u64, &str); 38] = [
    (REKEY, Side::Client, 0, "1c000000060000005a5cbc1f42e1fd61e3f7d4a81205a91e75033a153920c191"),
    (REKEY, Side::Server, 0, "1c000000060000004465bf2c25f31ef62d08cf734f5d1b4fccaa8ab169cc8288"),
    (REKEY, Side::Client, 1, "1c00000006000000da888b9e92ff4b0668d6a22d882bce442fbd80232471727b"),
    (REKEY, Side::Server, 1, "1c00000006000000dbd82854a35014b65be121119acbd7593360c1cf7a02e744"),
    (REKEY, Side::Client, 0xffff, "1c000000060000009d84c29bd91d8377b0d3efbe161ac84ba7496a8c466b5bf2"),
    (REKEY, Side::Server, 0xffff, "1c0000000600000076ac41a431a7fcf32911e35b74340b57e2e9c6cf6b47ba7a"),
    (REKEY, Side::Client, 0x10000, "1c00000006000000d915a1b797e465b6d06e7a53b39096be92404d6a310fa6f8"),
    (REKEY, Side::Server, 0x10000, "1c0000000600000023a5eb7bf5d54121633d0b6cbe1639fb9232b30fc3d7bd08"),
    (REKEY, Side::Client, 0x10001, "1c000000060000008ad115c3738eda47ab1799ae97a3e00d6dff892fa45ac175"),
    (REKEY, Side::Server, 0x10001, "1c000000060000005e6c6516d9544b3bc0187397a39a172a7f64e3987fa7c6c0"),
    (REKEY, Side::Client, (1 << 32) - 1, "1c00000006000000c61054545dd2e2c4e4e15384126c71efc361672c1014c37d"),
    (REKEY, Side::Server, (1 << 32) - 1, "1c00000006000000a7cfe876f8caefbbecb881fea82c7ef8c76be1fa04b2d685"),
    (REKEY, Side::Client, 1 << 32, "1c00000006000000c8449373a3b694bb63705e4b5d4b8f06b626a18badb513d0"),
    (REKEY, Side::Server, 1 << 32, "1c000000060000002bc3ba9ceda787446f220a10eac19a76a22616acf2967a43"),
    (REKEY, Side::Client, (1 << 48) - 1, "1c000000060000002f2ffabb135345f8147f9a99a673cd06b3ff68cbe46bbcc5"),
    (REKEY, Side::Server, (1 << 48) - 1, "1c00000006000000026611b23f7d321352e3f2222898c5ceff1de6c32650c99a"),
    (REKEY, Side::Client, 1 << 48, "1c0000000600000076d53260cd785b55613c6ff4ee869e020a6162f5826880ba"),
    (REKEY, Side::Server, 1 << 48, "1c00000006000000ccf0fa96443e72897f3327fdcabe3dd6319aab3110d901c7"),
    (REKEY, Side::Client, u64::MAX - 1, "1c000000060000009308756d4ea40f16777037156a413749f53658cb3a478665"),
    (REKEY, Side::Server, u64::MAX - 1, "1c000000060000002e06842359a3b3eb24c39954fb224f8ad24c3192c71ad9cb"),
    (REKEY, Side::Client, u64::MAX, "1c00000006000000367f4df1bfaee12000615dae65165b87bed8b705c347c5c4"),
    (REKEY, Side::Server, u64::MAX, "1c00000006000000a63686ce914792df7a07f6e2d27ac58a68790919a70366a6"),
    (GMAC, Side::Client, 0, "1c00000006000000626f756e6461727953b8ea616b4c994790727ceebd972535"),
    (GMAC, Side::Server, 0, "1c00000006000000626f756e64617279f6934c6b118a8984e13f00f0a96a483e"),
    (GMAC, Side::Client, 1, "1c00000006000000626f756e64617279a4f17d1f101db4b32f6aaf694012d34b"),
    (GMAC, Side::Server, 1, "1c00000006000000626f756e646172799bb96e0e4f5b1a3c91701813cf8d7144"),
    (GMAC, Side::Client, 0xffff, "1c00000006000000626f756e6461727955448f5e6e007cdd005aaa67f50b86a9"),
    (GMAC, Side::Server, 0xffff, "1c00000006000000626f756e64617279d8ca410d85fd5458d376f221f67987f4"),
    (GMAC, Side::Client, 0x10000, "1c00000006000000626f756e646172791fc2c4c2c16c8e958c81b6a684712a47"),
    (GMAC, Side::Server, 0x10000, "1c00000006000000626f756e6461727907a32725a1e0186cf979ffd78b688ede"),
    (GMAC, Side::Client, (1 << 32) - 1, "1c00000006000000626f756e64617279a85e438c53d39d32ab2a16d1540c3cb8"),
    (GMAC, Side::Server, (1 << 32) - 1, "1c00000006000000626f756e64617279a9fed4131f03988fb2fbb731a2756caa"),
    (GMAC, Side::Client, 1 << 32, "1c00000006000000626f756e64617279c34b4b94624ad06d1e14735c27dc879d"),
    (GMAC, Side::Server, 1 << 32, "1c00000006000000626f756e64617279156b8aa5f047eb4bb084917161186338"),
    (GMAC, Side::Client, (1 << 40) - 2, "1c00000006000000626f756e64617279faaabd44ed312a7474c21e7903a6e7fe"),
    (GMAC, Side::Server, (1 << 40) - 2, "1c00000006000000626f756e64617279f86e97dd252824f89b7f17270320df23"),
    (GMAC, Side::Client, (1 << 40) - 1, "1c00000006000000626f756e646172790be2489645f32dba4c329d09bb84d71f"),
    (GMAC, Side::Server, (1 << 40) - 1, "1c00000006000000626f756e64617279607ea699e1657e0ac6fb8c890aca2fe8"),
];

/// Frames 0 without payload.
const EMPTY: [(RecordProtocol, Side, &str); 4] = [
    (REKEY, Side::Client, "1400000006000000c494219382632ee9e0c30757c306a06a"),
    (REKEY, Side::Server, "1400000006000000433df5eb00edc5bfa4e62fa32fc8452b"),
    (GMAC, Side::Client, "14000000060000009a7a0619aac29e6c1f2b5c4753d588f3"),
    (GMAC, Side::Server, "14000000060000003f51a013d0048eaf6e6620594728e5f8"),
];

/// Frames 0 of the client: how many bytes 0, 1, … 250, 0, 1, … of payload, the header, the tag.
const SIZES: [(RecordProtocol, usize, &str, &str); 16] = [
    (REKEY, 1, "1500000006000000", "7b7538b444dcfaac2f79896306653216"),
    (REKEY, 2, "1600000006000000", "c70a6b351b1e4a1656a914b09d1890fc"),
    (REKEY, 15, "2300000006000000", "c1857738b634edb28d9366400fd17483"),
    (REKEY, 16, "2400000006000000", "a5691f0e5cb99fe6e0c2df0db6177a18"),
    (REKEY, 17, "2500000006000000", "af10a241b75165abdaeaf80ea5e78db8"),
    (REKEY, 16359, "fb3f000006000000", "10e3461a98780595bbb172daddb4ff11"),
    (REKEY, 16360, "fc3f000006000000", "ffba107e7b40a5f7da91bee6a82cffb6"),
    (REKEY, 1048552, "fcff0f0006000000", "cf7614c4d183a0cdf7e795f0424eef19"),
    (GMAC, 1, "1500000006000000", "620b6a51ec498cf520331d55b8449996"),
    (GMAC, 2, "1600000006000000", "8cf90cd1107eaee69297d41b904651c5"),
    (GMAC, 15, "2300000006000000", "4a6327f836ebe183da2b0122a2069947"),
    (GMAC, 16, "2400000006000000", "aa4dfef5a0584f8ca9304d034c01da21"),
    (GMAC, 17, "2500000006000000", "3d9c30b41d8072c7fe12dacaea0ae4fd"),
    (GMAC, 16359, "fb3f000006000000", "cb760fb209131417c5b2ca2806414c4f"),
    (GMAC, 16360, "fc3f000006000000", "8d0bbd5a39edbba2109e93798404928a"),
    (GMAC, 1048552, "fcff0f0006000000", "5fbcd0de1ad9266c7503d5ed6d9569e2"),
];

fn pattern(len: usize) -> Vec<u8> {
    (0..=250).cycle().take(len).collect()
}

fn check(protocol: RecordProtocol, side: Side, number: u64, payload: &[u8], frame: &str) {
    let mut made = Vec::new();
    let taken = sealer(protocol, side, number).seal(&[IoSlice::new(payload)], &mut made);
    assert_eq!((taken, hex::encode(&made)), (Ok(payload.len()), frame.to_owned()), "{side:?} {number}");
    let range = opener(protocol, side, number).open(&mut made).expect("it is authentic");
    assert_eq!(&made[range], payload, "{side:?} {number}");
}

#[test]
fn frames_are_those_of_the_other_programs() {
    for (protocol, side, number, payload, frame) in ANSWERS {
        check(protocol, side, number, payload, frame);
    }
}

#[test]
fn frames_at_each_boundary_are_those_of_another_library() {
    for (protocol, side, number, frame) in BOUNDARIES {
        check(protocol, side, number, b"boundary", frame);
    }
}

/// From one end that makes both, so that it is the change that is looked at: of the key, and of all bytes of the counter.
#[test]
fn frames_on_both_sides_of_a_boundary_are_those_of_another_library() {
    let mut pairs = 0;
    for (protocol, side, number, first) in BOUNDARIES {
        let next = |row: &&(RecordProtocol, Side, u64, &str)| {
            (row.0, row.1) == (protocol, side) && number.checked_add(1) == Some(row.2)
        };
        let Some((.., second)) = BOUNDARIES.iter().find(next) else { continue };
        let (mut sealer, mut opener) = (sealer(protocol, side, number), opener(protocol, side, number));
        for expected in [first, second] {
            let mut made = frame(&mut sealer, b"boundary");
            assert_eq!(hex::encode(&made), expected, "{side:?} {number}");
            assert_eq!(opener.open(&mut made), Ok(8..16), "{side:?} {number}");
        }
        pairs += 1;
    }
    assert_eq!(pairs, 20);
}

#[test]
fn frames_of_each_size_are_those_of_another_library() {
    for (protocol, len, header, tag) in SIZES {
        let (key, mut made) = (key(protocol), Vec::new());
        let limit = if len < 16 << 10 { FrameLimit::MIN } else { FrameLimit::MAX };
        let taken = Sealer::new(&key, Side::Client, limit).seal(&[IoSlice::new(&pattern(len))], &mut made);
        assert_eq!(taken, Ok(len));
        assert_eq!(made.len(), len + 24);
        assert_eq!((&*hex::encode(&made[..8]), &*hex::encode(&made[len + 8..])), (header, tag), "{len}");
        let range = Opener::new(&key, Side::Client, limit).open(&mut made).expect("it is authentic");
        assert_eq!(made[range], pattern(len));
    }
}

#[test]
fn a_frame_without_payload_is_opened() {
    for (protocol, side, frame) in EMPTY {
        let mut frame = hex::decode(frame).expect("it is hexadecimal");
        let mut opener = opener(protocol, side, 0);
        assert_eq!((opener.frame_len(&frame), opener.open(&mut frame)), (Ok(Some(24)), Ok(8..8)));
    }
}
