//! The door over its router, with real keys and real callers: this very process, by a pair of unix sockets.

mod bad;
mod exchanges;
mod lifetimes;
mod metadata;
mod others;
mod sockets;
mod support;
mod trail;
