//! What a handshake costs, beside what its cryptography alone costs: the floor.
//!
//! `floor` does the operations of the library that a handshake between two Ed25519 certificates cannot do
//! without: at each end a key pair, an agreement, a signature, and the check of the other's signature. Chains are
//! found in the cache, as in all handshakes between two workloads but the first. The ratio of the two, measured in
//! one run, is the figure to watch.

#[path = "../tests/support/authority.rs"]
#[expect(dead_code, reason = "a bench uses its part")]
mod authority;

use std::hint::black_box;

use alts_handshake::{Outcome, SystemRandom};
use authority::{CLIENT, Ca, SERVER, now, setup};
use criterion::{Criterion, criterion_group, criterion_main};
use ring::{
    agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral},
    rand,
    signature::{self, Ed25519KeyPair, KeyPair},
};

fn whole(criterion: &mut Criterion) {
    let ca = Ca::new();
    let (client, server, trust) = (ca.credentials(CLIENT), ca.credentials(SERVER), ca.trust());
    let random = SystemRandom::new();
    criterion.bench_function("handshake/both ends", |bencher| {
        bencher.iter(|| {
            let (mut client, init) = authority::client(setup(client.clone(), trust.clone(), &[SERVER]));
            let mut server = authority::server(setup(server.clone(), trust.clone(), &[]));
            let flight = server.step(&init, now(), &random).out_frames;
            let last = client.step(&flight, now(), &random);
            let end = server.step(&last.out_frames, now(), &random);
            assert!(matches!((&last.outcome, &end.outcome), (Outcome::Done(_), Outcome::Done(_))));
            black_box((last, end))
        });
    });
    criterion.bench_function("handshake/both ends, chains validated", |bencher| {
        bencher.iter_batched(
            || ca.trust(),
            |trust| {
                let (mut client, init) = authority::client(setup(client.clone(), trust.clone(), &[SERVER]));
                let mut server = authority::server(setup(server.clone(), trust, &[]));
                let flight = server.step(&init, now(), &random).out_frames;
                let last = client.step(&flight, now(), &random);
                black_box(server.step(&last.out_frames, now(), &random))
            },
            criterion::BatchSize::SmallInput,
        );
    });
}

fn floor(criterion: &mut Criterion) {
    let random = rand::SystemRandom::new();
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&random).expect("a key can be made");
    let key = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).expect("the key is good");
    let message = [0x20; 120];
    criterion.bench_function("handshake/floor", |bencher| {
        bencher.iter(|| {
            let pair = || {
                let private = EphemeralPrivateKey::generate(&X25519, &random).expect("a key can be made");
                let public = private.compute_public_key().expect("a key has a public half");
                (private, public)
            };
            let ((client, client_share), (server, server_share)) = (pair(), pair());
            let agree = |private, share: &ring::agreement::PublicKey| {
                agree_ephemeral(private, &UnparsedPublicKey::new(&X25519, share), |secret| {
                    black_box(secret);
                })
                .expect("the share is good");
            };
            agree(client, &server_share);
            agree(server, &client_share);
            for _ in 0..2 {
                let signed = key.sign(black_box(&message));
                signature::UnparsedPublicKey::new(&signature::ED25519, key.public_key())
                    .verify(&message, signed.as_ref())
                    .expect("the signature is good");
            }
        });
    });
}

criterion_group!(benches, floor, whole);
criterion_main!(benches);
