//! What etcd and the way to it say, and what that means to us. One table.

use std::error::Error as _;

use etcd_client::Error as Etcd;
use tonic::{Code, ConnectError, Status};

use crate::{Error, Revision};

/// What etcd's own messages begin with. Others come from the libraries between us and it.
const ETCD: &str = "etcdserver: ";

/// Longest text taken from the other end, in bytes.
const MAX_TEXT: usize = 300;

/// What follows from a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Nothing was done, and another member may do it.
    Untouched,
    /// It may have been done.
    Unknown,
    /// Who we are has to be told again.
    SignIn,
    /// etcd will not, whoever asks.
    Invalid,
    /// etcd will not do it for us, or not as it is now.
    Refused,
    /// That revision is gone.
    Compacted,
    /// The answer is larger than we take.
    TooLarge,
    /// etcd finds itself damaged.
    Corrupt,
}

/// The rows are tried in order: the status, the beginning of the message, and what it means. No row is
/// [`Meaning::Unknown`].
const MEANINGS: &[(Code, &str, Meaning)] = &[
    (Code::Unavailable, "etcdserver: no leader", Meaning::Untouched),
    (Code::ResourceExhausted, "etcdserver: too many requests", Meaning::Untouched),
    (Code::ResourceExhausted, "etcdserver: ", Meaning::Refused),
    (Code::Unauthenticated, "", Meaning::SignIn),
    (Code::InvalidArgument, "etcdserver: revision of auth store is old", Meaning::SignIn),
    (Code::InvalidArgument, "etcdserver: user name is empty", Meaning::Refused),
    (Code::InvalidArgument, "etcdserver: authentication failed", Meaning::Refused),
    (Code::PermissionDenied, "", Meaning::Refused),
    (Code::FailedPrecondition, "etcdserver: ", Meaning::Refused),
    (Code::InvalidArgument, "etcdserver: ", Meaning::Invalid),
    (Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted", Meaning::Compacted),
    (Code::OutOfRange, "Error, decoded message length too large", Meaning::TooLarge),
    (Code::DataLoss, "etcdserver: ", Meaning::Corrupt),
];

/// What a failure means.
pub(super) fn meaning(problem: &Etcd) -> Meaning {
    match problem {
        Etcd::GRpcStatus(status) if never_left(status) => Meaning::Untouched,
        Etcd::GRpcStatus(status) => {
            let row = MEANINGS
                .iter()
                .find(|(code, text, _)| *code == status.code() && status.message().starts_with(text));
            row.map_or(Meaning::Unknown, |(_, _, meaning)| *meaning)
        }
        Etcd::InvalidArgs(_) | Etcd::InvalidUri(_) => Meaning::Invalid,
        _ => Meaning::Unknown,
    }
}

/// The same in the words of the store. `endpoint` is who said it.
pub(super) fn told(problem: &Etcd, endpoint: &str) -> Error {
    let text = format!("etcd at {endpoint}: {}", text(problem));
    match meaning(problem) {
        Meaning::Untouched | Meaning::Unknown => Error::Unavailable(text),
        Meaning::SignIn | Meaning::Refused => Error::Refused(text),
        Meaning::Invalid | Meaning::TooLarge => Error::Invalid(text),
        // Whoever asked for a revision knows which.
        Meaning::Compacted => Error::Compacted { oldest: Revision(0) },
        Meaning::Corrupt => Error::Corrupt(text),
    }
}

/// Whether there was no connection to send the request on.
fn never_left(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(problem) = source {
        if problem.is::<ConnectError>() {
            return true;
        }
        source = problem.source();
    }
    false
}

/// What was said, with the innermost cause: "tcp connect error" alone helps nobody.
fn text(problem: &Etcd) -> String {
    let Etcd::GRpcStatus(status) = problem else { return shortened(problem.to_string()) };
    let message = status.message().strip_prefix(ETCD).unwrap_or(status.message());
    let mut cause = status.source();
    while let Some(inner) = cause.and_then(|problem| problem.source()) {
        cause = Some(inner);
    }
    match cause.map(ToString::to_string) {
        Some(cause) if cause != message => shortened(format!("{message}: {cause}")),
        _ => shortened(message.to_owned()),
    }
}

fn shortened(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(MAX_TEXT));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_etcd_says_has_one_meaning() {
        let cases = [
            (Code::Unavailable, "etcdserver: no leader", Meaning::Untouched),
            (Code::Unavailable, "etcdserver: request timed out", Meaning::Unknown),
            (Code::Unavailable, "etcdserver: leader changed", Meaning::Unknown),
            (Code::Unknown, "transport error", Meaning::Unknown),
            (Code::DeadlineExceeded, "", Meaning::Unknown),
            (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded", Meaning::Refused),
            (Code::ResourceExhausted, "etcdserver: too many requests", Meaning::Untouched),
            (Code::ResourceExhausted, "grpc: received message larger than max", Meaning::Unknown),
            (Code::Unauthenticated, "etcdserver: invalid auth token", Meaning::SignIn),
            (Code::InvalidArgument, "etcdserver: revision of auth store is old", Meaning::SignIn),
            (Code::InvalidArgument, "etcdserver: user name is empty", Meaning::Refused),
            (Code::PermissionDenied, "etcdserver: permission denied", Meaning::Refused),
            (Code::InvalidArgument, "etcdserver: request is too large", Meaning::Invalid),
            (Code::FailedPrecondition, "etcdserver: authentication is not enabled", Meaning::Refused),
            (Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted", Meaning::Compacted),
            (Code::OutOfRange, "etcdserver: mvcc: required revision is a future revision", Meaning::Unknown),
            (Code::OutOfRange, "Error, decoded message length too large: found 9", Meaning::TooLarge),
            (Code::DataLoss, "etcdserver: corrupt cluster", Meaning::Corrupt),
        ];
        for (code, message, expected) in cases {
            assert_eq!(meaning(&Etcd::GRpcStatus(Status::new(code, message))), expected, "{message}");
        }
    }

    #[test]
    fn long_texts_are_cut() {
        let problem = Etcd::GRpcStatus(Status::unknown("ö".repeat(10_000)));
        let Error::Unavailable(text) = told(&problem, "http://h:1") else { panic!("{problem}") };
        assert!(text.len() < MAX_TEXT + 40, "{}", text.len());
    }
}
