//! What is not done, and why: one table from errors to gRPC codes and reasons. A text begins with its reason, a
//! colon and a space; docs/OPERATING.md lists the reasons.

use alts_store::Error as StoreError;
use tonic::{Code, Status};

use crate::policy::Refused;

/// Longest text of a refusal, in bytes. It travels in a header: what others wrote into it is cut.
const MAX_TEXT: usize = 4_096;

/// A refusal.
pub(super) fn refuse(code: Code, reason: &str, text: &str) -> Status {
    let text = &text[..text.floor_char_boundary(MAX_TEXT)];
    Status::new(code, format!("{reason}: {text}"))
}

/// A field that holds what cannot be.
pub(super) fn invalid(refused: &Refused) -> Status {
    refuse(Code::InvalidArgument, refused.problem.code(), &refused.to_string())
}

/// What the store did not do.
pub(super) fn by_store(error: &StoreError) -> Status {
    let (code, reason) = match error {
        StoreError::Conflict { .. } => return conflict(&error.to_string()),
        StoreError::Invalid(_) => (Code::InvalidArgument, error.reason()),
        StoreError::Full { .. } => (Code::ResourceExhausted, error.reason()),
        StoreError::Refused(_) => (Code::FailedPrecondition, error.reason()),
        StoreError::Unavailable(_) | StoreError::Compacted { .. } | StoreError::Replaced { .. } => {
            (Code::Unavailable, error.reason())
        }
        StoreError::Corrupt(_) => (Code::DataLoss, error.reason()),
    };
    refuse(code, reason, &error.to_string())
}

/// Somebody else was first.
pub(super) fn conflict(text: &str) -> Status {
    let text = format!("{text}; look at it again, and then decide");
    refuse(Code::Aborted, "revision_conflict", &text)
}

/// There is nowhere to write to.
pub(super) fn store_missing() -> Status {
    let text = "this node has no store to keep that in; set `state_directory` or a section [store] in its \
                configuration";
    refuse(Code::FailedPrecondition, "store_missing", text)
}

/// A request lacks a part.
pub(super) fn missing(field: &str) -> Status {
    refuse(Code::InvalidArgument, "field_missing", &format!("{field} is not given"))
}

#[cfg(test)]
mod tests {
    use alts_store::Revision;

    use super::*;

    #[test]
    fn each_error_of_the_store_has_its_code_and_reason() {
        let key = || "rules/a".to_owned();
        let cases = [
            (
                StoreError::Conflict { key: key(), found: Some(Revision(3)) },
                Code::Aborted,
                "revision_conflict: ",
            ),
            (StoreError::Invalid("x".into()), Code::InvalidArgument, "store_request_invalid: "),
            (StoreError::Full { bytes: 2, limit: 1 }, Code::ResourceExhausted, "store_full: "),
            (StoreError::Compacted { oldest: Revision(3) }, Code::Unavailable, "store_compacted: "),
            (StoreError::Refused("x".into()), Code::FailedPrecondition, "store_refused: "),
            (StoreError::Unavailable("x".into()), Code::Unavailable, "store_unavailable: "),
            (StoreError::Corrupt("x".into()), Code::DataLoss, "store_corrupt: "),
        ];
        for (error, code, reason) in cases {
            let status = by_store(&error);
            assert_eq!(status.code(), code, "{error}");
            assert!(status.message().starts_with(reason), "{}", status.message());
        }
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let status = refuse(Code::Internal, "long", &"é".repeat(5_000));
        assert!(status.message().len() <= MAX_TEXT + 6, "{}", status.message().len());
    }
}
