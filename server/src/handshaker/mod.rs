//! The gRPC service that programs call, `grpc.gcp.HandshakerService`.
//!
//! `session` is the conversation of one stream and does no I/O; `service` moves its messages and keeps its
//! limits; `listener` opens the sockets.

mod connection;
mod listener;
mod refusal;
mod request;
mod response;
mod service;
mod session;
#[cfg_attr(not(test), expect(dead_code, reason = "not served yet"))]
mod whoami;

pub(crate) use listener::{ListenError, Listener, ListenerLimits};
pub(crate) use service::{Handshaker, Shared, Timeouts};
#[cfg_attr(not(test), expect(unused_imports, reason = "not served yet"))]
pub(crate) use whoami::{Callers, WhoAmI};
