use alts_request_auth::{Algorithm, SigningKey};
use serde_json::json;

use super::*;
use crate::app;

/// RFC 7515, appendix A.3: header, payload and signature of a token by ES256, and its key.
const RFC_7515: [&str; 3] = [
    "eyJhbGciOiJFUzI1NiJ9",
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
];
const RFC_7515_KEYS: &str = r#"{"keys":[{"kty":"EC","crv":"P-256",
    "x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;
const RFC_7515_END: u64 = 1_300_819_380;

/// A time in the life of the tokens that are made here.
const NOW: u64 = 1_767_225_600;

fn rfc_7515(now: u64) -> Explanation {
    let keys = KeySet::parse(RFC_7515_KEYS.as_bytes()).expect("it is a set");
    let token = RFC_7515.join(".");
    explain(&Question {
        token: &token,
        keys: Ok(&keys),
        issuer: Some("joe"),
        audiences: &[],
        now,
        standing: Standing::NotAsked("no door is asked".to_owned()),
    })
}

/// What is found of a token without keys.
fn of(token: &str) -> Explanation {
    explain(&Question {
        token,
        keys: Err("no keys"),
        issuer: None,
        audiences: &[],
        now: NOW,
        standing: Standing::NotAsked("no door is asked".to_owned()),
    })
}

/// A token with a good form, whatever it says.
fn token(header: &Value, payload: &Value) -> String {
    let [header, payload] = [header, payload].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    format!("{header}.{payload}.c2lnbmF0dXJl")
}

fn check_of<'a>(explanation: &'a Explanation, of: &str) -> &'a Check {
    let mut found = explanation.checks.iter().filter(|check| check.of == of);
    found.next().unwrap_or_else(|| panic!("no check of {of}: {explanation:?}"))
}

#[test]
fn the_example_of_rfc_7515_is_good_until_its_end_and_the_leeway() {
    for (now, finding, because, status) in [
        (RFC_7515_END - 570, Finding::Ok, "it ends in 9 min 30 s", 200),
        (RFC_7515_END, Finding::Ok, "it ends now", 200),
        (RFC_7515_END + 60, Finding::Ok, "it ended 1 min ago, within the leeway of 60 s", 200),
        (RFC_7515_END + 61, Finding::Bad, "Jwt is expired: it ended 1 min 1 s ago", 401),
        (RFC_7515_END + 200_000, Finding::Bad, "Jwt is expired: it ended 2 d 7 h ago", 401),
    ] {
        let explanation = rfc_7515(now);
        let end = check_of(&explanation, "exp");
        assert_eq!((end.finding, end.because.as_str()), (finding, because));
        assert_eq!(end.value.as_deref(), Some("1300819380 = 2011-03-22T18:43:00Z"));
        assert_eq!(explanation.verdict.status, Some(status), "{:?}", explanation.verdict);
        assert_eq!(check_of(&explanation, "signature").finding, Finding::Ok);
        assert_eq!(check_of(&explanation, "iss").finding, Finding::Ok);
    }
}

