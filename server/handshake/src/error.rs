//! Why a handshake failed: in full for the log, as a stable [`Reason`] code for operators, as an [`Alert`]
//! for the peer, which learns no more than that.

use strum::{EnumDiscriminants, EnumIter, IntoStaticStr};

use crate::{frame::FrameType, peer::NotAdmitted};

/// One failure, with the values that were compared. It ends the handshake for good.
///
/// The name of a variant is its stable reason code: `PeerCertificateExpired` is `peer_certificate_expired`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, EnumDiscriminants)]
#[strum_discriminants(
    name(Reason),
    doc = "The stable code of an [`Error`], without its values.",
    derive(EnumIter, Hash, IntoStaticStr),
    strum(serialize_all = "snake_case"),
    allow(missing_docs)
)]
#[allow(missing_docs, reason = "the text of each variant is its documentation")]
pub enum Error {
    // Frames and messages (specification sections 2 to 5).
    #[error("frame length {length} is outside 4 to 32772; this is not an altsd handshake")]
    FrameLengthInvalid { length: u32 },
    #[error("frame type {found} came where {expected:?} was expected")]
    FrameTypeUnexpected { expected: FrameType, found: u32 },
    #[error("{frame:?} payload of {length} bytes is over its limit of {limit}")]
    FrameTooLarge { frame: FrameType, length: usize, limit: usize },
    #[error("{message} is malformed: {problem}")]
    MessageMalformed { message: &'static str, problem: &'static str },
    #[error("{message} holds extension {extension:#06x}, which must be understood and is not")]
    ExtensionUnknown { message: &'static str, extension: u16 },
    #[error("the peer gave up with alert {}", Alert::describe(*.code))]
    PeerAlert { code: Option<u16> },

    // Negotiation (sections 3 and 4).
    #[error("no common handshake version: the peer has {peer:?}, this end has 1")]
    VersionNotCommon { peer: Vec<u16> },
    #[error("no common key exchange suite: the peer has {peer:?}, this end has 1")]
    SuiteNotCommon { peer: Vec<u16> },
    #[error("no common record protocol: the peer has {peer}, the program {own}")]
    RecordProtocolNotCommon { peer: String, own: String },
    #[error("no common application protocol: the peer has {peer}, the program {own}")]
    ApplicationProtocolNotCommon { peer: String, own: String },
    #[error("the server chose {what} {choice}, which this handshake did not offer")]
    ChoiceNotOffered { what: &'static str, choice: String },

    // Proofs (sections 6 and 7).
    #[error("the peer's key share gives no shared secret")]
    KeyShareInvalid,
    #[error("the encrypted message does not open with the keys of this handshake")]
    MessageNotAuthentic,
    #[error(
        "signature scheme {found:#06x} does not belong to the certificate's key, which signs with {expected:#06x}"
    )]
    SignatureSchemeWrong { expected: u16, found: u16 },
    #[error("the peer's signature over the transcript does not verify")]
    SignatureInvalid,
    #[error("the peer's MAC over the transcript does not verify")]
    MacInvalid,

