//! Who gets which token.

use std::sync::atomic::Ordering;

use alts_handshake::{Identity, MailAccount, SpiffeId};
use alts_request_auth::Token;
use serde_json::{Value, json};

use super::support::*;
use crate::{
    token::{
        case::Case,
        door::Who,
        exchange::Wish,
        pattern::Pattern,
        request::Requested,
        rule::Rule,
        subject::{Origin, Proof},
    },
    verifier::Contact,
};

/// Proofs, what is asked for beside, and the code and reason of the refusal.
type Asked<'a> = (Vec<(&'a str, &'a str)>, &'a [(&'a str, &'a str)], Result<(), (&'a str, &'a str)>);

fn subject<'a>(token: &'a str, kind: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![("subject_token", token), ("subject_token_type", kind)]
}

fn acted<'a>(subject: (&'a str, &'a str), actor: (&'a str, &'a str)) -> Vec<(&'a str, &'a str)> {
    vec![
        ("subject_token", subject.0),
        ("subject_token_type", subject.1),
        ("actor_token", actor.0),
        ("actor_token_type", actor.1),
    ]
}

/// `act` of one token, or the reason why there is none.
async fn act(world: &World, client: &Client, pairs: &[(&str, &str)]) -> Result<Value, String> {
    let answer = client.exchange(pairs).await;
    if answer.status != 200 {
        return Err(answer.refusal().2);
    }
    Ok(world.claims(&answer.token())["act"].clone())
}

#[tokio::test]
async fn a_token_says_what_was_asked_for_and_nothing_else() {
    let world = World::new();
    let client = world.unix();
    let more = [("audience", BANK), ("resource", "urn:x:y"), ("scope", "write admin read")];
    let answer = client.exchange(&[&subject("me", LOCAL)[..], &more].concat()).await;
    let token = answer.token();
    let mut claims = world.claims(&token);
    let jti = claims["jti"].take();
    assert_eq!(jti.as_str().map(str::len), Some(22));
    let expected = json!({
        "iss": US, "sub": GATEWAY, "aud": [BANK, "urn:x:y"], "exp": NOW + 600, "iat": NOW, "nbf": NOW, "jti": null,
        "client_id": GATEWAY, "azp": GATEWAY, "scope": "write read",
    });
    assert_eq!(claims, expected);
    let expected = json!({
        "access_token": token, "issued_token_type": ACCESS, "token_type": "Bearer", "expires_in": 600,
        "scope": "write read",
    });
    assert_eq!(answer.json(), expected);
    assert_eq!(Token::parse(&token).expect("it is one").header().typ(), Some("at+jwt"));
    assert_eq!(
        (answer.header("cache-control"), answer.header("pragma")),
        (Some("no-store"), Some("no-cache"))
    );
    let other = client.exchange(&subject("me", LOCAL)).await;
    assert_eq!(other.json().get("scope"), None);
    assert_ne!(world.claims(&other.token())["jti"], jti);
}

#[tokio::test]
async fn a_jwt_is_given_to_who_asks_for_one() {
    let world = World::new();
    for (requested, typ) in [(JWT, "JWT"), (ACCESS, "at+jwt"), ("", "at+jwt")] {
        let pairs = [&subject("me", LOCAL)[..], &[("requested_token_type", requested)]].concat();
        let answer = world.unix().exchange(&pairs).await;
        let token = answer.token();
        assert_eq!(Token::parse(&token).expect("it is one").header().typ(), Some(typ));
        let issued = if requested.is_empty() { ACCESS } else { requested };
        assert_eq!(answer.json()["issued_token_type"], issued);
    }
}

#[tokio::test]
async fn a_caller_is_the_account_it_names_or_its_first() {
    let world = World::new();
    let client = world.unix();
    for (word, account) in [("me", GATEWAY), (GATEWAY, GATEWAY), (ORDERS, ORDERS), ("orders", GATEWAY)] {
        let claims = world.claims(&client.exchange(&subject(word, LOCAL)).await.token());
        assert_eq!((&claims["sub"], &claims["client_id"]), (&json!(account), &json!(account)), "{word}");
    }
}