#[test]
fn every_check_is_made_whichever_fails() {
    let keys = KeySet::parse(RFC_7515_KEYS.as_bytes()).expect("it is a set");
    let header =
        json!({"alg": "ES256", "kid": "k", "typ": "JWT", "crit": ["x"], "jku": "https://evil.example"});
    let payload = json!({
        "iss": "https://a.example/", "sub": 7, "aud": ["x"], "exp": NOW - 100, "nbf": NOW + 100,
        "iat": NOW + 5, "jti": [], "act": {"sub": "b", "act": {}}, "cnf": {"jkt": "z"}, "more": 1,
    });
    let explanation = explain(&Question {
        token: &token(&header, &payload),
        keys: Ok(&keys),
        issuer: Some("https://a.example"),
        audiences: &["y".to_owned()],
        now: NOW,
        standing: Standing::CountsNot,
    });
    for (of, finding, because) in [
        ("form", Finding::Ok, "three parts: a signed JWT"),
        ("alg", Finding::Ok, "an algorithm that is verified here"),
        // The example's key has no kid, and a key without one is tried for every token.
        (
            "kid",
            Finding::Bad,
            "none of 1 key of the set: it is of another issuer, has been withdrawn, or the set is old",
        ),
        (
            "crit",
            Finding::Bad,
            "it changes how tokens are read, and is refused here; Envoy does not look at it",
        ),
        ("jku", Finding::Note, "a key that the token brings itself: it is never followed"),
        (
            "iss",
            Finding::Bad,
            "Jwt issuer is not configured: it differs from https://a.example by a slash at its end",
        ),
        ("sub", Finding::Bad, "Jwt payload [sub] field is not a string"),
        ("aud", Finding::Bad, "Audiences in Jwt are not allowed: y is expected"),
        ("exp", Finding::Bad, "Jwt is expired: it ended 1 min 40 s ago"),
        ("nbf", Finding::Bad, "Jwt not yet valid: it begins in 1 min 40 s"),
        ("iat", Finding::Note, "it was made in 5 s by this clock: one of two is wrong"),
        ("jti", Finding::Bad, "Jwt payload [jti] field is not a string"),
        (
            "revoked",
            Finding::Bad,
            "its issuer says that it does not count: it has ended, is revoked, or is none of its own",
        ),
        (
            "act",
            Finding::Bad,
            "it is no chain of objects with a sub: altsd refuses it, Envoy does not look at it",
        ),
        (
            "cnf",
            Finding::Note,
            "it is bound to a key of its holder; Envoy does not check that, and takes it from everybody",
        ),
        ("others", Finding::Note, "claims that nothing here looks at"),
        ("signature", Finding::NotChecked, "what it would be of cannot be read"),
    ] {
        let check = check_of(&explanation, of);
        assert_eq!((check.finding, check.because.as_str()), (finding, because), "{of}");
    }
    assert_eq!(explanation.verdict.reason, Some("crit_unsupported"));
}

