//! What would be decided about a peer: the question of an operator, and the answer with its reasons.

use alts_handshake::{CertificateFacts, Identity, NotAdmitted, Peer};
use alts_proto::altsd::{
    CheckPeerRequest, CheckPeerResponse, CheckedCertificate, check_peer_response::Shadow,
};
use tonic::{Code, Status};

use super::{
    managed::{Managed, side_word},
    refusal::refuse,
};
use crate::policy::{Explanation, Policy, Question, Rule, Side};

/// Most certificates of a peer: as many as a chain has, and the root.
const MAX_CERTIFICATES: usize = 5;

/// Longest name that a program may have called, in bytes.
const MAX_TARGET_NAME: usize = 1_024;

/// Where nobody can say what holds.
const UNKNOWN: &str = "policy_unknown";

/// Answers by a policy, or why every peer is refused. `identities` are those of this node: a local account that is one of them has all
/// the names that it has.
pub(crate) fn check_peer(
    request: CheckPeerRequest,
    policy: &Policy,
    unknown: Option<&str>,
    identities: Vec<Identity>,
    now: u64,
) -> Result<CheckPeerResponse, Status> {
    let CheckPeerRequest { local, peer, side, target_name, certificates } = request;
    let side = Side::parse(side_word(side)).map_err(|problem| invalid("side_invalid", "side", &problem))?;
    let local = identity("local", &local)?;
    let names = |known: &Identity| {
        known.account() == local.account()
            || known.spiffe_id().is_some_and(|id| id.as_str() == local.account())
    };
    let local = identities.into_iter().find(names).unwrap_or(local);
    if target_name.len() > MAX_TARGET_NAME {
        let text = format!("it has {} bytes; {MAX_TARGET_NAME} are the most", target_name.len());
        return Err(invalid("target_name_invalid", "target_name", &text));
    }
    if certificates.len() > MAX_CERTIFICATES {
        let text =
            format!("there are {}; a chain with its root has at most {MAX_CERTIFICATES}", certificates.len());
        return Err(invalid("too_many", "certificates", &text));
    }
    let certificates = certificates.iter().map(facts).collect::<Result<Vec<_>, _>>()?;
    let peer = Peer { identity: identity("peer", &peer)?, certificates: certificates.into() };
    let question = Question { side, local: &local, peer: &peer, target_name: &target_name, now };
    Ok(answer(&policy.explain(&question), unknown))
}

fn answer(explanation: &Explanation, unknown: Option<&str>) -> CheckPeerResponse {
    let decision = &explanation.decision;
    let rule = |rule: &Option<std::sync::Arc<str>>| {
        rule.as_ref().map(|rule| format!("{}{rule}", Rule::COLLECTION)).unwrap_or_default()
    };
    let mut answer = CheckPeerResponse {
        allowed: decision.verdict.is_ok(),
        reason: decision.reason.as_str().to_owned(),
        rule: rule(&decision.rule),
        message: decision.verdict.as_ref().err().map(why).unwrap_or_default(),
        shadow: decision.shadow.as_ref().map(|shadow| Shadow {
            allowed: shadow.allowed,
            reason: shadow.reason.as_str().to_owned(),
            rule: rule(&shadow.rule),
        }),
        steps: explanation.to_string().lines().map(str::to_owned).collect(),
    };
    if let Some(unknown) = unknown {
        answer.steps.push(format!("but every peer is refused now: {unknown}"));
        answer = CheckPeerResponse {
            allowed: false,
            reason: UNKNOWN.to_owned(),
            rule: String::new(),
            message: unknown.to_owned(),
            shadow: None,
            steps: answer.steps,
        };
    }
    answer
}

fn why(refusal: &NotAdmitted) -> String {
    match refusal {
        NotAdmitted::Denied(why)
        | NotAdmitted::Revoked(why)
        | NotAdmitted::NotTarget(why)
        | NotAdmitted::Unknown(why) => why.clone(),
    }
}

fn identity(field: &str, text: &str) -> Result<Identity, Status> {
    let problem = |problem| {
        let text: String = text.chars().take(200).collect();
        invalid(
            "account_invalid",
            field,
            &format!("{text:?} is no account: {problem}; write NAME@DOMAIN or spiffe://DOMAIN/PATH"),
        )
    };
    Identity::parse(text).map_err(problem)
}

fn facts(certificate: &CheckedCertificate) -> Result<CertificateFacts, Status> {
    let CheckedCertificate { issuer, serial_number, sha256_fingerprint, sha256_key_fingerprint } =
        certificate;
    let hash = |text: &str| {
        let mut hash = [0; 32];
        // Nothing has a hash of zeros.
        if !text.is_empty() {
            let refused =
                |_| invalid("sha256_invalid", "certificates", &"a SHA-256 is 64 hexadecimal digits");
            hex::decode_to_slice(text, &mut hash).map_err(refused)?;
        }
        Ok::<_, Status>(hash)
    };
    Ok(CertificateFacts {
        serial: serial_number.replace(':', "").to_ascii_lowercase(),
        subject: String::new(),
        issuer: issuer.clone(),
        sha256: hash(sha256_fingerprint)?,
        key_sha256: hash(sha256_key_fingerprint)?,
    })
}

fn invalid(reason: &str, field: &str, problem: &impl ToString) -> Status {
    refuse(Code::InvalidArgument, reason, &format!("{field}: {}", problem.to_string()))
}
