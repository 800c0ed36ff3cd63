//! What of each request comes to the audit trail.

use futures_util::{Stream, StreamExt};
use hyper::Request;
use serde_json::{Value, json};

use super::support::*;
use crate::audit::{Event, Trail};

/// The lines of a trail, as they come.
fn lines(trail: &Trail) -> impl Stream<Item = Value> + use<> {
    let line = |event| {
        let Event::Decision(record) = event else { panic!("records are missing: {event:?}") };
        let mut line = Vec::new();
        record.write_to(&mut line);
        serde_json::from_slice::<Value>(&line).expect("it is JSON")
    };
    Box::pin(trail.subscribe().map(line))
}

/// The next line without what every one of this process has, after a look at that.
async fn next(lines: &mut (impl Stream<Item = Value> + Unpin)) -> Value {
    let mut line = lines.next().await.expect("the trail goes on");
    let fields = line.as_object_mut().expect("it is an object");
    assert!(fields.remove("time").is_some());
    assert_eq!(fields.remove("listener"), Some(json!("unix:/run/altsd/token.sock")));
    let caller = fields.remove("caller").expect("it is known");
    assert!(
        caller
            .as_array()
            .is_some_and(|facts| facts.contains(&json!(format!("uid:{}", nix::unistd::getuid()))))
    );
    line
}

#[tokio::test]
async fn an_issued_token_is_named_by_its_claims() {
    let world = World::new();
    let mut lines = lines(&world.door.trail);
    world.handshakes.put("h1", ALICE, GATEWAY, NOW + 3_600);
    let client = world.unix();
    let cases = [
        (vec![("subject_token", "me"), ("subject_token_type", LOCAL), ("scope", "read")], "local_peer"),
        (vec![("subject_token", "h1"), ("subject_token_type", ALTS), ("audience", BANK)], "alts_context"),
    ];
    for (pairs, kind) in cases {
        let answer = client.exchange(&pairs).await;
        assert_eq!(answer.status, 200, "{}", answer.json());
        let claims = world.claims(&answer.token());
        let line = next(&mut lines).await;
        assert_eq!((&line["event"], &line["verdict"]), (&json!("token"), &json!("allowed")));
        assert_eq!(line["subject_token_type"], json!(kind));
        assert_eq!(line["audience"], json!([claims["aud"]]));
        assert_eq!((&line["subject"], &line["subject_issuer"]), (&claims["sub"], &json!(US)));
        assert_eq!((&line["client"], &line["actor"]), (&claims["client_id"], &claims["act"]["sub"]));
        assert_eq!((&line["jti"], &line["scope"]), (&claims["jti"], &claims["scope"]));
        assert_eq!(line["expires"], json!("2026-01-01T00:10:00.000Z"));
    }
}

#[tokio::test]
async fn a_refused_request_says_what_has_come_to_be_known() {
    let world = World::new();
    let mut lines = lines(&world.door.trail);
    let client = world.unix();
    let me = [("subject_token", "me"), ("subject_token_type", LOCAL)];
    let asked = [&me[..], &[("audience", "https://evil.example"), ("scope", "read all")]].concat();
    let forged = [("subject_token", "a.b.c"), ("subject_token_type", JWT), ("audience", SHOP)];
    let cases = [
        (
            asked,
            json!({
                "reason": "token_audience_denied", "subject_token_type": "local_peer", "client": GATEWAY,
                "subject": GATEWAY, "subject_issuer": US, "audience": ["https://evil.example"], "scope": "read all",
            }),
        ),
        (
            forged.to_vec(),
            json!({
                "reason": "header_not_base64url", "subject_token_type": "jwt", "client": GATEWAY,
                "audience": [SHOP],
            }),
        ),
        (vec![("subject_token", "me")], json!({"reason": "parameter_missing"})),
    ];
    for (pairs, mut expected) in cases {
        let answer = client.exchange(&pairs).await.json();
        let description = answer["error_description"].as_str().expect("it is text");
        let mut line = next(&mut lines).await;
        let text = line.as_object_mut().and_then(|fields| fields.remove("text")).expect("there is one");
        assert!(text.as_str().is_some_and(|text| description.ends_with(text)), "{text}: {description}");
        expected["event"] = json!("token");
        expected["verdict"] = json!("refused");
        assert_eq!(line, expected);
    }
}

#[tokio::test]
async fn of_the_metadata_server_the_requests_for_tokens_are_told() {
    let world = World::new();
    let mut lines = lines(&world.door.trail);
    let cases = [
        ("default/email", None),
        ("nobody@shop.example/email", None),
        ("default/token", Some(Value::Null)),
        ("nobody@shop.example/token", Some(json!("metadata_account_unknown"))),
        ("default/identity", Some(json!("metadata_audience_missing"))),
        ("default/identity?audience=https://evil.example", Some(json!("token_audience_denied"))),
    ];
    for (rest, reason) in cases {
        let path = format!("/computeMetadata/v1/instance/service-accounts/{rest}");
        world.unix().send(Request::get(path).header("Metadata-Flavor", "Google"), "").await;
        // What is not told of would be in the way of the next one.
        let Some(reason) = reason else { continue };
        let line = next(&mut lines).await;
        assert_eq!((&line["reason"], &line["client"]), (&reason, &json!(GATEWAY)), "{rest}");
        assert_eq!(line["subject_token_type"], json!("local_peer"));
    }
    let stranger = World::of(Setting { accounts: Vec::new(), ..Setting::default() });
    let mut lines = self::lines(&stranger.door.trail);
    for rest in ["default/email", "default/token"] {
        let path = format!("/computeMetadata/v1/instance/service-accounts/{rest}");
        stranger.unix().send(Request::get(path).header("Metadata-Flavor", "Google"), "").await;
    }
    let line = next(&mut lines).await;
    assert_eq!((&line["reason"], line.get("client")), (&json!("workload_unknown"), None));
}

#[tokio::test]
async fn a_revocation_is_told_of_and_one_of_nothing_is_not() {
    let world = World::new();
    let mut lines = lines(&world.door.trail);
    let client = world.unix();
    let token = world.own(json!({"jti": "id", "aud": BANK, "sub": ALICE}));
    let other = world.own(json!({"jti": "other", "iss": IDP}));
    for token in [&*other, "a.b.c", &token] {
        assert_eq!(client.form("/revoke", &[("token", token)]).await.status, 200);
    }
    let line = next(&mut lines).await;
    assert_eq!((&line["event"], &line["verdict"]), (&json!("token_revoked"), &json!("allowed")));
    assert_eq!((&line["jti"], &line["subject"]), (&json!("id"), &json!(ALICE)));
    assert_eq!((&line["client"], &line["audience"]), (&json!(GATEWAY), &json!([BANK])));
}
