//! The vectors as values: setting up an end from them, feeding it, and randomness that replays.

#![expect(deprecated, reason = "the library's only source of randomness that can replay")]

use std::{cell::UnsafeCell, collections::HashMap, sync::Arc, time::Duration};

use alts_handshake::{
    AdmitAll, Authority, ClientSetup, Credentials, ExpectedPeers, Handshake, Outcome, Preferences,
    Resumption, RpcVersions, SecureRandom, ServerSetup, Setup, Step, SystemRandom, Ticket, TicketId,
    TicketLookup, Trust,
};
use pki_types::{CertificateDer, PrivatePkcs8KeyDer, UnixTime};
use ring::test::rand::FixedSliceSequenceRandom;
use serde::Deserialize;

/// The suite that this implementation lacks, X25519MLKEM768: cases that need it are left out, by name.
pub(crate) const HYBRID: u16 = 2;

/// Bytes written as hex.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Hex(pub(crate) Vec<u8>);

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        hex::decode(text).map(Self).map_err(serde::de::Error::custom)
    }
}

/// The file of vectors.
#[derive(Deserialize)]
pub(crate) struct Vectors {
    pub(crate) now: u64,
    pub(crate) trust: HashMap<String, Vec<Hex>>,
    pub(crate) handshakes: Vec<Exchange>,
    pub(crate) refused_setup: HashMap<String, EndConfig>,
    pub(crate) refused: Vec<Refused>,
}

/// A whole handshake.
#[derive(Deserialize)]
pub(crate) struct Exchange {
    pub(crate) name: String,
    pub(crate) client: EndConfig,
    pub(crate) server: EndConfig,
    pub(crate) tickets_before: Vec<StoredTicket>,
    pub(crate) frames: Frames,
    pub(crate) resumption_secret: Hex,
    pub(crate) client_result: ExpectedResult,
    pub(crate) server_result: ExpectedResult,
}

/// One end.
#[derive(Clone, Deserialize)]
pub(crate) struct EndConfig {
    pub(crate) versions: Vec<u16>,
    pub(crate) suites: Vec<u16>,
    pub(crate) record_protocols: Vec<String>,
    pub(crate) application_protocols: Vec<String>,
    pub(crate) transport_protocols: Vec<String>,
    pub(crate) rpc_versions: [u32; 4],
    pub(crate) max_frame_size: u32,
    pub(crate) accept: Vec<String>,
    pub(crate) ticket_lifetime: Option<u32>,
    pub private_key_pkcs8: Hex,
    pub(crate) certs: Vec<Hex>,
    pub(crate) random_inputs: HashMap<String, Hex>,
}

#[derive(Deserialize)]
pub(crate) struct StoredTicket {
    pub(crate) holder: String,
    pub(crate) local_identity: String,
    pub(crate) ticket_id: Hex,
    pub(crate) psk: Hex,
    pub(crate) peer: Peer,
    pub(crate) not_after: u64,
}

#[derive(Deserialize)]
pub(crate) struct Peer {
    pub(crate) account: String,
    pub(crate) spiffe_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Frames {
    pub(crate) client_init: Hex,
    pub(crate) server_init: Hex,
    pub(crate) server_finished: Hex,
    pub(crate) client_finished: Hex,
}

#[derive(Deserialize)]
pub(crate) struct ExpectedResult {
    pub(crate) key_data: Hex,
    pub(crate) peer: Peer,
    pub(crate) local_identity: String,
    pub(crate) record_protocol: String,
    pub(crate) application_protocol: String,
    pub(crate) transport_protocol: String,
    pub(crate) peer_rpc_versions: [u32; 4],
    pub(crate) peer_max_frame_size: u32,
    pub(crate) resumed: bool,
}

/// Frames that the named end must refuse.
#[derive(Deserialize)]
pub(crate) struct Refused {
    pub(crate) name: String,
    pub(crate) role: String,
    pub(crate) config_changes: ConfigChanges,
    pub(crate) feeds: Vec<Hex>,
    pub(crate) alert: Option<u16>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConfigChanges {
    pub(crate) accept: Option<Vec<String>>,
    pub(crate) suites: Option<Vec<u16>>,
}

impl Vectors {
    pub(crate) fn load() -> Self {
        serde_json::from_str(include_str!("../handshake.json")).expect("the vectors have the form above")
    }

    pub(crate) fn now(&self) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(self.now))
    }

    pub(crate) fn trust(&self) -> Arc<Trust> {
        let mut trust = Trust::default();
        for (authority, roots) in &self.trust {
            let roots: Vec<_> = roots.iter().map(|root| CertificateDer::from(root.0.clone())).collect();
            let authority = Authority::parse(authority).expect("the vectors name authorities");
            trust.add(authority, &roots).expect("the roots are usable");
        }
        Arc::new(trust)
    }
}

impl EndConfig {
    pub(crate) fn credentials(&self) -> Arc<Credentials> {
        let chain: Vec<_> = self.certs.iter().map(|der| CertificateDer::from(der.0.clone())).collect();
        let key = PrivatePkcs8KeyDer::from(self.private_key_pkcs8.0.clone());
        Arc::new(Credentials::new(&chain, &key, &SystemRandom::new()).expect("the credentials are usable"))
    }

