//! The token door: a workload that the kernel, a handshake or a trusted issuer has identified gets a signed JWT
//! (RFC 8693), which Istio and Envoy accept.
//!
//! `http` reads a request and finds the path; `request` what it asks for; `prove` whom it is about (a `subject`), by
//! `own` where that is a token of ours; `rule` who gets which tokens; `exchange` decides and signs the claims of `mint`;
//! `error` is the one table of refusals. `parts` is what they ask of the rooms beside them: `keys` decides when signing
//! keys come and go, and `keyring` keeps them; `ledger` knows what is revoked and used; `contexts` which handshakes have
//! finished here; `issuers` verifies the tokens of others. `metadata` is what programs with Google's libraries ask for
//! the same tokens.

mod case;
pub(crate) mod contexts;
mod discovery;
pub(crate) mod door;
pub(crate) mod error;
pub(crate) mod exchange;
pub(crate) mod http;
mod introspect;
pub(crate) mod issuers;
pub(crate) mod keyring;
pub(crate) mod keys;
pub(crate) mod ledger;
mod metadata;
mod mint;
mod own;
pub(crate) mod parts;
pub(crate) mod pattern;
mod prove;
pub(crate) mod request;
mod revoke;
pub(crate) mod rule;
pub(crate) mod subject;
