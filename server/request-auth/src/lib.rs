//! JSON Web Tokens, made and checked: strict where verifiers in the field are lax, and in the order and words that
//! Envoy's have. It does no I/O, reads no clock, fetches nothing, and follows no key that a token names.
//!
//! Read [`Token`] first, which is what a caller presents, and [`KeySet`], what it is verified with. [`SigningKey`]
//! makes tokens.

mod algorithm;
mod base64url;
mod claims;
mod error;
mod header;
mod json;
mod jwk;
mod jwt_ring;
mod key_set;
mod public_key;
mod signed;
mod signing_key;
mod token;

pub use self::{
    algorithm::{Algorithm, UnknownAlgorithm},
    claims::Claims,
    error::Error,
    header::Header,
    jwk::Unusable,
    jwt_ring::{SecureRandom, install_provider},
    key_set::{KeySet, KeySetError, SkippedKey},
    public_key::PublicKey,
    signed::{MAX_TOKEN, Signed},
    signing_key::{KeyError, SigningKey},
    token::{Expected, LEEWAY, Token},
};
