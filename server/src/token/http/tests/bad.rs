//! Requests that get no token, each with exactly what it is answered.

use serde_json::{Value, json};

use super::support::*;

/// A request as pairs, made from a good one.
struct Bad(Vec<(&'static str, String)>);

fn good() -> Bad {
    let pairs = [
        ("grant_type", EXCHANGE),
        ("subject_token", "me"),
        ("subject_token_type", LOCAL),
        ("audience", SHOP),
        ("scope", "read"),
    ];
    Bad(pairs.map(|(name, value)| (name, value.to_owned())).to_vec())
}

impl Bad {
    fn without(mut self, name: &str) -> Self {
        self.0.retain(|(other, _)| *other != name);
        self
    }

    fn also(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.0.push((name, value.into()));
        self
    }

    fn with(self, name: &'static str, value: impl Into<String>) -> Self {
        self.without(name).also(name, value)
    }

    fn form(&self) -> String {
        form(&self.0.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>())
    }
}

const INVALID: (u16, &str) = (400, "invalid_request");
const TARGET: (u16, &str) = (400, "invalid_target");
const SCOPE: (u16, &str) = (400, "invalid_scope");

type Row = (&'static str, Bad, (u16, &'static str), &'static str);

fn of_parameters() -> Vec<Row> {
    let again = |name: &'static str, value: &str| good().with(name, value).also(name, value);
    let actor = || good().also("actor_token", "me").also("actor_token_type", LOCAL);
    let many = |name: &'static str| (0..17).fold(good(), |bad, n| bad.also(name, format!("urn:x:{n}")));
    vec![
        ("no grant_type", good().without("grant_type"), INVALID, "parameter_missing"),
        ("empty grant_type", good().with("grant_type", ""), INVALID, "parameter_missing"),
        ("two grant_types", again("grant_type", EXCHANGE), INVALID, "parameter_repeated"),
        (
            "another grant_type",
            good().with("grant_type", "client_credentials"),
            (400, "unsupported_grant_type"),
            "grant_type_unsupported",
        ),
        (
            "grant_type in capitals",
            good().with("grant_type", EXCHANGE.to_uppercase()),
            (400, "unsupported_grant_type"),
            "grant_type_unsupported",
        ),
        ("no subject_token", good().without("subject_token"), INVALID, "parameter_missing"),
        ("empty subject_token", good().with("subject_token", ""), INVALID, "parameter_missing"),
        ("blank subject_token", good().with("subject_token", " \r\n\t"), INVALID, "parameter_missing"),
        ("two subject_tokens", again("subject_token", "me"), INVALID, "parameter_repeated"),
        ("subject_token of two words", good().with("subject_token", "a b"), INVALID, "parameter_characters"),
        ("subject_token of NUL", good().with("subject_token", "a\0b"), INVALID, "parameter_characters"),
        ("subject_token of umlauts", good().with("subject_token", "ä"), INVALID, "parameter_characters"),
        (
            "long subject_token",
            good().with("subject_token", "x".repeat(16_385)),
            INVALID,
            "parameter_too_long",
        ),
        ("no subject_token_type", good().without("subject_token_type"), INVALID, "parameter_missing"),
        ("empty subject_token_type", good().with("subject_token_type", ""), INVALID, "parameter_missing"),
        ("two subject_token_types", again("subject_token_type", LOCAL), INVALID, "parameter_repeated"),
        ("saml2", typed("urn:ietf:params:oauth:token-type:saml2"), INVALID, "token_type_unsupported"),
        ("saml1", typed("urn:ietf:params:oauth:token-type:saml1"), INVALID, "token_type_unsupported"),
        (
            "refresh_token",
            typed("urn:ietf:params:oauth:token-type:refresh_token"),
            INVALID,
            "token_type_unsupported",
        ),
        ("X.509", typed("urn:ietf:params:oauth:token-type:x509"), INVALID, "token_type_unsupported"),
        ("AWS", typed("urn:ietf:params:aws:token-type:aws4_request"), INVALID, "token_type_unsupported"),
        ("short type", typed("jwt"), INVALID, "token_type_unsupported"),
        ("type with a space", typed(&format!("{JWT} ")), INVALID, "token_type_unsupported"),
        ("actor without type", actor().without("actor_token_type"), INVALID, "actor_token_incomplete"),
        ("actor with empty type", actor().with("actor_token_type", ""), INVALID, "actor_token_incomplete"),
        ("type without actor", actor().without("actor_token"), INVALID, "actor_token_incomplete"),
        ("type with empty actor", actor().with("actor_token", ""), INVALID, "actor_token_incomplete"),
        ("two actors", actor().also("actor_token", "me"), INVALID, "parameter_repeated"),
        ("two actor types", actor().also("actor_token_type", LOCAL), INVALID, "parameter_repeated"),
        ("unknown actor type", actor().with("actor_token_type", "x"), INVALID, "token_type_unsupported"),
        ("long actor", actor().with("actor_token", "x".repeat(16_385)), INVALID, "parameter_too_long"),
        (
            "requested refresh_token",
            good().also("requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token"),
            INVALID,
            "requested_token_type_unsupported",
        ),
        (
            "requested id_token",
            good().also("requested_token_type", ID_TOKEN),
            INVALID,
            "requested_token_type_unsupported",
        ),
        ("two requested types", again("requested_token_type", JWT), INVALID, "parameter_repeated"),
        ("two scopes", again("scope", "read"), INVALID, "parameter_repeated"),
        ("scope with a quotation mark", good().with("scope", "a\"b"), SCOPE, "scope_invalid"),
        ("scope with a backslash", good().with("scope", "a\\b"), SCOPE, "scope_invalid"),
        ("scope with a tab", good().with("scope", "a\tb"), SCOPE, "scope_invalid"),
        ("scope of umlauts", good().with("scope", "lösen"), SCOPE, "scope_invalid"),
        ("many scopes", good().with("scope", words(65)), SCOPE, "scope_invalid"),
        ("long scope", good().with("scope", "x".repeat(4_097)), SCOPE, "scope_invalid"),
        ("relative resource", good().also("resource", "/api"), TARGET, "resource_invalid"),
        ("resource without scheme", good().also("resource", "shop.example"), TARGET, "resource_invalid"),
        (
            "resource with fragment",
            good().also("resource", "https://a.example/#x"),
            TARGET,
            "resource_invalid",
        ),
        ("resource with space", good().also("resource", "https://a.example/ x"), TARGET, "resource_invalid"),
        (
            "long resource",
            good().also("resource", format!("urn:{}", "x".repeat(2_048))),
            INVALID,
            "parameter_too_long",
        ),
        ("long audience", good().also("audience", "x".repeat(2_049)), INVALID, "parameter_too_long"),
        ("audience with newline", good().also("audience", "a\nb"), INVALID, "parameter_characters"),
        ("many audiences", many("audience"), INVALID, "parameters_too_many"),
        ("many resources", many("resource"), INVALID, "parameters_too_many"),
        ("other audience", good().with("audience", "https://evil.example"), TARGET, "token_audience_denied"),
        ("audience with slash", good().with("audience", format!("{SHOP}/")), TARGET, "token_audience_denied"),
        ("one good audience of two", good().also("audience", "x"), TARGET, "token_audience_denied"),
        ("other resource", good().also("resource", "urn:other"), TARGET, "token_audience_denied"),
        ("many parameters", (0..64).fold(good(), |bad, _| bad.also("x", "y")), INVALID, "body_malformed"),
        (
            "account of somebody else",
            good().with("subject_token", ALICE),
            INVALID,
            "local_identity_not_owned",
        ),
        (
            "SPIFFE ID of somebody else",
            good().with("subject_token", "spiffe://a/b"),
            INVALID,
            "local_identity_not_owned",
        ),
        ("unknown handshake", typed(ALTS), INVALID, "context_unknown"),
    ]
}

fn typed(kind: &str) -> Bad {
    good().with("subject_token_type", kind)
}

fn words(count: usize) -> String {
    (0..count).map(|n| n.to_string()).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn each_bad_parameter_has_its_answer_in_a_form() {
    let world = World::new();
    let client = world.unix();
    let fine = client.post("/token", "application/x-www-form-urlencoded", good().form()).await;
    assert_eq!(fine.status, 200, "{fine:?}");
    let table = of_parameters();
    assert!(table.len() >= 55, "{}", table.len());
    for (name, bad, (status, code), reason) in table {
        let answer = client.post("/token", "application/x-www-form-urlencoded", bad.form()).await;
        assert_eq!(answer.refusal(), (status, code.to_owned(), reason.to_owned()), "{name}");
        assert_eq!(answer.header("content-type"), Some("application/json"), "{name}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{name}");
        assert_eq!(answer.header("pragma"), Some("no-cache"), "{name}");
    }
}

#[tokio::test]
async fn each_bad_parameter_has_the_same_answer_in_json() {
    let world = World::new();
    let client = world.unix();
    for (name, bad, (status, code), reason) in of_parameters() {
        let member = |(name, value): &(&str, String)| format!("{}:{}", json!(name), json!(value));
        let body = format!("{{{}}}", bad.0.iter().map(member).collect::<Vec<_>>().join(","));
        let answer = client.post("/token", "application/json", body).await;
        assert_eq!(answer.refusal(), (status, code.to_owned(), reason.to_owned()), "{name}");
    }
}

#[tokio::test]
async fn members_of_the_wrong_type_are_refused_by_name() {
    let world = World::new();
    let client = world.unix();
    let single = [
        "grant_type",
        "subject_token",
        "subject_token_type",
        "actor_token",
        "actor_token_type",
        "requested_token_type",
        "scope",
    ];
    let wrong = [json!(null), json!(1), json!(true), json!(["read"]), json!([]), json!({"a": "b"})];
    let lists = [json!(null), json!(1), json!({}), json!([1]), json!(["a", null]), json!([["a"]])];
    let cases = single.iter().flat_map(|name| wrong.iter().map(move |value| (*name, value)));
    let cases = cases
        .chain(["audience", "resource"].into_iter().flat_map(|name| lists.iter().map(move |v| (name, v))));
    for (name, value) in cases {
        let mut body = json!({"grant_type": EXCHANGE, "subject_token": "me", "subject_token_type": LOCAL});
        body[name] = value.clone();
        let answer = client.post("/token", "application/json", body.to_string()).await;
        let expected = (400, "invalid_request".to_owned(), "parameter_wrong_type".to_owned());
        assert_eq!(answer.refusal(), expected, "{body}");
        let description = answer.json()["error_description"].as_str().map(str::to_owned);
        assert!(description.is_some_and(|text| text.contains(name)), "{answer:?}");
    }
}

#[tokio::test]
async fn bodies_that_cannot_be_read_have_their_answers() {
    let world = World::new();
    let client = world.unix();
    let form = "application/x-www-form-urlencoded";
    let whole = good().form();
    let cases: Vec<(&str, Vec<u8>, u16, &str)> = vec![
        ("text/plain", whole.clone().into(), 400, "content_type_unsupported"),
        ("multipart/form-data; boundary=x", whole.clone().into(), 400, "content_type_unsupported"),
        ("", whole.clone().into(), 400, "content_type_unsupported"),
        ("application/jsonx", b"{}".to_vec(), 400, "content_type_unsupported"),
        (form, b"grant_type=%zz".to_vec(), 400, "body_malformed"),
        (form, b"grant_type=%4".to_vec(), 400, "body_malformed"),
        (form, b"grant_type=%ff".to_vec(), 400, "body_malformed"),
        (form, b"grant_type=\xff".to_vec(), 400, "body_malformed"),
        (form, Vec::new(), 400, "parameter_missing"),
        (form, b"{}".to_vec(), 400, "parameter_missing"),
        (form, vec![b'a'; (64 << 10) + 1], 413, "body_too_large"),
        ("application/json", Vec::new(), 400, "body_malformed"),
        ("application/json", b"[]".to_vec(), 400, "body_malformed"),
        ("application/json", b"\"a\"".to_vec(), 400, "body_malformed"),
        ("application/json", b"{\"a\":}".to_vec(), 400, "body_malformed"),
        ("application/json", b"{} {}".to_vec(), 400, "body_malformed"),
        ("application/json", b"{\"a\":\"\xff\"}".to_vec(), 400, "body_malformed"),
        ("application/json", b"{".repeat(60_000), 400, "body_malformed"),
        ("application/json", b"{\"a\":".repeat(10_000), 400, "body_malformed"),
        ("application/json", b"{}".to_vec(), 400, "parameter_missing"),
        ("application/json", vec![b' '; (64 << 10) + 1], 413, "body_too_large"),
    ];
    for (kind, body, status, reason) in cases {
        let shown = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
        let answer = client.post("/token", kind, body).await;
        assert_eq!(
            answer.refusal(),
            (status, "invalid_request".to_owned(), reason.to_owned()),
            "{kind} {shown}"
        );
    }
}

/// Every fault that a presented JWT, or a token of ours, can have.
#[tokio::test]
async fn each_bad_token_has_its_answer() {
    let world = World::new();
    let client = world.unix();
    let idp = |claims: Value| world.idp.token(claims);
    let own = |claims: Value| world.own(claims);
    let forged = |token: String| {
        let (rest, signature) = token.rsplit_once('.').expect("it has a signature");
        let last = if signature.starts_with('A') { 'B' } else { 'A' };
        format!("{rest}.{last}{}", &signature[1..])
    };
    let cases: Vec<(&str, &str, String, &str)> = vec![
        ("no JWT", JWT, "x".to_owned(), "token_not_three_parts"),
        ("two parts", JWT, "a.b".to_owned(), "token_not_three_parts"),
        ("an empty part", JWT, "a..b".to_owned(), "token_not_three_parts"),
        ("no header", JWT, "!.e30.x".to_owned(), "header_not_base64url"),
        ("no algorithm", JWT, "e30.e30.eA".to_owned(), "alg_missing"),
        ("expired", JWT, idp(json!({"exp": NOW - 61})), "token_expired"),
        ("expired within the leeway", JWT, idp(json!({"exp": NOW - 60})), "proof_ends_too_soon"),
        ("ends at once", JWT, idp(json!({"exp": NOW + 29})), "proof_ends_too_soon"),
        ("never ends", JWT, idp(json!({"exp": 0})), "exp_missing"),
        ("exp is text", JWT, idp(json!({"exp": "1"})), "claim_not_integer"),
        ("not valid yet", JWT, idp(json!({"nbf": NOW + 61})), "token_not_yet_valid"),
        ("for somebody else", JWT, idp(json!({"aud": SHOP})), "audience_not_allowed"),
        ("for nobody", JWT, idp(json!({"aud": []})), "audience_not_allowed"),
        ("of an unknown issuer", JWT, idp(json!({"iss": "https://evil.example"})), "issuer_unknown"),
        ("forged", JWT, forged(idp(json!({}))), "signature_invalid"),
        ("forged id_token", ID_TOKEN, forged(idp(json!({}))), "signature_invalid"),
        (
            "signed by us for another issuer",
            JWT,
            world.keys.signed(
                "JWT",
                &json!({"iss": IDP, "sub": ALICE,
            "aud": US, "exp": NOW + 600}),
            ),
            "key_unknown",
        ),
        ("ours as a JWT", JWT, own(json!({})), "token_of_our_own"),
        ("ours as an id_token", ID_TOKEN, own(json!({})), "token_of_our_own"),
        ("nobody a rule is for", JWT, idp(json!({"sub": "eve@evil.example"})), "token_rule_missing"),
        ("a JWT as one of ours", ACCESS, idp(json!({})), "issuer_unknown"),
        ("ours, forged", ACCESS, forged(own(json!({}))), "signature_invalid"),
        ("ours, expired", ACCESS, own(json!({"exp": NOW - 61})), "token_expired"),
        ("ours, ending", ACCESS, own(json!({"exp": NOW + 29})), "proof_ends_too_soon"),
        ("ours, without an end", ACCESS, own(json!({"exp": 0})), "exp_missing"),
        ("ours, for somebody else", ACCESS, own(json!({"aud": ORDERS})), "token_not_for_actor"),
        ("ours, for us", ACCESS, own(json!({"aud": US})), "token_not_for_actor"),
        (
            "ours, for a name that looks alike",
            ACCESS,
            own(json!({"aud": format!("https://{GATEWAY}")})),
            "token_not_for_actor",
        ),
        ("ours, with a bad actor", ACCESS, own(json!({"act": {"iss": 1}})), "claim_malformed"),
        ("ours, with a bad scope", ACCESS, own(json!({"scope": ["read"]})), "claim_malformed"),
        (
            "ours, of another type",
            ACCESS,
            world.keys.signed(
                "JWT",
                &json!({"iss": US, "sub": ALICE, "aud": GATEWAY,
            "exp": NOW + 600, "jti": "x"}),
            ),
            "token_not_access_token",
        ),
        (
            "ours, of no type",
            ACCESS,
            world.keys.signed(
                "x",
                &json!({"iss": US, "sub": ALICE, "aud": GATEWAY,
            "exp": NOW + 600, "jti": "x"}),
            ),
            "token_typ_unknown",
        ),
        (
            "ours, without jti",
            ACCESS,
            world.keys.signed(
                "at+jwt",
                &json!({"iss": US, "sub": ALICE, "aud": GATEWAY,
            "exp": NOW + 600}),
            ),
            "claim_missing",
        ),
    ];
    for (name, kind, token, reason) in cases {
        for part in ["subject", "actor"] {
            // What is wrong with a subject only may be fine in an actor.
            let only_subject = ["ours, for us", "nobody a rule is for"].contains(&name);
            if part == "actor" && only_subject {
                continue;
            }
            let (token_name, kind_name) = (format!("{part}_token"), format!("{part}_token_type"));
            let mut pairs = vec![(token_name.as_str(), token.as_str()), (kind_name.as_str(), kind)];
            if part == "actor" {
                pairs.extend([("subject_token", "me"), ("subject_token_type", LOCAL)]);
            }
            let answer = client.exchange(&pairs).await;
            let expected = (400, "invalid_request".to_owned(), reason.to_owned());
            assert_eq!(answer.refusal(), expected, "{part}: {name}");
            let told = String::from_utf8_lossy(&answer.body).into_owned();
            assert!(token.len() < 20 || !told.contains(&token[token.len() - 20..]), "{name}: {told}");
        }
    }
}
