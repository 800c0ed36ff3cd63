//! The sockets that programs call on.
//!
//! `listener` opens them, accepts within bounds and serves gRPC; `http1` serves HTTP; `connection` is one of a caller.

mod connection;
mod http1;
mod listener;

pub(crate) use listener::{ListenError, Listener, ListenerLimits};
