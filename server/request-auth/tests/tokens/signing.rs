//! What our own keys sign, and what is published of them.

use alts_request_auth::{
    Algorithm, Expected, KeyError, KeySet, PublicKey, Signed, SigningKey, Token, install_provider,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::DecodingKey;
use ring::rand::SystemRandom;
use serde_json::{Value, json};

use super::{RFC_8037_KEY, rfc_8037_key};

/// A key of 1024 bits that is nobody's, as PKCS#8.
const SHORT_RSA_KEY: &str = "MIICdQIBADANBgkqhkiG9w0BAQEFAASCAl8wggJbAgEAAoGBAMQlpZkTzjO9yH2qFQtrf2a0mRJSgwrXllY0W7HXNyPLiJthnGou\
    hxrmf8W42q7YKqCE9cBCJeaHSv_cl1STffHVEhtkS4RY52NS5SOYkz5T9k81XEomWIsjrqLx7HP61dncJ5N_ykD7ivZ9zNYZ4sbx\
    MqlfU_Fv627lLHng7tBzAgMBAAECgYB9ZDPA8FBZ83FAJILfkhEX70wL0oPDYp7Q7RfRUOwHDg5-hqAfoS7tm30DQXFLZRWbGGSi\
    S6c_AC6J8tMrVj6kQmvkMY9kXOn1lW6M6P2WbAgbCO_GVlc8iU5txZjhiqfFDKtHf2jHTasnKcL1TaVliv7nUYLQ43R4VZ3307c0\
    wQJBAPqloeYpjPYJsN3Yegygx4oxLNcyN2dK5CaeULbinZfnbvadllq7uqHz5xvKIBMGCki4Tn9LUkFSWZEteWraAQcCQQDIVgu3\
    mNzEftlSqNQ5at3GTvDkVLQe1HERO_q0nllfAz5WT1pMmfJkCTicKxgVEhj-4DaA8XxKSCisSgD9GhY1AkB6cRVQyXV576v-A7VD\
    m_s-L92W1oooJHalwurtHHEd9snHIZ6EfnaijPKWKbxXbrjxY0-9cX8iN-dXO1636v1bAkAYO0gpieTSI6G3vNIGq-VtUikTBSfQ\
    PtP6SK33YNvggSzuFaUPdON7tB3TzeaYzdqWIZqWGB93gKjixgS-mIQtAkA7WLuKORqcZprzG3amNCNuzOWP_2b5lVqrS1qnIQRh\
    6rCHHAqB_LjqzHJkXqI9cXqNIVxgg7Pi08yECZU6UO-y";

const CLAIMS: &[u8] = br#"{"iss":"https://node.example","sub":"a@b","aud":"c","exp":1900000600}"#;

#[test]
fn the_key_of_rfc_8037_signs_what_its_appendix_shows() {
    // RFC 8037, appendix A.4.
    let message = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let key = rfc_8037_key();
    let signature = key.signature(message, &SystemRandom::new()).expect("it is signed");
    let shown = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    assert_eq!(super::encode(&signature), shown);
    // Appendix A.3.
    assert_eq!(key.kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
}

#[test]
fn a_token_of_the_key_of_rfc_8037_is_always_the_same() {
    let header = r#"{"typ":"at+jwt","alg":"EdDSA","kid":"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"}"#;
    let claims = r#"{"sub":"a"}"#;
    let token = rfc_8037_key().sign("at+jwt", claims.as_bytes(), &SystemRandom::new());
    assert_eq!(token, Ok(super::token(header, claims)));
}

#[test]
fn what_a_key_signs_its_public_key_verifies_and_no_other() {
    let random = SystemRandom::new();
    let expected =
        Expected { issuer: Some("https://node.example"), audiences: &["c".to_owned()], must_expire: true };
    for algorithm in [Algorithm::Es256, Algorithm::EdDSA] {
        let (key, der) = SigningKey::generate(algorithm, &random).expect("a key is generated");
        let (other, _) = SigningKey::generate(algorithm, &random).expect("a key is generated");
        let read = SigningKey::from_pkcs8(algorithm, &der).expect("it can be read again");
        assert_eq!((read.kid(), read.public()), (key.kid(), key.public()));
        let (own, both) = (KeySet::of([key.public()]), KeySet::of([other.public(), key.public()]));
        assert!(own.contains(key.kid()) && !own.contains(other.kid()) && !own.has_symmetric());
        // Two are encoded in advance, and the third is not.
        for typ in ["at+jwt", "JWT", "logout+jwt"] {
            let text = read.sign(typ, CLAIMS, &random).expect("it is signed");
            let token = Token::parse(&text).expect("it is a token");
            let header = token.header();
            assert_eq!(
                (header.algorithm(), header.kid(), header.typ()),
                (algorithm, Some(key.kid()), Some(typ))
            );
            assert_eq!(header.raw().len(), 3);
            assert_eq!(Signed::parse(&text).map(|signed| signed.payload().to_vec()), Ok(CLAIMS.to_vec()));
            assert_eq!(token.check(&expected, &own, 1_900_000_000), Ok(()));
            assert_eq!(token.check(&expected, &both, 1_900_000_000), Ok(()));
            assert!(token.check(&expected, &KeySet::of([other.public()]), 1_900_000_000).is_err());
        }
    }
}

#[test]
fn jsonwebtoken_verifies_what_we_sign() {
    install_provider();
    install_provider();
    let random = SystemRandom::new();
    for algorithm in [Algorithm::Es256, Algorithm::EdDSA] {
        let (key, _) = SigningKey::generate(algorithm, &random).expect("a key is generated");
        let token = key.sign("JWT", CLAIMS, &random).expect("it is signed");
        let jwk = serde_json::to_value(key.public()).and_then(serde_json::from_value).expect("it is a JWK");
        let decoding = DecodingKey::from_jwk(&jwk).expect("it is a key");
        let mut validation = jsonwebtoken::Validation::new(algorithm.as_str().parse().expect("it is known"));
        validation.validate_aud = false;
        let claims =
            jsonwebtoken::decode::<Value>(&token, &decoding, &validation).expect("it is good").claims;
        assert_eq!(claims["sub"], "a@b");
        let cut = &token[..token.len() - 4];
        assert!(jsonwebtoken::decode::<Value>(cut, &decoding, &validation).is_err());
        let thumbprint = jwk.thumbprint(jsonwebtoken::jwk::ThumbprintHash::SHA256);
        assert_eq!(thumbprint.as_deref(), Ok(key.kid()));
    }
}

#[test]
fn jsonwebtoken_is_told_that_it_cannot_sign_and_does_not_panic() {
    install_provider();
    let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
    let key = jsonwebtoken::EncodingKey::from_secret(&[1; 32]);
    assert!(jsonwebtoken::encode(&header, &json!({}), &key).is_err());
    assert!(
        jsonwebtoken::jwk::Jwk::from_encoding_key(
            &jsonwebtoken::EncodingKey::from_ec_der(&[1; 32]),
            jsonwebtoken::Algorithm::ES256
        )
        .is_err()
    );
}

#[test]
fn a_key_that_is_not_signed_with_here_is_refused() {
    let random = SystemRandom::new();
    let ed25519 = hex::decode(RFC_8037_KEY).expect("it is hex");
    let (_, p256) = SigningKey::generate(Algorithm::Es256, &random).expect("a key is generated");
    for algorithm in Algorithm::ALL {
        let generated = SigningKey::generate(algorithm, &random).map(|_| ());
        match algorithm {
            Algorithm::Es256 | Algorithm::EdDSA => assert_eq!(generated, Ok(())),
            _ => assert_eq!(generated, Err(KeyError::NotGenerated(algorithm))),
        }
        for der in [&ed25519[..], &p256, &ed25519[1..], &p256[..p256.len() - 1], &[], &[0x30], &[0; 200]] {
            let reason = SigningKey::from_pkcs8(algorithm, der).map(|_| ()).map_err(|error| error.reason());
            let expected = match algorithm {
                Algorithm::EdDSA if der == ed25519 => Ok(()),
                Algorithm::Es256 if der == &p256[..] => Ok(()),
                Algorithm::Es256 | Algorithm::EdDSA | Algorithm::Rs256 => Err("signing_key_unreadable"),
                _ => Err("signing_algorithm_unsupported"),
            };
            assert_eq!(reason, expected, "{algorithm} {}", hex::encode(&der[..der.len().min(8)]));
        }
    }
}

#[test]
fn an_rsa_key_of_1024_bits_is_refused() {
    let der = URL_SAFE_NO_PAD.decode(SHORT_RSA_KEY).expect("it is base64url");
    let refused = SigningKey::from_pkcs8(Algorithm::Rs256, &der).map(|_| ());
    let problem = "TooSmall".to_owned();
    assert_eq!(refused, Err(KeyError::Unreadable { algorithm: Algorithm::Rs256, problem }));
}

#[test]
fn a_key_of_one_family_verifies_nothing_of_another() {
    install_provider();
    let random = SystemRandom::new();
    let (key, _) = SigningKey::generate(Algorithm::Es256, &random).expect("a key is generated");
    let jwk = serde_json::to_value(key.public()).expect("it is JSON");
    let coordinate = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().expect("it is there"));
    let (x, y) = (coordinate("x").expect("it is base64url"), coordinate("y").expect("it is base64url"));
    let point = [&[4][..], &x, &y].concat();
    let signature = super::encode(&key.signature(b"message", &random).expect("it is signed"));
    let mac = ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &point), b"message");
    let mac = super::encode(mac.as_ref());
    let (curve, secret) = (DecodingKey::from_ec_der(&point), DecodingKey::from_secret(&point));
    let cases = [
        (&signature, &curve, jsonwebtoken::Algorithm::ES256, true),
        (&mac, &secret, jsonwebtoken::Algorithm::HS256, true),
        (&signature, &secret, jsonwebtoken::Algorithm::ES256, false),
        (&mac, &curve, jsonwebtoken::Algorithm::HS256, false),
        (&signature, &curve, jsonwebtoken::Algorithm::RS256, false),
        (&signature, &curve, jsonwebtoken::Algorithm::EdDSA, false),
        (
            &signature,
            &DecodingKey::from_rsa_raw_components(&x, &[1, 0, 1]),
            jsonwebtoken::Algorithm::ES256,
            false,
        ),
    ];
    for (signature, key, algorithm, good) in cases {
        let found = jsonwebtoken::crypto::verify(signature, b"message", key, algorithm);
        assert_eq!(found, Ok(good), "{key:?} {algorithm:?}");
    }
}

