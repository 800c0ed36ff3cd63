//! The audit trail: what was decided about each handshake, one line each, for who has to answer for it later.
//!
//! `record` is one decision and the line it becomes, and is pure; `trail` takes records from handshakes without ever
//! keeping them waiting, and hands them to one writer; `file` is where that writes. Read [`Record`] and [`Trail`]
//! first. Nothing here holds a key, a token or bytes of a handshake.

mod file;
mod record;
mod trail;

pub(crate) use file::FileSettings;
#[cfg(test)]
pub(crate) use record::tests::full;
pub(crate) use record::{
    Decided, Fields, HANDSHAKE, Record, Shadow, Verdict, Who, milliseconds, rfc3339, side, write_dropped,
};
pub(crate) use trail::{Error, Event, Output, Settings, Trail, start};
