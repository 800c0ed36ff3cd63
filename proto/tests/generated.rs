//! The generated code is checked in; this proves it current, and is the way to renew it.

use std::{fs, path::Path};

/// Set to anything to have the test write `src/gen/` anew.
const RENEW: &str = "ALTSD_REGENERATE";

/// Messages whose `Debug` is hand-written, in `src/redact.rs`.
const CARRY_SECRETS: [&str; 3] = [
    ".grpc.gcp.StartClientHandshakeReq",
    ".grpc.gcp.ServerHandshakeParameters",
    ".grpc.gcp.HandshakerResult",
];

#[test]
fn the_generated_code_is_what_the_proto_files_give() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = ["handshaker", "altscontext", "transport_security_common"]
        .map(|name| root.join(format!("grpc/gcp/{name}.proto")));
    let descriptors = protox::compile(files, [root]).expect("the proto files compile");
    let out = tempfile::tempdir().expect("a temporary directory can be made");
    tonic_prost_build::configure()
        .out_dir(out.path())
        .skip_debug(CARRY_SECRETS)
        .compile_fds(descriptors)
        .expect("code can be generated");
    let generated = fs::read_to_string(out.path().join("grpc.gcp.rs")).expect("one file per package");

    let checked_in = root.join("src/gen/grpc.gcp.rs");
    #[expect(clippy::disallowed_methods, reason = "a test has no command line to take this from")]
    if std::env::var_os(RENEW).is_some() {
        fs::write(&checked_in, &generated).expect("the source tree can be written");
    }
    let current = fs::read_to_string(&checked_in).unwrap_or_default();
    assert!(
        current == generated,
        "src/gen/grpc.gcp.rs is stale: run {RENEW}=1 cargo test -p alts-proto --test generated"
    );
}
