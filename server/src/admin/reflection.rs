//! What tools such as grpcurl ask to learn the API: `grpc.reflection.v1` and `v1alpha`.

use alts_proto::ALTSD_DESCRIPTORS;
use tonic::service::{Interceptor, Routes, interceptor::InterceptedService};
use tonic_reflection::server::Builder;

/// Largest request, in bytes: a name.
const MAX_MESSAGE: usize = 16 << 10;

/// Adds reflection of `services`, whom `access` lets in, to `routes`.
pub(super) fn add(
    routes: Routes,
    services: &[&str],
    access: impl Interceptor + Clone + Send + Sync + 'static,
) -> Routes {
    // They are generated, and a test reads them.
    const READ: &str = "the descriptors can be read";
    let builder = || {
        let builder = Builder::configure().register_encoded_file_descriptor_set(ALTSD_DESCRIPTORS);
        services.iter().fold(builder, |builder, service| builder.with_service_name(*service))
    };
    let v1 = builder().build_v1().expect(READ).max_decoding_message_size(MAX_MESSAGE);
    let v1alpha = builder().build_v1alpha().expect(READ).max_decoding_message_size(MAX_MESSAGE);
    routes
        .add_service(InterceptedService::new(v1, access.clone()))
        .add_service(InterceptedService::new(v1alpha, access))
}
