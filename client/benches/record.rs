//! What the record protocol takes of a processor, beside TLS 1.3 of rustls with the same cipher, and beside that cipher
//! alone, all of ring, on one thread, in one run. Only the ratios count.
//!
//! A stream goes from one end to the other: what the program writes is sealed, copied as a socket takes it, copied as a
//! socket gives it, opened, and copied to where the program reads. `frames` is sealing, which copies once, and opening
//! alone. The cipher alone seals and opens the same payloads where they are.
//!
//! `cargo bench -p alts-client --bench record`. On AMD's Zen 4, glibc 2.36 copies at a fraction of its speed when
//! buffers lie badly, which halves the figures of TLS in some rows; `GLIBC_TUNABLES=glibc.cpu.x86_rep_movsb_threshold=
//! 1073741824` in the environment has it copy in another way, and is the fair comparison there.

use std::{
    hint::black_box,
    io::{IoSlice, Read, Write},
    sync::Arc,
};

use alts_client::{
    Side,
    record::{FrameLimit, Opener, RecordKey, RecordProtocol, Sealer},
};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustix::time::{ClockId, clock_gettime};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection,
    crypto::{CryptoProvider, ring::cipher_suite::TLS13_AES_128_GCM_SHA256, ring::default_provider},
    pki_types::{PrivateKeyDer, ServerName},
};

const KIB: usize = 1 << 10;

/// What a program writes at a time.
const WRITES: [usize; 4] = [KIB, 16 * KIB, 64 * KIB, 1024 * KIB];
const LIMITS: [usize; 4] = [16 * KIB, 64 * KIB, 128 * KIB, 1024 * KIB];

const ROUNDS: usize = 9;

/// What is sent in each round, in bytes.
const STREAM: usize = 64 << 20;

/// What a frame has beside its payload.
const OVERHEAD: usize = 24;

fn main() {
    println!(
        "   write    limit |   ALTS    TLS frames    AES MiB/s | ALTS/TLS (least..most) | AES of ALTS, of frames"
    );
    for write in WRITES {
        for limit in LIMITS {
            measure(write, limit);
        }
    }
}

/// What each takes for the stream, in seconds.
struct Round {
    alts: f64,
    tls: f64,
    frames: f64,
    aes: f64,
}

fn measure(write: usize, limit: usize) {
    let chunk: Vec<u8> = (0..=250).cycle().take(write).collect();
    let mut read = vec![0; write];
    let (mut alts, mut tls, mut aes) = (Alts::new(limit), Tls::new(), Aes::new(limit));
    alts.pass(&chunk, &mut read);
    assert!(read == chunk);
    read.fill(0);
    tls.pass(&chunk, &mut read);
    assert!(read == chunk);
    let rounds: Vec<_> = (0..ROUNDS)
        .map(|_| Round {
            alts: seconds(write, || alts.pass(black_box(&chunk), &mut read)),
            tls: seconds(write, || tls.pass(black_box(&chunk), &mut read)),
            frames: seconds(write, || alts.frames(black_box(&chunk))),
            aes: seconds(write, || aes.pass(black_box(&mut read))),
        })
        .collect();
    let middle = |of: fn(&Round) -> f64| median(rounds.iter().map(of)).1;
    let speed = |of: fn(&Round) -> f64| (STREAM >> 20) as f64 / middle(of);
    let (least, ratio, most) = median(rounds.iter().map(|round| round.tls / round.alts));
    println!(
        "{:4} KiB {:4} KiB | {:6.0} {:6.0} {:6.0} {:6.0}       | {ratio:8.2} ({least:.2}..{most:.2})    | {:.2}, {:.2}",
        write / KIB,
        limit / KIB,
        speed(|round| round.alts),
        speed(|round| round.tls),
        speed(|round| round.frames),
        speed(|round| round.aes),
        middle(|round| round.aes / round.alts),
        middle(|round| round.aes / round.frames),
    );
}

/// Of this thread, for the whole stream.
fn seconds(write: usize, mut pass: impl FnMut()) -> f64 {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
    };
    let before = now();
    for _ in 0..STREAM / write {
        pass();
    }
    now() - before
}

/// The least, the middle and the greatest.
fn median(values: impl Iterator<Item = f64>) -> (f64, f64, f64) {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    (values[0], values[values.len() / 2], values[values.len() - 1])
}

/// Two ends of a connection with one buffer each, of one frame.
struct Alts {
    sealer: Sealer,
    opener: Opener,
    out: Vec<u8>,
    wire: Vec<u8>,
    buffer: Vec<u8>,
}

impl Alts {
    fn new(limit: usize) -> Self {
        let protocol = RecordProtocol::GcmAes128Rekey;
        let key = || RecordKey::new(protocol, (1..=44).collect()).expect("it has 44 bytes");
        let frames = FrameLimit::nearest(u32::try_from(limit).expect("it is at most 1 MiB"));
        let (sealer, _) = key().ends(Side::Client, frames, frames);
        let (_, opener) = key().ends(Side::Server, frames, frames);
        Self { sealer, opener, out: Vec::with_capacity(limit), wire: Vec::new(), buffer: vec![0; limit + 4] }
    }

