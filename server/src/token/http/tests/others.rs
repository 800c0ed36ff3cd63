//! What else is served: keys, discovery, introspection, revocation; and what is not.

use std::sync::atomic::Ordering;

use hyper::{Method, Request, header};
use serde_json::{Value, json};

use super::support::*;
use crate::config::Address;

const KEYS: [&str; 2] = ["/jwks", "/.well-known/jwks.json"];
const DISCOVERY: [&str; 2] = ["/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"];

#[tokio::test]
async fn keys_and_discovery_are_public_and_have_a_tag() {
    let world = World::new();
    for client in [world.unix(), world.tcp()] {
        for path in KEYS.into_iter().chain(DISCOVERY) {
            let whole = client.get(path).await;
            assert_eq!(whole.status, 200, "{path}");
            assert_eq!(whole.header("cache-control"), Some("public, max-age=300"));
            assert_eq!(whole.header("content-type"), Some("application/json"));
            assert_eq!(whole.header("pragma"), None);
            let etag = whole.header("etag").expect("it has one").to_owned();
            let head = client.send(Request::head(path), "").await;
            assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
            assert_eq!(head.header("etag"), Some(etag.as_str()));
            let cases = [
                (etag.clone(), 304),
                (format!("W/{etag}"), 304),
                (format!("\"x\", {etag}"), 304),
                ("*".to_owned(), 304),
                ("\"x\"".to_owned(), 200),
                (etag.trim_matches('"').to_owned(), 200),
                (String::new(), 200),
            ];
            for (tags, status) in cases {
                let answer = client.send(Request::get(path).header(header::IF_NONE_MATCH, &tags), "").await;
                assert_eq!(answer.status, status, "{path} {tags}");
                assert_eq!(answer.header("etag"), Some(etag.as_str()));
                assert_eq!(answer.header("cache-control"), Some("public, max-age=300"));
                assert_eq!(answer.body.is_empty(), status == 304);
            }
        }
        assert_eq!(client.get(KEYS[0]).await.json(), json!({"keys": []}));
    }
}

#[tokio::test]
async fn both_discovery_documents_say_the_same() {
    let world = World::new();
    let client = world.tcp();
    let expected = json!({
        "issuer": US,
        "jwks_uri": format!("{US}/jwks"),
        "token_endpoint": format!("{US}/token"),
        "introspection_endpoint": format!("{US}/introspect"),
        "revocation_endpoint": format!("{US}/revoke"),
        "authorization_endpoint": "",
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "grant_types_supported": [EXCHANGE],
    });
    for path in DISCOVERY {
        assert_eq!(client.get(path).await.json(), expected);
    }
}

