//! What several tests need.

mod documents;
mod explanations;
mod models;
mod names;
mod properties;
mod revocations;
mod rules;
mod sources;

use std::sync::Arc;

use alts_handshake::{CertificateFacts, Identity, MailAccount, NotAdmitted, Peer, SpiffeId};

use super::{
    decide::Shadow,
    explain::{RuleOutcome, RuleStep},
    model::{MAX_DESCRIPTION, MAX_PEERS, MAX_RECORD},
    name::AccountName,
    pattern::AccountPattern,
    revocation::{MAX_REASON, Serial, Times},
    *,
};

pub(super) const LOCAL: &str = "orders@prod.example.com";

/// By `MAIL`, `SPIFFE ID` or both with a blank between.
pub(super) fn identity(names: &str) -> Identity {
    match names.split_once(' ') {
        None => Identity::parse(names).expect("it is an identity"),
        Some((mail, id)) => {
            Identity::new(MailAccount::parse(mail).ok(), SpiffeId::parse(id).ok()).expect("it has names")
        }
    }
}

/// A peer with a path of a leaf, an intermediate and a root, with the keys `81…`, `82…` and `83…`.
pub(super) fn peer(names: &str) -> Peer {
    let certificates = [
        certificate("0a01", "CN=issuing", 1),
        certificate("0b02", "CN=root", 2),
        certificate("0c03", "CN=root", 3),
    ];
    Peer { identity: identity(names), certificates: Arc::new(certificates) }
}

pub(super) fn certificate(serial: &str, issuer: &str, number: u8) -> CertificateFacts {
    CertificateFacts {
        serial: serial.to_owned(),
        subject: "CN=any".to_owned(),
        issuer: issuer.to_owned(),
        sha256: [number; 32],
        key_sha256: [number | 0x80; 32],
    }
}

/// The resources of a document in TOML.
pub(super) fn resources(toml: &str) -> Resources {
    parse(toml, Format::Toml).unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// A policy of one document.
pub(super) fn policy(default: Action, toml: &str) -> Policy {
    let files = if toml.is_empty() { Resources::default() } else { resources(toml) };
    Policy::compile(
        Sources { default, files: &files, store: &Resources::default(), revocations: &Arc::default() },
        None,
    )
}

/// A rule of `orders@prod.example.com` on the server side.
pub(super) fn rule(name: &str, action: &str, mode: &str, peers: &str) -> String {
    format!(
        "[[rule]]\nname = {name:?}\nlocal = {LOCAL:?}\nside = \"server\"\naction = {action:?}\nmode = {mode:?}\n\
         peers = [{peers:?}]\n"
    )
}

pub(super) fn decide(policy: &Policy, side: Side, local: &str, by: &str, target_name: &str) -> Decision {
    let (local, peer) = (identity(local), peer(by));
    policy.decide(&Question { side, local: &local, peer: &peer, target_name, now: 1_000 })
}

/// What a server that is [`LOCAL`] decides.
pub(super) fn serve(policy: &Policy, by: &str) -> Decision {
    decide(policy, Side::Server, LOCAL, by, "")
}

/// The text of a refusal.
pub(super) fn why(decision: &Decision) -> &str {
    match &decision.verdict {
        Ok(()) => "",
        Err(
            NotAdmitted::Denied(why)
            | NotAdmitted::Revoked(why)
            | NotAdmitted::NotTarget(why)
            | NotAdmitted::Unknown(why),
        ) => why,
    }
}