#[tokio::test]
async fn a_presented_token_needs_no_attested_caller_and_all_else_does() {
    let stranger = World::of(Setting { accounts: Vec::new(), ..Setting::default() });
    let world = World::new();
    let cases =
        [(&stranger, stranger.unix(), "workload_unknown"), (&world, world.tcp(), "caller_not_attested")];
    for (world, client, reason) in cases {
        let jwt = world.idp.token(json!({}));
        for kind in [JWT, ID_TOKEN] {
            let claims = world.claims(&client.exchange(&subject(&jwt, kind)).await.token());
            assert_eq!((&claims["sub"], &claims["client_id"]), (&json!(ALICE), &json!(ALICE)));
        }
        let refused =
            async |pairs: &[(&str, &str)]| act(world, &client, pairs).await.expect_err("it is refused");
        assert_eq!(refused(&subject("me", LOCAL)).await, reason);
        assert_eq!(refused(&acted((&jwt, JWT), ("me", LOCAL))).await, reason);
        assert_eq!(refused(&subject(&world.own(json!({})), ACCESS)).await, "token_not_for_actor");
    }
    // The handle of a handshake is of a program, whether it is a workload or not.
    world.handshakes.put("handle", ALICE, GATEWAY, NOW + 100);
    stranger.handshakes.put("handle", ALICE, GATEWAY, NOW + 100);
    let not_attested = act(&world, &world.tcp(), &subject("handle", ALTS)).await;
    assert_eq!(not_attested, Err("caller_not_attested".to_owned()));
    assert!(act(&stranger, &stranger.unix(), &subject("handle", ALTS)).await.is_ok());
}

#[tokio::test]
async fn who_acts_is_written_into_the_token_the_last_one_outermost() {
    let world = World::new();
    let client = world.unix();
    let jwt = world.idp.token(json!({}));
    let other = world.idp.token(json!({"sub": "proxy@shop.example", "jti": "two"}));
    let own = world.own(json!({"act": {"iss": IDP, "sub": "proxy@shop.example"}}));
    let for_proxy = world.own(json!({"aud": "proxy@shop.example"}));
    let of_proxy = world.own(json!({"sub": "proxy@shop.example", "aud": US}));
    let of_caller = world.own(json!({"sub": GATEWAY, "aud": SHOP}));
    // In the words of another issuer, the gateway may be anybody.
    let foreign = json!({"sub": "proxy@shop.example", "aud": US, "act": {"iss": IDP, "sub": GATEWAY}});
    let named = json!({"sub": "proxy@shop.example", "aud": US, "act": {"iss": US, "sub": ORDERS}});
    let nameless = json!({"sub": "proxy@shop.example", "aud": US, "act": {"sub": GATEWAY}});
    let (by_foreign, by_nobody) = (world.own(foreign.clone()), world.own(nameless));
    let (by_orders, of_idp) = (world.own(named), world.idp.token(foreign));
    let stolen = world.own(json!({"sub": "proxy@shop.example", "aud": SHOP}));
    world.handshakes.put("handle", "proxy@shop.example", GATEWAY, NOW + 600);
    let us = |sub: &str| json!({"iss": US, "sub": sub});
    let proxy = json!({"iss": IDP, "sub": "proxy@shop.example"});
    let nested = |mut outer: Value, inner: Value| {
        outer["act"] = inner;
        outer
    };
    let cases = [
        ("nobody", subject(&jwt, JWT), Ok(Value::Null)),
        ("the caller", acted((&jwt, JWT), ("me", LOCAL)), Ok(us(GATEWAY))),
        ("another account of it", acted((&jwt, JWT), (ORDERS, LOCAL)), Ok(us(ORDERS))),
        ("a JWT", acted((&jwt, JWT), (&other, JWT)), Ok(proxy.clone())),
        ("for the caller", acted(("me", LOCAL), (&other, ID_TOKEN)), Ok(proxy.clone())),
        ("one of ours for us", acted((&jwt, JWT), (&of_proxy, ACCESS)), Ok(us("proxy@shop.example"))),
        ("the caller's own", acted((&jwt, JWT), (&of_caller, ACCESS)), Ok(us(GATEWAY))),
        ("one of ours that is for others", acted((&jwt, JWT), (&stolen, ACCESS)), Err("token_not_for_actor")),
        (
            "one of ours for whom another acts",
            acted((&jwt, JWT), (&by_orders, ACCESS)),
            Ok(nested(us(ORDERS), us("proxy@shop.example"))),
        ),
        (
            "one whose actor is another issuer's",
            acted((&jwt, JWT), (&by_foreign, ACCESS)),
            Err("actor_not_direct"),
        ),
        ("one whose actor is nobody's", acted((&jwt, JWT), (&by_nobody, ACCESS)), Err("actor_not_direct")),
        ("a JWT for whom another acts", acted((&jwt, JWT), (&of_idp, JWT)), Err("actor_not_direct")),
        ("ours keeps its actor", subject(&own, ACCESS), Ok(proxy.clone())),
        ("ours gets another", acted((&own, ACCESS), ("me", LOCAL)), Ok(nested(us(GATEWAY), proxy.clone()))),
        ("not the one it is for", acted((&for_proxy, ACCESS), ("me", LOCAL)), Err("token_not_for_actor")),
        ("the one it is for", acted((&for_proxy, ACCESS), (&other, JWT)), Ok(proxy.clone())),
        ("a handshake", subject("handle", ALTS), Ok(us(GATEWAY))),
        (
            "the peer of a handshake",
            acted((&jwt, JWT), ("handle", ALTS)),
            Ok(nested(us(GATEWAY), us("proxy@shop.example"))),
        ),
        (
            "for the peer of a handshake",
            acted(("handle", ALTS), (&other, JWT)),
            Ok(nested(proxy.clone(), us(GATEWAY))),
        ),
    ];
    for (name, pairs, expected) in cases {
        assert_eq!(act(&world, &client, &pairs).await, expected.map_err(str::to_owned), "{name}");
    }
}

