//! What a token must be to be read at all, and in which words it is refused.

use alts_request_auth::{Algorithm, Error, KeySet, MAX_TOKEN, Signed, Token};

use super::{encode, rfc_8037_key, token, token_with};

const HEADER: &str = r#"{"alg":"EdDSA"}"#;

#[test]
fn headers_and_payloads_are_refused_with_the_words_of_the_first_fault() {
    let cases = [
        (r#"{"alg":"EdDSA""#, "{}", "Jwt header is an invalid JSON"),
        (r#"["EdDSA"]"#, "{}", "Jwt header is an invalid JSON"),
        (r#"{"alg":"EdDSA","alg":"EdDSA"}"#, "{}", "Jwt header is an invalid JSON"),
        (r#"{"alg":"EdDSA","jwk":{"a":1,"a":2}}"#, "{}", "Jwt header is an invalid JSON"),
        (r#"{"alg":"EdDSA"}{}"#, "{}", "Jwt header is an invalid JSON"),
        (r#"{"alg":"EdDSA",}"#, "{}", "Jwt header is an invalid JSON"),
        ("{}", "{}", "Jwt header [alg] field is required and must be a string"),
        (r#"{"alg":256}"#, "{}", "Jwt header [alg] field is required and must be a string"),
        (r#"{"alg":null}"#, "{}", "Jwt header [alg] field is required and must be a string"),
        (r#"{"alg":"none"}"#, "{}", "Jwt header [alg] is not supported"),
        (r#"{"alg":"None"}"#, "{}", "Jwt header [alg] is not supported"),
        (r#"{"alg":"es256"}"#, "{}", "Jwt header [alg] is not supported"),
        (r#"{"alg":"eddsa"}"#, "{}", "Jwt header [alg] is not supported"),
        (r#"{"alg":"ES256K"}"#, "{}", "Jwt header [alg] is not supported"),
        (r#"{"alg":"ES512"}"#, "{}", "Jwt header [alg] is not supported"),
        (r#"{"alg":"RSA-OAEP"}"#, "{}", "Jwt header [alg] is not supported"),
        (r#"{"alg":""}"#, "{}", "Jwt header [alg] is not supported"),
        (r#"{"alg":"EdDSA","kid":1}"#, "{}", "Jwt header [kid] field is not a string"),
        (r#"{"alg":"EdDSA","kid":null}"#, "{}", "Jwt header [kid] field is not a string"),
        (r#"{"alg":"none","kid":1}"#, "{}", "Jwt header [alg] is not supported"),
        (r#"{"alg":"EdDSA","crit":[]}"#, "{}", "Jwt header [crit] is not supported"),
        (r#"{"alg":"EdDSA","crit":["exp"],"exp":1}"#, "{}", "Jwt header [crit] is not supported"),
        (r#"{"alg":"EdDSA","crit":["b64"],"b64":true}"#, "{}", "Jwt header [crit] is not supported"),
        (r#"{"alg":"EdDSA","b64":false}"#, "{}", "Jwt header [crit] is not supported"),
        (r#"{"alg":"EdDSA","crit":null}"#, "[]", "Jwt header [crit] is not supported"),
        (HEADER, "[]", "Jwt payload is an invalid JSON"),
        (HEADER, "foo", "Jwt payload is an invalid JSON"),
        (HEADER, "null", "Jwt payload is an invalid JSON"),
        (HEADER, r#"{"a":1}x"#, "Jwt payload is an invalid JSON"),
        (HEADER, r#"{"sub":"a","sub":"b"}"#, "Jwt payload is an invalid JSON"),
        (HEADER, r#"{"sub":"a","s\u0075b":"b"}"#, "Jwt payload is an invalid JSON"),
        (HEADER, r#"{"a":[{"b":1,"b":1}]}"#, "Jwt payload is an invalid JSON"),
        (HEADER, r#"{"sub":"\ud800"}"#, "Jwt payload is an invalid JSON"),
        (HEADER, r#"{"a":1e999}"#, "Jwt payload is an invalid JSON"),
        (HEADER, r#"{"a":NaN}"#, "Jwt payload is an invalid JSON"),
        (HEADER, r#"{"a":01}"#, "Jwt payload is an invalid JSON"),
        (HEADER, "\u{feff}{}", "Jwt payload is an invalid JSON"),
        (HEADER, r#"{'a':1}"#, "Jwt payload is an invalid JSON"),
        (HEADER, r#"{"iss":true}"#, "Jwt payload [iss] field is not a string"),
        (HEADER, r#"{"iss":null}"#, "Jwt payload [iss] field is not a string"),
        (HEADER, r#"{"iss":["a"]}"#, "Jwt payload [iss] field is not a string"),
        (HEADER, r#"{"sub":7}"#, "Jwt payload [sub] field is not a string"),
        (HEADER, r#"{"sub":null}"#, "Jwt payload [sub] field is not a string"),
        (HEADER, r#"{"jti":{}}"#, "Jwt payload [jti] field is not a string"),
        (HEADER, r#"{"exp":"1900000000"}"#, "Jwt payload [exp] field is not an integer"),
        (HEADER, r#"{"exp":null}"#, "Jwt payload [exp] field is not an integer"),
        (HEADER, r#"{"exp":true}"#, "Jwt payload [exp] field is not an integer"),
        (HEADER, r#"{"nbf":"0"}"#, "Jwt payload [nbf] field is not an integer"),
        (HEADER, r#"{"iat":[1]}"#, "Jwt payload [iat] field is not an integer"),
        (HEADER, r#"{"exp":-1}"#, "Jwt payload [exp] field is not a positive 64 bit integer"),
        (HEADER, r#"{"exp":-0.5}"#, "Jwt payload [exp] field is not a positive 64 bit integer"),
        (
            HEADER,
            r#"{"nbf":18446744073709551616}"#,
            "Jwt payload [nbf] field is not a positive 64 bit integer",
        ),
        (HEADER, r#"{"iat":1e20}"#, "Jwt payload [iat] field is not a positive 64 bit integer"),
        (HEADER, r#"{"aud":1}"#, "Jwt payload [aud] field is not a string or string list"),
        (HEADER, r#"{"aud":null}"#, "Jwt payload [aud] field is not a string or string list"),
        (HEADER, r#"{"aud":["a",1]}"#, "Jwt payload [aud] field is not a string or string list"),
        (HEADER, r#"{"aud":[["a"]]}"#, "Jwt payload [aud] field is not a string or string list"),
        (HEADER, r#"{"aud":{"a":"b"}}"#, "Jwt payload [aud] field is not a string or string list"),
        (HEADER, r#"{"aud":1,"jti":1,"iss":1}"#, "Jwt payload [iss] field is not a string"),
    ];
    for (header, payload, text) in cases {
        let found = Token::parse(&token(header, payload)).map(|_| "taken".to_owned());
        assert_eq!(found.unwrap_or_else(|error| error.to_string()), text, "{header} {payload}");
    }
}

#[test]
fn a_token_has_exactly_three_strict_parts() {
    let good = token_with(r#"{"sub":"ab"}"#);
    assert!(Token::parse(&good).is_ok());
    let [header, payload, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
    let cases = [
        (String::new(), Error::NotThreeParts),
        (".".to_owned(), Error::NotThreeParts),
        ("..".to_owned(), Error::NotThreeParts),
        (format!("{header}.{payload}"), Error::NotThreeParts),
        (format!("{header}.{payload}."), Error::NotThreeParts),
        (format!("{header}..{signature}"), Error::NotThreeParts),
        (format!(".{payload}.{signature}"), Error::NotThreeParts),
        (format!("{good}."), Error::NotThreeParts),
        (format!(".{good}"), Error::NotThreeParts),
        (format!("{header}..{payload}.{signature}"), Error::NotThreeParts),
        (format!("{good}.{signature}"), Error::NotThreeParts),
        (format!("{header}.{payload}.{signature}.a.b"), Error::NotThreeParts),
        (format!(" {good}"), Error::HeaderNotBase64),
        (format!("{header}=.{payload}.{signature}"), Error::HeaderNotBase64),
        (format!("{header}.{payload}=.{signature}"), Error::PayloadNotBase64),
        (format!("{header}.{payload}\n.{signature}"), Error::PayloadNotBase64),
        (format!("{header}.é.{signature}"), Error::PayloadNotBase64),
        (format!("{good}=="), Error::SignatureNotBase64),
        (format!("{good} trailing"), Error::SignatureNotBase64),
        (format!("{good}\0"), Error::SignatureNotBase64),
        // Standard base64, and bits that are left over.
        (format!("{header}.{payload}.++//"), Error::SignatureNotBase64),
        (format!("{header}.{payload}.AB"), Error::SignatureNotBase64),
    ];
    for (token, error) in cases {
        assert_eq!(Token::parse(&token).err(), Some(error), "{token:?}");
    }
    // A fault of the claims comes before one of the signature.
    let token = format!("{}.{}.AB", encode(HEADER.as_bytes()), encode(br#"{"iss":1}"#));
    assert_eq!(Token::parse(&token).err(), Some(Error::NotString("iss")));
}

#[test]
fn tokens_are_read_up_to_their_limits_and_no_further() {
    let of = |len: usize| {
        format!(
            "{}.{}",
            token_with("{}").rsplit_once('.').map_or("", |(message, _)| message),
            "A".repeat(len)
        )
    };
    let rest = of(0).len();
    let fitting = (MAX_TOKEN - rest) / 4 * 4;
    assert!(Token::parse(&of(fitting)).is_ok());
    assert_eq!(Token::parse(&of(MAX_TOKEN - rest + 1)).err(), Some(Error::TooLong));
    let nested =
        |levels: usize| token_with(&format!(r#"{{"a":{}1{}}}"#, "[".repeat(levels), "]".repeat(levels)));
    assert!(Token::parse(&nested(31)).is_ok());
    assert_eq!(Token::parse(&nested(32)).err(), Some(Error::PayloadNotJson));
    assert_eq!(Token::parse(&nested(5_000)).err(), Some(Error::PayloadNotJson));
}

#[test]
fn what_a_token_says_can_be_asked_for() {
    let text = token(
        r#"{"alg":"EdDSA","kid":"k1","typ":"at+jwt","jku":"https://evil.example/","x5c":["MII"]}"#,
        r#"{"iss":"i","sub":"s","jti":"j","aud":["a","b"],"exp":1900000000.9,"nbf":1,"iat":2e0,"kubernetes.io":{"namespace":"prod"},"a/b":{"c~d":[5]}}"#,
    );
    let token = Token::parse(&text).expect("it is a token");
    let header = token.header();
    assert_eq!(
        (header.algorithm(), header.kid(), header.typ()),
        (Algorithm::EdDSA, Some("k1"), Some("at+jwt"))
    );
    assert_eq!(header.raw().len(), 5);
    let claims = token.claims();
    assert_eq!((claims.issuer(), claims.subject(), claims.id()), (Some("i"), Some("s"), Some("j")));
    assert_eq!(claims.audiences(), ["a", "b"]);
    // Fractions are cut off.
    assert_eq!(
        (claims.expires(), claims.not_before(), claims.issued_at()),
        (Some(1_900_000_000), Some(1), Some(2))
    );
    assert_eq!(claims.all().len(), 9);
    let at = |pointer| claims.pointer(pointer).map(ToString::to_string);
    assert_eq!(at("/kubernetes.io/namespace").as_deref(), Some(r#""prod""#));
    assert_eq!(at("/a~1b/c~0d/0").as_deref(), Some("5"));
    for nothing in ["", "kubernetes.io", "/", "/kubernetes.io/", "/kubernetes", "/a/b", "/a~1b/c~0d/1", "//"]
    {
        assert_eq!(at(nothing), None, "{nothing:?}");
    }
    assert_eq!(token.payload_segment(), text.split('.').nth(1).expect("it has a payload"));
}

#[test]
fn what_a_token_does_not_say_is_not_made_up() {
    let text = token(r#"{"alg":"EdDSA","kid":"","typ":7}"#, r#"{"exp":0}"#);
    let token = Token::parse(&text).expect("it is a token");
    assert_eq!((token.header().kid(), token.header().typ()), (None, None));
    let claims = token.claims();
    assert_eq!((claims.issuer(), claims.subject(), claims.id()), (None, None, None));
    assert_eq!((claims.expires(), claims.not_before(), claims.issued_at()), (None, None, None));
    assert!(claims.audiences().is_empty());
}

#[test]
fn a_jws_may_hold_anything_and_a_token_may_not() {
    let keys = KeySet::of([rfc_8037_key().public()]);
    for payload in ["foo", "[]", ""] {
        let text = token(HEADER, payload);
        let signed = Signed::parse(&text).expect("it is a JWS");
        assert_eq!(signed.payload(), payload.as_bytes());
        assert_eq!(signed.verify(&keys), Ok(()));
        assert!(Token::parse(&text).is_err());
    }
}

#[test]
fn what_debug_shows_of_a_token_cannot_be_presented() {
    let text = token_with(r#"{"sub":"ab"}"#);
    let token = Token::parse(&text).expect("it is a token");
    let signed = Signed::parse(&text).expect("it is a JWS");
    let signature = text.rsplit('.').next().expect("it has a signature");
    for shown in [format!("{token:?}"), format!("{signed:?}")] {
        assert!(
            shown.contains("EdDSA") && !shown.contains(signature) && !shown.contains("signature"),
            "{shown}"
        );
    }
}

#[test]
fn every_error_has_a_reason_of_its_own_and_a_status() {
    use Error::*;
    let all = [
        Missing,
        TooLong,
        NotThreeParts,
        HeaderNotBase64,
        HeaderNotJson,
        AlgMissing,
        AlgUnsupported,
        KidNotString,
        CritUnsupported,
        PayloadNotBase64,
        PayloadNotJson,
        NotString("iss"),
        NotInteger("exp"),
        OutOfRange("exp"),
        AudNotStrings,
        SignatureNotBase64,
        UnknownIssuer,
        NotYetValid,
        Expired,
        NeverExpires,
        AudienceNotAllowed,
        KeySetUnavailable,
        NoKeys,
        NoMatchingKey,
        Ed25519Length,
        BadSignature,
    ];
    let mut reasons: Vec<_> = all.iter().map(Error::reason).collect();
    for (error, reason) in all.iter().zip(&reasons) {
        assert!(reason.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'), "{reason}");
        assert_eq!(error.status(), if *error == AudienceNotAllowed { 403 } else { 401 });
    }
    reasons.sort_unstable();
    reasons.dedup();
    assert_eq!(reasons.len(), all.len());
}