    // The peer's certificates (section 10).
    #[error("certificate {position} does not parse: {problem}")]
    PeerCertificateMalformed { position: usize, problem: String },
    #[error("certificate {position} of {length} bytes is over the limit of 8192")]
    PeerCertificateTooLarge { position: usize, length: usize },
    #[error("certificate {position} is not issued by the one after it, or that one leads nowhere")]
    PeerCertificateChainBroken { position: usize },
    #[error("the leaf certificate is a CA certificate")]
    PeerCertificateIsCa,
    #[error("the leaf certificate has the wrong keyUsage: {problem}")]
    PeerCertificateKeyUsageWrong { problem: &'static str },
    #[error("a certificate of the chain has an extendedKeyUsage without {needed}")]
    PeerCertificatePurposeWrong { needed: &'static str },
    #[error("the leaf certificate has a key of a kind other than P-256 and Ed25519")]
    PeerCertificateKeyUnsupported,
    #[error("certificate {position} may not issue certificates: {problem}")]
    PeerCertificateIssuerInvalid { position: usize, problem: &'static str },
    #[error("certificate {position} constrains names in a way that is not evaluated")]
    PeerCertificateNameConstrained { position: usize },
    #[error("the leaf certificate names no identity: it needs a mail name or a SPIFFE ID in subjectAltName")]
    PeerCertificateWithoutIdentity,
    #[error("the leaf certificate names more than one {kind}")]
    PeerCertificateAmbiguous { kind: &'static str },
    #[error("the leaf certificate names {name:?}, which is no valid identity: {problem}")]
    PeerCertificateNameInvalid { name: String, problem: &'static str },
    #[error("no root is configured for {authority}, which the certificate's identity belongs to")]
    PeerCertificateAuthorityUnknown { authority: String },
    #[error("the certificate chain has expired: it ended at {not_after}, now is {now} (seconds since 1970)")]
    PeerCertificateExpired { not_after: u64, now: u64 },
    #[error(
        "the certificate chain is not valid yet: it begins at {not_before}, now is {now} (seconds since 1970)"
    )]
    PeerCertificateNotYetValid { not_before: u64, now: u64 },
    #[error("the certificate chain leads to no root that is configured for {authority}")]
    PeerCertificateUntrusted { authority: String },
    #[error("the certificate chain is refused: {problem}")]
    PeerCertificateInvalid { problem: String },
    #[error("certificate {position} of the chain, serial number {serial}, is revoked")]
    PeerCertificateRevoked { position: usize, serial: String },
    #[error("no CRL of {authority} covers the leaf certificate, so that it is unknown whether it is revoked")]
    PeerCertificateRevocationUnknown { authority: String },
    #[error(
        "a CRL that covers the certificate chain has expired: its nextUpdate is {next_update}, now is {now} (seconds since 1970)"
    )]
    PeerCertificateCrlExpired { next_update: u64, now: u64 },
    #[error("a CRL that covers the certificate chain is refused: {problem}")]
    PeerCertificateCrlInvalid { problem: String },

    // Who the peer is (section 8).
    #[error("the peer is {peer}, the request accepts {accepted}")]
    PeerNotExpected { peer: String, accepted: String },
    #[error("the peer is denied: {why}")]
    PeerDenied { why: String },
    #[error("the peer is revoked: {why}")]
    PeerRevoked { why: String },
    #[error("the peer is not who was called: {why}")]
    PeerNotTarget { why: String },
    #[error("whether the peer is acceptable cannot be known now: {why}")]
    AdmissionUnknown { why: String },

    // This end's own faults (section 12, internal_error).
    #[error(
        "the own certificate of {account} is not valid now: it holds from {not_before} to {not_after}, now is {now} (seconds since 1970)"
    )]
    OwnCertificateNotValid { account: String, not_before: u64, not_after: u64, now: u64 },
    #[error("{operation} failed in the cryptographic library")]
    CryptoFailed { operation: &'static str },

    // Wrong use by the caller.
    #[error("the handshake is over and takes no more bytes")]
    HandshakeOver,
}

impl From<NotAdmitted> for Error {
    fn from(refused: NotAdmitted) -> Self {
        match refused {
            NotAdmitted::Denied(why) => Self::PeerDenied { why },
            NotAdmitted::Revoked(why) => Self::PeerRevoked { why },
            NotAdmitted::NotTarget(why) => Self::PeerNotTarget { why },
            NotAdmitted::Unknown(why) => Self::AdmissionUnknown { why },
        }
    }
}

/// What the peer is told: the code of specification section 12.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
#[repr(u16)]
pub enum Alert {
    /// A frame or message is malformed.
    DecodeError = 1,
    /// A frame type is not expected now.
    UnexpectedMessage = 2,
    /// No handshake version in common.
    NoCommonVersion = 3,
    /// No key exchange suite in common.
    NoCommonSuite = 4,
    /// No record protocol in common.
    NoCommonRecordProtocol = 5,
    /// No application protocol in common.
    NoCommonApplicationProtocol = 6,
    /// A tag, MAC, signature or key share is wrong.
    DecryptError = 7,
    /// The chain, its use, its identity or its anchor is refused.
    BadCertificate = 8,
    /// Authenticated, but not acceptable.
    AccessDenied = 9,
    /// A fault of the sender.
    InternalError = 10,
    /// A limit of the sender.
    Overloaded = 11,
    /// The sender has waited long enough.
    Timeout = 12,
}

impl Alert {
    /// The number on the wire.
    pub fn code(self) -> u16 {
        self as u16
    }

    /// The name of a received code, which may be unknown or absent, for a log line.
    fn describe(code: Option<u16>) -> String {
        use strum::IntoEnumIterator;
        let Some(code) = code else { return "of the wrong size".to_owned() };
        let known = Self::iter().find(|alert| alert.code() == code);
        known.map_or_else(|| format!("{code}"), |alert| <&str>::from(alert).to_owned())
    }
}