#[tokio::test]
async fn a_good_token_is_told_about_to_workloads() {
    let world = World::new();
    let client = world.unix();
    let token = client
        .exchange(&[("subject_token", "me"), ("subject_token_type", LOCAL), ("scope", "read")])
        .await
        .token();
    let mut expected = world.claims(&token);
    expected["active"] = json!(true);
    expected["token_type"] = json!("Bearer");
    for hint in ["", "access_token", "refresh_token", "x"] {
        let answer = client.form("/introspect", &[("token", &token), ("token_type_hint", hint)]).await;
        assert_eq!((answer.status.as_u16(), answer.json()), (200, expected.clone()));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
}

#[tokio::test]
async fn of_a_token_that_is_not_good_nothing_else_is_told() {
    let world = World::new();
    let client = world.unix();
    let revoked = world.own(json!({"jti": "revoked"}));
    assert_eq!(client.form("/revoke", &[("token", &revoked)]).await.status, 200);
    world.ledger.revoke_subject(US, "eve@shop.example");
    let cases = [
        "x".to_owned(),
        world.idp.token(json!({})),
        world.own(json!({"exp": NOW})),
        world.own(json!({"exp": NOW - 1})),
        world.own(json!({"nbf": NOW + 61})),
        world.own(json!({"iss": IDP})),
        world.idp.key.signed("at+jwt", &json!({"iss": US, "sub": ALICE, "exp": NOW + 600, "jti": "x"})),
        world.own(json!({"sub": "eve@shop.example"})),
        world.keys.signed("x", &json!({"iss": US, "sub": ALICE, "exp": NOW + 600, "jti": "x"})),
        format!("{}x", world.own(json!({}))),
        revoked,
    ];
    for token in cases {
        let answer = client.form("/introspect", &[("token", &token)]).await;
        assert_eq!((answer.status.as_u16(), answer.json()), (200, json!({"active": false})), "{token}");
    }
    world.ledger.away.store(true, Ordering::Relaxed);
    let unknown = client.form("/introspect", &[("token", &world.own(json!({})))]).await;
    assert_eq!(unknown.refusal().0, 503);
}

#[tokio::test]
async fn who_is_no_workload_asks_for_nothing_about_tokens() {
    let world = World::new();
    let stranger = World::of(Setting { accounts: Vec::new(), ..Setting::default() });
    let cases = [(world.tcp(), "caller_not_attested"), (stranger.unix(), "workload_unknown")];
    let token = world.own(json!({}));
    for (client, reason) in cases {
        for pairs in [&[("token", token.as_str())][..], &[("token", "x")], &[]] {
            let answer = client.form("/introspect", pairs).await;
            let expected = (401, "invalid_client".to_owned(), reason.to_owned());
            assert_eq!(answer.refusal(), expected);
            assert!(answer.header("www-authenticate").is_some());
        }
    }
}

#[tokio::test]
async fn a_revocation_is_done_for_whoever_has_the_token_and_no_error_for_others() {
    let world = World::new();
    let asking = world.unix();
    let is_active = async |token: &str| {
        asking.form("/introspect", &[("token", token)]).await.json()["active"] == Value::Bool(true)
    };
    for (n, client) in [world.unix(), world.tcp()].into_iter().enumerate() {
        let (kept, gone) =
            (world.own(json!({"jti": "kept"})), world.own(json!({"jti": format!("gone {n}")})));
        for _ in 0..2 {
            let answer = client.form("/revoke", &[("token", &gone), ("token_type_hint", "x")]).await;
            assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0));
            assert_eq!(answer.header("cache-control"), Some("no-store"));
        }
        // Not ours, ended, or forged: nothing to revoke, also not what they name.
        let foreign = world
            .idp
            .key
            .signed("at+jwt", &json!({"iss": US, "sub": ALICE, "exp": NOW + 600, "jti": "kept"}));
        for token in [
            foreign,
            world.idp.token(json!({"jti": "kept"})),
            world.own(json!({"jti": "kept", "exp": NOW - 61})),
        ] {
            assert_eq!(client.form("/revoke", &[("token", &token)]).await.status, 200);
        }
        assert_eq!((is_active(&kept).await, is_active(&gone).await), (true, false));
    }
    world.ledger.away.store(true, Ordering::Relaxed);
    let answer = world.tcp().form("/revoke", &[("token", &world.own(json!({})))]).await;
    assert_eq!((answer.refusal().0, answer.header("retry-after")), (503, Some("5")));
}

#[tokio::test]
async fn requests_about_tokens_have_one_token() {
    let world = World::new();
    let client = world.unix();
    let long = "x".repeat(16_385);
    let cases: [(&[(&str, &str)], &str); 6] = [
        (&[], "parameter_missing"),
        (&[("token", "")], "parameter_missing"),
        (&[("token", "a"), ("token", "a")], "parameter_repeated"),
        (&[("token", "a"), ("token_type_hint", "x"), ("token_type_hint", "x")], "parameter_repeated"),
        (&[("token", "a b")], "parameter_characters"),
        (&[("token", &long)], "parameter_too_long"),
    ];
    for path in ["/introspect", "/revoke"] {
        for (pairs, reason) in cases {
            let answer = client.form(path, pairs).await;
            let expected = (400, "invalid_request".to_owned(), reason.to_owned());
            assert_eq!(answer.refusal(), expected, "{path} {reason}");
        }
        let answer = client.post(path, "text/plain", "token=x").await;
        assert_eq!(answer.refusal().2, "content_type_unsupported");
    }
}

