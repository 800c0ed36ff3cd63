//! Why a stream got no result, and how its program is told: clients differ in what they listen to.

use std::time::Duration;

use alts_handshake::{Alert, Error, Reason, SetupError};
use alts_proto::gcp::{HandshakerResp, HandshakerStatus};
use tonic::{Code, Status};

/// Longest text of a failure, in bytes: it may travel in an HTTP/2 header, and names of others' choice are in it.
const MAX_TEXT: usize = 1_024;

/// One failure of a stream.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    /// Stable, such as `peer_certificate_expired`.
    pub(crate) reason: &'static str,
    /// One line of at most [`MAX_TEXT`] bytes, whatever was asked for.
    pub(crate) text: String,
    /// Whether the request of the program itself is at fault, and not its peer or this daemon.
    caller_at_fault: bool,
    /// An Alert for the peer, or nothing.
    pub(crate) out_frames: Vec<u8>,
    /// How far the peer's clock is off at least, where that is what was refused.
    pub(crate) clock_skew: Option<Duration>,
}

impl Refusal {
    /// The program's own request is wrong.
    pub(crate) fn of_request(code: Code, reason: &'static str, text: impl Into<String>) -> Self {
        Self::new(code, reason, &text.into(), true)
    }

    /// A limit of this daemon.
    pub(crate) fn of_limit(code: Code, reason: &'static str, text: impl Into<String>) -> Self {
        Self::new(code, reason, &text.into(), false)
    }

    fn new(code: Code, reason: &'static str, text: &str, caller_at_fault: bool) -> Self {
        let text = printable(text);
        Self { code, reason, text, caller_at_fault, out_frames: Vec::new(), clock_skew: None }
    }

    /// The handshake itself failed.
    pub(crate) fn of_handshake(error: &Error, out_frames: Vec<u8>) -> Self {
        let reason = error.reason();
        let clock_skew = match error {
            Error::PeerCertificateNotYetValid { not_before, now } => {
                Some(Duration::from_secs(not_before.saturating_sub(*now)))
            }
            _ => None,
        };
        let refusal = Self::new(code(reason), reason.code(), &error.to_string(), false);
        Self { out_frames, clock_skew, ..refusal }
    }

    /// The reason code, then the text.
    pub(crate) fn details(&self) -> String {
        format!("{}: {}", self.reason, self.text)
    }

    /// The failure as a response, for clients that look at its status.
    pub(crate) fn into_response(self, bytes_consumed: u32) -> HandshakerResp {
        let status = HandshakerStatus { code: self.code as u32, details: self.details() };
        HandshakerResp { out_frames: self.out_frames, bytes_consumed, result: None, status: Some(status) }
    }

    /// The failure as the end of the RPC, for clients that look only there. grpc-go and grpc-java hand the code to
    /// their application as the result of the application's own call, so that only a fault of the request keeps
    /// its code.
    pub(crate) fn into_status(self) -> Status {
        let code = if self.caller_at_fault { self.code } else { Code::Unavailable };
        Status::new(code, self.details())
    }
}

/// Control characters escaped, so that nobody writes log lines of their own, and cut between two characters.
fn printable(text: &str) -> String {
    let mut line = String::new();
    for char in text.chars() {
        if char.is_control() {
            line.extend(char.escape_default())
        } else {
            line.push(char)
        }
        if line.len() >= MAX_TEXT {
            break;
        }
    }
    line.truncate(line.floor_char_boundary(MAX_TEXT));
    line
}

impl From<SetupError> for Refusal {
    fn from(error: SetupError) -> Self {
        Self::of_request(Code::InvalidArgument, error.code(), error.to_string())
    }
}

