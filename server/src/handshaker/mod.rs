//! The gRPC service that programs call, `grpc.gcp.HandshakerService`.
//!
//! `session` is the conversation of one stream and does no I/O; `service` moves its messages and keeps its
//! limits; `ending` tells how it came out; `caller` decides who a caller may be; `whoami` tells it.

mod caller;
mod ending;
mod refusal;
mod request;
mod response;
mod service;
mod session;
mod whoami;

pub(crate) use caller::{Attestation, Entitlement};
pub(crate) use service::{Handshaker, Shared, Timeouts};
pub(crate) use whoami::WhoAmI;
