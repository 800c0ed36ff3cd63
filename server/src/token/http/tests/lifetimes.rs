//! How long tokens last.

use serde_json::{Value, json};

use super::support::*;
use crate::token::rule::Rule;

#[tokio::test]
async fn a_token_lasts_as_long_as_all_allow() {
    // What the rule allows, what is left of the subject, what comes of it.
    let cases = [
        (3_600, None, Ok(600)),
        (600, None, Ok(600)),
        (300, None, Ok(300)),
        (60, None, Ok(60)),
        (3_600, Some(100_000), Ok(600)),
        (3_600, Some(601), Ok(600)),
        (3_600, Some(599), Ok(599)),
        (300, Some(599), Ok(300)),
        (3_600, Some(31), Ok(31)),
        (3_600, Some(30), Ok(30)),
        (3_600, Some(29), Err("proof_ends_too_soon")),
        (3_600, Some(0), Err("proof_ends_too_soon")),
        (60, Some(29), Err("proof_ends_too_soon")),
    ];
    for (max_lifetime, left, expected) in cases {
        let world = World::of(Setting { rules: vec![Rule { max_lifetime, ..rule() }], ..Setting::default() });
        let (mut proofs, end) = (Vec::new(), NOW + left.unwrap_or_default());
        if left.is_some() {
            proofs.push((world.idp.token(json!({"exp": end})), JWT));
            proofs.push((world.own(json!({"exp": end})), ACCESS));
        } else {
            proofs.push(("me".to_owned(), LOCAL));
        }
        if left.is_some_and(|left| left > 0) {
            world.handshakes.put("handle", ALICE, GATEWAY, end);
            proofs.push(("handle".to_owned(), ALTS));
        }
        for (token, kind) in proofs {
            let answer =
                world.unix().exchange(&[("subject_token", &token), ("subject_token_type", kind)]).await;
            let given = if answer.status == 200 {
                let claims = world.claims(&answer.token());
                assert_eq!(
                    claims["exp"].as_u64(),
                    answer.json()["expires_in"].as_u64().map(|left| NOW + left)
                );
                Ok(answer.json()["expires_in"].clone())
            } else {
                Err(answer.refusal().2)
            };
            let expected = expected.map(Value::from).map_err(str::to_owned);
            assert_eq!(given, expected, "{max_lifetime} {left:?} {kind}");
        }
    }
}

#[tokio::test]
async fn time_passes_for_tokens_handles_and_what_is_made_of_them() {
    let world = World::new();
    let client = world.unix();
    let jwt = world.idp.token(json!({"exp": NOW + 1_000}));
    world.handshakes.put("handle", ALICE, GATEWAY, NOW + 1_000);
    let asked = async |token: &str, kind: &str| {
        let answer = client.exchange(&[("subject_token", token), ("subject_token_type", kind)]).await;
        if answer.status == 200 { answer.json()["expires_in"].to_string() } else { answer.refusal().2 }
    };
    let steps = [
        (0, "600", "600"),
        (500, "500", "500"),
        (470, "30", "30"),
        (1, "proof_ends_too_soon", "proof_ends_too_soon"),
        (29, "proof_ends_too_soon", "context_unknown"),
        (60, "proof_ends_too_soon", "context_unknown"),
        (1, "token_expired", "context_unknown"),
    ];
    for (seconds, of_jwt, of_handshake) in steps {
        world.clock.by(seconds);
        assert_eq!(asked(&jwt, JWT).await, of_jwt, "at {}", world.door.now() - NOW);
        assert_eq!(asked("handle", ALTS).await, of_handshake, "at {}", world.door.now() - NOW);
    }
}

#[tokio::test]
async fn an_actor_has_to_last_and_does_not_bound_the_token() {
    let world = World::new();
    for (left, expected) in [(29, Err("proof_ends_too_soon")), (30, Ok(600))] {
        let actor = world.idp.token(json!({"sub": "proxy@shop.example", "exp": NOW + left}));
        let pairs = [
            ("subject_token", "me"),
            ("subject_token_type", LOCAL),
            ("actor_token", &actor),
            ("actor_token_type", JWT),
        ];
        let answer = world.unix().exchange(&pairs).await;
        let given = if answer.status == 200 {
            Ok(answer.json()["expires_in"].clone())
        } else {
            Err(answer.refusal().2)
        };
        assert_eq!(given, expected.map(Value::from).map_err(str::to_owned));
    }
}
