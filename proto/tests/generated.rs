//! The generated code is checked in; this proves it current, and is the way to renew it.

use std::{fs, path::Path};

use prost::Message;
use prost_types::FileDescriptorSet;

/// Set to anything to have the test write `src/gen/` anew.
const RENEW: &str = "ALTSD_REGENERATE";

/// Messages whose `Debug` is hand-written, in `src/redact.rs`.
const CARRY_SECRETS: [&str; 3] = [
    ".grpc.gcp.StartClientHandshakeReq",
    ".grpc.gcp.ServerHandshakeParameters",
    ".grpc.gcp.HandshakerResult",
];

/// The files of each package.
const PACKAGES: [(&str, &[&str]); 2] = [
    (
        "grpc.gcp",
        &[
            "grpc/gcp/handshaker.proto",
            "grpc/gcp/altscontext.proto",
            "grpc/gcp/transport_security_common.proto",
        ],
    ),
    (
        "altsd.v1",
        &[
            "altsd/v1/certificates.proto",
            "altsd/v1/caller.proto",
            "altsd/v1/policy.proto",
            "altsd/v1/revocations.proto",
            "altsd/v1/token_revocations.proto",
            "altsd/v1/status.proto",
            "altsd/v1/audit.proto",
            "altsd/v1/signing_keys.proto",
        ],
    ),
];

/// The package that a daemon describes itself in, to who asks for reflection.
const REFLECTED: &str = "altsd.v1";

#[test]
fn the_generated_code_is_what_the_proto_files_give() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (package, files) in PACKAGES {
        let files = files.iter().map(|file| root.join(file));
        let descriptors = protox::compile(files, [root]).expect("the proto files compile");
        if package == REFLECTED {
            is_current(&format!("{package}.bin"), &described(&descriptors));
        }
        let out = tempfile::tempdir().expect("a temporary directory can be made");
        tonic_prost_build::configure()
            .out_dir(out.path())
            .skip_debug(CARRY_SECRETS)
            .compile_fds(descriptors)
            .expect("code can be generated");
        let file = format!("{package}.rs");
        let generated = fs::read(out.path().join(&file)).expect("one file per package");
        is_current(&file, &generated);
    }
}

/// Compares a file of `src/gen/` with what it should be, or renews it.
fn is_current(file: &str, generated: &[u8]) {
    let checked_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/gen").join(file);
    #[expect(clippy::disallowed_methods, reason = "a test has no command line to take this from")]
    if std::env::var_os(RENEW).is_some() {
        fs::write(&checked_in, generated).expect("the source tree can be written");
    }
    let current = fs::read(&checked_in).unwrap_or_default();
    assert!(
        current == generated,
        "src/gen/{file} is stale: run {RENEW}=1 cargo test -p alts-proto --test generated"
    );
}

/// The files as reflection tells of them: without the places of comments, which would be most of it.
fn described(descriptors: &FileDescriptorSet) -> Vec<u8> {
    let mut descriptors = descriptors.clone();
    for file in &mut descriptors.file {
        file.source_code_info = None;
    }
    descriptors.encode_to_vec()
}

#[test]
fn every_proto_file_is_compiled() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for directory in ["grpc/gcp", "altsd/v1"] {
        for entry in fs::read_dir(root.join(directory)).expect("it is a directory") {
            let name = entry.expect("it can be listed").file_name();
            found.push(format!("{directory}/{}", name.to_str().expect("it is UTF-8")));
        }
    }
    let mut compiled: Vec<_> = PACKAGES.iter().flat_map(|(_, files)| files.iter().copied()).collect();
    found.sort();
    compiled.sort();
    assert_eq!(found, compiled);
}
