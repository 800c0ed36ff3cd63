//! Carries a handshake between a byte stream and the handshaker.
