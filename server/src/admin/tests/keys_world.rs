//! A node whose token door has real keys, and a store.

use std::sync::Arc;

use alts_handshake::SystemRandom;
use alts_proto::altsd::signing_keys_client::SigningKeysClient;
use alts_request_auth::{Algorithm, Token};
use alts_store::{MemoryStore, Store};
use tonic::transport::Channel;

use super::{Admin, Fake, Stopped, channel, world};
use crate::{
    admin::{Parts, services},
    token::{
        keyring::{self, KeySettings, Keyring},
        keys::State,
        parts::Keys,
    },
    verifier::PolicyFiles,
};

/// A served node.
pub(crate) struct KeysWorld {
    pub(crate) admin: Admin,
    pub(crate) keyring: Arc<Keyring>,
    channel: Channel,
}

struct Unobserved;

impl keyring::Observe for Unobserved {}

impl KeysWorld {
    pub(crate) async fn new() -> Self {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let settings = KeySettings {
            algorithm: Algorithm::Es256,
            state_directory: None,
            private_key: None,
            rotate: 86_400,
            publish_ahead: 1_800,
            verifier_cache: 1_200,
            max_lifetime: 900,
            sign_at_once: false,
            node: "a".to_owned(),
        };
        let parts = keyring::Parts {
            settings,
            store: Some(store),
            feed: None,
            clock: Arc::new(Stopped),
            random: Arc::new(SystemRandom::new()),
            observer: Arc::new(Unobserved),
        };
        let (keyring, _) = Keyring::start(parts).expect("it starts");
        keyring.turn().await;
        let (verifier, ..) =
            world::verifier(None, PolicyFiles::load(Vec::new()).expect("there are none")).await;
        let parts = world::parts(verifier, None, Fake::with([]));
        let admin = Admin::of_services(services(Parts { signing_keys: Some(keyring.clone()), ..parts }));
        let channel = channel(&admin.socket()).await;
        Self { admin, keyring, channel }
    }

    pub(crate) fn client(&self) -> SigningKeysClient<Channel> {
        SigningKeysClient::new(self.channel.clone())
    }

    /// The `kid` of a new token.
    pub(crate) fn signing(&self) -> String {
        let token = self.keyring.sign("JWT", b"{}").expect("it signs");
        Token::parse(&token).expect("it is one").header().kid().expect("it has one").to_owned()
    }

    pub(crate) fn of_state(&self, state: State) -> Vec<String> {
        let status = self.keyring.status();
        status.keys.iter().filter(|key| key.state == state).map(|key| key.kid.clone()).collect()
    }
}
