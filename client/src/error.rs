//! Why there is no connection.

use std::{fmt, io};

use tonic::Code;

use crate::record::RecordError;

mod address;

pub use address::AddressError;

/// What another library says about a failure.
pub(crate) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why there is no connection: which side refused, and what it says.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nobody answers at the address of the handshaker.
    #[error("the handshaker {address} cannot be reached: {}; is it running, and listening there?", deepest(.source))]
    HandshakerUnreachable {
        /// As the program gave it.
        address: String,
        /// What the transport says.
        source: Cause,
    },
    /// The connection to the handshaker ended in the middle of the handshake. The next handshake makes a new one.
    #[error("the connection to the handshaker {address} broke during the handshake: {}", deepest(.source))]
    HandshakerLost {
        /// As the program gave it.
        address: String,
        /// What the transport says.
        source: Cause,
    },
    /// This side's handshaker refused the handshake, or passes on that the other side's did.
    #[error("{} refused: {details} ({code:?})", whose_handshaker(*.relayed))]
    Refused {
        /// The kind of reason.
        code: Code,
        /// The reason. altsd's begins with a stable reason code and a colon.
        details: String,
        /// Whether the other side's handshaker has refused, and this side's only says so.
        relayed: bool,
    },
    /// The handshaker sent what the protocol between it and programs does not allow.
    #[error("the handshaker broke its contract: {field} {problem}")]
    Contract {
        /// Which field of its response.
        field: &'static str,
        /// What is wrong with it, and its value.
        problem: String,
    },
    /// The other side closed the connection before the handshake was done: it has refused, or failed.
    #[error(
        "the other side closed the connection during the handshake; its log or its handshaker's says why, if it speaks ALTS"
    )]
    PeerClosed {
        /// Bytes that it had sent. Of a client that has sent none, it may be a port scan or a health check.
        received: usize,
    },
    /// The connection to the other side failed.
    #[error("the connection to the other side failed during the handshake: {0}")]
    Connection(#[source] io::Error),
    /// The other side sent more than any handshake needs.
    #[error("the other side sent {bytes} bytes and the handshake is not done; at most {limit} are taken")]
    TooMuchInput {
        /// Bytes that have come and not led on.
        bytes: usize,
        /// Bytes that are taken.
        limit: usize,
    },
    /// The two programs speak no common version of the RPC protocol.
    #[error("the other side speaks rpc versions {peer}, this one {own}")]
    RpcVersions {
        /// What the other side speaks.
        peer: RpcVersions,
        /// What this side speaks.
        own: RpcVersions,
    },
    /// The other side is authentic, and this program does not want to speak to it.
    #[error("this program does not speak to {account}: {reason}")]
    NotAuthorized {
        /// The other side's service account.
        account: String,
        /// What the program's `authorize` says.
        reason: String,
    },
    /// The handshake took too long.
    #[error("the handshake was not done within {seconds} s: it was waiting for {waiting_for}")]
    TimedOut {
        /// The limit.
        seconds: f64,
        /// What had not come.
        waiting_for: WaitingFor,
    },
    /// What the handshaker agreed on cannot protect a connection.
    #[error("the record protocol cannot be used: {0}")]
    Record(#[from] RecordError),
}

/// Versions of the RPC protocol, each as major and minor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RpcVersions {
    /// The highest.
    pub max: (u32, u32),
    /// The lowest.
    pub min: (u32, u32),
}

/// What a handshake that timed out was waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitingFor {
    /// Other handshakes of this program to end.
    Place,
    /// An answer of this side's handshaker.
    Handshaker,
    /// Bytes from the other side, or room for bytes to it.
    Peer,
}

/// Who has refused a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefusedBy {
    /// This side's handshaker.
    OurHandshaker,
    /// The other side, or its handshaker.
    Peer,
    /// This program, or this library for it.
    Us,
    /// Nobody: something failed, or took too long.
    Nobody,
}

