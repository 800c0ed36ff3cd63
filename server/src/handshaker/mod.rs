//! The gRPC service that programs call, `grpc.gcp.HandshakerService`.
//!
//! [`session`] is the conversation of one stream and does no I/O; [`service`] moves its messages and keeps its
//! limits; [`listener`] opens the sockets.

pub(crate) mod listener;
mod refusal;
mod request;
mod response;
pub(crate) mod service;
mod session;
