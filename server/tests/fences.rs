//! The fences between the rooms that neither a `Cargo.toml` nor clippy can hold, as docs/ARCHITECTURE.md draws them:
//! a short search through the text of all production code.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Words that stand only in the files named.
struct Fence {
    /// The rooms that the fence goes around; a path of the tree begins with one of them.
    rooms: &'static [&'static str],
    words: &'static [&'static str],
    /// Files in these rooms that may say the words all the same.
    but: &'static [&'static str],
}

const ALL: &[&str] = &["client/", "loadtest/", "proto/", "server/", "store/"];

const FENCES: &[Fence] = &[
    // One crypto library, behind one file of each crate that needs it.
    Fence {
        rooms: ALL,
        words: &["ring::", "use ring"],
        but: &[
            "client/src/record/crypter.rs",
            "server/handshake/src/crypto.rs",
            "server/request-auth/src/jwt_ring.rs",
        ],
    },
    // The engines do no I/O, read no clock and log nothing.
    Fence {
        rooms: &["server/handshake/src/", "server/request-auth/src/"],
        words: &[
            "std::fs", "std::net", "std::io", "std::env", "tokio", "tonic", "tracing", "println!", "dbg!",
        ],
        but: &[],
    },
    // Nor does the record protocol; of std::io it has only the name of several buffers.
    Fence {
        rooms: &["client/src/record"],
        words: &[
            "std::fs",
            "std::net",
            "io::Read",
            "io::Write",
            "tokio",
            "tonic",
            "async ",
            ".await",
            "tracing",
            "println!",
            "dbg!",
        ],
        but: &[],
    },
    // The system's randomness and clock are named where the parts are put together, and nowhere else.
    Fence {
        rooms: ALL,
        words: &["SystemRandom", "SystemClock"],
        but: &[
            "loadtest/src/app/plan.rs",
            "server/src/app.rs",
            "server/src/clock.rs",
            "server/handshake/src/crypto.rs",
            "server/handshake/src/lib.rs",
            "server/request-auth/src/jwt_ring.rs",
        ],
    },
    // The conversation of a stream takes values and returns values.
    Fence {
        rooms: &[
            "server/src/handshaker/session.rs",
            "server/src/handshaker/request.rs",
            "server/src/handshaker/response.rs",
            "server/src/handshaker/refusal.rs",
        ],
        words: &["tokio", "async ", ".await", "tracing"],
        but: &[],
    },
    // Metrics are named, labelled and described in one place.
    Fence {
        rooms: ALL,
        words: &[
            "counter!",
            "gauge!",
            "histogram!",
            "describe_counter!",
            "describe_gauge!",
            "describe_histogram!",
            "metrics_exporter_prometheus",
        ],
        but: &["server/src/metrics.rs"],
    },
    // What is told, and to whom, is decided from values.
    Fence {
        rooms: &[
            "server/src/admin/access.rs",
            "server/src/admin/resource.rs",
            "server/src/admin/check.rs",
            "server/src/admin/managed.rs",
            "server/src/admin/page.rs",
            "server/src/admin/refusal.rs",
            "server/src/admin/revocations/resource.rs",
            "server/src/admin/signing_keys/resource.rs",
            "server/src/cli/certs/view.rs",
            "server/src/cli/keys/view.rs",
            "server/src/cli/policy/view.rs",
            "server/src/cli/revoke/view.rs",
            "server/src/cli/status/view.rs",
            "server/src/cli/token/revocations/view.rs",
            "server/src/cli/token/view.rs",
            "server/src/cli/output.rs",
        ],
        words: &["tokio", "async ", ".await"],
        but: &[],
    },
    // Why a token is good or bad is decided from values, and what the metadata server of a node answers.
    Fence {
        rooms: &["server/src/cli/token/explain", "server/src/token/metadata"],
        words: &["tokio", "async ", ".await", "tracing", "std::fs", "File::", "std::net", "hyper", "axum"],
        but: &[],
    },
    // The command line asks the token door of its own machine, and no other server over HTTP. The load tester does too.
    Fence {
        rooms: ALL,
        words: &["hyper::client", "http1::handshake"],
        but: &["loadtest/src/scenario/token.rs", "server/src/cli/token/http.rs"],
    },
    // A record and its line are values.
    Fence {
        rooms: &["server/src/audit/record"],
        words: &["tokio", "async ", ".await", "tracing", "std::fs"],
        but: &[],
    },
    // Who a caller is, is decided by values.
    Fence {
        rooms: &[
            "server/src/attest/cgroup.rs",
            "server/src/attest/selector.rs",
            "server/src/attest/workload.rs",
        ],
        words: &[
            "tokio", "async ", ".await", "tracing", "std::fs", "fs::", "std::net", "procfs", "rustix",
            "nix::",
        ],
        but: &[],
    },
    // Whom an account may meet is decided by values: no file, no store, no clock, no log, no other room.
    Fence {
        rooms: &["server/src/policy/"],
        words: &[
            "tokio",
            "async ",
            ".await",
            "tracing",
            "tonic",
            "axum",
            "alts_store",
            "std::fs",
            "fs::",
            "std::io",
            "TcpStream",
            "UnixStream",
            "crate::",
        ],
        but: &[],
    },
    // Bytes in, bytes out: a store knows nothing of what is kept in it, logs nothing and counts nothing.
    Fence {
        rooms: &["store/src/"],
        words: &["alts_handshake", "alts_proto", "tracing", "metrics", "std::env", "println!", "dbg!"],
        but: &[],
    },
    // Each engine is behind one room, and which of them it is, is known where the parts are put together.
    Fence {
        rooms: ALL,
        words: &["sled::", "::sled", "use sled"],
        but: &[
            "store/src/lib.rs",
            "store/src/sled.rs",
            "store/src/sled/directory.rs",
            "store/src/sled/envelope.rs",
        ],
    },
    Fence {
        rooms: &["proto/", "server/"],
        words: &["SledStore", "MemoryStore", "EtcdStore", "etcd_client"],
        but: &["server/src/app/store.rs"],
    },
    // Each source of what the kernel and the kubelet say is behind one file.
    Fence {
        rooms: ALL,
        words: &["netlink_packet_core", "netlink_packet_sock_diag", "NetlinkSockDiag"],
        but: &["server/src/attest/sock_diag.rs"],
    },
    Fence {
        rooms: ALL,
        words: &["reqwest"],
        but: &["server/src/attest/kubernetes.rs", "server/src/token/issuers/fetch.rs"],
    },
    // What a token of another issuer says, and where no keys are fetched from, are decided from values.
    Fence {
        rooms: &[
            "server/src/token/issuers/address.rs",
            "server/src/token/issuers/claims.rs",
            "server/src/token/issuers/template.rs",
        ],
        words: &["tokio", "async ", ".await", "tracing", "std::fs"],
        but: &[],
    },
    // The signing service is the only maker of certificates.
    Fence { rooms: ALL, words: &["rcgen"], but: &["server/src/identity/x509.rs"] },
    // When signing keys come and go, and what is known of those of a fleet, is decided from values.
    Fence {
        rooms: &[
            "server/src/token/keys.rs",
            "server/src/token/keyring/fleet.rs",
            "server/src/token/keyring/own.rs",
            "server/src/token/keyring/record.rs",
            "server/src/token/keyring/status.rs",
        ],
        words: &["tokio", "async ", ".await", "tracing", "std::fs", "Arc<dyn Store>"],
        but: &[],
    },
    // What is asked of the token door, who gets what, and what a token says are values.
    Fence {
        rooms: &[
            "server/src/token/mint.rs",
            "server/src/token/pattern.rs",
            "server/src/token/request",
            "server/src/token/rule.rs",
            "server/src/token/subject.rs",
        ],
        words: &[
            "tokio",
            "async ",
            ".await",
            "axum",
            "tonic",
            "tracing",
            "std::fs",
            "alts_store",
            "Clock",
            "crate::",
        ],
        but: &[],
    },
    // What a program asks a handshaker, and whether the answer can be relied on, are decided from values.
    Fence {
        rooms: &["client/src/handshake/request.rs", "client/src/handshake/result.rs"],
        words: &["tokio", "tonic", "async ", ".await", "tracing"],
        but: &[],
    },
    Fence { rooms: &["server/src/token/keys.rs"], words: &["alts_store", "crate::", "dyn Clock"], but: &[] },
    // When operations are due, what is expected of them and how two results compare are decided from values; reports are
    // values too. Only one file of the load tester reads what the kernel says of processes.
    Fence {
        rooms: &[
            "loadtest/src/expect.rs",
            "loadtest/src/pace.rs",
            "loadtest/src/report.rs",
            "loadtest/src/report/chart.rs",
            "loadtest/src/report/compare.rs",
            "loadtest/src/report/html.rs",
            "loadtest/src/report/text.rs",
            "loadtest/src/sample.rs",
            "loadtest/src/units.rs",
        ],
        words: &["tokio", "async ", ".await", "std::fs", "std::net", "Stopwatch", "procfs"],
        but: &[],
    },
    // The load tester is a user of the client and never of the server.
    Fence { rooms: &["loadtest/src/"], words: &["altsd::", "alts_store", "alts_request_auth"], but: &[] },
    // When a certificate is renewed, and what it must be, are decided from values.
    Fence {
        rooms: &["server/src/identity/rotation.rs", "server/src/identity/install.rs"],
        words: &["tokio", "async ", ".await", "tracing", "std::fs"],
        but: &[],
    },
];

