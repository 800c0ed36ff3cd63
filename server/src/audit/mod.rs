//! The audit trail: what was decided about each handshake and each token, one line each, for who has to answer for it
//! later.
//!
//! `record` is one decision and the line it becomes, and is pure; `trail` takes records from handshakes and requests
//! without ever keeping them waiting, and hands them to one writer; `file` is where that writes. Read [`Record`] and
//! [`Trail`] first. Nothing here holds a key, a token or bytes of a handshake.

mod file;
mod record;
mod trail;

pub(crate) use file::FileSettings;
pub(crate) use record::{
    Bounded, Decided, Fields, HANDSHAKE, HandshakeRecord, MAX_AUDIENCES, Record, Shadow, TokenEvent,
    TokenRecord, Verdict, Who, milliseconds, rfc3339, side, write_dropped,
};
#[cfg(test)]
pub(crate) use record::{full, full_token};
pub(crate) use trail::{Error, Event, Output, Settings, Trail, start};