impl Error {
    /// A stable code of the kind of error, in snake case.
    pub fn code(&self) -> &'static str {
        match self {
            Self::HandshakerUnreachable { .. } => "handshaker_unreachable",
            Self::HandshakerLost { .. } => "handshaker_lost",
            Self::Refused { relayed: false, .. } => "refused_by_handshaker",
            Self::Refused { relayed: true, .. } => "refused_by_peer",
            Self::Contract { .. } => "handshaker_contract_broken",
            Self::PeerClosed { .. } => "peer_closed",
            Self::Connection(_) => "connection_failed",
            Self::TooMuchInput { .. } => "too_much_input",
            Self::RpcVersions { .. } => "rpc_versions_not_common",
            Self::NotAuthorized { .. } => "not_authorized",
            Self::TimedOut { .. } => "timed_out",
            Self::Record(_) => "record_protocol_unusable",
        }
    }

    /// Which side has refused.
    pub fn refused_by(&self) -> RefusedBy {
        match self {
            Self::Refused { relayed: false, .. } => RefusedBy::OurHandshaker,
            Self::Refused { relayed: true, .. } | Self::PeerClosed { .. } => RefusedBy::Peer,
            Self::Contract { .. }
            | Self::TooMuchInput { .. }
            | Self::RpcVersions { .. }
            | Self::NotAuthorized { .. }
            | Self::Record(_) => RefusedBy::Us,
            Self::HandshakerUnreachable { .. }
            | Self::HandshakerLost { .. }
            | Self::Connection(_)
            | Self::TimedOut { .. } => RefusedBy::Nobody,
        }
    }

    /// A failure of the connection to the other side, which has sent `received` bytes: most often it has just gone.
    pub(crate) fn of_connection(error: io::Error, received: usize) -> Self {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        match error.kind() {
            BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof => Self::PeerClosed { received },
            _ => Self::Connection(error),
        }
    }

    fn io_kind(&self) -> io::ErrorKind {
        match self {
            Self::HandshakerUnreachable { .. } => io::ErrorKind::NotConnected,
            Self::HandshakerLost { .. } | Self::PeerClosed { .. } => io::ErrorKind::ConnectionAborted,
            Self::Refused { .. } => io::ErrorKind::ConnectionRefused,
            Self::NotAuthorized { .. } => io::ErrorKind::PermissionDenied,
            Self::Connection(error) => error.kind(),
            Self::TimedOut { .. } => io::ErrorKind::TimedOut,
            Self::Contract { .. }
            | Self::TooMuchInput { .. }
            | Self::RpcVersions { .. }
            | Self::Record(_) => io::ErrorKind::InvalidData,
        }
    }
}

impl From<Error> for io::Error {
    /// With the error as its inner one.
    fn from(error: Error) -> Self {
        Self::new(error.io_kind(), error)
    }
}

impl fmt::Display for WaitingFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Place => "other handshakes of this program to end",
            Self::Handshaker => "this side's handshaker",
            Self::Peer => "the other side",
        })
    }
}

impl fmt::Display for RpcVersions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (max, min) = (self.max, self.min);
        write!(f, "{}.{} to {}.{}", min.0, min.1, max.0, max.1)
    }
}

fn whose_handshaker(relayed: bool) -> &'static str {
    if relayed { "the other side's handshaker" } else { "this side's handshaker" }
}

/// As much of a text that somebody else wrote as an error shows, on one line.
pub(crate) fn bounded(text: &str) -> String {
    const CHARS: usize = 1_000;
    let shown = text.chars().take(CHARS).map(|char| if is_hidden(char) { ' ' } else { char });
    let more = text.chars().nth(CHARS).map(|_| '…');
    shown.chain(more).collect()
}

