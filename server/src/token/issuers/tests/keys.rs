//! How keys are got, and kept.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use url::Url;

use super::*;
use crate::token::issuers::{
    fetch::{self, FetchProblem, allowed},
    keys::{Keys, Source},
};

const SECONDS_OF_A_DAY: u64 = 86_400;

/// A status, headers and a body.
type Answer<'a> = (u16, &'a [(&'static str, &'a str)], &'a str);

struct Bench {
    keys: Keys,
    clock: Arc<Moved>,
}

impl Bench {
    fn of(source: Source) -> Self {
        let clock = Moved::new();
        Self { keys: Keys::start(ISS.to_owned(), source, None, clock.clone()), clock }
    }

    fn with(self, seconds: u64) -> Self {
        self.clock.passes(seconds);
        self
    }

    /// Whether the keys that are there have this one.
    async fn has(&self, key: &SigningKey) -> bool {
        self.keys.for_kid(Some(key.kid())).await.is_some_and(|set| set.contains(key.kid()))
    }
}

fn url(text: &str) -> Url {
    text.parse().expect("it is an address")
}

#[tokio::test]
async fn keys_are_fetched_once_for_all_who_wait() {
    let key = key();
    let server = Server::closed(&set_of(&[&key])).await;
    let bench = Bench::of(Source::Uri(server.url()));
    let waiting = futures_util::future::join_all((0..20).map(|_| bench.has(&key)));
    let opening = async {
        while server.asked() == 0 {
            tokio::task::yield_now().await;
        }
        server.open(100);
    };
    let (all, ()) = tokio::join!(waiting, opening);
    assert!(all.into_iter().all(|has| has));
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn a_new_key_is_fetched_when_a_token_names_it_and_no_more_than_twice_a_minute() {
    let (old, new, unknown) = (key(), key(), key());
    let server = Server::serving(&set_of(&[&old])).await;
    let bench = Bench::of(Source::Uri(server.url()));
    assert!(bench.has(&old).await);
    server.answers(200, &[], &set_of(&[&old, &new]).to_string());
    // All who name it meanwhile wait for the same.
    let all = futures_util::future::join_all((0..5).map(|_| bench.has(&new))).await;
    assert_eq!(all, [true; 5]);
    assert_eq!(server.asked(), 2);
    for _ in 0..5 {
        assert!(!bench.has(&unknown).await);
    }
    assert_eq!(server.asked(), 2);
    let bench = bench.with(30);
    assert!(!bench.has(&unknown).await && !bench.has(&unknown).await);
    assert_eq!(server.asked(), 3);
    // Without a name there is nothing to look for.
    assert!(bench.with(30).keys.for_kid(None).await.is_some());
    assert_eq!(server.asked(), 3);
}

#[tokio::test]
async fn a_key_that_is_gone_from_the_set_counts_no_more() {
    let (old, new) = (key(), key());
    let server = Server::serving(&set_of(&[&old])).await;
    let bench = Bench::of(Source::Uri(server.url()));
    assert!(bench.has(&old).await);
    server.answers(200, &[], &set_of(&[&new]).to_string());
    assert!(bench.has(&new).await);
    assert!(!bench.has(&old).await);
}

#[tokio::test]
async fn the_last_good_set_is_kept_for_a_day_whatever_the_server_says() {
    let (key, unknown) = (key(), key());
    let good = set_of(&[&key]).to_string();
    let symmetric =
        json!({"keys": [{"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "alg": "HS256"}]})
            .to_string();
    let large = format!("{{\"keys\": [], \"x\": \"{}\"}}", "x".repeat(1 << 20));
    let answers: [Answer; 10] = [
        (500, &[], &good),
        (404, &[], &good),
        (302, &[("location", "/other")], &good),
        (301, &[("location", "http://169.254.169.254/")], ""),
        (200, &[], ""),
        (200, &[], "garbage"),
        (200, &[], "[]"),
        (200, &[], "{\"keys\": []}"),
        (200, &[], &symmetric),
        (200, &[], &large),
    ];
    for (status, headers, body) in answers {
        let server = Server::serving(&set_of(&[&key])).await;
        let bench = Bench::of(Source::Uri(server.url()));
        assert!(bench.has(&key).await);
        server.answers(status, headers, body);
        assert!(!bench.has(&unknown).await, "{status} {body:.20}");
        // No redirect was followed.
        assert_eq!(server.asked(), 2, "{status} {body:.20}");
        let bench = bench.with(SECONDS_OF_A_DAY - 1);
        assert!(bench.keys.for_kid(None).await.is_some(), "{status} {body:.20}");
        assert!(bench.with(1).keys.for_kid(None).await.is_none(), "{status} {body:.20}");
    }
}

#[tokio::test]
async fn without_any_set_nobody_can_say_whose_a_token_is() {
    let key = key();
    let server = Server::serving(&json!({})).await;
    server.answers(503, &[], "");
    let issuers = issuers(settings(Source::Uri(server.url())));
    assert_eq!(reason(&issuers, &sign(&key, &claims())).await, "unavailable");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_waited_for_only_so_long() {
    let server = Server::closed(&json!({})).await;
    let bench = Bench::of(Source::Uri(server.url()));
    assert!(bench.keys.for_kid(None).await.is_none());
}

#[tokio::test]
async fn a_document_has_a_largest_size_and_says_how_long_it_is_good() {
    let server = Server::serving(&json!({})).await;
    for (header, seconds) in [
        ("max-age=7", Some(7)),
        ("public, Max-Age=\"600\"", Some(600)),
        ("no-store", None),
        ("s-maxage=9", None),
        ("max-age=x", None),
        ("max-age=-1", None),
    ] {
        server.answers(200, &[("cache-control", header)], "{}");
        let document = fetch::get(&server.url(), None).await.expect("it is there");
        assert_eq!(document.max_age, seconds.map(Duration::from_secs), "{header}");
    }
    server.answers(200, &[], &"x".repeat(1 << 20));
    assert_eq!(fetch::get(&server.url(), None).await.expect("it is there").body.len(), 1 << 20);
    server.answers(200, &[], &"x".repeat((1 << 20) + 1));
    let problem = fetch::get(&server.url(), None).await.expect_err("it is too large");
    assert!(matches!(problem, FetchProblem::TooLarge { .. }), "{problem}");
}

#[tokio::test]
async fn no_keys_are_fetched_from_links_and_metadata_however_they_are_written() {
    for address in [
        "https://169.254.169.254/latest/meta-data/",
        "https://[fe80::1]/",
        "https://[::ffff:169.254.169.254]/",
        "https://[fd00:ec2::254]/",
        "https://2852039166/",
        "https://0xa9.0xfe.0xa9.0xfe/",
        "https://0.0.0.0/",
        "https://[::]/",
        "https://224.0.0.1/",
    ] {
        let problem = fetch::get(&url(address), None).await.expect_err(address);
        assert!(matches!(problem, FetchProblem::Address(_)), "{address}: {problem}");
    }
}

#[test]
fn a_name_that_leads_to_links_and_metadata_leads_nowhere() {
    let addresses = |texts: &[&str]| -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().expect("it is one")).collect()
    };
    let good = ["10.0.0.1:0", "[2001:db8::1]:0"];
    let bad = ["169.254.169.254:0", "[::ffff:169.254.169.254]:0", "[fd00:ec2::254]:0"];
    assert_eq!(allowed(addresses(&good)).expect("they are good"), addresses(&good));
    let both = allowed(addresses(&[good[0], bad[0], bad[1]])).expect("one is good");
    assert_eq!(both, addresses(&good[..1]));
    let problem = allowed(addresses(&bad)).expect_err("none is good");
    assert!(problem.to_string().contains("169.254.169.254"), "{problem}");
}

#[test]
fn an_address_is_https_or_http_to_this_machine() {
    for good in
        ["https://a.example/keys?x=1", "https://10.0.0.1/", "http://127.0.0.1:8080/x", "http://[::1]/"]
    {
        fetch::parse(good).unwrap_or_else(|problem| panic!("{good}: {problem}"));
    }
    for bad in [
        "",
        "keys.json",
        "http://localhost/",
        "http://a.example/",
        "http://10.0.0.1/",
        "http://127.0.0.1.example/",
        "file:///etc/passwd",
        "ftp://a.example/",
        "https://user@a.example/",
        "https://user:password@a.example/",
        "https://a.example/#x",
        "https://",
    ] {
        assert!(fetch::parse(bad).is_err(), "{bad}");
    }
}

#[tokio::test]
async fn an_issuer_says_where_its_keys_are() {
    let key = key();
    let server = Server::serving(&set_of(&[&key])).await;
    let (base, keys) = (server.base(), server.url().to_string());
    let source = || Source::Discovery {
        issuer: base.clone(),
        at: url(&format!("{base}/.well-known/openid-configuration")),
    };
    server.describes(&json!({"issuer": base, "jwks_uri": keys, "token_endpoint": "x"}));
    assert!(Bench::of(source()).has(&key).await);
    let asked = server.asked();
    for description in [
        json!({"issuer": format!("{base}/"), "jwks_uri": keys}),
        json!({"issuer": ISS, "jwks_uri": keys}),
        json!({"jwks_uri": keys}),
        json!({"issuer": base}),
        json!({"issuer": base, "jwks_uri": "/keys"}),
        json!({"issuer": base, "jwks_uri": "http://localhost/keys"}),
        // From http to https there is no way either: what describes an issuer is as it is.
        json!({"issuer": base, "jwks_uri": "https://127.0.0.1:1/keys"}),
        json!([]),
    ] {
        server.describes(&description);
        assert!(!Bench::of(source()).has(&key).await, "{description}");
    }
    assert_eq!(server.asked(), asked);
}

#[tokio::test]
async fn a_file_of_keys_is_read_and_one_that_is_none_gives_none() {
    let (key, directory) = (key(), tempfile::tempdir().expect("there is room"));
    let path = directory.path().join("keys.json");
    assert!(!Bench::of(Source::File(path.clone())).has(&key).await);
    std::fs::write(&path, "{}").expect("there is room");
    assert!(!Bench::of(Source::File(path.clone())).has(&key).await);
    std::fs::write(&path, set_of(&[&key]).to_string()).expect("there is room");
    assert!(Bench::of(Source::File(path)).has(&key).await);
    assert!(!Bench::of(Source::File(PathBuf::from("/nowhere"))).has(&key).await);
}

#[tokio::test]
async fn a_server_that_nobody_vouches_for_gives_no_keys() {
    let directory = tempfile::tempdir().expect("there is room");
    let roots = directory.path().join("ca.pem");
    for text in ["", "no PEM"] {
        std::fs::write(&roots, text).expect("there is room");
        let problem = fetch::get(&url("https://127.0.0.1:1/"), Some(&roots)).await.expect_err("no root");
        assert!(matches!(problem, FetchProblem::Roots { .. }), "{problem}");
    }
    // A server that speaks no TLS is none.
    let server = Server::serving(&json!({})).await;
    let address = server.url().to_string().replace("http:", "https:");
    std::fs::write(&roots, server_root()).expect("there is room");
    let problem = fetch::get(&url(&address), Some(&roots)).await.expect_err("it is no TLS");
    assert!(matches!(problem, FetchProblem::Failed { .. }), "{problem}");
    assert_eq!(server.asked(), 0);
}

/// A root that has vouched for nobody.
fn server_root() -> String {
    let key = rcgen::KeyPair::generate().expect("there is randomness");
    rcgen::CertificateParams::new(Vec::new()).expect("it is one").self_signed(&key).expect("it signs").pem()
}
