//! Who may ask at the admin socket: root, the user that the daemon runs as, and those whom the configuration names. Where
//! it names none, the mode of the socket's file says the same; but a file can be given away, and a directory moved.

use std::sync::Arc;

use alts_store::Revision;
use tonic::{Status, codegen::http::Extensions};

use crate::attest::Caller;

const ROOT: u32 = 0;

/// Who may ask.
#[derive(Clone, Debug)]
pub(crate) struct Operators(Arc<[u32]>);

impl Operators {
    /// Root, the user `own` that the daemon runs as, and others.
    pub(super) fn new(own: u32, others: &[u32]) -> Self {
        let mut uids = [&[ROOT, own], others].concat();
        uids.sort_unstable();
        uids.dedup();
        Self(uids.into())
    }

    pub(super) fn uids(&self) -> Arc<[u32]> {
        self.0.clone()
    }
}

/// Who has asked, for the log: what an operator changes is told with their uid.
pub(super) struct Operator(Option<u32>);

impl Operator {
    pub(super) fn of(extensions: &Extensions) -> Self {
        Self(extensions.get::<Caller>().and_then(Caller::uid))
    }

    /// The operator's uid.
    pub(super) fn uid(&self) -> Option<u32> {
        self.0
    }

    /// Logs what was done to what no store numbers.
    pub(super) fn did_here(&self, what: &str, resource: &str) {
        tracing::info!(uid = self.0, resource, "an operator has {what} {resource}");
    }

    /// Logs what was done.
    pub(super) fn did(&self, what: &str, resource: &str, revision: Revision) {
        tracing::info!(uid = self.0, resource, revision = revision.0, "an operator has {what} {resource}");
    }
}

/// Refuses the callers whom the kernel does not say to be one of them.
pub(super) fn check(extensions: &Extensions, operators: &Operators) -> Result<(), Status> {
    decide(extensions.get::<Caller>().and_then(Caller::uid), operators).map_err(|text| {
        tracing::warn!(reason = "admin_denied", "an admin request is refused: {text}");
        Status::permission_denied(format!("admin_denied: {text}"))
    })
}

fn decide(uid: Option<u32>, operators: &Operators) -> Result<(), String> {
    match uid {
        Some(uid) if operators.0.contains(&uid) => Ok(()),
        Some(uid) => {
            let uids: Vec<_> = operators.0.iter().map(u32::to_string).collect();
            Err(format!("the caller has uid {uid}, and only these may ask here: {}", uids.join(", ")))
        }
        None => Err("the kernel does not say who the caller is".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_the_user_of_the_daemon_and_those_configured_are_let_in() {
        let cases: [(u32, u32, &[u32]); 6] =
            [(0, 0, &[]), (0, 7, &[]), (7, 7, &[]), (8, 7, &[8, 9]), (9, 7, &[8, 9]), (0, 7, &[8])];
        for (uid, own, others) in cases {
            assert_eq!(decide(Some(uid), &Operators::new(own, others)), Ok(()));
        }
    }

    #[test]
    fn everybody_else_is_refused_and_told_why() {
        let cases: [(_, u32, &[u32], _); 5] = [
            (Some(8), 7, &[], "the caller has uid 8, and only these may ask here: 0, 7"),
            (Some(1), 0, &[], "the caller has uid 1, and only these may ask here: 0"),
            (Some(7), 0, &[9, 8, 9], "the caller has uid 7, and only these may ask here: 0, 8, 9"),
            (Some(u32::MAX), 7, &[], "the caller has uid 4294967295, and only these may ask here: 0, 7"),
            (None, 0, &[1], "the kernel does not say who the caller is"),
        ];
        for (uid, own, others, text) in cases {
            assert_eq!(decide(uid, &Operators::new(own, others)), Err(text.to_owned()));
        }
    }

    #[test]
    fn a_connection_of_unknown_origin_is_refused() {
        let status = check(&Extensions::new(), &Operators::new(0, &[])).expect_err("nobody is named");
        assert_eq!(status.code(), tonic::Code::PermissionDenied);
        assert!(status.message().starts_with("admin_denied: "), "{}", status.message());
    }
}