    pub(crate) fn setup(&self, trust: &Arc<Trust>) -> Setup {
        let [a, b, c, d] = self.rpc_versions;
        let preferences = Preferences::new(
            &self.record_protocols,
            &self.application_protocols,
            &self.transport_protocols,
            RpcVersions { max: (a, b), min: (c, d) },
            self.max_frame_size,
        );
        Setup {
            credentials: self.credentials(),
            trust: trust.clone(),
            expected: ExpectedPeers::new(&self.accept),
            admission: Arc::new(AdmitAll),
            preferences: preferences.expect("the preferences are valid"),
        }
    }

    pub(crate) fn client_setup(&self, trust: &Arc<Trust>, ticket: Option<Arc<Ticket>>) -> ClientSetup {
        let grease = self.versions.iter().copied().find(|version| *version != 1);
        ClientSetup { common: self.setup(trust), ticket, grease }
    }

    pub(crate) fn server_setup(&self, trust: &Arc<Trust>, tickets: Tickets) -> ServerSetup {
        let resumption =
            self.ticket_lifetime.map(|lifetime| Resumption { tickets: Arc::new(tickets), lifetime });
        ServerSetup { common: self.setup(trust), resumption }
    }

    /// The random bytes of this end, in the order in which an end draws them.
    pub(crate) fn random(&self, draws: &[&str]) -> Replay {
        let bytes = draws.iter().map(|draw| match self.random_inputs.get(*draw) {
            Some(bytes) => bytes.0.clone(),
            None => draw_length(draw),
        });
        Replay::new(bytes)
    }

    /// Whether this end signs in a way that draws randomness.
    pub(crate) fn signs_with_ecdsa(&self) -> bool {
        self.private_key_pkcs8.0.len() > 100
    }
}

/// A draw that no vector gives: the nonce of an ECDSA signature.
fn draw_length(draw: &str) -> Vec<u8> {
    assert_eq!(draw, "ecdsa", "the vectors lack a random input");
    vec![0x5a; 32]
}

/// Tickets by account and id.
#[derive(Default)]
pub(crate) struct Tickets(pub(crate) HashMap<(String, [u8; 16]), Arc<Ticket>>);

impl TicketLookup for Tickets {
    fn find(&self, account: &str, id: &TicketId) -> Option<Arc<Ticket>> {
        self.0.get(&(account.to_owned(), id.0)).cloned()
    }
}

/// The library's random source that gives the bytes it was made with, each draw in turn. It wants them borrowed
/// for as long as it lives, so that a few are leaked per test.
pub(crate) struct Replay(FixedSliceSequenceRandom<'static>);

impl Replay {
    pub(crate) fn new(draws: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let draws: Vec<&'static [u8]> = draws.into_iter().map(|draw| &*draw.leak()).collect();
        Self(FixedSliceSequenceRandom { bytes: draws.leak(), current: UnsafeCell::new(0) })
    }

    pub(crate) fn source(&self) -> &dyn SecureRandom {
        &self.0
    }
}

impl Refused {
    /// Whether the case needs the suite that this implementation lacks.
    pub(crate) fn is_hybrid(&self) -> bool {
        self.config_changes.suites.as_ref().is_some_and(|suites| suites.contains(&HYBRID))
    }

    /// Feeds the frames of the case to its end. The last one must fail, with the step that is returned.
    pub(crate) fn run(&self, vectors: &Vectors) -> Result<(Step, Handshake), String> {
        let mut end = vectors.refused_setup[&self.role].clone();
        if let Some(accept) = &self.config_changes.accept {
            end.accept.clone_from(accept);
        }
        let mut handshake = begin(vectors, &end, &self.role)?;
        let random = Randomness::of(&end, &self.role, &self.feeds);
        let (last, before) = self.feeds.split_last().expect("a refusal has frames");
        for frame in before {
            match handshake.step(&frame.0, vectors.now(), random.source()).outcome {
                Outcome::NeedsInput => {}
                Outcome::Failed(error) => return Err(format!("failed too early: {error}")),
                Outcome::Done(_) => return Err("done too early".to_owned()),
            }
        }
        Ok((handshake.step(&last.0, vectors.now(), random.source()), handshake))
    }
}

/// The vectors' randomness for a client, whose key exchange the frames answer; a server's answers are not looked
/// at, so that it draws from the system unless a ClientFinished belongs to its ServerInit.
enum Randomness {
    Replay(Replay),
    System(SystemRandom),
}

impl Randomness {
    fn of(end: &EndConfig, role: &str, feeds: &[Hex]) -> Self {
        if role == "server" && feeds.len() > 1 {
            return Self::Replay(end.random(&["random", "x25519", "ticket_id"]));
        }
        Self::System(SystemRandom::new())
    }

    fn source(&self) -> &dyn SecureRandom {
        match self {
            Self::Replay(replay) => replay.source(),
            Self::System(system) => system,
        }
    }
}

fn begin(vectors: &Vectors, end: &EndConfig, role: &str) -> Result<Handshake, String> {
    if role == "server" {
        return Ok(Handshake::server(end.server_setup(&vectors.trust(), Tickets(HashMap::new()))));
    }
    let random = end.random(&["random", "x25519"]);
    let client = Handshake::client(end.client_setup(&vectors.trust(), None), vectors.now(), random.source());
    client.map(|(client, _)| client).map_err(|error| error.to_string())
}
