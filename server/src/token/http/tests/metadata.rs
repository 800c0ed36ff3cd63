//! The metadata server at the door.

use hyper::{Method, Request};
use serde_json::Value;

use super::support::*;

const ACCOUNTS: &str = "/computeMetadata/v1/instance/service-accounts/";

async fn get(client: &Client, rest: &str) -> Answer {
    let request = Request::get(format!("{ACCOUNTS}{rest}")).header("Metadata-Flavor", "Google");
    client.send(request, "").await
}

fn text(answer: &Answer) -> &str {
    std::str::from_utf8(&answer.body).expect("it is text")
}

#[tokio::test]
async fn an_identity_token_is_for_the_audience_that_is_asked_for() {
    let world = World::new();
    let client = world.unix();
    for (rest, sub, email) in [
        ("default/identity?audience=https://shop.example", GATEWAY, Value::Null),
        ("default/identity?audience=https://shop.example&format=full", GATEWAY, GATEWAY.into()),
        ("orders@shop.example/identity?audience=https://shop.example&format=full", ORDERS, ORDERS.into()),
    ] {
        let answer = get(&client, rest).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, Some("application/text")));
        assert_eq!(answer.header("metadata-flavor"), Some("Google"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let claims = world.claims(text(&answer));
        assert_eq!((&claims["aud"], &claims["sub"], &claims["email"]), (&SHOP.into(), &sub.into(), &email));
        assert_eq!((&claims["scope"], &claims["email_verified"]), (&Value::Null, &Value::Null));
    }
}

#[tokio::test]
async fn an_access_token_is_for_the_default_audience_and_allows_what_the_rule_does() {
    let world = World::new();
    for (rest, scope) in [
        ("default/token", "read write".into()),
        ("default/token?scopes=read", "read".into()),
        ("default/token?scopes=https://www.googleapis.com/auth/cloud-platform,write", "write".into()),
        ("default/token?scopes=other", Value::Null),
    ] {
        let answer = get(&world.unix(), rest).await;
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let body = answer.json();
        assert_eq!((&body["expires_in"], &body["token_type"]), (&600.into(), &"Bearer".into()));
        let claims = world.claims(&answer.token());
        assert_eq!(
            (&claims["aud"], &claims["sub"], &claims["scope"]),
            (&SHOP.into(), &GATEWAY.into(), &scope)
        );
    }
}

#[tokio::test]
async fn accounts_are_those_of_the_caller() {
    let world = World::new();
    let client = world.unix();
    let all = get(&client, "?recursive=true").await.json();
    assert_eq!(all["default"]["email"], GATEWAY);
    assert_eq!(all[ORDERS]["scopes"], serde_json::json!(["read", "write"]));
    assert_eq!(all.as_object().map(serde_json::Map::len), Some(3));
    assert_eq!(text(&get(&client, "default/email").await), GATEWAY);
    let answer = get(&client, "alice@shop.example/token").await;
    assert_eq!(answer.status, 404);
    for path in ["/", "/computeMetadata", "/computeMetadata/"] {
        let answer = client.get(path).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("metadata-flavor")),
            (200, Some("Google")),
            "{path}"
        );
    }
}

#[tokio::test]
async fn what_the_door_refuses_is_refused_without_a_token() {
    let nobody = || World::of(Setting { accounts: Vec::new(), ..Setting::default() });
    let ruleless = || World::of(Setting { rules: Vec::new(), ..Setting::default() });
    let no_default = || {
        let rule = crate::token::rule::Rule { default_audience: None, drops_scopes: false, ..rule() };
        World::of(Setting { rules: vec![rule], ..Setting::default() })
    };
    let revoked = || World::of(Setting { revoked_account: Some(GATEWAY), ..Setting::default() });
    for (world, rest, status, reason) in [
        (nobody(), "", 403, "workload_unknown: "),
        (nobody(), "default/token", 403, "workload_unknown: "),
        (nobody(), "default/email", 403, "workload_unknown: "),
        (nobody(), "?recursive=true", 403, "workload_unknown: "),
        (ruleless(), "default/token", 403, "token_rule_missing: "),
        (ruleless(), "default/identity?audience=https://shop.example", 403, "token_rule_missing: "),
        (no_default(), "default/token", 403, "token_audience_missing: "),
        (no_default(), "default/identity?audience=https://evil.example", 403, "token_audience_denied: "),
        (no_default(), "default/token?scopes=admin", 403, "token_"),
        (World::new(), "default/identity?audience=https://evil.example", 403, "token_audience_denied: "),
        (World::new(), "default/identity?audience=https://shop.example/", 403, "token_audience_denied: "),
        (World::new(), "default/identity?audience=https://shop.example%20x", 403, "token_audience_denied: "),
        (revoked(), "default/token", 403, ""),
        (World::new(), "default/identity", 400, "non-empty audience parameter required"),
        // Neither gets a line of its own into the log.
        (World::new(), "default/identity?audience=x%0Aforged", 400, "a parameter has a control character"),
        (no_default(), "default/token?scopes=x%0D%0Aforged", 400, "a parameter has a control character"),
    ] {
        let answer = get(&world.unix(), rest).await;
        assert_eq!(answer.status.as_u16(), status, "{rest}: {}", text(&answer));
        assert!(text(&answer).starts_with(reason), "{rest}: {}", text(&answer));
        assert!(!text(&answer).contains("eyJ"), "{rest}: {}", text(&answer));
        assert_eq!(answer.header("metadata-flavor"), Some("Google"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    }
    let world = World::new();
    world.keys.too_new.store(true, std::sync::atomic::Ordering::Relaxed);
    let answer = get(&world.unix(), "default/token").await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, Some("77")));
}

#[tokio::test]
async fn headers_decide_whether_a_request_is_meant() {
    let world = World::new();
    let client = world.unix();
    let token = format!("{ACCOUNTS}default/token");
    let get = || Request::get(&token);
    let flavored = || get().header("metadata-flavor", "Google");
    for (request, status) in [
        (flavored(), 200),
        (get(), 403),
        (get().header("Metadata-Flavor", ""), 403),
        (get().header("Metadata-Flavor", "google"), 403),
        (get().header("Metadata-Flavor", "Google, Google"), 403),
        (flavored().header("Metadata-Flavor", "Google"), 403),
        (get().header("X-Google-Metadata-Request", "True"), 403),
        (flavored().header("X-Forwarded-For", "10.0.0.1"), 403),
        (flavored().header("x-forwarded-for", ""), 403),
        (flavored().method(Method::HEAD), 405),
        (flavored().method(Method::POST), 405),
        (flavored().method(Method::OPTIONS), 405),
        (flavored().header("Host", "metadata.google.internal"), 200),
        (flavored().header("Host", "evil.example"), 421),
    ] {
        let answer = client.send(request, "").await;
        assert_eq!(answer.status.as_u16(), status, "{}", text(&answer));
        assert_eq!(answer.header("allow"), (status == 405).then_some("GET"));
    }
}

#[tokio::test]
async fn where_nobody_tells_who_calls_there_is_no_metadata_server() {
    let world = World::new();
    for path in ["/", "/computeMetadata/v1/", &format!("{ACCOUNTS}default/token")] {
        let answer = world.tcp().send(Request::get(path).header("Metadata-Flavor", "Google"), "").await;
        assert_eq!((answer.status.as_u16(), answer.header("metadata-flavor")), (404, None), "{path}");
        assert_eq!(answer.refusal().2, "path_unknown");
    }
}
