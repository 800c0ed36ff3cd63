//! The token door: a workload that the kernel, a handshake or a trusted issuer has identified gets a signed JWT
//! (RFC 8693), which Istio and Envoy accept.
//!
//! `subject` is whom a token is about; `rule` who gets which tokens; `parts` what the exchange asks of the rooms beside
//! it. `http` reads a request and finds the path; `request` what it asks for; `prove` whom it is about, by `own` where
//! that is a token of ours; `ledger` what is revoked and used; `contexts` the handles of finished
//! handshakes; `exchange` decides and signs the claims of `mint`; `error` is the one table of refusals.

pub(crate) mod contexts;
mod discovery;
pub(crate) mod door;
pub(crate) mod error;
pub(crate) mod exchange;
pub(crate) mod http;
mod introspect;
pub(crate) mod ledger;
mod mint;
mod own;
pub(crate) mod parts;
pub(crate) mod pattern;
mod prove;
pub(crate) mod request;
mod revoke;
pub(crate) mod rule;
pub(crate) mod subject;
