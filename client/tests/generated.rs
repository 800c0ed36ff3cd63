//! The generated code of the examples is checked in; this proves it current, and is the way to renew it.

use std::{fs, path::Path};

/// Set to anything to have the test write the file anew.
const RENEW: &str = "ALTSD_REGENERATE";

#[test]
fn the_code_of_the_greeter_is_what_its_proto_file_gives() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/greeter");
    let descriptors =
        protox::compile([root.join("helloworld.proto")], [&root]).expect("the proto file compiles");
    let out = tempfile::tempdir().expect("a temporary directory can be made");
    tonic_prost_build::configure()
        .out_dir(out.path())
        .compile_fds(descriptors)
        .expect("code can be generated");
    let generated = fs::read(out.path().join("helloworld.rs")).expect("one file per package");
    let checked_in = root.join("helloworld.rs");
    #[expect(clippy::disallowed_methods, reason = "a test has no command line to take this from")]
    if std::env::var_os(RENEW).is_some() {
        fs::write(&checked_in, &generated).expect("the source tree can be written");
    }
    assert!(
        fs::read(&checked_in).unwrap_or_default() == generated,
        "examples/greeter/helloworld.rs is stale: run {RENEW}=1 cargo test -p alts-client --test generated"
    );
}