#[tokio::test]
async fn no_more_than_four_act_one_for_the_other() {
    let world = World::new();
    let client = world.unix();
    let line = |length: usize| {
        (0..length).fold(Value::Null, |inner, n| {
            let mut actor = json!({"iss": US, "sub": format!("a{n}@shop.example")});
            if !inner.is_null() {
                actor["act"] = inner;
            }
            actor
        })
    };
    for (length, with_actor) in [(4, Err("actors_too_many")), (3, Ok(())), (5, Err("actors_too_many"))] {
        let own = world.own(json!({"act": line(length)}));
        let given = act(&world, &client, &acted((&own, ACCESS), ("me", LOCAL))).await;
        assert_eq!(given.map(|_| ()), with_actor.map_err(str::to_owned), "{length}");
    }
    let full = act(&world, &client, &subject(&world.own(json!({"act": line(4)})), ACCESS)).await;
    assert_eq!(full, Ok(line(4)));
}

#[tokio::test]
async fn a_subject_that_says_who_may_act_for_it_is_heard() {
    let world = World::new();
    let client = world.unix();
    let other = world.idp.token(json!({"sub": "proxy@shop.example", "jti": "two"}));
    let local = Some(("me", LOCAL));
    let proxy = Some((other.as_str(), JWT));
    let cases = [
        (json!({"iss": US, "sub": GATEWAY}), local, true),
        (json!({"sub": GATEWAY}), local, true),
        (json!({"iss": IDP, "sub": GATEWAY}), local, false),
        (json!({"iss": US, "sub": ORDERS}), local, false),
        (json!({"iss": IDP, "sub": "proxy@shop.example"}), proxy, true),
        (json!({"iss": US, "sub": "proxy@shop.example"}), proxy, false),
        (json!({"sub": "proxy@shop.example"}), proxy, true),
        (json!({"iss": US, "sub": GATEWAY}), proxy, false),
        // Without an actor, it is the caller who gets the token.
        (json!({"iss": US, "sub": GATEWAY}), None, true),
        (json!({"iss": US, "sub": ORDERS}), None, false),
        (json!({"iss": IDP, "sub": GATEWAY}), None, false),
    ];
    for (may_act, actor, may) in cases {
        let jwt = world.idp.token(json!({"may_act": may_act}));
        let pairs = actor.map_or_else(|| subject(&jwt, JWT), |actor| acted((&jwt, JWT), actor));
        let expected = if may { None } else { Some("may_act_mismatch".to_owned()) };
        assert_eq!(act(&world, &client, &pairs).await.err(), expected, "{may_act} {actor:?}");
    }
    let jwt = world.idp.token(json!({"may_act": {"sub": ALICE}}));
    assert_eq!(act(&world, &world.tcp(), &subject(&jwt, JWT)).await, Err("may_act_mismatch".to_owned()));
}

