//! The vocabulary of the wire: the messages and the service of `grpc.gcp`, the names and sizes that both ends
//! of it agree on, and what `altsd` is asked about itself.
//!
//! This crate holds no behaviour. Messages that carry a secret have a `Debug` of their own that leaves
//! it out. Read [`gcp::HandshakerReq`] and [`gcp::HandshakerResp`] first.

/// Messages and service of the package `grpc.gcp`, generated from `grpc/gcp/*.proto`.
#[allow(unused_qualifications, missing_docs, reason = "generated")]
pub mod gcp {
    include!("gen/grpc.gcp.rs");
}
/// Messages and services of the package `altsd.v1`, generated from `altsd/v1/*.proto`.
#[allow(unused_qualifications, missing_docs, clippy::large_enum_variant, reason = "generated")]
pub mod altsd {
    include!("gen/altsd.v1.rs");
}
mod redact;
pub mod wire;

pub use prost_types::{Duration, FieldMask, Timestamp};

/// The files of the package `altsd.v1` and those they import, as an encoded `google.protobuf.FileDescriptorSet`: for
/// server reflection.
pub const ALTSD_DESCRIPTORS: &[u8] = include_bytes!("gen/altsd.v1.bin");
