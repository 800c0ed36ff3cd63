//! One DoHandshake RPC.