#[tokio::test]
async fn each_path_has_its_methods() {
    let world = World::new();
    let client = world.unix();
    let posted = ["/token", "/v1/token", "/introspect", "/revoke"];
    let cases = posted.map(|path| (path, "POST")).into_iter();
    let cases = cases.chain(KEYS.into_iter().chain(DISCOVERY).map(|path| (path, "GET, HEAD")));
    for (path, allowed) in cases {
        let mut refused = vec![Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS, Method::TRACE];
        refused.extend(match allowed {
            "POST" => vec![Method::GET, Method::HEAD],
            _ => vec![Method::POST],
        });
        for method in refused {
            let request = Request::builder().method(&method).uri(path);
            let request = request.header("Origin", "https://evil.example");
            let answer = client.send(request.header("Access-Control-Request-Method", "POST"), "").await;
            assert_eq!(
                (answer.status.as_u16(), answer.header("allow")),
                (405, Some(allowed)),
                "{method} {path}"
            );
            assert_eq!(answer.header("access-control-allow-origin"), None);
            if method != Method::HEAD {
                let expected = (405, "invalid_request".to_owned(), "method_not_allowed".to_owned());
                assert_eq!(answer.refusal(), expected);
            }
        }
    }
    for path in [
        "/Token",
        "/token/",
        "/v2/token",
        "//token",
        "/jwks.json",
        "/.well-known/",
        "/%74oken",
        "/a/../token",
    ] {
        for answer in [client.get(path).await, client.form(path, &[]).await] {
            let expected = (404, "invalid_request".to_owned(), "path_unknown".to_owned());
            assert_eq!(answer.refusal(), expected, "{path}");
            assert_eq!(answer.header("cache-control"), Some("no-store"));
        }
    }
}

#[tokio::test]
async fn only_hosts_of_the_listener_are_answered_for() {
    let world = World::new();
    let v6 = Address::Tcp("[::1]:8081".parse().expect("it is an address"));
    let (unix, v4) = (world.unix(), world.tcp());
    let v6 = Client::of(world.router(&v6, true));
    // The host, and what a unix socket, IPv4, and IPv6 that attests its callers say to it.
    let cases = [
        ("localhost", [200, 200, 200]),
        ("LOCALHOST:8081", [200, 200, 200]),
        ("tokens.internal", [200, 200, 200]),
        ("Tokens.INTERNAL:443", [200, 200, 200]),
        ("doors.internal:8081", [200, 200, 200]),
        ("doors.internal", [200, 200, 200]),
        ("127.0.0.1", [421, 200, 421]),
        ("127.0.0.1:8081", [421, 200, 421]),
        ("127.0.0.1:1", [421, 200, 421]),
        ("[::1]:8081", [421, 421, 200]),
        ("[::1]", [421, 421, 200]),
        ("::1", [421, 421, 421]),
        ("metadata.google.internal", [200, 421, 200]),
        ("metadata.google.internal.", [200, 421, 200]),
        ("metadata.google.internal..", [421, 421, 421]),
        ("", [200, 400, 400]),
        ("evil.example", [421, 421, 421]),
        ("evil.example:8081", [421, 421, 421]),
        ("localhost.evil.example", [421, 421, 421]),
        ("evil.example@localhost", [421, 421, 421]),
        ("localhost.", [421, 421, 421]),
        ("127.0.0.2", [421, 421, 421]),
        ("0.0.0.0", [421, 421, 421]),
        ("localhost:x", [421, 421, 421]),
    ];
    for (host, expected) in cases {
        for (client, expected) in [&unix, &v4, &v6].into_iter().zip(expected) {
            for path in ["/jwks", "/.well-known/openid-configuration"] {
                let answer = client.send(Request::get(path).header(header::HOST, host), "").await;
                assert_eq!(answer.status, expected, "{host} {path}");
            }
            let answer = client.send(Request::get("/nothing").header(header::HOST, host), "").await;
            assert_eq!(answer.status, if expected == 200 { 404 } else { expected }, "{host}");
        }
    }
    let twice = Request::get("/jwks").header(header::HOST, "localhost").header(header::HOST, "localhost");
    assert_eq!(
        unix.send(twice, "").await.refusal(),
        (400, "invalid_request".to_owned(), "host_missing".to_owned())
    );
    let absolute = Request::get("http://evil.example/jwks").header(header::HOST, "localhost");
    let expected = (421, "invalid_request".to_owned(), "host_unknown".to_owned());
    assert_eq!(v4.send(absolute, "").await.refusal(), expected);
    // A page needs nobody's leave to post a form to this host. That it may not read the answer is all the same to us.
    for origin in ["https://evil.example", "null", "http://localhost:8081"] {
        let pairs = [("grant_type", EXCHANGE), ("subject_token", "me"), ("subject_token_type", LOCAL)];
        let posted = Request::post("/token").header(header::ORIGIN, origin);
        let posted = posted.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let expected = (403, "invalid_request".to_owned(), "origin_present".to_owned());
        assert_eq!(unix.send(posted, form(&pairs)).await.refusal(), expected);
    }
}
