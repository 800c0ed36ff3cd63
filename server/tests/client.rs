//! Connections of Rust programs: alts-client at both ends, and real altsd processes that do the handshakes.

mod client {
    mod data;
    mod faults;
    mod load;
    mod pair;
    mod refusals;
}
mod support;