/// The table of specification section 12.
fn code(reason: Reason) -> Code {
    match (reason, reason.alert()) {
        (Reason::HandshakeOver, _) => Code::FailedPrecondition,
        // It passes when the certificate is renewed, or the store is back.
        (Reason::OwnCertificateNotValid | Reason::AdmissionUnknown, _) => Code::Unavailable,
        // A peer's alert: nothing is sent back.
        (_, None) => Code::Aborted,
        (_, Some(alert)) => match alert {
            Alert::DecodeError | Alert::UnexpectedMessage => Code::InvalidArgument,
            Alert::NoCommonVersion
            | Alert::NoCommonSuite
            | Alert::NoCommonRecordProtocol
            | Alert::NoCommonApplicationProtocol => Code::FailedPrecondition,
            Alert::DecryptError | Alert::BadCertificate => Code::Unauthenticated,
            Alert::AccessDenied => Code::PermissionDenied,
            Alert::InternalError => Code::Internal,
            Alert::Overloaded => Code::ResourceExhausted,
            Alert::Timeout => Code::DeadlineExceeded,
        },
    }
}

/// Where a client looks for a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// In the status of a response; gRPC core shows the reason only from there. The RPC then ends with OK.
    InBand,
    /// In the status of the RPC. grpc-go looks nowhere else after its first request, and waits for 20 s.
    Rpc,
}

impl Style {
    /// The style for a client that says it is `user_agent`.
    pub(crate) fn for_user_agent(user_agent: Option<&str>) -> Self {
        match user_agent {
            Some(agent) if agent.starts_with("grpc-go/") => Self::Rpc,
            _ => Self::InBand,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_grpc_go_is_told_by_the_status_of_the_rpc() {
        let cases = [
            (Some("grpc-go/1.85.0"), Style::Rpc),
            (Some("grpc-c/58.0.0 (linux; chttp2)"), Style::InBand),
            (Some("grpc-java-netty/1.85.1"), Style::InBand),
            (Some("grpc-c++/1.83.0 grpc-c/56.0.0 (linux; chttp2)"), Style::InBand),
            (Some("my-grpc-go/1"), Style::InBand),
            (None, Style::InBand),
        ];
        for (agent, style) in cases {
            assert_eq!(Style::for_user_agent(agent), style, "{agent:?}");
        }
    }

    #[test]
    fn what_the_peer_or_the_daemon_caused_ends_an_rpc_as_unavailable() {
        let of_peer = Refusal::of_handshake(&Error::MacInvalid, Vec::new());
        assert_eq!(of_peer.into_status().code(), Code::Unavailable);
        let of_limit = Refusal::of_limit(Code::ResourceExhausted, "x", "y");
        assert_eq!(of_limit.into_status().code(), Code::Unavailable);
        let of_request = Refusal::of_request(Code::InvalidArgument, "x", "y");
        assert_eq!(of_request.into_status().code(), Code::InvalidArgument);
    }

    #[test]
    fn a_text_is_one_printable_line_cut_between_characters() {
        let refusal = Refusal::of_limit(Code::Internal, "x", "ü".repeat(2_000));
        assert!((MAX_TEXT - 4..=MAX_TEXT).contains(&refusal.text.len()), "{}", refusal.text.len());
        assert!(refusal.details().starts_with("x: üü") && refusal.text.ends_with('ü'));

        let forged = Refusal::of_request(Code::Internal, "x", "a\n2026 INFO forged\x1b[31m\r\u{85}");
        assert_eq!(forged.text, r"a\n2026 INFO forged\u{1b}[31m\r\u{85}");
    }

    #[test]
    fn every_reason_has_the_code_of_the_specification() {
        let cases = [
            (Error::FrameLengthInvalid { length: 0 }, Code::InvalidArgument),
            (Error::VersionNotCommon { peer: vec![] }, Code::FailedPrecondition),
            (Error::MacInvalid, Code::Unauthenticated),
            (Error::PeerCertificateIsCa, Code::Unauthenticated),
            (Error::PeerNotExpected { peer: String::new(), accepted: String::new() }, Code::PermissionDenied),
            (Error::CryptoFailed { operation: "x" }, Code::Internal),
            (Error::PeerAlert { code: None }, Code::Aborted),
            (Error::HandshakeOver, Code::FailedPrecondition),
        ];
        for (error, expected) in cases {
            assert_eq!(Refusal::of_handshake(&error, Vec::new()).code, expected, "{error}");
        }
    }
}