#[test]
fn anything_is_told_by_its_shape() {
    let jwe = format!("{}.a.b.c.d", URL_SAFE_NO_PAD.encode(r#"{"alg":"RSA-OAEP","enc":"A256GCM"}"#));
    let unsigned = format!("{}.{}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), RFC_7515[1]);
    let long = "a".repeat(MAX_TOKEN + 1);
    for (text, because) in [
        ("", "one part, without a dot: no JWT; opaque tokens are for their issuer"),
        ("garbage", "one part, without a dot: no JWT; opaque tokens are for their issuer"),
        (&RFC_7515[..2].join("."), "two parts of three: a JWT that has lost its signature"),
        (&unsigned, "it is a JWT without a signature"),
        (&jwe, "five parts: a JWE, which only its recipient can read"),
        ("a.b.c.d", "4 parts: a signed JWT has three"),
        ("a.b.c.d.e.f", "6 parts: a signed JWT has three"),
        ("Bearer a.b.c", "it is the value of a header: take off the first word"),
        ("-----BEGIN PUBLIC KEY-----", "it is PEM: a key or a certificate, and no token"),
        ("{\"access_token\":\"x\"}", "it is JSON: a token has three parts in base64url"),
        ("a.b c.d", "it has white space or other characters that no token has"),
        ("a.\u{1b}[2J.d", "it has white space or other characters that no token has"),
        (&long, "it is longer than the 16384 octets that any token may have"),
    ] {
        let explanation = of(text);
        let form = check_of(&explanation, "form");
        assert_eq!((form.finding, form.because.as_str()), (Finding::Bad, because), "{text:.40}");
        assert_eq!(explanation.verdict.outcome, Outcome::Bad);
    }
    assert_eq!(check_of(&of(&jwe), "alg").because, "Jwt header [alg] is not supported");
    assert_eq!(check_of(&of(&jwe), "alg").value.as_deref(), Some("RSA-OAEP"));
    assert_eq!(check_of(&of(&unsigned), "alg").finding, Finding::Bad);
    assert_eq!(check_of(&of(&unsigned), "exp").finding, Finding::Bad);
}

#[test]
fn headers_that_cannot_be_read_are_told_apart() {
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    for (header, of_what, because) in [
        ("+/==".to_owned(), "header", "it is base64 with padding or with + and /, and no base64url"),
        ("a".to_owned(), "header", "it is no base64url"),
        (part("x"), "header", "it is no JSON"),
        (part("[]"), "header", "it is JSON, and no object"),
        (part(r#"{"alg":"ES256","alg":"ES256"}"#), "header", "a member is there twice"),
        (part("{}"), "alg", "Jwt header [alg] field is required and must be a string"),
        (part(r#"{"alg":"es256"}"#), "alg", "Jwt header [alg] is not supported"),
        (part(r#"{"alg":"ES256","kid":7}"#), "kid", "Jwt header [kid] field is not a string"),
    ] {
        let explanation = of(&format!("{header}.{}.{}", RFC_7515[1], RFC_7515[2]));
        let check = check_of(&explanation, of_what);
        assert_eq!((check.finding, check.because.as_str()), (Finding::Bad, because), "{header}");
        // What is wrong with the header keeps nobody from looking at the claims.
        assert_eq!(check_of(&explanation, "iss").value.as_deref(), Some("joe"));
    }
}

#[test]
fn claims_of_the_wrong_type_are_told_in_envoys_words() {
    for (name, value, because) in [
        ("iss", json!(1), "Jwt payload [iss] field is not a string"),
        ("iss", json!(null), "Jwt payload [iss] field is not a string"),
        ("sub", json!({}), "Jwt payload [sub] field is not a string"),
        ("jti", json!(true), "Jwt payload [jti] field is not a string"),
        ("aud", json!(7), "Jwt payload [aud] field is not a string or string list"),
        ("aud", json!(["a", 7]), "Jwt payload [aud] field is not a string or string list"),
        ("exp", json!("1"), "Jwt payload [exp] field is not an integer"),
        ("nbf", json!(-1), "Jwt payload [nbf] field is not a positive 64 bit integer"),
        ("iat", json!(1e30), "Jwt payload [iat] field is not a positive 64 bit integer"),
    ] {
        let explanation = of(&token(&json!({"alg": "ES256"}), &json!({name: value})));
        let check = check_of(&explanation, name);
        assert_eq!((check.finding, check.because.as_str()), (Finding::Bad, because));
        assert_eq!(explanation.verdict.text, because);
    }
}

#[test]
fn claims_that_are_good_and_treacherous_are_noted() {
    for (payload, name, because) in [
        (json!({}), "exp", "missing or 0: it never ends, which Envoy takes and altsd does not"),
        (json!({"exp": 0}), "exp", "missing or 0: it never ends, which Envoy takes and altsd does not"),
        (json!({}), "nbf", "missing: it counts from any time on"),
        (json!({}), "iat", "missing"),
        (json!({}), "sub", "missing: such a token is nobody to Istio's rules"),
        (
            json!({"sub": "spiffe://a/b"}),
            "sub",
            "it has a slash: Istio's rules cannot name it exactly as a principal",
        ),
        (json!({}), "jti", "missing: it is known by its hash alone"),
        (json!({"scope": "a b"}), "scope", "what it allows"),
        (
            json!({"act": {"sub": "a", "act": {"sub": "b"}}}),
            "act",
            "who acts for the subject now, and who did before; Envoy does not look at it",
        ),
    ] {
        let explanation = of(&token(&json!({"alg": "ES256"}), &payload));
        let check = check_of(&explanation, name);
        assert_eq!((check.finding, check.because.as_str()), (Finding::Note, because), "{payload}");
    }
    let act = json!({"act": {"sub": "a", "act": {"sub": "b"}}});
    let explanation = of(&token(&json!({"alg": "ES256"}), &act));
    assert_eq!(check_of(&explanation, "act").value.as_deref(), Some("a, before it b"));
}

#[test]
fn an_actor_within_itself_many_times_over_is_followed_no_further() {
    let mut act = json!({"sub": "a"});
    for _ in 0..20 {
        act = json!({"sub": "a", "act": act});
    }
    let explanation = of(&token(&json!({"alg": "ES256"}), &json!({"act": act})));
    assert_eq!(check_of(&explanation, "act").finding, Finding::Bad);
}

#[test]
fn the_verdict_knows_what_was_not_checked_and_what_the_issuer_says() {
    let (key, _) = SigningKey::generate(Algorithm::Es256, &*app::random()).expect("there is randomness");
    let (other, _) = SigningKey::generate(Algorithm::Es256, &*app::random()).expect("there is randomness");
    let claims = json!({"iss": "i", "aud": "a", "exp": NOW + 60}).to_string();
    let token = key.sign("at+jwt", claims.as_bytes(), &*app::random()).expect("it signs");
    let (own, others) = (KeySet::of([key.public()]), KeySet::of([other.public()]));
    let unasked = || Standing::NotAsked(String::new());
    for (keys, issuer, audience, standing, outcome, status, reason) in [
        (Ok(&own), "i", "a", unasked(), Outcome::Good, Some(200), None),
        (Ok(&own), "i", "https://a/", Standing::Counts, Outcome::Good, Some(200), None),
        (Ok(&own), "i", "a", Standing::CountsNot, Outcome::Bad, None, Some("token_inactive")),
        (Ok(&others), "i", "a", unasked(), Outcome::Bad, Some(401), Some("key_unknown")),
        (Ok(&others), "j", "b", unasked(), Outcome::Bad, Some(401), Some("issuer_unknown")),
        (Ok(&others), "i", "b", unasked(), Outcome::Bad, Some(403), Some("audience_not_allowed")),
        (Err("no keys"), "i", "a", unasked(), Outcome::Unknown, None, None),
        (Err("no keys"), "i", "b", unasked(), Outcome::Bad, Some(403), Some("audience_not_allowed")),
    ] {
        let Explanation { verdict, checks } = explain(&Question {
            token: &token,
            keys,
            issuer: Some(issuer),
            audiences: &[audience.to_owned()],
            now: NOW,
            standing,
        });
        assert_eq!(
            (verdict.outcome, verdict.status, verdict.reason),
            (outcome, status, reason),
            "{checks:?}"
        );
    }
    // A forged token is told by its signature, and by the kid that it has all the same.
    let forged = format!("{}A.{}", token.rsplit_once('.').map_or("", |(said, _)| said), RFC_7515[2]);
    let explanation = explain(&Question {
        token: &forged,
        keys: Ok(&own),
        issuer: None,
        audiences: &[],
        now: NOW,
        standing: unasked(),
    });
    assert_eq!(check_of(&explanation, "kid").finding, Finding::Ok);
    assert_eq!(explanation.verdict.outcome, Outcome::Bad);
}

#[test]
fn neither_the_signature_nor_the_token_is_told() {
    let explanation = rfc_7515(RFC_7515_END);
    let all =
        format!("{}{}", serde_json::json!(explanation), crate::cli::token::view::explanation(&explanation));
    for secret in RFC_7515 {
        assert!(!all.contains(secret), "{all}");
    }
    let opaque = "ya29.opaque-and-secret";
    let explanation = of(opaque);
    let all =
        format!("{}{}", serde_json::json!(explanation), crate::cli::token::view::explanation(&explanation));
    assert!(!all.contains("opaque-and-secret"), "{all}");
}

#[test]
fn distances_have_two_units_at_most() {
    for (now, then, text) in [
        (100, 100, "now"),
        (100, 101, "in 1 s"),
        (100, 40, "1 min ago"),
        (0, 3_661, "in 1 h 1 min"),
        (0, 3_601, "in 1 h 1 s"),
        (0, 86_400 * 400 + 59, "in 400 d 59 s"),
        (90_061, 0, "1 d 1 h ago"),
        (0, u64::MAX, "in 213503982334601 d 7 h"),
    ] {
        assert_eq!(distance(now, then), text);
    }
}