#[tokio::test]
async fn who_may_act_is_no_account_of_a_third_that_is_called_the_same() {
    let world = World::new();
    let client = world.unix();
    // What its template makes of a user who calls himself as one of ours.
    let eve = world.idp.token(json!({"sub": GATEWAY, "name": "eve.idp@shop.example", "jti": "two"}));
    let ours = world.own(json!({"may_act": {"sub": GATEWAY}, "aud": "eve.idp@shop.example"}));
    let given = act(&world, &client, &acted((&ours, ACCESS), (&eve, JWT))).await;
    assert_eq!(given, Err("may_act_mismatch".to_owned()));
    // The issuer of the subject means one of its own, whatever that is called here.
    let theirs = world.idp.token(json!({"may_act": {"sub": GATEWAY}}));
    assert!(act(&world, &client, &acted((&theirs, JWT), (&eve, JWT))).await.is_ok());
}

#[tokio::test]
async fn a_user_of_another_issuer_gets_no_name_of_ours_by_acting() {
    let world = World::new();
    let client = world.tcp();
    let jwt = world.idp.token(json!({}));
    let eve = world.idp.token(json!({"sub": GATEWAY, "name": "eve.idp@shop.example", "jti": "two"}));
    let first = client.exchange(&[&acted((&jwt, JWT), (&eve, JWT))[..], &[("audience", US)]].concat()).await;
    let claims = world.claims(&first.token());
    assert_eq!(claims["act"], json!({"iss": IDP, "sub": GATEWAY}));
    let name = json!("eve.idp@shop.example");
    assert_eq!((&claims["client_id"], &claims["azp"]), (&name, &name));
    // Presented as who acts, it would be the gateway to rules and to the audience of tokens.
    let token = first.token();
    let for_gateway = world.own(json!({}));
    for subject in [(jwt.as_str(), JWT), (for_gateway.as_str(), ACCESS)] {
        let given = act(&world, &client, &acted(subject, (&token, ACCESS))).await;
        assert_eq!(given, Err("actor_not_direct".to_owned()), "{subject:?}");
    }
}

#[tokio::test]
async fn another_issuer_does_not_say_that_an_account_of_ours_acts() {
    let world = World::new();
    let client = world.unix();
    let plain = world.idp.token(json!({"jti": "two"}));
    for (claim, expected) in [
        (json!({"iss": US, "sub": GATEWAY}), "actor_of_our_own"),
        (json!({"iss": IDP, "sub": "a", "act": {"iss": US, "sub": GATEWAY}}), "actor_of_our_own"),
        (json!({"iss": IDP, "sub": GATEWAY}), "actor_not_direct"),
    ] {
        let jwt = world.idp.token(json!({"act": claim}));
        let given = act(&world, &client, &acted((&plain, JWT), (&jwt, JWT))).await;
        assert_eq!(given, Err(expected.to_owned()), "{claim}");
        let given = act(&world, &client, &subject(&jwt, JWT)).await;
        let expected = if expected == "actor_not_direct" { Ok(claim) } else { Err(expected.to_owned()) };
        assert_eq!(given, expected);
    }
}

#[tokio::test]
async fn a_token_of_ours_names_its_key() {
    let world = World::new();
    let client = world.unix();
    let named = world.own(json!({}));
    let payload = named.split('.').nth(1).expect("it has three parts");
    // `{"alg":"ES256","typ":"at+jwt"}`
    let header = "eyJhbGciOiJFUzI1NiIsInR5cCI6ImF0K2p3dCJ9";
    let token = world.keys.resigned(header, payload);
    let given = act(&world, &client, &subject(&token, ACCESS)).await;
    assert_eq!(given, Err("key_unknown".to_owned()));
}

