//! Requests as programs send them. What is refused, with its code and status, is in the tests of the door.

use super::*;

const FORM: &str = "application/x-www-form-urlencoded";

const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

fn parsed(content_type: &str, body: &str) -> ExchangeRequest {
    ExchangeRequest::parse(content_type, body.as_bytes())
        .unwrap_or_else(|problem| panic!("{problem}: {body}"))
}

#[test]
fn a_form_of_c_core_is_read_with_its_raw_spaces_and_slashes() {
    let body = format!(
        "grant_type={TOKEN_EXCHANGE}&scope=orders.read orders.write&resource=https://orders.example/api?x=1\
         &audience=//iam.example/pools/a&subject_token=a.b.c\n&subject_token_type={JWT}"
    );
    let request = parsed(FORM, &body);
    assert_eq!(request.subject.token.expose(), "a.b.c");
    assert_eq!(request.subject.kind, TokenKind::Jwt);
    assert_eq!(request.targets, ["//iam.example/pools/a", "https://orders.example/api?x=1"]);
    assert_eq!(request.scopes.as_deref(), Some(&["orders.read".to_owned(), "orders.write".to_owned()][..]));
    assert_eq!(request.requested, Requested::AccessToken);
    assert!(request.actor.is_none());
}

#[test]
fn a_form_that_is_escaped_says_the_same() {
    let escape = |text: &str| text.replace(':', "%3A").replace('/', "%2f");
    let body = format!(
        "grant_type={}&scope=orders.read+orders.write%20x&audience={}&subject_token=a.b.c&subject_token_type={}&x",
        escape(TOKEN_EXCHANGE),
        escape("//iam.example/pools/a"),
        escape(JWT)
    );
    let request = parsed("Application/X-WWW-Form-URLencoded; charset=utf-8", &body);
    assert_eq!(request.targets, ["//iam.example/pools/a"]);
    assert_eq!(request.scopes.expect("it has").join(","), "orders.read,orders.write,x");
}

#[test]
fn json_of_grpc_go_is_read() {
    let body = format!(
        r#"{{"grant_type":"{TOKEN_EXCHANGE}","audience":["a","b","a"],"resource":"urn:x:y","scope":"s  s t",
        "requested_token_type":"{JWT}","subject_token":" t ","subject_token_type":"urn:altsd:token-type:local-peer",
        "actor_token":"u","actor_token_type":"urn:altsd:token-type:alts-context","options":{{"deep":[1]}}}}"#
    );
    let request = parsed("application/json", &body);
    assert_eq!(request.targets, ["a", "b", "urn:x:y"]);
    assert_eq!(request.scopes.expect("it has"), ["s", "t"]);
    assert_eq!((request.requested, request.subject.kind), (Requested::Jwt, TokenKind::LocalPeer));
    let actor = request.actor.expect("there is one");
    assert_eq!((actor.kind, actor.token.expose()), (TokenKind::AltsContext, "u"));
}

#[test]
fn parameters_without_a_value_are_not_there() {
    let body = format!(
        "&&grant_type=&grant_type={TOKEN_EXCHANGE}&subject_token=x&subject_token_type={JWT}&actor_token=\
         &actor_token_type=&scope=&audience=&audience&resource=&requested_token_type=&unknown=1&unknown=2"
    );
    let request = parsed(FORM, &body);
    assert!(request.actor.is_none() && request.targets.is_empty() && request.scopes.is_none());
}

#[test]
fn a_token_shows_nothing_of_itself() {
    let body = format!("grant_type={TOKEN_EXCHANGE}&subject_token=s3cret&subject_token_type={JWT}");
    let shown = format!("{:?}", parsed(FORM, &body));
    assert!(!shown.contains("s3cret"), "{shown}");
}

#[test]
fn absolute_uris_have_a_scheme_and_no_fragment() {
    for good in ["https://a.example", "https://a.example/b?c=d", "urn:a:b", "a+b-c.1:x"] {
        assert!(is_absolute_uri(good), "{good}");
    }
    for bad in
        ["", "a", "/a", "//a.example", ":a", "1a:b", "https:", "https://a#b", "https://a b", "a_b:c", "a:<b>"]
    {
        assert!(!is_absolute_uri(bad), "{bad}");
    }
}
