//! What the token door refuses, and the one table of what that is in OAuth and HTTP.

use std::fmt::Write;

use super::{
    parts::{LedgerProblem, NoKey, SubjectProblem},
    request::RequestProblem,
    rule::Denied,
};

/// Longest description of an error, in bytes.
const MAX_DESCRIPTION: usize = 512;

/// How long to wait before asking again for what is away, in seconds.
const RETRY_SECONDS: u64 = 5;

/// Largest `Retry-After`, in seconds: what is known of a later time may change before that.
const MAX_RETRY_SECONDS: u64 = 3_600;

/// Whose proof is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Subject,
    Actor,
    /// What the kernel says of the caller.
    Caller,
}

impl Part {
    fn as_str(self) -> &'static str {
        match self {
            Self::Subject => "subject_token",
            Self::Actor => "actor_token",
            Self::Caller => "caller",
        }
    }
}

/// Why a request gets no token, or no other answer. The text is for whoever asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    #[error(transparent)]
    Request(#[from] RequestProblem),
    #[error("the body has more than {most} bytes")]
    BodyTooLarge { most: usize },
    #[error("the body did not come within {seconds} s")]
    BodyTooSlow { seconds: u64 },
    #[error("the body has ended before its end")]
    BodyBroken,
    #[error(
        "this host name is none of this listener; ask for its address, for localhost, or have it listed in hosts"
    )]
    Host,
    #[error("the request names no host, or several")]
    NoHost,
    #[error("requests of web pages are refused: this one has an Origin")]
    Origin,
    #[error("there is nothing at this path")]
    Path,
    #[error("this path takes {allowed} only")]
    Method { allowed: &'static str },
    /// The caller has to be a workload.
    #[error("{text}")]
    Caller { reason: &'static str, text: String },
    /// What was presented proves nobody.
    #[error("{}: {text}", .part.as_str())]
    Proof { part: Part, reason: &'static str, text: String },
    #[error("{}: it ends in less than {least} s", .part.as_str())]
    EndsTooSoon { part: Part, least: u64 },
    #[error("the subject lets others act for it than this actor")]
    MayAct,
    #[error("more than {most} would act for the subject, one for the other")]
    TooManyActors { most: usize },
    #[error(transparent)]
    Denied(#[from] Denied),
    /// It may be there later.
    #[error("{text}")]
    Unavailable { reason: &'static str, text: &'static str, seconds: u64, detail: String },
}

/// What an error is to OAuth and HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// `error` of the answer.
    pub(crate) code: &'static str,
    pub(crate) status: u16,
    /// A stable code, for logs, metrics and the description.
    pub(crate) reason: &'static str,
}

impl TokenError {
    /// The table.
    pub(crate) fn row(&self) -> Row {
        let (code, status, reason) = match self {
            Self::Request(problem) => return request_row(problem),
            Self::BodyTooLarge { .. } => ("invalid_request", 413, "body_too_large"),
            Self::BodyTooSlow { .. } => ("invalid_request", 408, "body_timeout"),
            Self::BodyBroken => ("invalid_request", 400, "body_broken"),
            Self::Host => ("invalid_request", 421, "host_unknown"),
            Self::NoHost => ("invalid_request", 400, "host_missing"),
            Self::Origin => ("invalid_request", 403, "origin_present"),
            Self::Path => ("invalid_request", 404, "path_unknown"),
            Self::Method { .. } => ("invalid_request", 405, "method_not_allowed"),
            Self::Caller { reason, .. } => ("invalid_client", 401, *reason),
            Self::Proof { reason, .. } => ("invalid_request", 400, *reason),
            Self::EndsTooSoon { .. } => ("invalid_request", 400, "proof_ends_too_soon"),
            Self::MayAct => ("invalid_request", 400, "may_act_mismatch"),
            Self::TooManyActors { .. } => ("invalid_request", 400, "actors_too_many"),
            Self::Denied(denied) => (denied_code(denied), 400, denied.reason()),
            Self::Unavailable { reason, .. } => ("temporarily_unavailable", 503, *reason),
        };
        Row { code, status, reason }
    }

    /// `error_description`: the reason and the text, of characters that it may have (RFC 6749, section 5.2).
    pub(crate) fn description(&self) -> String {
        let mut description = String::new();
        // Writing to a string does not fail.
        let _ = write!(description, "{}: {self}", self.row().reason);
        let printable = |c| match c {
            '"' | '\\' => '\'',
            ' '..='~' => c,
            _ => '?',
        };
        description.chars().map(printable).take(MAX_DESCRIPTION).collect()
    }

    /// When to ask again, in seconds.
    pub(crate) fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Unavailable { seconds, .. } => Some((*seconds).clamp(1, MAX_RETRY_SECONDS)),
            _ => None,
        }
    }

    /// What only the log is told.
    pub(crate) fn detail(&self) -> Option<&str> {
        match self {
            Self::Unavailable { detail, .. } => Some(detail),
            _ => None,
        }
    }

    /// A proof that is none.
    pub(crate) fn proof(part: Part, reason: &'static str, text: impl Into<String>) -> Self {
        Self::Proof { part, reason, text: text.into() }
    }

    /// A subject or an actor that an issuer says nothing good of.
    pub(crate) fn of_subject(part: Part, problem: SubjectProblem) -> Self {
        match problem {
            SubjectProblem::Refused { reason, text } => Self::Proof { part, reason, text },
            SubjectProblem::Unavailable(detail) => Self::unavailable(
                "issuer_keys_unavailable",
                "the keys of the issuer of this token are not to be had; ask again",
                detail,
            ),
        }
    }

    /// A ledger that does not say, or that says no.
    pub(crate) fn of_ledger(part: Part, problem: LedgerProblem) -> Self {
        match problem {
            LedgerProblem::Used => Self::proof(part, "token_used", problem.to_string()),
            LedgerProblem::Full { .. } => Self::unavailable(
                "revocations_full",
                "so much is revoked that no more is taken; ask again, or an operator",
                problem.to_string(),
            ),
            LedgerProblem::NoStore | LedgerProblem::Away(_) => Self::unavailable(
                "ledger_unavailable",
                "what is revoked, and what was used, is not known now; ask again",
                problem.to_string(),
            ),
        }
    }

    /// What is not there, and may be later.
    pub(crate) fn unavailable(reason: &'static str, text: &'static str, detail: String) -> Self {
        Self::Unavailable { reason, text, seconds: RETRY_SECONDS, detail }
    }
}

