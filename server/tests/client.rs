//! Connections of Rust programs: alts-client at both ends, and real altsd processes that do the handshakes.

mod client {
    mod pair;
}
mod support;
