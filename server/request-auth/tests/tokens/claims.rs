//! Whether claims are good, to the second, and which fault is told first.

use alts_request_auth::{Error, Expected, KeySet, LEEWAY, Token};

use super::{rfc_8037_key, token_with};

const NOW: u64 = 1_900_000_000;

/// What the claims come to for this issuer and these audiences.
fn check(claims: &str, issuer: Option<&str>, audiences: &[&str], now: u64) -> Result<(), Error> {
    let audiences: Vec<_> = audiences.iter().map(|audience| (*audience).to_owned()).collect();
    let expected = Expected { issuer, audiences: &audiences, must_expire: false };
    let text = token_with(claims);
    Token::parse(&text).and_then(|token| token.check_claims(&expected, now))
}

#[test]
fn time_is_good_within_exactly_a_minute_on_both_sides() {
    let end = format!(r#"{{"exp":{NOW}}}"#);
    let start = format!(r#"{{"nbf":{NOW}}}"#);
    let cases = [
        (&end, 0, Ok(())),
        (&end, NOW, Ok(())),
        (&end, NOW + LEEWAY, Ok(())),
        (&end, NOW + LEEWAY + 1, Err(Error::Expired)),
        (&end, u64::MAX, Err(Error::Expired)),
        (&start, NOW, Ok(())),
        (&start, NOW - LEEWAY, Ok(())),
        (&start, NOW - LEEWAY - 1, Err(Error::NotYetValid)),
        (&start, 0, Err(Error::NotYetValid)),
        (&start, u64::MAX, Ok(())),
    ];
    for (claims, now, result) in cases {
        assert_eq!(check(claims, None, &[], now), result, "{claims} at {now}");
    }
    let edges = [
        (r#"{"exp":18446744073709551615}"#, u64::MAX, Ok(())),
        (r#"{"nbf":18446744073709551615}"#, NOW, Err(Error::NotYetValid)),
        (r#"{"exp":1}"#, NOW, Err(Error::Expired)),
        (r#"{"exp":0.5}"#, NOW, Ok(())),
        (r#"{"iat":1999999999}"#, NOW, Ok(())),
        ("{}", u64::MAX, Ok(())),
    ];
    for (claims, now, result) in edges {
        assert_eq!(check(claims, None, &[], now), result, "{claims} at {now}");
    }
}

#[test]
fn a_token_that_must_expire_has_an_end() {
    let expected = Expected { issuer: None, audiences: &[], must_expire: true };
    let cases = [
        ("{}", Err(Error::NeverExpires)),
        (r#"{"exp":0}"#, Err(Error::NeverExpires)),
        (r#"{"exp":0.9}"#, Err(Error::NeverExpires)),
        (r#"{"exp":1}"#, Err(Error::Expired)),
        (r#"{"exp":1900000001}"#, Ok(())),
    ];
    for (claims, result) in cases {
        let text = token_with(claims);
        let token = Token::parse(&text).expect("it is a token");
        assert_eq!(token.check_claims(&expected, NOW), result, "{claims}");
    }
}

#[test]
fn the_issuer_is_compared_octet_by_octet() {
    let foo = r#"{"iss":"https://issuer.example"}"#;
    let cases = [
        (foo, Some("https://issuer.example"), Ok(())),
        (foo, None, Ok(())),
        ("{}", None, Ok(())),
        (foo, Some("https://issuer.example/"), Err(Error::UnknownIssuer)),
        (foo, Some("https://ISSUER.example"), Err(Error::UnknownIssuer)),
        (foo, Some("http://issuer.example"), Err(Error::UnknownIssuer)),
        (foo, Some("https://issuer.exampl"), Err(Error::UnknownIssuer)),
        (foo, Some(""), Err(Error::UnknownIssuer)),
        ("{}", Some("https://issuer.example"), Err(Error::UnknownIssuer)),
        ("{}", Some(""), Err(Error::UnknownIssuer)),
        (r#"{"iss":""}"#, Some("https://issuer.example"), Err(Error::UnknownIssuer)),
    ];
    for (claims, issuer, result) in cases {
        assert_eq!(check(claims, issuer, &[], NOW), result, "{claims} {issuer:?}");
    }
}

#[test]
fn audiences_are_compared_without_scheme_and_last_slash() {
    let refused = Err(Error::AudienceNotAllowed);
    let cases: [(&str, &[&str], _); 21] = [
        (r#"{"aud":"a"}"#, &["a"], Ok(())),
        (r#"{"aud":"a"}"#, &["b", "a"], Ok(())),
        (r#"{"aud":["x","a"]}"#, &["a"], Ok(())),
        (r#"{"aud":"http://aud-a/"}"#, &["aud-a"], Ok(())),
        (r#"{"aud":"b.example"}"#, &["https://b.example/"], Ok(())),
        (r#"{"aud":"http://b.example"}"#, &["https://b.example/"], Ok(())),
        (r#"{"aud":["x"]}"#, &[], Ok(())),
        ("{}", &[], Ok(())),
        ("{}", &["a"], refused),
        (r#"{"aud":[]}"#, &["a"], refused),
        (r#"{"aud":""}"#, &["a"], refused),
        (r#"{"aud":"A"}"#, &["a"], refused),
        (r#"{"aud":"a "}"#, &["a"], refused),
        (r#"{"aud":"ab"}"#, &["a"], refused),
        (r#"{"aud":"a//"}"#, &["a"], refused),
        (r#"{"aud":"http://https://a"}"#, &["a"], refused),
        (r#"{"aud":"HTTP://a"}"#, &["a"], refused),
        (r#"{"aud":"ftp://a"}"#, &["a"], refused),
        (r#"{"aud":"a,b"}"#, &["a"], refused),
        // What is nothing but a scheme or a slash names nobody.
        (r#"{"aud":"https://"}"#, &["/"], refused),
        (r#"{"aud":""}"#, &[""], refused),
    ];
    for (claims, audiences, result) in cases {
        assert_eq!(check(claims, None, audiences, NOW), result, "{claims} {audiences:?}");
    }
}

#[test]
fn the_first_fault_is_told_and_the_signature_is_looked_at_last() {
    let key = rfc_8037_key();
    let (keys, none) = (KeySet::of([key.public()]), KeySet::of([]));
    let audiences = ["us".to_owned()];
    let expected = Expected { issuer: Some("i"), audiences: &audiences, must_expire: true };
    let at = |claims: &str, keys: &KeySet, forged: bool| {
        let mut text = token_with(claims);
        if forged {
            text.replace_range(text.len() - 4.., "AAAA");
        }
        Token::parse(&text).and_then(|token| token.check(&expected, keys, NOW))
    };
    let far = NOW + 1_000;
    let cases = [
        (format!(r#"{{"iss":"x","exp":1,"nbf":{far},"aud":"x"}}"#), &keys, true, Err(Error::UnknownIssuer)),
        (format!(r#"{{"iss":"i","exp":1,"nbf":{far},"aud":"x"}}"#), &keys, true, Err(Error::NotYetValid)),
        (r#"{"iss":"i","exp":1,"aud":"x"}"#.to_owned(), &keys, true, Err(Error::Expired)),
        (r#"{"iss":"i","aud":"x"}"#.to_owned(), &keys, true, Err(Error::NeverExpires)),
        (format!(r#"{{"iss":"i","exp":{far},"aud":"x"}}"#), &keys, true, Err(Error::AudienceNotAllowed)),
        (format!(r#"{{"iss":"i","exp":{far},"aud":"us"}}"#), &none, false, Err(Error::NoKeys)),
        (format!(r#"{{"iss":"i","exp":{far},"aud":"us"}}"#), &keys, true, Err(Error::BadSignature)),
        (format!(r#"{{"iss":"i","exp":{far},"aud":"us"}}"#), &keys, false, Ok(())),
    ];
    for (claims, keys, forged, result) in cases {
        assert_eq!(at(&claims, keys, forged), result, "{claims} forged: {forged}");
    }
}