impl From<NoKey> for TokenError {
    fn from(problem: NoKey) -> Self {
        let detail = problem.to_string();
        match problem {
            NoKey::TooNew { seconds } => Self::Unavailable {
                reason: "signing_key_too_new",
                text: "the signing key is published, and not in use yet; ask again",
                seconds,
                detail,
            },
            NoKey::Unusable(_) => Self::unavailable(
                "signing_key_missing",
                "there is no key to sign with; the log of the node says why",
                detail,
            ),
        }
    }
}

fn request_row(problem: &RequestProblem) -> Row {
    let (code, reason) = match problem {
        RequestProblem::ContentType => ("invalid_request", "content_type_unsupported"),
        RequestProblem::Malformed(_) => ("invalid_request", "body_malformed"),
        RequestProblem::Missing { .. } => ("invalid_request", "parameter_missing"),
        RequestProblem::Repeated { .. } => ("invalid_request", "parameter_repeated"),
        RequestProblem::WrongType { .. } => ("invalid_request", "parameter_wrong_type"),
        RequestProblem::TooLong { .. } => ("invalid_request", "parameter_too_long"),
        RequestProblem::TooMany { .. } => ("invalid_request", "parameters_too_many"),
        RequestProblem::Characters { .. } => ("invalid_request", "parameter_characters"),
        RequestProblem::GrantType => ("unsupported_grant_type", "grant_type_unsupported"),
        RequestProblem::TokenKind { .. } => ("invalid_request", "token_type_unsupported"),
        RequestProblem::RequestedKind => ("invalid_request", "requested_token_type_unsupported"),
        RequestProblem::HalfAnActor { .. } => ("invalid_request", "actor_token_incomplete"),
        // RFC 8707, section 2: also one that is malformed.
        RequestProblem::Resource => ("invalid_target", "resource_invalid"),
        RequestProblem::Scope | RequestProblem::TooManyScopes => ("invalid_scope", "scope_invalid"),
    };
    Row { code, status: 400, reason }
}

fn denied_code(denied: &Denied) -> &'static str {
    match denied {
        // A refused subject or actor is no `invalid_grant` (RFC 8693, section 2.2.2).
        Denied::NoRule | Denied::Actor | Denied::Impersonation => "invalid_request",
        Denied::Caller => "unauthorized_client",
        Denied::NoAudience | Denied::Audience(_) | Denied::ManyAudiences => "invalid_target",
        Denied::Scope(_) => "invalid_scope",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_printable_ascii_without_quotation_marks() {
        let texts = ["a \"b\" \\c", "naïve\r\nSet-Cookie: x", "\u{202e}\u{0}", &"x".repeat(9_999)];
        for text in texts {
            let description = TokenError::proof(Part::Subject, "token_expired", text).description();
            let is_fine = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
            assert!(description.bytes().all(is_fine), "{description}");
            assert!(description.starts_with("token_expired: subject_token: "), "{description}");
            assert!(description.len() <= MAX_DESCRIPTION);
        }
    }

    #[test]
    fn what_only_the_log_is_told_is_not_in_the_description() {
        let problem = LedgerProblem::Away("etcd at 10.0.0.7 refused".to_owned());
        let error = TokenError::of_ledger(Part::Subject, problem);
        assert!(!error.description().contains("10.0.0.7"), "{}", error.description());
        assert_eq!(error.detail(), Some("the store is away: etcd at 10.0.0.7 refused"));
        assert_eq!((error.row().status, error.retry_after()), (503, Some(RETRY_SECONDS)));
    }

    #[test]
    fn a_key_that_is_too_new_says_when_to_ask_again() {
        for (seconds, retry) in [(0, 1), (1_800, 1_800), (u64::MAX, MAX_RETRY_SECONDS)] {
            let error = TokenError::from(NoKey::TooNew { seconds });
            assert_eq!((error.row().code, error.retry_after()), ("temporarily_unavailable", Some(retry)));
        }
    }
}
