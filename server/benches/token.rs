//! What a token costs the daemon: its CPU time for one that is minted over HTTP on a kept connection, beside one bare
//! ES256 signature of ring in the same run. Only the ratio counts.
//!
//! `cargo bench -p altsd --bench token`.

use std::{
    fs,
    hint::black_box,
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use rustix::{
    param::clock_ticks_per_second,
    time::{ClockId, clock_gettime},
};

const ROUNDS: usize = 5;
const TOKENS: usize = 20_000;

/// Connections of a busy node.
const CONNECTIONS: usize = 16;

/// As long as the header and claims of such a token.
const SIGNED_BYTES: usize = 420;

/// How long the daemon may take to begin.
const PATIENCE: Duration = Duration::from_secs(20);

fn main() {
    let directory = tempfile::tempdir().expect("there is room");
    let daemon = Daemon::start(directory.path());
    for connections in [1, CONNECTIONS] {
        let mut connections: Vec<_> =
            (0..connections).map(|_| Connection::open(&directory.path().join("token.sock"))).collect();
        measure(&daemon, &mut connections);
    }
}

/// All connections ask, and then take their answers: one alone waits for the daemon to wake up each time, several do so
/// together, as under load.
fn measure(daemon: &Daemon, connections: &mut [Connection]) {
    let mut ask = |tokens: usize| {
        for _ in 0..tokens / connections.len() {
            connections.iter_mut().for_each(Connection::ask);
            connections.iter_mut().for_each(|connection| _ = black_box(connection.answer()));
        }
    };
    ask(TOKENS / 10);
    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        let signature = of_a_signature(TOKENS);
        let before = daemon.cpu_seconds();
        ask(TOKENS);
        let token = (daemon.cpu_seconds() - before) / TOKENS as f64;
        println!(
            "a token {:6.2} us, a signature {:6.2} us, ratio {:.2}",
            token * 1e6,
            signature * 1e6,
            token / signature
        );
        ratios.push(token / signature);
    }
    ratios.sort_by(f64::total_cmp);
    let median = ratios[ROUNDS / 2];
    println!("{ROUNDS} rounds of {TOKENS} on {} connections: median ratio {median:.2}", connections.len());
}

/// The CPU seconds of this thread for one.
fn of_a_signature(times: usize) -> f64 {
    let random = SystemRandom::new();
    let pkcs8 =
        EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("there is randomness");
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random);
    let (key, message) = (key.expect("it was made so"), [0x61; SIGNED_BYTES]);
    let before = thread_cpu_seconds();
    for _ in 0..times {
        black_box(key.sign(&random, black_box(&message)).expect("there is randomness"));
    }
    (thread_cpu_seconds() - before) / times as f64
}

fn thread_cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// A daemon whose only workload is whoever runs this.
struct Daemon(Child);

impl Daemon {
    fn start(directory: &Path) -> Self {
        let at = directory.display();
        let uid = rustix::process::getuid().as_raw();
        let configuration = format!(
            r#"state_directory = "{at}/state"
[[handshaker.listener]]
address = "unix:{at}/altsd.sock"
[[workload]]
service_account = "bench@prod.example.com"
selectors = ["uid:{uid}"]
[signing_service]
authorities = ["prod.example.com"]
[policy]
default = "deny"
[token]
issuer = "https://tokens.example.com"
[[token.listener]]
address = "unix:{at}/token.sock"
[[token.rule]]
issuers = ["local"]
subjects = ["*"]
audiences = ["https://shop.example.com"]
"#
        );
        let file = directory.join("altsd.toml");
        fs::write(&file, configuration).expect("there is room");
        let mut command = Command::new(env!("CARGO_BIN_EXE_altsd"));
        command.args(["run", "--log-level", "warn", "--config"]).arg(file).stdin(Stdio::null());
        let daemon = Self(command.spawn().expect("it was built"));
        let pause = Duration::from_millis(20);
        for _ in 0..PATIENCE.as_millis() / pause.as_millis() {
            if UnixStream::connect(directory.join("token.sock")).is_ok() {
                return daemon;
            }
            thread::sleep(pause);
        }
        panic!("it does not serve")
    }

    /// Of all its threads, in itself and in the kernel for it.
    fn cpu_seconds(&self) -> f64 {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.0.id())).expect("it runs");
        let (_, behind_name) = text.rsplit_once(')').expect("the name is in brackets");
        let ticks: u64 = behind_name
            .split_ascii_whitespace()
            .skip(11)
            .take(2)
            .map(|field| field.parse::<u64>().expect("it is a number"))
            .sum();
        ticks as f64 / clock_ticks_per_second() as f64
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A connection that is kept.
struct Connection {
    reader: BufReader<UnixStream>,
    writer: UnixStream,
    request: Vec<u8>,
    body: Vec<u8>,
}

impl Connection {
    fn open(path: &Path) -> Self {
        let writer = UnixStream::connect(path).expect("it serves");
        let reader = BufReader::new(writer.try_clone().expect("there are descriptors"));
        let body = "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token=me\
                    &subject_token_type=urn:altsd:token-type:local-peer&audience=https://shop.example.com";
        let request = format!(
            "POST /token HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        Self { reader, writer, request: request.into_bytes(), body: Vec::new() }
    }

    /// Asks for a token.
    fn ask(&mut self) {
        self.writer.write_all(&self.request).expect("it takes requests");
    }

    /// Takes the whole answer.
    fn answer(&mut self) -> usize {
        let (mut line, mut length, mut status) = (String::new(), 0, String::new());
        loop {
            line.clear();
            self.reader.read_line(&mut line).expect("it answers");
            if status.is_empty() {
                status.clone_from(&line);
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("it is a number");
            }
            if line.trim().is_empty() {
                break;
            }
        }
        self.body.resize(length, 0);
        self.reader.read_exact(&mut self.body).expect("it sends what it announced");
        assert!(status.contains(" 200 "), "{status}{}", String::from_utf8_lossy(&self.body));
        length
    }
}