/// Why a handshake cannot be set up: the request of a program, or the credentials and roots of an operator, are
/// at fault. Nothing has been sent to the peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, EnumDiscriminants)]
#[strum_discriminants(
    name(SetupReason),
    doc = "The stable code of a [`SetupError`], without its values.",
    derive(EnumIter, Hash, IntoStaticStr),
    strum(serialize_all = "snake_case"),
    allow(missing_docs)
)]
#[allow(missing_docs, reason = "the text of each variant is its documentation")]
pub enum SetupError {
    // What a program asks for.
    #[error("{list} is empty; it needs at least one name")]
    ProtocolsMissing { list: &'static str },
    #[error("{list} has {count} names; the limit is 8")]
    ProtocolsTooMany { list: &'static str, count: usize },
    #[error("{list} holds {name:?}; a name is 1 to 64 printable ASCII characters without a space")]
    ProtocolNameInvalid { list: &'static str, name: String },
    #[error("record_protocols has no protocol known here: {names}; known is ALTSRP_GCM_AES128_REKEY")]
    RecordProtocolUnknown { names: String },

    // Own credentials.
    #[error("the chain has {count} certificates; it must have 1 to 4, leaf first")]
    OwnChainLength { count: usize },
    #[error("the chain has {length} bytes; at most {limit} fit into a message")]
    OwnChainTooLarge { length: usize, limit: usize },
    #[error("{0}")]
    OwnCertificateUnusable(Error),
    #[error("the private key is not a PKCS#8 key for P-256 or Ed25519")]
    OwnKeyUnusable,
    #[error("the private key does not belong to the leaf certificate of {account}")]
    OwnKeyForeign { account: String },

    // Roots and CRLs.
    #[error("{name:?} is no authority: {problem}")]
    AuthorityInvalid { name: String, problem: &'static str },
    #[error("a root for {authority} is unusable: {problem}")]
    RootUnusable { authority: String, problem: String },
    #[error("a CRL for {authority} is unusable: {problem}")]
    CrlUnusable { authority: String, problem: String },
    #[error("{authority} has {count} CRLs; the limit is 256")]
    CrlsTooMany { authority: String, count: usize },
}

impl SetupError {
    /// The stable code, such as `protocols_missing`.
    pub fn code(&self) -> &'static str {
        SetupReason::from(self).into()
    }
}

impl Error {
    /// The failure without its values.
    pub fn reason(&self) -> Reason {
        self.into()
    }

    /// What to tell the peer; nothing if it was the peer that gave up, or if the handshake had ended before.
    pub fn alert(&self) -> Option<Alert> {
        self.reason().alert()
    }
}

impl Reason {
    /// The stable code, such as `peer_certificate_expired`.
    pub fn code(self) -> &'static str {
        self.into()
    }

    /// The one table that decides what the peer may know.
    pub fn alert(self) -> Option<Alert> {
        Some(match self {
            Self::PeerAlert | Self::HandshakeOver => return None,
            Self::FrameLengthInvalid
            | Self::FrameTooLarge
            | Self::MessageMalformed
            | Self::ExtensionUnknown
            | Self::ChoiceNotOffered => Alert::DecodeError,
            Self::FrameTypeUnexpected => Alert::UnexpectedMessage,
            Self::VersionNotCommon => Alert::NoCommonVersion,
            Self::SuiteNotCommon => Alert::NoCommonSuite,
            Self::RecordProtocolNotCommon => Alert::NoCommonRecordProtocol,
            Self::ApplicationProtocolNotCommon => Alert::NoCommonApplicationProtocol,
            Self::KeyShareInvalid
            | Self::MessageNotAuthentic
            | Self::SignatureSchemeWrong
            | Self::SignatureInvalid
            | Self::MacInvalid => Alert::DecryptError,
            Self::PeerCertificateMalformed
            | Self::PeerCertificateTooLarge
            | Self::PeerCertificateChainBroken
            | Self::PeerCertificateIsCa
            | Self::PeerCertificateKeyUsageWrong
            | Self::PeerCertificatePurposeWrong
            | Self::PeerCertificateKeyUnsupported
            | Self::PeerCertificateIssuerInvalid
            | Self::PeerCertificateNameConstrained
            | Self::PeerCertificateWithoutIdentity
            | Self::PeerCertificateAmbiguous
            | Self::PeerCertificateNameInvalid
            | Self::PeerCertificateAuthorityUnknown
            | Self::PeerCertificateExpired
            | Self::PeerCertificateNotYetValid
            | Self::PeerCertificateUntrusted
            | Self::PeerCertificateInvalid
            | Self::PeerCertificateRevoked
            | Self::PeerCertificateRevocationUnknown
            | Self::PeerCertificateCrlExpired
            | Self::PeerCertificateCrlInvalid => Alert::BadCertificate,
            Self::PeerNotExpected | Self::PeerDenied | Self::PeerRevoked | Self::PeerNotTarget => {
                Alert::AccessDenied
            }
            Self::AdmissionUnknown | Self::OwnCertificateNotValid | Self::CryptoFailed => {
                Alert::InternalError
            }
        })
    }
}
