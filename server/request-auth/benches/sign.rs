//! What a token costs beside one bare signature of the same key.

use std::hint::black_box;

use alts_request_auth::{Algorithm, Expected, KeySet, SigningKey, Token};
use criterion::{Criterion, criterion_group, criterion_main};
use ring::rand::SystemRandom;

const CLAIMS: &[u8] = br#"{"iss":"https://node-7.mesh.example","sub":"frontend@prod.example","aud":"https://orders.example","exp":1900000600,"iat":1900000000,"nbf":1900000000,"jti":"8f6c2b1e4d5a49f0a7c3e2d1b0f9e8d7","client_id":"frontend@prod.example","scope":"read write"}"#;

fn tokens(criterion: &mut Criterion) {
    let random = SystemRandom::new();
    for algorithm in [Algorithm::Es256, Algorithm::EdDSA] {
        let (key, _) = SigningKey::generate(algorithm, &random).expect("a key is generated");
        let token = key.sign("at+jwt", CLAIMS, &random).expect("a token is signed");
        let (message, _) = token.rsplit_once('.').expect("it has parts");
        let keys = KeySet::of([key.public()]);
        let expected =
            Expected { issuer: Some("https://node-7.mesh.example"), audiences: &[], must_expire: true };
        let mut group = criterion.benchmark_group(algorithm.as_str());
        group.bench_function("bare signature", |bencher| {
            bencher.iter(|| key.signature(black_box(message.as_bytes()), &random));
        });
        group.bench_function("token", |bencher| {
            bencher.iter(|| key.sign("at+jwt", black_box(CLAIMS), &random));
        });
        group.bench_function("read", |bencher| bencher.iter(|| Token::parse(black_box(&token))));
        group.bench_function("read and check", |bencher| {
            bencher.iter(|| {
                Token::parse(black_box(&token)).map(|token| token.check(&expected, &keys, 1_900_000_001))
            });
        });
        group.finish();
    }
}

criterion_group!(benches, tokens);
criterion_main!(benches);
