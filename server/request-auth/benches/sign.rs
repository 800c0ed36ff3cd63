//! What a token costs beside one bare signature of the same key.

use std::hint::black_box;

use alts_request_auth::{Algorithm, Expected, KeySet, SigningKey, Token};
use criterion::{Criterion, criterion_group, criterion_main};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair},
};

const ISSUER: &str = "https://node-7.mesh.example";

const NOW: u64 = 1_900_000_001;

const CLAIMS: &[u8] = br#"{"iss":"https://node-7.mesh.example","sub":"frontend@prod.example","aud":"https://orders.example","exp":1900000600,"iat":1900000000,"nbf":1900000000,"jti":"8f6c2b1e4d5a49f0a7c3e2d1b0f9e8d7","client_id":"frontend@prod.example","scope":"read write"}"#;

fn tokens(criterion: &mut Criterion) {
    let random = SystemRandom::new();
    for algorithm in [Algorithm::Es256, Algorithm::EdDSA] {
        let (key, der) = SigningKey::generate(algorithm, &random).expect("a key is generated");
        let token = key.sign("at+jwt", CLAIMS, &random).expect("a token is signed");
        let (message, _) = token.rsplit_once('.').expect("it has parts");
        let mut group = criterion.benchmark_group(algorithm.as_str());
        if algorithm == Algorithm::Es256 {
            let bare = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der, &random)
                .expect("it is a key");
            group.bench_function("bare signature", |bencher| {
                bencher.iter(|| bare.sign(&random, black_box(message.as_bytes())));
            });
        } else {
            let bare = Ed25519KeyPair::from_pkcs8(&der).expect("it is a key");
            group.bench_function("bare signature", |bencher| {
                bencher.iter(|| bare.sign(black_box(message.as_bytes())));
            });
        }
        group.bench_function("token", |bencher| {
            bencher.iter(|| key.sign("at+jwt", black_box(CLAIMS), &random));
        });
        let keys = KeySet::of([key.public()]);
        let expected = Expected { issuer: Some(ISSUER), audiences: &[], must_expire: true };
        group.bench_function("read", |bencher| bencher.iter(|| Token::parse(black_box(&token)).is_ok()));
        group.bench_function("read and check", |bencher| {
            bencher.iter(|| {
                Token::parse(black_box(&token)).and_then(|token| token.check(&expected, &keys, NOW))
            });
        });
        group.finish();
    }
}

criterion_group!(benches, tokens);
criterion_main!(benches);
