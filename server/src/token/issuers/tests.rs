//! Tokens of other issuers, whose keys come from a real server on this machine.

mod keys;
mod names;
mod server;

use alts_handshake::{SystemRandom, sha256};
use alts_request_auth::{Algorithm, SigningKey};
use serde_json::{Value, json};

use self::server::{Moved, NOW, Server};
use super::{parts::Issuers as _, *};
use crate::token::subject::{Actor, MayAct, Origin, Proof};

const ISS: &str = "https://issuer.example.com";
const US: &str = "https://tokens.example.com";

fn key() -> SigningKey {
    SigningKey::generate(Algorithm::Es256, &SystemRandom::new()).expect("there is randomness").0
}

fn set_of(keys: &[&SigningKey]) -> Value {
    json!({"keys": keys.iter().map(|key| key.public()).collect::<Vec<_>>()})
}

fn sign(key: &SigningKey, claims: &Value) -> String {
    key.sign("JWT", claims.to_string().as_bytes(), &SystemRandom::new()).expect("it signs")
}

fn claims() -> Value {
    json!({"iss": ISS, "sub": "ns/sa", "aud": [US, "other"], "exp": NOW + 600, "jti": "j"})
}

/// The claims with these in place of, or beside, their own; null takes one out.
fn with(changes: Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().expect("it is one") {
        if value.is_null() {
            claims.as_object_mut().expect("it is one").remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

fn settings(keys: Source) -> IssuerSettings {
    IssuerSettings {
        issuer: ISS.to_owned(),
        audiences: vec![US.to_owned()],
        keys,
        ca_certificates: None,
        subject: SubjectTemplate::default(),
    }
}

fn issuers(settings: IssuerSettings) -> Issuers {
    let clock: Arc<dyn Clock> = Moved::new();
    Issuers::start(vec![settings], &clock).expect("they are good")
}

/// An issuer with this key in the configuration.
fn inline(key: &SigningKey) -> Issuers {
    let set = KeySet::parse(set_of(&[key]).to_string().as_bytes()).expect("it is one");
    issuers(settings(Source::Inline(set)))
}

async fn reason(issuers: &Issuers, token: &str) -> &'static str {
    match issuers.verify(token, NOW).await {
        Err(SubjectProblem::Refused { reason, .. }) => reason,
        Err(SubjectProblem::Unavailable(_)) => "unavailable",
        Ok(subject) => panic!("{subject:?}"),
    }
}

#[tokio::test]
async fn a_good_token_proves_its_subject_with_all_that_limits_it() {
    let key = key();
    let issuers = inline(&key);
    let asked = with(json!({
        "scope": "a  b",
        "act": {"sub": "one", "iss": "i", "other": 1, "act": {"sub": "two"}},
        "may_act": {"sub": "three"},
    }));
    let subject = issuers.verify(&sign(&key, &asked), NOW).await.expect("it is good");
    // Without an issuer it is of the one that names it.
    let two = Actor { iss: Some(ISS.to_owned()), sub: "two".to_owned(), act: None };
    let expected = Subject {
        origin: Origin::Issuer(ISS.to_owned()),
        issuer: ISS.to_owned(),
        sub: "ns/sa".to_owned(),
        name: "ns/sa".to_owned(),
        scopes: Some(vec!["a".to_owned(), "b".to_owned()]),
        audiences: vec![US.to_owned(), "other".to_owned()],
        expires: Some(NOW + 600),
        actor: Some(Actor { iss: Some("i".to_owned()), sub: "one".to_owned(), act: Some(Box::new(two)) }),
        may_act: Some(MayAct { iss: None, sub: "three".to_owned() }),
        proof: Some(Proof { iss: ISS.to_owned(), id: "j".to_owned(), expires: NOW + 600 }),
    };
    assert_eq!(subject, expected);
    let plain = issuers.verify(&sign(&key, &claims()), NOW).await.expect("it is good");
    assert_eq!((plain.scopes, plain.actor, plain.may_act), (None, None, None));
}

#[tokio::test]
async fn a_token_without_an_id_is_known_by_what_is_signed_and_not_by_its_signature() {
    let key = key();
    let issuers = inline(&key);
    for jti in [json!(null), json!("")] {
        let token = sign(&key, &with(json!({"jti": jti})));
        let signed = token.rsplit_once('.').expect("it has parts").0;
        let proof = issuers.verify(&token, NOW).await.expect("it is good").proof.expect("it is a token");
        assert_eq!(proof.id, format!("sha256:{}", hex::encode(sha256(signed.as_bytes()))));
        // ECDSA signs the same in another way each time.
        let (again, id) = (sign(&key, &with(json!({"jti": jti}))), proof.id);
        assert_ne!(again, token);
        let proof = issuers.verify(&again, NOW).await.expect("it is good").proof.expect("it is a token");
        assert_eq!(proof.id, id);
    }
}

#[tokio::test]
async fn what_a_token_of_kubernetes_says_makes_a_name() {
    let key = key();
    // As the API server makes one that is projected into a pod: its end is a year ahead.
    let claims = json!({
        "aud": [US],
        "exp": NOW + 31_536_000,
        "iat": NOW,
        "iss": ISS,
        "jti": "7e8c1f0a-5d3e-4f43-9d0e-6d6d2b3b8a11",
        "kubernetes.io": {
            "namespace": "shop",
            "node": {"name": "worker-1", "uid": "1"},
            "pod": {"name": "orders-5d4f", "uid": "2"},
            "serviceaccount": {"name": "orders", "uid": "3"},
            "warnafter": NOW + 3_607,
        },
        "nbf": NOW,
        "sub": "system:serviceaccount:shop:orders",
    });
    let template = "{/kubernetes.io/serviceaccount/name}@{/kubernetes.io/namespace}.example";
    let set = KeySet::parse(set_of(&[&key]).to_string().as_bytes()).expect("it is one");
    let subject = SubjectTemplate::parse(template).expect("it is one");
    let issuers = issuers(IssuerSettings { subject, ..settings(Source::Inline(set)) });
    let subject = issuers.verify(&sign(&key, &claims), NOW).await.expect("it is good");
    assert_eq!(
        (&*subject.name, &*subject.sub, subject.expires),
        ("orders@shop.example", "system:serviceaccount:shop:orders", Some(NOW + 31_536_000))
    );
}

#[tokio::test]
async fn a_token_that_is_not_for_us_or_not_of_now_is_refused() {
    let key = key();
    let issuers = inline(&key);
    let deep = json!({"sub": "1", "act": {"sub": "2", "act": {"sub": "3", "act": {"sub": "4", "act": {"sub": "5"}}}}});
    let cases = [
        (json!({"iss": null}), "issuer_unknown"),
        (json!({"iss": "https://issuer.example.com/"}), "issuer_unknown"),
        (json!({"exp": null}), "exp_missing"),
        (json!({"exp": NOW - 61}), "token_expired"),
        (json!({"exp": "soon"}), "claim_not_integer"),
        (json!({"nbf": NOW + 61}), "token_not_yet_valid"),
        (json!({"aud": null}), "audience_not_allowed"),
        (json!({"aud": "other"}), "audience_not_allowed"),
        (json!({"sub": null}), "claim_missing"),
        (json!({"sub": ""}), "claim_missing"),
        (json!({"sub": "a\nb"}), "claim_unprintable"),
        (json!({"sub": "a\u{0}b"}), "claim_unprintable"),
        (json!({"sub": 7}), "claim_not_string"),
        (json!({"sub": "x".repeat(513)}), "subject_too_long"),
        (json!({"scope": ["a"]}), "scope_invalid"),
        (json!({"scope": "a\tb"}), "scope_invalid"),
        (json!({"scope": "a\"b"}), "scope_invalid"),
        (json!({"scope": "a ".repeat(257)}), "scope_invalid"),
        (json!({"act": "a"}), "actor_invalid"),
        (json!({"act": {}}), "actor_invalid"),
        (json!({"act": {"sub": ""}}), "actor_invalid"),
        (json!({"act": {"sub": 1}}), "actor_invalid"),
        (json!({"act": {"sub": "a\u{7}"}}), "actor_invalid"),
        (json!({"act": {"sub": "a", "iss": 1}}), "actor_invalid"),
        (json!({"act": {"sub": "a", "iss": ""}}), "actor_invalid"),
        (json!({"act": {"sub": "a", "act": []}}), "actor_invalid"),
        (json!({"act": deep}), "actors_too_many"),
        (json!({"may_act": "a"}), "actor_invalid"),
        (json!({"may_act": {"iss": "a"}}), "actor_invalid"),
        (json!({"may_act": ["a"]}), "actor_invalid"),
    ];
    for (changes, expected) in cases {
        let token = sign(&key, &with(changes.clone()));
        assert_eq!(reason(&issuers, &token).await, expected, "{changes:.200}");
    }
}

#[tokio::test]
async fn a_token_of_another_key_is_refused_and_no_text_holds_any_of_it() {
    let (key, other) = (key(), key());
    let issuers = inline(&key);
    let good = sign(&key, &claims());
    let forged = sign(&other, &claims());
    assert_eq!(reason(&issuers, &forged).await, "key_unknown");
    let (signed, _) = good.rsplit_once('.').expect("it has parts");
    let (_, signature) = forged.rsplit_once('.').expect("it has parts");
    assert_eq!(reason(&issuers, &format!("{signed}.{signature}")).await, "signature_invalid");
    for token in ["", "a", "a.b.c", &"x".repeat(20_000), &format!("{good}x"), &format!("{good}.x")] {
        reason(&issuers, token).await;
    }
    let secret = "s3cret";
    for changes in [
        json!({"iss": secret}),
        json!({"aud": secret}),
        json!({"sub": format!("{secret}\n")}),
        json!({"act": {"sub": 1, "iss": secret}}),
        json!({"act": secret}),
        json!({"scope": format!("{secret}\t")}),
    ] {
        let problem = issuers.verify(&sign(&key, &with(changes)), NOW).await.expect_err("it is bad");
        assert!(!format!("{problem:?}").contains(secret), "{problem:?}");
    }
}

#[tokio::test]
async fn a_token_that_is_of_no_use_makes_nobody_fetch_more_keys() {
    let (key, other) = (key(), key());
    let server = Server::serving(&set_of(&[&key])).await;
    let issuers = issuers(settings(Source::Uri(server.url())));
    issuers.verify(&sign(&key, &claims()), NOW).await.expect("it is good");
    for changes in [json!({"exp": NOW - 61}), json!({"aud": "x"}), json!({"sub": ""}), json!({"act": 1})] {
        reason(&issuers, &sign(&other, &with(changes))).await;
    }
    assert_eq!(server.asked(), 1);
}

#[test]
fn an_issuer_that_cannot_be_used_is_refused_at_the_start() {
    let clock: Arc<dyn Clock> = Moved::new();
    let set = || KeySet::parse(set_of(&[&key()]).to_string().as_bytes()).expect("it is one");
    let one = || settings(Source::Inline(set()));
    let problem = |settings| Issuers::start(settings, &clock).err().map(|problem| problem.to_string());
    assert_eq!(problem(vec![one()]), None);
    let twice = problem(vec![one(), one()]).expect("it is there twice");
    assert!(twice.contains(ISS), "{twice}");
    let for_anybody = IssuerSettings { audiences: Vec::new(), ..one() };
    problem(vec![for_anybody]).expect("it has no audience");
}
