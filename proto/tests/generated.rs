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
    ("altsd.v1", &["altsd/v1/certificates.proto", "altsd/v1/caller.proto", "altsd/v1/audit.proto"]),
];

#[test]
fn the_generated_code_is_what_the_proto_files_give() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (package, files) in PACKAGES {
        let files = files.iter().map(|file| root.join(file));
        let descriptors = protox::compile(files, [root]).expect("the proto files compile");
        let out = tempfile::tempdir().expect("a temporary directory can be made");
        tonic_prost_build::configure()
            .out_dir(out.path())
            .skip_debug(CARRY_SECRETS)
            .compile_fds(descriptors)
            .expect("code can be generated");
        let file = format!("{package}.rs");
        let generated = fs::read_to_string(out.path().join(&file)).expect("one file per package");

        let checked_in = root.join("src/gen").join(&file);
        #[expect(clippy::disallowed_methods, reason = "a test has no command line to take this from")]
        if std::env::var_os(RENEW).is_some() {
            fs::write(&checked_in, &generated).expect("the source tree can be written");
        }
        let current = fs::read_to_string(&checked_in).unwrap_or_default();
        assert!(
            current == generated,
            "src/gen/{file} is stale: run {RENEW}=1 cargo test -p alts-proto --test generated"
        );
    }
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
