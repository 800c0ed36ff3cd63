//! The token door: a workload that the kernel, a handshake or a trusted issuer has identified gets a signed JWT
//! (RFC 8693), which Istio and Envoy accept.
//!
//! `subject` is whom a token is about; `parts` what the exchange asks of the rooms beside it. `keys` decides when signing
//! keys come and go, and `keyring` keeps them.

pub(crate) mod keyring;
pub(crate) mod keys;
pub(crate) mod parts;
pub(crate) mod subject;
