//! A load tester for ALTS handshakers, token endpoints and connections.

fn main() {}