/// Whether a character is not shown but changes how others are: it ends their line, or turns their direction.
pub(crate) fn is_hidden(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The innermost cause, bounded: the outer ones only say that there is an inner one.
fn deepest(error: &Cause) -> String {
    let mut error: &dyn std::error::Error = &**error;
    while let Some(source) = error.source() {
        error = source;
    }
    bounded(&error.to_string())
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    fn cause() -> Cause {
        io::Error::other("no such file").into()
    }

    /// Each kind of error once, with its code, who has refused, and what it becomes for users of I/O.
    fn all() -> Vec<(Error, &'static str, RefusedBy, io::ErrorKind)> {
        use io::ErrorKind;
        let refused =
            |relayed| Error::Refused { code: Code::PermissionDenied, details: "a: b".to_owned(), relayed };
        let versions = |minor| RpcVersions { max: (2, minor), min: (2, minor) };
        vec![
            (
                Error::HandshakerUnreachable { address: "unix:/s".to_owned(), source: cause() },
                "handshaker_unreachable",
                RefusedBy::Nobody,
                ErrorKind::NotConnected,
            ),
            (
                Error::HandshakerLost { address: "unix:/s".to_owned(), source: cause() },
                "handshaker_lost",
                RefusedBy::Nobody,
                ErrorKind::ConnectionAborted,
            ),
            (refused(false), "refused_by_handshaker", RefusedBy::OurHandshaker, ErrorKind::ConnectionRefused),
            (refused(true), "refused_by_peer", RefusedBy::Peer, ErrorKind::ConnectionRefused),
            (
                Error::Contract { field: "status", problem: "is missing".to_owned() },
                "handshaker_contract_broken",
                RefusedBy::Us,
                ErrorKind::InvalidData,
            ),
            (Error::PeerClosed { received: 0 }, "peer_closed", RefusedBy::Peer, ErrorKind::ConnectionAborted),
            (
                Error::Connection(ErrorKind::HostUnreachable.into()),
                "connection_failed",
                RefusedBy::Nobody,
                ErrorKind::HostUnreachable,
            ),
            (
                Error::TooMuchInput { bytes: 3, limit: 2 },
                "too_much_input",
                RefusedBy::Us,
                ErrorKind::InvalidData,
            ),
            (
                Error::RpcVersions { peer: versions(2), own: versions(1) },
                "rpc_versions_not_common",
                RefusedBy::Us,
                ErrorKind::InvalidData,
            ),
            (
                Error::NotAuthorized { account: "a@b".to_owned(), reason: "not listed".to_owned() },
                "not_authorized",
                RefusedBy::Us,
                ErrorKind::PermissionDenied,
            ),
            (
                Error::TimedOut { seconds: 0.5, waiting_for: WaitingFor::Peer },
                "timed_out",
                RefusedBy::Nobody,
                ErrorKind::TimedOut,
            ),
            (
                RecordError::UnknownProtocol("x".to_owned()).into(),
                "record_protocol_unusable",
                RefusedBy::Us,
                ErrorKind::InvalidData,
            ),
        ]
    }

    #[test]
    fn every_error_has_a_code_a_side_and_a_kind_of_io_error() {
        let mut codes = Vec::new();
        for (error, code, refused_by, kind) in all() {
            assert_eq!((error.code(), error.refused_by()), (code, refused_by), "{error}");
            codes.push(code);
            let text = error.to_string();
            let io: io::Error = error.into();
            assert_eq!((io.kind(), io.to_string()), (kind, text));
            assert!(io.get_ref().is_some_and(|inner| inner.is::<Error>()));
        }
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), all().len(), "codes are told apart");
    }

    #[test]
    fn texts_say_which_side_and_why() {
        let texts: Vec<_> = all().into_iter().map(|(error, ..)| error.to_string()).collect();
        let expected = [
            "the handshaker unix:/s cannot be reached: no such file; is it running, and listening there?",
            "the connection to the handshaker unix:/s broke during the handshake: no such file",
            "this side's handshaker refused: a: b (PermissionDenied)",
            "the other side's handshaker refused: a: b (PermissionDenied)",
            "the handshaker broke its contract: status is missing",
            "the other side closed the connection during the handshake; its log or its handshaker's says why, if it speaks ALTS",
            "the connection to the other side failed during the handshake: host unreachable",
            "the other side sent 3 bytes and the handshake is not done; at most 2 are taken",
            "the other side speaks rpc versions 2.2 to 2.2, this one 2.1 to 2.1",
            "this program does not speak to a@b: not listed",
            "the handshake was not done within 0.5 s: it was waiting for the other side",
            "the record protocol cannot be used: the record protocol \"x\" is not known",
        ];
        assert_eq!(texts, expected);
    }

    #[test]
    fn the_cause_of_a_failure_of_transport_is_kept() {
        for (error, code, ..) in all() {
            let has_cause = matches!(
                code,
                "handshaker_unreachable"
                    | "handshaker_lost"
                    | "connection_failed"
                    | "record_protocol_unusable"
            );
            assert_eq!(error.source().is_some(), has_cause, "{error}");
        }
    }

    #[test]
    fn what_others_write_is_bounded_and_on_one_line() {
        assert_eq!(bounded("a: b\n\u{1b}[31mc"), "a: b  [31mc");
        assert_eq!(bounded("a\u{2028}b\u{2029}c\u{202e}d\u{2066}e\u{85}f"), "a b c d e f");
        assert_eq!(bounded(&"ü".repeat(1_000)), "ü".repeat(1_000));
        let said: Cause = io::Error::other("a\nb".repeat(1_000)).into();
        let lost = Error::HandshakerLost { address: "unix:/s".to_owned(), source: said }.to_string();
        assert!(lost.chars().count() < 1_100 && !lost.contains('\n'), "{lost}");
        assert_eq!(bounded(&"ü".repeat(1_001)), "ü".repeat(1_000) + "…");
    }

    #[test]
    fn a_peer_that_has_gone_is_told_from_a_connection_that_fails() {
        use io::ErrorKind::{
            BrokenPipe, ConnectionAborted, ConnectionReset, HostUnreachable, Other, TimedOut, UnexpectedEof,
        };
        for kind in [BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof] {
            assert!(
                matches!(Error::of_connection(kind.into(), 3), Error::PeerClosed { received: 3 }),
                "{kind}"
            );
        }
        for kind in [HostUnreachable, TimedOut, Other] {
            assert!(matches!(Error::of_connection(kind.into(), 0), Error::Connection(_)), "{kind}");
        }
    }
}