    fn pass(&mut self, mut chunk: &[u8], mut read: &mut [u8]) {
        self.wire.clear();
        while !chunk.is_empty() {
            self.out.clear();
            let taken = self.sealer.seal(&[IoSlice::new(chunk)], &mut self.out).expect("there are numbers");
            chunk = &chunk[taken..];
            self.wire.extend_from_slice(&self.out);
        }
        let (mut wire, mut filled) = (&self.wire[..], 0);
        while !wire.is_empty() {
            filled += wire.read(&mut self.buffer[filled..]).expect("memory does not fail");
            let mut at = 0;
            while let Some(len) = self.opener.frame_len(&self.buffer[at..filled]).expect("it is a frame") {
                let Some(frame) = self.buffer[at..filled].get_mut(..len) else { break };
                let payload = self.opener.open(frame).expect("it is good");
                let (here, rest) = read.split_at_mut(payload.len());
                here.copy_from_slice(&frame[payload]);
                read = rest;
                at += len;
            }
            self.buffer.copy_within(at..filled, 0);
            filled -= at;
        }
        assert!(filled == 0 && read.is_empty());
    }

    /// Seals, and opens where it was sealed.
    fn frames(&mut self, mut chunk: &[u8]) {
        while !chunk.is_empty() {
            self.out.clear();
            let taken = self.sealer.seal(&[IoSlice::new(chunk)], &mut self.out).expect("there are numbers");
            chunk = &chunk[taken..];
            black_box(self.opener.open(&mut self.out).expect("it is good"));
        }
    }
}

/// Two ends of a TLS connection.
struct Tls {
    client: ClientConnection,
    server: ServerConnection,
    wire: Vec<u8>,
}

impl Tls {
    fn new() -> Self {
        let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a key can be made");
        let certificate = issued.cert.der().clone();
        let key = PrivateKeyDer::Pkcs8(issued.signing_key.serialize_der().into());
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).expect("it is a certificate");
        let suites = vec![TLS13_AES_128_GCM_SHA256];
        let provider = Arc::new(CryptoProvider { cipher_suites: suites, ..default_provider() });
        let versions = [&rustls::version::TLS13];
        let client = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&versions)
            .expect("it has a suite of TLS 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&versions)
            .expect("it has a suite of TLS 1.3")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("they belong together");
        let name = ServerName::try_from("localhost").expect("it is a name");
        let mut tls = Self {
            client: ClientConnection::new(Arc::new(client), name).expect("it can begin"),
            server: ServerConnection::new(Arc::new(server)).expect("it can begin"),
            wire: Vec::new(),
        };
        tls.shake_hands();
        tls
    }

    fn shake_hands(&mut self) {
        while self.client.wants_write() || self.server.wants_write() {
            self.wire.clear();
            while self.client.wants_write() {
                self.client.write_tls(&mut self.wire).expect("memory does not fail");
            }
            let mut wire = &self.wire[..];
            while !wire.is_empty() {
                self.server.read_tls(&mut wire).expect("memory does not fail");
                self.server.process_new_packets().expect("it is good");
            }
            self.wire.clear();
            while self.server.wants_write() {
                self.server.write_tls(&mut self.wire).expect("memory does not fail");
            }
            let mut wire = &self.wire[..];
            while !wire.is_empty() {
                self.client.read_tls(&mut wire).expect("memory does not fail");
                self.client.process_new_packets().expect("it is good");
            }
        }
        assert!(!self.client.is_handshaking() && !self.server.is_handshaking());
    }

    fn pass(&mut self, mut chunk: &[u8], read: &mut [u8]) {
        self.wire.clear();
        // As much as rustls takes at a time, 64 KiB unless told otherwise.
        while !chunk.is_empty() {
            let taken = self.client.writer().write(chunk).expect("memory does not fail");
            chunk = &chunk[taken..];
            while self.client.wants_write() {
                self.client.write_tls(&mut self.wire).expect("memory does not fail");
            }
        }
        let (mut wire, mut filled) = (&self.wire[..], 0);
        while !wire.is_empty() {
            self.server.read_tls(&mut wire).expect("memory does not fail");
            let state = self.server.process_new_packets().expect("it is good");
            let end = filled + state.plaintext_bytes_to_read();
            self.server.reader().read_exact(&mut read[filled..end]).expect("it has come");
            filled = end;
        }
        assert_eq!(filled, read.len());
    }
}

/// The cipher alone.
struct Aes {
    key: LessSafeKey,
    payload: usize,
    tag: [u8; 16],
    frames: u64,
}

impl Aes {
    fn new(limit: usize) -> Self {
        let key = UnboundKey::new(&AES_128_GCM, &[1; 16]).expect("it has 16 bytes");
        Self { key: LessSafeKey::new(key), payload: limit - OVERHEAD, tag: [0; 16], frames: 0 }
    }

    fn pass(&mut self, data: &mut [u8]) {
        for payload in data.chunks_mut(self.payload) {
            self.frames += 1;
            let mut number = [0; 12];
            number[..8].copy_from_slice(&self.frames.to_le_bytes());
            let nonce = || Nonce::assume_unique_for_key(number);
            let tag = self.key.seal_in_place_separate_tag(nonce(), Aad::empty(), payload);
            let tag = tag.expect("it is short");
            self.tag.copy_from_slice(tag.as_ref());
            let opened = self.key.open_in_place_separate_tag(nonce(), Aad::empty(), tag, payload, 0..);
            black_box(opened.expect("it is good"));
        }
    }
}
