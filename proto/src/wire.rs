//! Names that stock ALTS programs use on the wire.

/// The only record protocol that today's programs negotiate: AES-128-GCM, with a new key every 2^16 frames.
pub const RECORD_PROTOCOL_REKEY: &str = "ALTSRP_GCM_AES128_REKEY";

/// Key bytes of [`RECORD_PROTOCOL_REKEY`]: 32 to derive keys from, 12 of nonce mask.
pub const RECORD_PROTOCOL_REKEY_KEY_LEN: usize = 44;

/// The application protocol of every gRPC stack.
pub const APPLICATION_PROTOCOL_GRPC: &str = "grpc";

/// The RPC protocol version, major and minor, that every gRPC stack sends as its highest and its lowest.
pub const RPC_PROTOCOL_VERSION: (u32, u32) = (2, 1);