#[tokio::test]
async fn rules_hear_of_callers_and_of_the_outermost_actor_and_refuse_in_the_words_of_oauth() {
    let only = |name: &str| vec![Pattern::parse(name).expect("it is a pattern")];
    let strict = Rule {
        actors: only(GATEWAY),
        actor_origins: vec![Origin::Local],
        impersonation: false,
        drops_scopes: false,
        many_audiences: false,
        default_audience: None,
        ..rule()
    };
    let world = World::of(Setting { rules: vec![strict.clone()], ..Setting::default() });
    let client = world.unix();
    let jwt = world.idp.token(json!({}));
    let own = world.own(json!({"aud": [GATEWAY, ORDERS]}));
    world.handshakes.put("ours", ALICE, GATEWAY, NOW + 600);
    world.handshakes.put("other", ALICE, "other@shop.example", NOW + 600);
    let of_gateway = world.idp.token(json!({"sub": GATEWAY, "jti": "two"}));
    let invalid = "invalid_request";
    let cases: Vec<Asked<'_>> = vec![
        (subject("me", LOCAL), &[("audience", SHOP)], Ok(())),
        (subject("me", LOCAL), &[], Err(("invalid_target", "token_audience_missing"))),
        (
            subject("me", LOCAL),
            &[("audience", SHOP), ("audience", BANK)],
            Err(("invalid_target", "token_audiences_many")),
        ),
        (
            subject("me", LOCAL),
            &[("audience", SHOP), ("scope", "read admin")],
            Err(("invalid_scope", "token_scope_denied")),
        ),
        (subject(&jwt, JWT), &[("audience", SHOP)], Err((invalid, "token_impersonation_denied"))),
        (subject(&own, ACCESS), &[("audience", SHOP)], Err((invalid, "token_impersonation_denied"))),
        (acted((&jwt, JWT), ("me", LOCAL)), &[("audience", SHOP)], Ok(())),
        (acted((&own, ACCESS), ("me", LOCAL)), &[("audience", SHOP)], Ok(())),
        (acted((&own, ACCESS), (ORDERS, LOCAL)), &[("audience", SHOP)], Err((invalid, "token_actor_denied"))),
        // The right name, proved in a way that the rule does not take.
        (acted((&jwt, JWT), (&of_gateway, JWT)), &[("audience", SHOP)], Err((invalid, "token_actor_denied"))),
        (subject("ours", ALTS), &[("audience", SHOP)], Ok(())),
        (subject("other", ALTS), &[("audience", SHOP)], Err((invalid, "token_actor_denied"))),
    ];
    for (pairs, more, expected) in cases {
        let answer = client.exchange(&[&pairs[..], more].concat()).await;
        let given = if answer.status == 200 { Ok(()) } else { Err(answer.refusal()) };
        let expected = expected.map_err(|(code, reason)| (400, code.to_owned(), reason.to_owned()));
        assert_eq!(given, expected, "{pairs:?} {more:?}");
    }

    let for_gateway = Rule { callers: only(GATEWAY), ..rule() };
    let world = World::of(Setting { rules: vec![for_gateway], ..Setting::default() });
    let jwt = world.idp.token(json!({}));
    assert_eq!(world.unix().exchange(&subject(&jwt, JWT)).await.status, 200);
    let refused = [
        world.tcp().exchange(&subject(&jwt, JWT)).await,
        world.unix().exchange(&subject(ORDERS, LOCAL)).await,
    ];
    for answer in refused {
        let expected = (400, "unauthorized_client".to_owned(), "token_caller_denied".to_owned());
        assert_eq!(answer.refusal(), expected);
    }
}

#[tokio::test]
async fn a_token_never_has_more_scopes_than_what_proved_its_subject() {
    let world = World::new();
    let client = world.unix();
    let of_idp = world.idp.token(json!({"scope": "read admin"}));
    let free = world.idp.token(json!({}));
    let own = world.own(json!({"scope": "write"}));
    let bare = world.keys.signed(
        "at+jwt",
        &json!({"iss": US, "sub": ALICE, "aud": GATEWAY, "exp": NOW + 600,
        "jti": "bare"}),
    );
    let cases = [
        (&free, JWT, "read write", Some("read write")),
        (&free, JWT, "https://www.googleapis.com/auth/cloud-platform", Some("")),
        (&free, JWT, "", None),
        (&of_idp, JWT, "write read", Some("read")),
        (&of_idp, JWT, "admin", Some("")),
        (&own, ACCESS, "read write", Some("write")),
        (&bare, ACCESS, "read write", Some("")),
    ];
    for (token, kind, asked, given) in cases {
        let answer = client.exchange(&[&subject(token, kind)[..], &[("scope", asked)]].concat()).await;
        let claims = world.claims(&answer.token());
        assert_eq!(answer.json().get("scope").and_then(Value::as_str), given, "{kind} {asked}");
        assert_eq!(claims.get("scope").and_then(Value::as_str), given.filter(|scope| !scope.is_empty()));
    }
}

