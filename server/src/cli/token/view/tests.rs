use serde_json::json;

use super::*;
use crate::cli::token::explain::{Check, Verdict};

fn object(value: Value) -> Map<String, Value> {
    value.as_object().cloned().expect("it is an object")
}

#[test]
fn an_explanation_is_a_table_and_a_verdict() {
    let check = |of, finding, value: Option<&str>, because: &str| Check {
        of,
        finding,
        value: value.map(str::to_owned),
        because: because.to_owned(),
    };
    let explanation = Explanation {
        checks: vec![
            check("alg", Finding::Ok, Some("ES256"), "known"),
            check("sub", Finding::Bad, Some("a\u{1b}[2J\nb"), "no"),
            check("revoked", Finding::NotChecked, None, "not asked"),
            check("cnf", Finding::Note, None, "bound"),
        ],
        verdict: Verdict {
            outcome: Outcome::Bad,
            status: Some(401),
            reason: Some("token_expired"),
            text: "Jwt is expired".to_owned(),
        },
    };
    let expected = "\
CLAIM    FINDING      BECAUSE    VALUE
alg      ok           known      ES256
sub      bad          no         a\\u{1b}[2J\\nb
revoked  not checked  not asked  -
cnf      -            bound      -

bad: 401 Jwt is expired (token_expired)
";
    assert_eq!(super::explanation(&explanation), expected);
}

#[test]
fn facts_are_what_the_token_says_and_not_the_token() {
    let token = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9p\
                 c19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-\
                 Kg6NU1Q";
    let expected = "\
subject   -
audience
ends      2011-03-22T18:43:00Z (in 1 min)
id        -
key       -
scope     a b
";
    assert_eq!(facts(token, &object(json!({"scope": "a b", "expires_in": 60})), 1_300_819_320), expected);
    assert_eq!(facts("opaque", &Map::new(), 0), "");
}

#[test]
fn members_and_claims_move_no_cursor() {
    let claims = object(json!({"sub": "a\u{1b}[2J\u{9b}2J\u{7f}\n", "n": [1, "x"]}));
    assert_eq!(members(&claims), "n    [1,\"x\"]\nsub  a\\u{1b}[2J\\u{9b}2J\\u{7f}\\n\n");
    let text = json(&claims);
    assert!(text.chars().all(|char| char == '\n' || !char.is_control()), "{text:?}");
    let read: Map<String, Value> = serde_json::from_str(&text).expect("it is JSON still");
    assert_eq!(read, claims);
}