#[test]
fn a_public_key_shows_no_more_than_it_must() {
    let jwk = serde_json::to_value(rfc_8037_key().public()).expect("it is JSON");
    let shown = json!({
        "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k", "alg": "EdDSA", "use": "sig",
    });
    assert_eq!(jwk, shown);
    let (key, _) = SigningKey::generate(Algorithm::Es256, &SystemRandom::new()).expect("a key is generated");
    let jwk = serde_json::to_value(key.public()).expect("it is JSON");
    let names: Vec<_> = jwk.as_object().expect("it is an object").keys().map(String::as_str).collect();
    assert_eq!(names, ["alg", "crv", "kid", "kty", "use", "x", "y"]);
    let read: PublicKey = serde_json::from_value(jwk).expect("it is what it says");
    assert_eq!(read, *key.public());
}

#[test]
fn a_public_key_that_is_not_what_it_says_is_not_deserialised() {
    let good = serde_json::to_value(rfc_8037_key().public()).expect("it is JSON");
    assert!(serde_json::from_value::<PublicKey>(good.clone()).is_ok());
    let changes = [
        ("kid", json!("other")),
        ("kid", json!("")),
        ("kid", Value::Null),
        ("x", json!("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURp")),
        ("x", json!(super::encode(&[3; 32]))),
        ("x", Value::Null),
        ("crv", json!("X25519")),
        ("crv", Value::Null),
        ("kty", json!("EC")),
        ("kty", json!("oct")),
        ("kty", json!("RSA")),
        ("alg", json!("ES256")),
        ("alg", json!("HS256")),
        ("alg", json!("none")),
        ("alg", Value::Null),
        ("use", json!("enc")),
        ("use", Value::Null),
        ("y", json!("AA")),
        ("n", json!("AA")),
        ("d", json!(super::encode(&[3; 32]))),
        ("k", json!("AA")),
        ("key_ops", json!(["verify"])),
    ];
    for (name, value) in changes {
        let mut key = good.clone();
        match value {
            Value::Null => drop(key.as_object_mut().expect("it is an object").remove(name)),
            value => key[name] = value,
        }
        assert!(serde_json::from_value::<PublicKey>(key.clone()).is_err(), "{key}");
    }
}
