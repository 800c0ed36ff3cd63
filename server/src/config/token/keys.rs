//! The keys that tokens are signed with: the section `token.keys`.

use std::path::PathBuf;

use alts_request_auth::Algorithm;
use toml::Spanned;

use crate::config::{
    error::{Error, Placed, Problem},
    raw,
    text::Text,
};

/// A key a day: one that was stolen unnoticed is worth little.
const DEFAULT_ROTATE: u64 = 86_400;
const ROTATES: (u64, u64) = (300, 90 * 86_400);

/// Half as long again as the longest cache that is known of a verifier.
const DEFAULT_PUBLISH_AHEAD: u64 = 1_800;

/// istiod's.
const DEFAULT_VERIFIER_CACHE: u64 = 1_200;

/// Longest that a verifier may keep a set of keys, or that a key may wait, in seconds.
const MAX_WAIT: u64 = 7 * 86_400;

/// How keys are made and changed.
#[derive(Clone, Debug)]
pub(crate) struct TokenKeySettings {
    pub(crate) algorithm: Algorithm,
    pub(crate) state_directory: PathBuf,
    /// The key to use instead of ones that are made here.
    pub(crate) private_key: Option<Placed<PathBuf>>,
    /// How long a key signs, in seconds.
    pub(crate) rotate: u64,
    /// How long a key is published before it signs, in seconds.
    pub(crate) publish_ahead: u64,
    /// How long verifiers keep a set of keys, in seconds.
    pub(crate) verifier_cache: u64,
    /// Whether the first key of a node does not wait either.
    pub(crate) sign_at_once: bool,
}

impl Text<'_> {
    pub(super) fn token_keys(
        &self,
        raw: &raw::Config,
        table: Option<&Spanned<raw::TokenKeys>>,
        token: usize,
    ) -> Result<TokenKeySettings, Error> {
        let key = |name: &str| format!("token.keys.{name}");
        let Some(directory) = &raw.state_directory else {
            let problem = Problem::StateDirectoryMissing("the token door keeps its private keys");
            return Err(self.place(token, "state_directory").refuse(problem));
        };
        let state_directory = self.relative(self.placed(directory, "state_directory")).value;
        let default = raw::TokenKeys::default();
        let at = table.map_or(token, |table| table.span().start);
        let table = table.map_or(&default, |table| table.as_ref());
        let algorithm = match &table.algorithm {
            Some(name) => self.placed(name, key("algorithm")).map(|name| algorithm(name))?.value,
            None => Algorithm::Es256,
        };
        let private_key =
            table.private_key.as_ref().map(|path| self.relative(self.placed(path, key("private_key"))));
        if algorithm == Algorithm::Rs256 && private_key.is_none() {
            return Err(self.place(at, key("private_key")).refuse(Problem::RsaKeyMissing));
        }
        let (least, most) = ROTATES;
        let rotate = self.number(&table.rotate_seconds, key("rotate_seconds"), least, most)?;
        let rotate = rotate.unwrap_or(DEFAULT_ROTATE);
        let ahead = self.number(&table.publish_ahead_seconds, key("publish_ahead_seconds"), 0, MAX_WAIT)?;
        let publish_ahead = ahead.unwrap_or(DEFAULT_PUBLISH_AHEAD);
        if publish_ahead >= rotate {
            let given = table.publish_ahead_seconds.as_ref().or(table.rotate_seconds.as_ref());
            let place = given.map_or_else(
                || self.place(at, key("publish_ahead_seconds")),
                |value| self.at(value, key("publish_ahead_seconds")),
            );
            return Err(place.refuse(Problem::PublishAhead { publish_ahead, rotate }));
        }
        let cache = self.number(&table.verifier_cache_seconds, key("verifier_cache_seconds"), 0, MAX_WAIT)?;
        Ok(TokenKeySettings {
            algorithm,
            state_directory,
            private_key,
            rotate,
            publish_ahead,
            verifier_cache: cache.unwrap_or(DEFAULT_VERIFIER_CACHE),
            sign_at_once: table.sign_at_once,
        })
    }
}

fn algorithm(name: &str) -> Result<Algorithm, Problem> {
    match name {
        "ES256" => Ok(Algorithm::Es256),
        "EdDSA" => Ok(Algorithm::EdDSA),
        "RS256" => Ok(Algorithm::Rs256),
        other => Err(Problem::TokenAlgorithm(other.to_owned())),
    }
}
