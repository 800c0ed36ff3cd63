//! Why a token is not taken, in the words that Envoy has for it.

/// What is wrong with a token. The text is for whoever presented it: it holds nothing of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is none where a rule demands one.
    #[error("Jwt is missing")]
    Missing,
    /// It is longer than any token that is read here ([`MAX_TOKEN`](crate::MAX_TOKEN)).
    #[error("Jwt is too long")]
    TooLong,
    /// It has other than three parts, or an empty one.
    #[error("Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections")]
    NotThreeParts,
    /// Its header is no strict base64url.
    #[error("Jwt header is an invalid Base64url encoded")]
    HeaderNotBase64,
    /// Its header is no JSON object, or has a member twice.
    #[error("Jwt header is an invalid JSON")]
    HeaderNotJson,
    /// `alg` is missing or no string.
    #[error("Jwt header [alg] field is required and must be a string")]
    AlgMissing,
    /// `alg` is none of [`Algorithm`](crate::Algorithm).
    #[error("Jwt header [alg] is not supported")]
    AlgUnsupported,
    /// `kid` is there and no string.
    #[error("Jwt header [kid] field is not a string")]
    KidNotString,
    /// The header asks for an extension (RFC 7515, section 4.1.11); none is known here.
    #[error("Jwt header [crit] is not supported")]
    CritUnsupported,
    /// Its payload is no strict base64url.
    #[error("Jwt payload is an invalid Base64url encoded")]
    PayloadNotBase64,
    /// Its payload is no JSON object, or has a member twice.
    #[error("Jwt payload is an invalid JSON")]
    PayloadNotJson,
    /// This claim must be a string where it is there.
    #[error("Jwt payload [{0}] field is not a string")]
    NotString(&'static str),
    /// This claim must be a number where it is there.
    #[error("Jwt payload [{0}] field is not an integer")]
    NotInteger(&'static str),
    /// This claim must be a number from 0 to 2^64 - 1 where it is there.
    #[error("Jwt payload [{0}] field is not a positive 64 bit integer")]
    OutOfRange(&'static str),
    /// `aud` is there and neither a string nor a list of strings.
    #[error("Jwt payload [aud] field is not a string or string list")]
    AudNotStrings,
    /// Its signature is no strict base64url.
    #[error("Jwt signature is an invalid Base64url encoded")]
    SignatureNotBase64,
    /// `iss` is another.
    #[error("Jwt issuer is not configured")]
    UnknownIssuer,
    /// `nbf` is more than the leeway ahead.
    #[error("Jwt not yet valid")]
    NotYetValid,
    /// `exp` is more than the leeway past.
    #[error("Jwt is expired")]
    Expired,
    /// It has no `exp` where it must end some time.
    #[error("Jwt payload [exp] field is missing")]
    NeverExpires,
    /// None of its `aud` is expected.
    #[error("Audiences in Jwt are not allowed")]
    AudienceNotAllowed,
    /// The keys of the issuer could not be had. For whoever fetches them: nothing is fetched here.
    #[error("Jwks remote fetch is failed")]
    KeySetUnavailable,
    /// The set has no key at all.
    #[error("Jwks doesn't have any valid public key")]
    NoKeys,
    /// No key of the set has the token's `kid` and is for its `alg`.
    #[error("Jwks doesn't have key to match kid or alg from Jwt")]
    NoMatchingKey,
    /// A signature of Ed25519 has 64 octets.
    #[error("Jwt ED25519 signature is wrong length")]
    Ed25519Length,
    /// No key that fits has made the signature.
    #[error("Jwt verification fails")]
    BadSignature,
}

impl Error {
    /// A stable code for logs and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Missing => "token_missing",
            Self::TooLong => "token_too_long",
            Self::NotThreeParts => "token_not_three_parts",
            Self::HeaderNotBase64 => "header_not_base64url",
            Self::HeaderNotJson => "header_not_json",
            Self::AlgMissing => "alg_missing",
            Self::AlgUnsupported => "alg_unsupported",
            Self::KidNotString => "kid_not_string",
            Self::CritUnsupported => "crit_unsupported",
            Self::PayloadNotBase64 => "payload_not_base64url",
            Self::PayloadNotJson => "payload_not_json",
            Self::NotString(_) => "claim_not_string",
            Self::NotInteger(_) => "claim_not_integer",
            Self::OutOfRange(_) => "claim_out_of_range",
            Self::AudNotStrings => "aud_not_strings",
            Self::SignatureNotBase64 => "signature_not_base64url",
            Self::UnknownIssuer => "issuer_unknown",
            Self::NotYetValid => "token_not_yet_valid",
            Self::Expired => "token_expired",
            Self::NeverExpires => "exp_missing",
            Self::AudienceNotAllowed => "audience_not_allowed",
            Self::KeySetUnavailable => "key_set_unavailable",
            Self::NoKeys => "key_set_empty",
            Self::NoMatchingKey => "key_unknown",
            Self::Ed25519Length => "ed25519_signature_length",
            Self::BadSignature => "signature_invalid",
        }
    }

    /// The HTTP status that goes with the text: 403 for an audience, else 401.
    pub fn status(&self) -> u16 {
        match self {
            Self::AudienceNotAllowed => 403,
            _ => 401,
        }
    }
}