/// Most lines of a file before its tests.
const MAX_LINES: usize = 600;

#[test]
fn no_room_names_what_is_fenced_off_from_it() {
    let mut breaches = Vec::new();
    for (path, text) in production_code() {
        for fence in FENCES {
            let inside =
                fence.rooms.iter().any(|room| path.starts_with(room)) && !fence.but.contains(&&*path);
            for word in fence.words.iter().filter(|_| inside) {
                let lines = text.lines().enumerate().filter(|(_, line)| says(line, word));
                breaches.extend(lines.map(|(number, _)| format!("{path}:{}: {word}", number + 1)));
            }
        }
    }
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

/// Whether a line says the word in code, not as the end of a longer word, such as `webpki::ring::`.
fn says(line: &str, word: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    let mut places = code.match_indices(word);
    places.any(|(at, _)| {
        !code[..at].ends_with(|before: char| before.is_alphanumeric() || "_:".contains(before))
    })
}

#[test]
fn no_file_outgrows_its_room() {
    let long: Vec<_> = production_code()
        .into_iter()
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > MAX_LINES)
        .collect();
    assert!(long.is_empty(), "{long:?}");
}

#[test]
fn the_search_finds_what_it_looks_for() {
    let files = production_code();
    assert!(files.len() > 30, "{}", files.len());
    for fence in FENCES {
        for exempt in fence.but {
            assert!(files.iter().any(|(path, _)| path == exempt), "{exempt} is no file of this tree");
        }
    }
    assert!(says("use ring::aead;", "ring::") && says("    ring::hmac::sign()", "ring::"));
    assert!(!says("webpki::ring::ED25519", "ring::") && !says("// ring::", "ring::"));
}

/// Every file below a `src/` that is no test and not generated, with its text before its tests.
fn production_code() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is above");
    let mut files = Vec::new();
    for room in ALL {
        collect(&root.join(room), &mut files);
    }
    let production = files.into_iter().filter_map(|file| {
        let path = file.strip_prefix(root).expect("it is below").to_str().expect("it is UTF-8").to_owned();
        let is_test =
            ["tests.rs", "bench.rs"].iter().any(|end| path.ends_with(end)) || path.contains("/tests/");
        let is_production = path.contains("src/") && !path.contains("/gen/") && !is_test;
        let text = fs::read_to_string(file).expect("it can be read");
        let before_tests = text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
        is_production.then_some((path, before_tests))
    });
    production.collect()
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("it is a directory") {
        let path = entry.expect("it can be read").path();
        if path.is_dir() && !path.ends_with("target") && !path.ends_with("interop") {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}
