//! The token door: a workload that the kernel, a handshake or a trusted issuer has identified gets a signed JWT
//! (RFC 8693), which Istio and Envoy accept.
//!
//! `subject` is whom a token is about; `rule` who gets which tokens; `parts` what the exchange asks of the rooms beside
//! it; `ledger` what is revoked and used.

pub(crate) mod ledger;
pub(crate) mod parts;
pub(crate) mod pattern;
pub(crate) mod rule;
pub(crate) mod subject;