#[tokio::test]
async fn what_is_revoked_proves_nobody() {
    let revoked = |iss: &'static str, sub: &'static str| {
        let world = World::new();
        world.ledger.revoke_subject(iss, sub);
        (world, "subject_revoked")
    };
    let account = |account| {
        (World::of(Setting { revoked_account: Some(account), ..Setting::default() }), "account_revoked")
    };
    let proxy = "proxy@shop.example";
    let jwt = |world: &World| vec![(world.idp.token(json!({})), JWT)];
    let local = |_: &World| vec![("me".to_owned(), LOCAL)];
    let acted = |world: &World| vec![(world.idp.token(json!({})), JWT), ("me".to_owned(), LOCAL)];
    let own = |world: &World| vec![(world.own(json!({"act": {"iss": IDP, "sub": proxy}})), ACCESS)];
    let alts = |world: &World| {
        world.handshakes.put("handle", ALICE, "local@shop.example", NOW + 600);
        vec![("handle".to_owned(), ALTS)]
    };
    let alts_of_two_names = |world: &World| {
        let mail = MailAccount::parse(ALICE).expect("it is one");
        let spiffe_id = SpiffeId::parse("spiffe://shop.example/alice").expect("it is one");
        let peer = Identity::new(Some(mail), Some(spiffe_id)).expect("it has names");
        world.handshakes.put_peer("handle", peer, "local@shop.example", NOW + 600);
        vec![("handle".to_owned(), ALTS)]
    };
    type Proofs<'a> = &'a dyn Fn(&World) -> Vec<(String, &'static str)>;
    let cases: [((World, &str), Proofs<'_>); 15] = [
        (revoked(IDP, ALICE), &jwt),
        (revoked(US, ALICE), &jwt),
        (revoked(US, GATEWAY), &jwt),
        (revoked(US, GATEWAY), &local),
        (revoked(US, GATEWAY), &acted),
        (revoked(US, ALICE), &own),
        (revoked(IDP, proxy), &own),
        (revoked(US, "local@shop.example"), &alts),
        (account(ALICE), &jwt),
        (account(ALICE), &own),
        (account(ALICE), &alts),
        (account("spiffe://shop.example/alice"), &alts_of_two_names),
        (account("local@shop.example"), &alts),
        (account(GATEWAY), &local),
        (account(GATEWAY), &jwt),
    ];
    for (n, ((world, reason), proofs)) in cases.into_iter().enumerate() {
        let proofs = proofs(&world);
        let names = [("subject_token", "subject_token_type"), ("actor_token", "actor_token_type")];
        let pairs: Vec<_> = proofs
            .iter()
            .zip(names)
            .flat_map(|((token, kind), names)| [(names.0, token.as_str()), (names.1, *kind)])
            .collect();
        assert_eq!(act(&world, &world.unix(), &pairs).await, Err(reason.to_owned()), "case {n}");
    }
}

#[tokio::test]
async fn a_revoked_token_is_not_exchanged() {
    let world = World::new();
    let client = world.unix();
    let first =
        client.exchange(&[&subject("me", LOCAL)[..], &[("audience", GATEWAY)]].concat()).await.token();
    assert_eq!(client.exchange(&subject(&first, ACCESS)).await.status, 200);
    assert_eq!(client.form("/revoke", &[("token", &first)]).await.status, 200);
    assert_eq!(act(&world, &client, &subject(&first, ACCESS)).await, Err("token_revoked".to_owned()));
    let proof = Proof { iss: IDP.to_owned(), id: "one".to_owned(), expires: NOW };
    world.door.ledger.revoke(&proof).await.expect("it is there");
    let jwt = world.idp.token(json!({}));
    assert_eq!(act(&world, &client, &subject(&jwt, JWT)).await, Err("token_revoked".to_owned()));
}

#[tokio::test]
async fn a_token_that_counts_once_is_used_up_by_the_answer_alone() {
    let world = World::of(Setting { rules: vec![Rule { one_time: true, ..rule() }], ..Setting::default() });
    let client = world.unix();
    let jwt = world.idp.token(json!({}));
    let asked = async |more: &[(&str, &str)]| {
        let answer = client.exchange(&[&subject(&jwt, JWT)[..], more].concat()).await;
        if answer.status == 200 { "issued".to_owned() } else { answer.refusal().2 }
    };
    assert_eq!(asked(&[("audience", "x")]).await, "token_audience_denied");
    world.keys.too_new.store(true, Ordering::Relaxed);
    assert_eq!(asked(&[]).await, "signing_key_too_new");
    world.keys.too_new.store(false, Ordering::Relaxed);
    assert_eq!(asked(&[]).await, "issued");
    assert_eq!(asked(&[]).await, "token_used");
    let other = world.idp.token(json!({"jti": "two"}));
    assert_eq!(client.exchange(&subject(&other, JWT)).await.status, 200);
    for _ in 0..2 {
        assert_eq!(client.exchange(&subject("me", LOCAL)).await.status, 200);
    }
}

#[tokio::test]
async fn what_is_away_is_said_to_be_and_when_to_ask_again() {
    let lost = Contact::Lost { since: None, problem: "somewhere secret".to_owned() };
    let policy = World::of(Setting { contact: lost, ..Setting::default() });
    let (ledger, keys, idp) = (World::new(), World::new(), World::new());
    ledger.ledger.away.store(true, Ordering::Relaxed);
    keys.keys.too_new.store(true, Ordering::Relaxed);
    idp.idp.away.store(true, Ordering::Relaxed);
    let cases = [
        (&policy, "policy_unavailable", "5"),
        (&ledger, "ledger_unavailable", "5"),
        (&keys, "signing_key_too_new", "77"),
        (&idp, "issuer_keys_unavailable", "5"),
    ];
    for (world, reason, seconds) in cases {
        let jwt = world.idp.token(json!({}));
        let answer = world.unix().exchange(&subject(&jwt, JWT)).await;
        let expected = (503, "temporarily_unavailable".to_owned(), reason.to_owned());
        assert_eq!(answer.refusal(), expected);
        assert_eq!(answer.header("retry-after"), Some(seconds), "{reason}");
        assert!(!String::from_utf8_lossy(&answer.body).contains("secret"), "{answer:?}");
    }
}

#[tokio::test]
async fn a_caller_gets_a_token_for_itself_without_http() {
    let world = World::new();
    let client = world.unix();
    let who = world.door.identify(client.caller.as_ref(), true).await.expect("this process is known");
    let wish = |targets: &[&str]| Wish {
        requested: Requested::Jwt,
        targets: strings(targets),
        scopes: Vec::new(),
        with_email: false,
    };
    let mut case = Case::new("unix:/s".into(), client.caller.clone());
    for (account, sub) in [(None, GATEWAY), (Some(ORDERS), ORDERS)] {
        let issued = world.door.issue_for_caller(&who, account, wish(&[BANK]), &mut case).await;
        let Ok(issued) = issued else { panic!("it is refused") };
        let claims = world.claims(&issued.token);
        assert_eq!((&claims["sub"], &claims["aud"]), (&json!(sub), &json!(BANK)));
    }
    let unknown = Who::Unknown { reason: "caller_exited", text: "it has gone".to_owned() };
    let cases = [
        (&who, Some(ALICE), "local_identity_not_owned"),
        (&unknown, None, "caller_exited"),
        (&unknown, Some(GATEWAY), "caller_exited"),
    ];
    for (who, account, reason) in cases {
        let refused = world
            .door
            .issue_for_caller(who, account, wish(&[]), &mut case)
            .await
            .err()
            .expect("it is refused");
        assert_eq!(refused.row().reason, reason);
    }
    let refused =
        world.door.issue_for_caller(&who, None, wish(&["x"]), &mut case).await.err().expect("it is refused");
    assert_eq!(refused.row().reason, "token_audience_denied");
}
